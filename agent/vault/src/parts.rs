//! Objects that are put together of parts: the parts, and what sends them again after a failure.
//!
//! There is one way for files and for streams: [`Vault::begin`](crate::Vault::begin), parts in any order, completion.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jiff::Timestamp;
use swarmdr_archive::Hasher;
use swarmdr_http::Backoff;

use super::{Checksum, Placed, Progress, Source, VaultError};

/// Parts of a file that are sent at once: enough to keep a link busy while one of them waits for its answer.
pub(crate) const PARALLEL_PARTS: usize = 3;

/// An object whose size is not known yet.
#[derive(Debug, Clone)]
pub struct Draft {
    pub key: String,
    /// Stored with the object in clear, readable by all who may read the object: no secrets here.
    pub metadata: Vec<(String, String)>,
    /// The time from which the lock is counted.
    pub now: Timestamp,
}

/// What a vault takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLimits {
    /// The fewest bytes of a part, but for the one with the highest number.
    pub smallest: u64,
    /// The most bytes of a part.
    pub largest: u64,
    /// The most parts of an object.
    pub most: u32,
}

/// A part on its way. Its number counts from 1, and says where it belongs.
#[derive(Debug, Clone)]
pub struct Part {
    pub number: u32,
    /// Bytes between the end of part 1 and the start of this one. Part 1 may come last, so that its size is not known
    /// before.
    pub offset: u64,
    pub source: Source,
    pub sha256: [u8; 32],
}

/// A part that the vault has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPart {
    pub number: u32,
    pub size: u64,
    pub sha256: [u8; 32],
    /// The vault's own name of it, if it gave one.
    pub etag: Option<String>,
}

/// An object that was begun. Nothing of it is visible before [`Parts::complete`]. If it is dropped before that, what was
/// sent is removed, as far as the vault can be reached then; a run that is killed leaves it to
/// [`Vault::discard_unfinished`](crate::Vault::discard_unfinished).
#[async_trait]
pub trait Parts: fmt::Debug + Send + Sync {
    /// Sends one part in one attempt; the vault verifies its SHA-256. Parts may come in any order and at the same time.
    /// A part that comes again replaces the first. `progress` receives the bytes of this part that were sent.
    async fn put(&self, part: &Part, progress: Progress<'_>) -> Result<SentPart, VaultError>;

    /// Puts the object together of all parts, which are in order and without a gap, if its key is free; a key that is
    /// not is [`VaultError::AlreadyExists`]. One attempt. `None` if an earlier attempt seems to have done it, whose
    /// answer was lost: a listing tells.
    async fn complete(&self, sent: &[SentPart]) -> Result<Option<Placed>, VaultError>;

    /// Removes what was sent. A failure is only logged: the failure that led here matters more.
    async fn abort(self: Box<Self>);
}

/// How long a call that failed is made again. Parts and completion are safe to repeat: an upload makes at most one
/// version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    attempts: u32,
    /// From the first failure to the last attempt.
    lasts: Duration,
    backoff: Backoff,
}

impl Patience {
    /// For a file, which is still there for another put.
    pub const OF_FILE: Self = Self {
        attempts: 4,
        lasts: Duration::MAX,
        backoff: Backoff { first: Duration::from_millis(500), max: Duration::from_secs(2) },
    };

    /// For a stream, which cannot be produced again.
    pub fn of_stream(lasts: Duration) -> Self {
        let backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(30) };
        Self { attempts: u32::MAX, lasts, backoff }
    }

    /// Runs `attempt` until it succeeds, fails for good, or has failed for long enough.
    pub async fn retrying<T, F: Future<Output = Result<T, VaultError>>>(
        self,
        vault: &str,
        key: &str,
        attempt: impl Fn() -> F,
    ) -> Result<T, VaultError> {
        let mut failures = 0;
        let mut since = None;
        loop {
            let error = match attempt().await {
                Err(error) if error.is_transient() => error,
                result => return result,
            };
            failures += 1;
            let pause = self.backoff.length(failures);
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            if failures >= self.attempts || waited.saturating_add(pause) > self.lasts {
                return Err(error);
            }
            tracing::warn!(vault, key, "{error}; trying again");
            self.backoff.pause(failures).await;
        }
    }
}

/// Sends the parts of one object, each until the vault has it.
pub(crate) struct Sending<'a> {
    vault: &'a str,
    key: &'a str,
    parts: &'a dyn Parts,
    patience: Patience,
    /// Bytes of all parts that were sent so far.
    done: AtomicU64,
    progress: Progress<'a>,
}

impl<'a> Sending<'a> {
    pub fn new(
        (vault, key): (&'a str, &'a str),
        parts: &'a dyn Parts,
        patience: Patience,
        progress: Progress<'a>,
    ) -> Self {
        Self { vault, key, parts, patience, done: AtomicU64::new(0), progress }
    }

    pub async fn send(&self, number: u32, offset: u64, source: Source) -> Result<SentPart, VaultError> {
        let sha256 = source.sha256().await.map_err(|error| source.unread(error))?;
        let part = Part { number, offset, source, sha256 };
        self.patience.retrying(self.vault, self.key, || self.send_once(&part)).await
    }

    async fn send_once(&self, part: &Part) -> Result<SentPart, VaultError> {
        let counted = AtomicU64::new(0);
        let report = |sent: u64| {
            let step = sent.saturating_sub(counted.fetch_max(sent, Ordering::Relaxed));
            (self.progress)(self.done.fetch_add(step, Ordering::Relaxed) + step);
        };
        let answer = self.parts.put(part, &report).await;
        if answer.is_err() {
            self.done.fetch_sub(counted.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        answer
    }

    pub async fn complete(&self, sent: &[SentPart]) -> Result<Option<Placed>, VaultError> {
        self.patience.retrying(self.vault, self.key, || self.parts.complete(sent)).await
    }
}

/// Returns the checksum that S3 gives an object of these parts.
pub(crate) fn checksum_of(sent: &[SentPart]) -> Checksum {
    let mut hasher = Hasher::default();
    sent.iter().for_each(|part| hasher.update(&part.sha256));
    Checksum::OfParts(*hasher.finish().1.as_bytes(), u32::try_from(sent.len()).unwrap_or(u32::MAX))
}
