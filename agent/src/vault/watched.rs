//! A vault whose silence is told: who waits at a terminal must not take it for a program that hangs.

use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::{
    Content, Lock, LockPolicy, Marker, ObjectHead, Page, Placed, Progress, Tampering, Upload, Vault, VaultError,
    VersionRef,
};

/// When a silence is told.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    /// From the question, or from the last byte that moved.
    first: Duration,
    /// Between notices after that.
    again: Duration,
}

const RHYTHM: Rhythm = Rhythm { first: Duration::from_secs(10), again: Duration::from_secs(30) };

/// Passes everything on, and logs what takes long.
#[derive(Debug)]
pub struct WatchedVault {
    inner: Arc<dyn Vault>,
}

impl WatchedVault {
    pub fn new(inner: Arc<dyn Vault>) -> WatchedVault {
        WatchedVault { inner }
    }

    async fn watch<T>(&self, what: &str, call: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        watch(RHYTHM, call, || begun, |silent| self.tell(what, silent)).await
    }

    fn tell(&self, what: &str, silent: Duration) {
        tracing::warn!("{}: no answer for {} s ({what}); still waiting", self.inner.address(), silent.as_secs());
    }
}

/// Runs a call to its end, and tells how long it has been silent since it `moved` last.
async fn watch<T>(
    rhythm: Rhythm,
    call: impl Future<Output = T>,
    moved: impl Fn() -> Instant,
    tell: impl Fn(Duration),
) -> T {
    let mut call = pin!(call);
    let mut told = None;
    loop {
        let since = moved();
        // Whatever moved since then is news: the next silence begins anew.
        let next = told.filter(|told| *told > since).map_or(since + rhythm.first, |told| told + rhythm.again);
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            () = sleep_until(next) => {
                let now = Instant::now();
                if moved() == since {
                    tell(now - since);
                    told = Some(now);
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
        let moved = Mutex::new(Instant::now());
        let report = |done| {
            *moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            progress(done);
        };
        let put = self.inner.put(upload, &report);
        let moved = || *moved.lock().unwrap_or_else(PoisonError::into_inner);
        watch(RHYTHM, put, moved, |silent| self.tell("an archive is sent", silent)).await
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
        self.watch("told to delete", self.inner.delete_version(version)).await
    }

    async fn extend_lock(&self, version: &VersionRef, lock: Lock) -> Result<(), VaultError> {
        self.watch("told to lock for longer", self.inner.extend_lock(version, lock)).await
    }

    async fn tamper(&self, version: &VersionRef, how: Tampering) -> Result<(), VaultError> {
        self.watch("told what it must refuse", self.inner.tamper(version, how)).await
    }

    async fn clock(&self) -> Result<Option<Timestamp>, VaultError> {
        self.watch("asked for the time", self.inner.clock()).await
    }

    async fn unfinished(&self) -> Result<Vec<String>, VaultError> {
        self.watch("asked for unfinished uploads", self.inner.unfinished()).await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How long a call was silent at each notice, told after 300 ms and then each 400 ms. It moves every 60 ms as often
    /// as that, and then not for `silent`.
    async fn notices(moves: u32, silent: Duration) -> Vec<Duration> {
        let (moved, told) = (Cell::new(Instant::now()), RefCell::new(Vec::new()));
        let call = async {
            for _ in 0..moves {
                tokio::time::sleep(60 * MS).await;
                moved.set(Instant::now());
            }
            tokio::time::sleep(silent).await;
        };
        let rhythm = Rhythm { first: 300 * MS, again: 400 * MS };
        watch(rhythm, call, || moved.get(), |silent| told.borrow_mut().push(silent)).await;
        told.into_inner()
    }

    #[tokio::test]
    async fn silence_is_told_soon_and_again_and_what_moves_is_not_silent() {
        assert!(notices(0, 50 * MS).await.is_empty());
        assert!(notices(10, 50 * MS).await.is_empty());
        for moves in [0, 10] {
            let told = notices(moves, 950 * MS).await;
            assert!(told.len() == 2 && told[0] >= 300 * MS && told[1] >= 700 * MS, "{told:?}");
        }
        assert!(RHYTHM.first < Duration::from_secs(15) && RHYTHM.again < Duration::from_secs(120));
    }
}
