//! A wrapper that logs when a vault takes long to answer, so that the program does not seem to hang.

use std::{
    ops::Range,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::{
    Content, Draft, Lock, LockPolicy, Marker, ObjectHead, Page, Part, PartLimits, Parts, Placed, Progress, SentPart,
    Tampering, Upload, Vault, VaultError, VersionRef,
};

/// Times after which a silence is logged.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    /// From the request, or from the last byte that moved, to the first notice.
    first: Duration,
    /// From one notice to the next.
    again: Duration,
}

const RHYTHM: Rhythm = Rhythm { first: Duration::from_secs(10), again: Duration::from_secs(30) };

/// A vault that passes every call on to another one, and logs calls that take long.
#[derive(Debug)]
pub struct WatchedVault {
    inner: Arc<dyn Vault>,
}

impl WatchedVault {
    pub fn new(inner: Arc<dyn Vault>) -> Self {
        Self { inner }
    }

    async fn watch<T>(&self, what: &str, call: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        watch(RHYTHM, call, || begun, |silent| self.report(what, silent)).await
    }

    fn report(&self, what: &str, silent: Duration) {
        report(self.inner.address(), what, silent);
    }
}

fn report(vault: &str, what: &str, silent: Duration) {
    tracing::warn!("{vault}: no answer for {} s ({what}); still waiting", silent.as_secs());
}

/// When the last byte of a call moved.
struct Moved(Mutex<Instant>);

impl Moved {
    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn note(&self, done: u64, progress: Progress<'_>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        progress(done);
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a call to its end, and reports how long no byte has moved; `moved` returns the time of the last one.
async fn watch<T>(
    rhythm: Rhythm,
    call: impl Future<Output = T>,
    moved: impl Fn() -> Instant,
    report: impl Fn(Duration),
) -> T {
    let mut call = pin!(call);
    let mut noticed = None;
    loop {
        let since = moved();
        // If bytes moved since the last notice, a new silence has begun.
        let next =
            noticed.filter(|noticed| *noticed > since).map_or(since + rhythm.first, |noticed| noticed + rhythm.again);
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            () = sleep_until(next) => {
                let now = Instant::now();
                if moved() == since {
                    report(now - since);
                    noticed = Some(now);
                }
            }
        }
    }
}

#[async_trait]
impl Vault for WatchedVault {
    fn address(&self) -> &str {
        self.inner.address()
    }

    fn lock_policy(&self) -> Option<LockPolicy> {
        self.inner.lock_policy()
    }

    async fn check(&self) -> Result<(), VaultError> {
        self.watch("asked whether it is ready", self.inner.check()).await
    }

    async fn rehearse(&self, key: &str, now: Timestamp) -> Result<(), VaultError> {
        self.watch("a put is rehearsed", self.inner.rehearse(key, now)).await
    }

    async fn put(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError> {
        let moved = Moved::new();
        let report_bytes = |done| moved.note(done, progress);
        let put = self.inner.put(upload, &report_bytes);
        watch(RHYTHM, put, || moved.last(), |silent| self.report("an archive is sent", silent)).await
    }

    fn part_limits(&self) -> PartLimits {
        self.inner.part_limits()
    }

    async fn begin<'a>(&'a self, draft: &Draft) -> Result<Box<dyn Parts + 'a>, VaultError> {
        let inner = self.watch("an upload in parts is begun", self.inner.begin(draft)).await?;
        Ok(Box::new(WatchedParts { vault: self.inner.address(), inner }))
    }

    async fn put_over(&self, key: &str, bytes: &[u8], now: Timestamp) -> Result<(), VaultError> {
        self.watch("a small object is sent", self.inner.put_over(key, bytes, now)).await
    }

    async fn head(&self, version: &VersionRef) -> Result<ObjectHead, VaultError> {
        self.watch("asked what it has stored", self.inner.head(version)).await
    }

    async fn list_versions(&self, under: &str, after: Option<&Marker>) -> Result<Page, VaultError> {
        self.watch("asked for a list", self.inner.list_versions(under, after)).await
    }

    async fn open(&self, version: &VersionRef, range: Range<u64>) -> Result<Content, VaultError> {
        self.watch("asked for what it has stored", self.inner.open(version, range)).await
    }

    async fn delete_version(&self, version: &VersionRef) -> Result<(), VaultError> {
        self.watch("asked to delete", self.inner.delete_version(version)).await
    }

    async fn extend_lock(&self, version: &VersionRef, lock: Lock) -> Result<(), VaultError> {
        self.watch("asked to lock for longer", self.inner.extend_lock(version, lock)).await
    }

    async fn tamper(&self, version: &VersionRef, how: Tampering) -> Result<(), VaultError> {
        self.watch("asked for what it must refuse", self.inner.tamper(version, how)).await
    }

    async fn clock(&self) -> Result<Option<Timestamp>, VaultError> {
        self.watch("asked for the time", self.inner.clock()).await
    }

    async fn unfinished(&self) -> Result<Vec<String>, VaultError> {
        self.watch("asked for unfinished uploads", self.inner.unfinished()).await
    }

    async fn discard_unfinished(&self, under: &str, before: Timestamp) -> Result<Vec<String>, VaultError> {
        self.watch("asked to remove unfinished uploads", self.inner.discard_unfinished(under, before)).await
    }
}

/// Parts that are passed on to those of another vault.
#[derive(Debug)]
struct WatchedParts<'a> {
    vault: &'a str,
    inner: Box<dyn Parts + 'a>,
}

#[async_trait]
impl Parts for WatchedParts<'_> {
    async fn put(&self, part: &Part, progress: Progress<'_>) -> Result<SentPart, VaultError> {
        let moved = Moved::new();
        let report_bytes = |done| moved.note(done, progress);
        let put = self.inner.put(part, &report_bytes);
        watch(RHYTHM, put, || moved.last(), |silent| report(self.vault, "a part is sent", silent)).await
    }

    async fn complete(&self, sent: &[SentPart]) -> Result<Option<Placed>, VaultError> {
        let begun = Instant::now();
        let told = |silent| report(self.vault, "the parts are put together", silent);
        watch(RHYTHM, self.inner.complete(sent), || begun, told).await
    }

    async fn abort(self: Box<Self>) {
        self.inner.abort().await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Returns the length of the silence at each notice. The call moves a byte `moves` times, every 60 ms, and then
    /// none for `silent`. Notices come after 300 ms and then every 400 ms.
    async fn notices(moves: u32, silent: Duration) -> Vec<Duration> {
        let (moved, noticed) = (Cell::new(Instant::now()), RefCell::new(Vec::new()));
        let call = async {
            for _ in 0..moves {
                tokio::time::sleep(60 * MS).await;
                moved.set(Instant::now());
            }
            tokio::time::sleep(silent).await;
        };
        let rhythm = Rhythm { first: 300 * MS, again: 400 * MS };
        watch(rhythm, call, || moved.get(), |silent| noticed.borrow_mut().push(silent)).await;
        noticed.into_inner()
    }

    #[tokio::test]
    async fn a_silence_is_logged_soon_and_again_and_a_call_that_moves_is_not_silent() {
        assert!(notices(0, 50 * MS).await.is_empty());
        assert!(notices(10, 50 * MS).await.is_empty());
        for moves in [0, 10] {
            let noticed = notices(moves, 950 * MS).await;
            assert!(noticed.len() == 2 && noticed[0] >= 300 * MS && noticed[1] >= 700 * MS, "{noticed:?}");
        }
        assert!(RHYTHM.first < Duration::from_secs(15) && RHYTHM.again < Duration::from_secs(120));
    }
}
