//! A vault around another one that lets a test decide which calls fail: before they take effect, or after.

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    Content, Draft, Lock, LockPolicy, Marker, ObjectHead, Page, Part, PartLimits, Parts, Placed, Progress, SentPart,
    Tampering, Upload, Vault, VaultError, VersionRef,
};

/// A call that is about to be made, for the deciding function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Check,
    Rehearse,
    Put { key: String },
    PutOver { key: String },
    Begin { key: String },
    PutPart { key: String, number: u32 },
    Complete { key: String },
    Head { at: VersionRef },
    List { under: String },
    Open { at: VersionRef, range: Range<u64> },
    Delete { at: VersionRef },
    ExtendLock { at: VersionRef },
    Tamper { at: VersionRef, how: Tampering },
    Clock,
    Unfinished,
    DiscardUnfinished { under: String },
}

/// The outcome of a call.
#[derive(Debug)]
pub enum Injected {
    None,
    /// Fails without reaching the vault.
    Before(VaultError),
    /// Takes effect, then fails: the reply was lost.
    After(VaultError),
    /// Is never answered, and does not reach the vault.
    Silence,
    /// An opened stream ends cleanly after this many bytes; other calls ignore it.
    CutAfter(u64),
}

type Decide = dyn Fn(&Call) -> Injected + Send + Sync;

/// A vault whose calls may fail as a function decides.
pub struct InjectingVault {
    inner: Arc<dyn Vault>,
    decide: Box<Decide>,
}

impl InjectingVault {
    pub fn new(inner: Arc<dyn Vault>, decide: impl Fn(&Call) -> Injected + Send + Sync + 'static) -> Self {
        Self { inner, decide: Box::new(decide) }
    }
}

/// Returns the error of a connection to `vault` that broke during `action`.
pub fn broken(vault: &str, action: &str) -> VaultError {
    VaultError::Unreachable { vault: vault.into(), action: action.into(), detail: "connection reset".into() }
}

/// Wraps a vault so that locks cannot be read, and panics on calls that depend on one.
pub fn without_locks_to_read(inner: Arc<dyn Vault>) -> InjectingVault {
    let vault = inner.address().to_owned();
    let denied = move |key: &str| VaultError::AccessDenied {
        vault: vault.clone(),
        action: format!("read the lock of `{key}`"),
        detail: "403".into(),
    };
    InjectingVault::new(inner, move |call| match call {
        Call::Head { at } => Injected::Before(denied(&at.key)),
        Call::ExtendLock { .. } | Call::Delete { .. } => panic!("{call:?} although no lock is known"),
        _ => Injected::None,
    })
}

impl fmt::Debug for InjectingVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InjectingVault").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Runs `$call` as `$injected` says.
macro_rules! under {
    ($injected:expr, $call:expr) => {
        match $injected {
            Injected::Before(error) => Err(error),
            Injected::After(error) => $call.and(Err(error)),
            Injected::Silence => std::future::pending().await,
            Injected::None | Injected::CutAfter(_) => $call,
        }
    };
}

#[async_trait]
impl Vault for InjectingVault {
    fn address(&self) -> &str {
        self.inner.address()
    }

    fn lock_policy(&self) -> Option<LockPolicy> {
        self.inner.lock_policy()
    }

    async fn check(&self) -> Result<(), VaultError> {
        under!((self.decide)(&Call::Check), self.inner.check().await)
    }

    async fn rehearse(&self, key: &str, now: Timestamp) -> Result<(), VaultError> {
        under!((self.decide)(&Call::Rehearse), self.inner.rehearse(key, now).await)
    }

    async fn put(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError> {
        let call = Call::Put { key: upload.key.clone() };
        under!((self.decide)(&call), self.inner.put(upload, progress).await)
    }

    fn part_limits(&self) -> PartLimits {
        self.inner.part_limits()
    }

    async fn begin<'a>(&'a self, draft: &Draft) -> Result<Box<dyn Parts + 'a>, VaultError> {
        let inner = under!((self.decide)(&Call::Begin { key: draft.key.clone() }), self.inner.begin(draft).await)?;
        Ok(Box::new(InjectingParts { key: draft.key.clone(), decide: &*self.decide, inner }))
    }

    async fn put_over(&self, key: &str, bytes: &[u8], now: Timestamp) -> Result<(), VaultError> {
        under!((self.decide)(&Call::PutOver { key: key.into() }), self.inner.put_over(key, bytes, now).await)
    }

    async fn head(&self, version: &VersionRef) -> Result<ObjectHead, VaultError> {
        under!((self.decide)(&Call::Head { at: version.clone() }), self.inner.head(version).await)
    }

    async fn list_versions(&self, under: &str, after: Option<&Marker>) -> Result<Page, VaultError> {
        under!((self.decide)(&Call::List { under: under.into() }), self.inner.list_versions(under, after).await)
    }

    async fn open(&self, version: &VersionRef, range: Range<u64>) -> Result<Content, VaultError> {
        match (self.decide)(&Call::Open { at: version.clone(), range: range.clone() }) {
            Injected::CutAfter(bytes) => {
                let end = range.end.min(range.start.saturating_add(bytes));
                self.inner.open(version, range.start..end).await
            }
            injected => under!(injected, self.inner.open(version, range).await),
        }
    }

    async fn delete_version(&self, version: &VersionRef) -> Result<(), VaultError> {
        under!((self.decide)(&Call::Delete { at: version.clone() }), self.inner.delete_version(version).await)
    }

    async fn extend_lock(&self, version: &VersionRef, lock: Lock) -> Result<(), VaultError> {
        let call = Call::ExtendLock { at: version.clone() };
        under!((self.decide)(&call), self.inner.extend_lock(version, lock).await)
    }

    async fn tamper(&self, version: &VersionRef, how: Tampering) -> Result<(), VaultError> {
        under!((self.decide)(&Call::Tamper { at: version.clone(), how }), self.inner.tamper(version, how).await)
    }

    async fn clock(&self) -> Result<Option<Timestamp>, VaultError> {
        under!((self.decide)(&Call::Clock), self.inner.clock().await)
    }

    async fn unfinished(&self) -> Result<Vec<String>, VaultError> {
        under!((self.decide)(&Call::Unfinished), self.inner.unfinished().await)
    }

    async fn discard_unfinished(&self, under: &str, before: Timestamp) -> Result<Vec<String>, VaultError> {
        let call = Call::DiscardUnfinished { under: under.into() };
        under!((self.decide)(&call), self.inner.discard_unfinished(under, before).await)
    }
}

/// The parts of one object, whose calls may fail too.
struct InjectingParts<'a> {
    key: String,
    decide: &'a Decide,
    inner: Box<dyn Parts + 'a>,
}

impl fmt::Debug for InjectingParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InjectingParts").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Parts for InjectingParts<'_> {
    async fn put(&self, part: &Part, progress: Progress<'_>) -> Result<SentPart, VaultError> {
        let call = Call::PutPart { key: self.key.clone(), number: part.number };
        under!((self.decide)(&call), self.inner.put(part, progress).await)
    }

    async fn complete(&self, sent: &[SentPart]) -> Result<Option<Placed>, VaultError> {
        let call = Call::Complete { key: self.key.clone() };
        under!((self.decide)(&call), self.inner.complete(sent).await)
    }

    async fn abort(self: Box<Self>) {
        self.inner.abort().await;
    }
}
