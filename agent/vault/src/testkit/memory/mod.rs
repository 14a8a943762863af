//! A vault in memory with versions, delete markers and locks, for tests in place of a bucket.
//!
//! It passes the same conformance suite as the real ones. Methods do what an attacker with write access could do to a
//! bucket: [`MemoryVault::hide`], [`MemoryVault::overlay`], [`MemoryVault::expire_locks`].

mod parts;

use std::{
    collections::BTreeMap,
    io::Cursor,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::Digest;

use crate::{
    Checksum, Content, Draft, Lock, LockMode, LockPolicy, Marker, ObjectHead, Page, PartLimits, Parts, Placed,
    Progress, Tampering, Upload, Vault, VaultError, Version, VersionRef,
};

const PAGE: usize = 1000;

/// A bucket in memory, or a directory if it has no lock policy.
#[derive(Debug)]
pub struct MemoryVault {
    address: String,
    policy: Option<LockPolicy>,
    /// True if callers may bypass governance locks.
    lets_bypass: bool,
    /// True if callers may change no lock.
    is_read_only: bool,
    /// True if the condition of a put is ignored, as old servers do.
    ignores_conditions: bool,
    limits: PartLimits,
    /// Start of its own clock; `None` if it takes the time of whoever stores something.
    begins_at: Option<Timestamp>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Versions by key, newest last.
    keys: BTreeMap<String, Vec<StoredVersion>>,
    versions_made: u64,
    /// Objects that were begun, by number.
    begun: BTreeMap<u64, Begun>,
}

/// An object that is put together of parts.
#[derive(Debug)]
struct Begun {
    key: String,
    at: Timestamp,
    parts: BTreeMap<u32, Vec<u8>>,
}

#[derive(Debug)]
struct StoredVersion {
    id: String,
    modified: Timestamp,
    /// `None` for a delete marker.
    content: Option<Vec<u8>>,
    /// The checksum of an object that was put together of parts.
    of_parts: Option<Checksum>,
    lock: Option<Lock>,
}

impl MemoryVault {
    pub fn new(name: &str, policy: Option<LockPolicy>) -> Self {
        Self {
            address: format!("memory://{name}"),
            policy,
            lets_bypass: false,
            is_read_only: false,
            ignores_conditions: false,
            limits: PartLimits { smallest: 1, largest: u64::MAX, most: 10_000 },
            begins_at: None,
            state: Mutex::default(),
        }
    }

    /// Gives it a clock of its own, by which each version is stored a second after the one before, in whatever key.
    #[must_use]
    pub fn with_clock_from(self, begins_at: Timestamp) -> Self {
        Self { begins_at: Some(begins_at), ..self }
    }

    /// Lets callers bypass governance locks.
    #[must_use]
    pub fn with_bypass(self) -> Self {
        Self { lets_bypass: true, ..self }
    }

    /// Lets callers change no lock.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }

    /// Ignores the condition that a key is free.
    #[must_use]
    pub fn ignoring_conditions(self) -> Self {
        Self { ignores_conditions: true, ..self }
    }

    /// Takes other parts.
    #[must_use]
    pub fn with_part_limits(self, limits: PartLimits) -> Self {
        Self { limits, ..self }
    }

    /// Removes the lock of a version if `may` returns true for it.
    fn lift(&self, at: &VersionRef, may: impl Fn(&Lock) -> bool) {
        let mut state = self.state();
        let entries = state.keys.get_mut(&at.key).into_iter().flatten();
        entries
            .filter(|entry| entry.id == at.id && entry.lock.as_ref().is_some_and(&may))
            .for_each(|it| it.lock = None);
    }

    fn shorten(&self, at: &VersionRef, until: Timestamp, bypass: bool) -> Result<(), VaultError> {
        let mut state = self.state();
        let entry = state.keys.get_mut(&at.key).and_then(|entries| entries.iter_mut().find(|it| it.id == at.id));
        let entry = entry.ok_or_else(|| self.not_found(&at.key))?;
        match &mut entry.lock {
            Some(lock) if lock.until > until && !(bypass && self.lets_bypass && lock.mode == LockMode::Governance) => {
                Err(VaultError::AccessDenied {
                    vault: self.address.clone(),
                    action: format!("shorten the lock of `{}`", at.key),
                    detail: format!("locked in {} mode until {}", lock.mode, lock.until),
                })
            }
            Some(lock) => {
                lock.until = until;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Puts a delete marker on top of a key, as a delete without a version id does.
    pub fn hide(&self, key: &str) -> VersionRef {
        self.put_on_top(key, None)
    }

    /// Puts another version on top of a key, without a lock.
    pub fn overlay(&self, key: &str, content: impl Into<Vec<u8>>) -> VersionRef {
        self.put_on_top(key, Some(content.into()))
    }

    /// Puts another version on top of a key at this time, without a lock.
    pub fn overlay_at(&self, key: &str, content: impl Into<Vec<u8>>, modified: Timestamp) -> VersionRef {
        self.state().push(key, Some(content.into()), None, modified)
    }

    /// Removes a key with all its versions, whatever their locks.
    pub fn remove(&self, key: &str) {
        self.state().keys.remove(key);
    }

    /// Ends the retention of every object.
    pub fn expire_locks(&self) {
        self.state().keys.values_mut().flatten().for_each(|entry| entry.lock = None);
    }

    /// Puts a version or a marker on top of a key, a second later than the one below.
    fn put_on_top(&self, key: &str, content: Option<Vec<u8>>) -> VersionRef {
        let mut state = self.state();
        let below =
            state.keys.get(key).and_then(|entries| entries.last()).map_or(Timestamp::UNIX_EPOCH, |it| it.modified);
        state.push(key, content, None, below + SignedDuration::from_secs(1))
    }

    /// Returns the time by its own clock, if it has one.
    fn time(&self, state: &State) -> Option<Timestamp> {
        let seconds = i64::try_from(state.versions_made).unwrap_or(i64::MAX);
        Some(self.begins_at? + SignedDuration::from_secs(seconds))
    }

    /// Locks the state. A test that panicked with it has failed already; others may go on.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_taken(&self, state: &State, key: &str) -> Result<(), VaultError> {
        let top = state.keys.get(key).and_then(|entries| entries.last());
        match top.and_then(|top| top.content.as_ref()) {
            Some(content) if !self.ignores_conditions => {
                let found = format!("{} bytes", content.len());
                Err(VaultError::AlreadyExists { vault: self.address.clone(), key: key.to_owned(), found })
            }
            _ => Ok(()),
        }
    }

    fn wrong(&self, key: &str, action: &str, detail: impl Into<String>) -> VaultError {
        VaultError::Other { vault: self.address.clone(), action: format!("{action} `{key}`"), detail: detail.into() }
    }

    fn not_found(&self, key: &str) -> VaultError {
        VaultError::NotFound { vault: self.address.clone(), key: key.into() }
    }

    fn with_object<T>(&self, at: &VersionRef, read: impl Fn(&StoredVersion, &[u8]) -> T) -> Result<T, VaultError> {
        let state = self.state();
        let entry = state.keys.get(&at.key).and_then(|entries| entries.iter().find(|entry| entry.id == at.id));
        let found = entry.and_then(|entry| entry.content.as_deref().map(|content| read(entry, content)));
        found.ok_or_else(|| self.not_found(&at.key))
    }
}

impl State {
    fn push(&mut self, key: &str, content: Option<Vec<u8>>, lock: Option<Lock>, modified: Timestamp) -> VersionRef {
        self.versions_made += 1;
        let id = format!("v{:06}", self.versions_made);
        self.keys.entry(key.into()).or_default().push(StoredVersion {
            id: id.clone(),
            modified,
            content,
            of_parts: None,
            lock,
        });
        VersionRef::new(key, id)
    }
}

#[async_trait]
impl Vault for MemoryVault {
    fn address(&self) -> &str {
        &self.address
    }

    fn lock_policy(&self) -> Option<LockPolicy> {
        self.policy
    }

    async fn check(&self) -> Result<(), VaultError> {
        Ok(())
    }

    async fn put(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError> {
        progress(0);
        let content = parts::read_all(&upload.source).await?;
        let found = Checksum::Whole(*Digest::of(&content).as_bytes());
        let expected = Checksum::Whole(upload.sha256);
        if found != expected {
            return Err(VaultError::ChecksumMismatch {
                vault: self.address.clone(),
                key: upload.key.clone(),
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
        let mut state = self.state();
        self.refuse_taken(&state, &upload.key)?;
        let lock = self.policy.map(|policy| policy.lock_from(upload.now));
        let modified = self.time(&state).unwrap_or(upload.now);
        let at = state.push(&upload.key, Some(content), lock, modified);
        drop(state);
        progress(upload.size);
        Ok(Placed { at, checksum: expected, read_back: false })
    }

    fn part_limits(&self) -> PartLimits {
        self.limits
    }

    async fn begin<'a>(&'a self, draft: &Draft) -> Result<Box<dyn Parts + 'a>, VaultError> {
        let mut state = self.state();
        state.versions_made += 1;
        let id = state.versions_made;
        state.begun.insert(id, Begun { key: draft.key.clone(), at: draft.now, parts: BTreeMap::new() });
        Ok(Box::new(parts::MemoryParts { vault: self, id, draft: draft.clone() }))
    }

    async fn put_over(&self, key: &str, bytes: &[u8], now: Timestamp) -> Result<(), VaultError> {
        let mut state = self.state();
        if self.policy.is_none() {
            state.keys.remove(key);
        }
        state.push(key, Some(bytes.to_vec()), self.policy.map(|_| Lock::brief(now)), now);
        Ok(())
    }

    async fn head(&self, version: &VersionRef) -> Result<ObjectHead, VaultError> {
        self.with_object(version, |entry, content| ObjectHead {
            size: content.len() as u64,
            checksum: Some(entry.of_parts.unwrap_or_else(|| Checksum::Whole(*Digest::of(content).as_bytes()))),
            lock: entry.lock,
        })
    }

    async fn list_versions(&self, under: &str, after: Option<&Marker>) -> Result<Page, VaultError> {
        let state = self.state();
        let start = after.map_or(under, |after| after.key.as_str().max(under));
        let below = state.keys.range(start.to_owned()..).take_while(|(key, _)| key.starts_with(under));
        let all = below.flat_map(|(key, entries)| {
            let newest = entries.len().saturating_sub(1);
            entries.iter().enumerate().rev().map(move |(i, entry)| describe(key, entry, i == newest))
        });
        let mut rest = all.skip_while(|version| after.is_some_and(|after| !is_behind(version, after))).peekable();
        let versions: Vec<_> = rest.by_ref().take(PAGE).collect();
        let last = versions.last().map(|last| Marker { key: last.at.key.clone(), version: Some(last.at.id.clone()) });
        let next = rest.peek().and(last);
        Ok(Page { versions, next })
    }

    async fn open(&self, version: &VersionRef, range: Range<u64>) -> Result<Content, VaultError> {
        self.with_object(version, |_, content| {
            let clip = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
            let bytes = content[clip(range.start)..clip(range.end)].to_vec();
            Box::new(Cursor::new(bytes)) as Content
        })
    }

    async fn delete_version(&self, version: &VersionRef) -> Result<(), VaultError> {
        let mut state = self.state();
        let entries = state.keys.get_mut(&version.key).ok_or_else(|| self.not_found(&version.key))?;
        let index = entries.iter().position(|entry| entry.id == version.id);
        let index = index.ok_or_else(|| self.not_found(&version.key))?;
        if let Some(lock) = entries[index].lock {
            return Err(VaultError::AccessDenied {
                vault: self.address.clone(),
                action: format!("delete `{}`", version.key),
                detail: format!("locked in {} mode until {}", lock.mode, lock.until),
            });
        }
        entries.remove(index);
        Ok(())
    }

    async fn extend_lock(&self, version: &VersionRef, lock: Lock) -> Result<(), VaultError> {
        let mut state = self.state();
        let entry =
            state.keys.get_mut(&version.key).and_then(|entries| entries.iter_mut().find(|it| it.id == version.id));
        let entry = entry.ok_or_else(|| self.not_found(&version.key))?;
        if self.is_read_only || entry.lock.is_some_and(|held| !lock.covers(&held)) {
            return Err(VaultError::AccessDenied {
                vault: self.address.clone(),
                action: format!("extend the lock of `{}`", version.key),
                detail: "it holds for longer, or these credentials only read".into(),
            });
        }
        entry.lock = Some(lock);
        Ok(())
    }

    async fn tamper(&self, version: &VersionRef, how: Tampering) -> Result<(), VaultError> {
        let bypasses = |bypass, lock: &Lock| bypass && self.lets_bypass && lock.mode == LockMode::Governance;
        match how {
            Tampering::Hide => {
                self.hide(&version.key);
                Ok(())
            }
            Tampering::Overlay => {
                self.overlay(&version.key, "laid on top");
                Ok(())
            }
            Tampering::Delete { bypass } => {
                self.lift(version, |lock| bypasses(bypass, lock));
                self.delete_version(version).await
            }
            Tampering::Shorten { until, bypass } => self.shorten(version, until, bypass),
        }
    }

    async fn clock(&self) -> Result<Option<Timestamp>, VaultError> {
        Ok(self.time(&self.state()))
    }

    async fn unfinished(&self) -> Result<Vec<String>, VaultError> {
        Ok(self.state().begun.values().map(|begun| begun.key.clone()).collect())
    }

    async fn discard_unfinished(&self, under: &str, before: Timestamp) -> Result<Vec<String>, VaultError> {
        let mut removed = Vec::new();
        self.state().begun.retain(|_, begun| {
            let goes = begun.key.starts_with(under) && begun.at < before;
            if goes {
                removed.push(begun.key.clone());
            }
            !goes
        });
        Ok(removed)
    }
}

fn describe(key: &str, entry: &StoredVersion, is_latest: bool) -> Version {
    Version {
        at: VersionRef::new(key, &entry.id),
        size: entry.content.as_ref().map_or(0, |content| content.len() as u64),
        modified: entry.modified,
        is_latest,
        is_delete_marker: entry.content.is_none(),
    }
}

/// True if a listing continues with this version behind `after`. Within a key versions go from new to old; ids count
/// up.
fn is_behind(version: &Version, after: &Marker) -> bool {
    let within = after.version.as_ref().is_some_and(|id| version.at.id < *id);
    version.at.key > after.key || (version.at.key == after.key && within)
}

#[cfg(test)]
mod tests;
