//! Stores a stream while it is produced.

use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::{
    Ending, Payload, StreamSizes,
    cut::{Filling, Outcome, Stream, abandoned},
    payload::Piece,
    plan::Plan,
};
use crate::{
    Draft, Parts, Progress, Source, Stored, Upload, Vault, VaultError, clock,
    parts::{Patience, Sending},
    prove::{Expected, find_same, finish, prove, require_lock, versions_of},
    store,
};

/// A stream on its way into a vault.
#[derive(Debug, Clone)]
pub struct StreamUpload {
    pub key: String,
    /// Stored with the object in clear, readable by all who may read the object: no secrets here.
    pub metadata: Vec<(String, String)>,
    /// The time at which the stream begins.
    pub now: Timestamp,
    /// The longest that the stream may take. The lock of a stream in parts is given when it begins, and holds for its
    /// whole length from `now + longest` on.
    pub longest: SignedDuration,
    /// Bytes that are expected, which choose the size of the parts.
    pub expect: Option<u64>,
    pub sizes: StreamSizes,
    /// How long a part is sent again while the vault does not take it; meanwhile the stream waits. See
    /// [`StreamUpload::PATIENCE`].
    pub patience: Duration,
}

impl StreamUpload {
    /// A patience that outlasts the restart of a server or of a router. A stream that ended would have to be produced
    /// from its beginning.
    pub const PATIENCE: Duration = Duration::from_mins(5);
}

/// Stores the head, the payload and the tail of a stream as one object, in this order, and proves that it is there:
/// whole, locked, and once. The vault needs room for it; this host does not, and memory is bounded by
/// [`StreamSizes::memory`]. `progress` receives the bytes that were sent.
///
/// The first part's worth of the payload is held back. If there is more, the following parts are sent while the stream
/// runs, each again from memory if it fails, and at the end part 1: the head and what was held back. Then the vault puts
/// them together in one step, if the key is free. A stream that fits into one part is stored like an archive.
///
/// A part that the vault does not take within [`StreamUpload::patience`] is an error. So are a key that is taken, at the
/// beginning or at the end ([`VaultError::AlreadyExists`]), a sender that is dropped before the end
/// ([`VaultError::Abandoned`]), and a stream for which all parts are too small ([`VaultError::Unusable`]). Nothing of the
/// stream is visible then. It may be only if the proof of what was stored fails: it is not locked
/// ([`VaultError::LockDropped`]), has other bytes ([`VaultError::ChecksumMismatch`]) or cannot be looked at. And it may be
/// if the vault did not answer at the end ([`VaultError::is_transient`]).
///
/// A future that is dropped removes what was sent; a run that is killed leaves it to [`Vault::discard_unfinished`]. A
/// stream cannot be sent again, so after an error the caller begins another one, under another key.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use swarmdr_http::Proxies;
/// # let directory = tempfile::tempdir()?;
/// # let settings = swarmdr_vault::VaultSettings::new(format!("file://{}", directory.path().display()));
/// # let vault = settings.target()?.connect(&Proxies::none()).await?;
/// use std::io::Write;
///
/// use swarmdr_vault::{Ending, NO_PROGRESS, StreamSizes, StreamUpload, payload, put_stream, read_range};
///
/// let upload = StreamUpload {
///     key: "streams/c/db/20261121T101500Z-0a1b2c3d.stream".into(),
///     metadata: Vec::new(),
///     now: jiff::Timestamp::now(),
///     longest: jiff::SignedDuration::from_hours(4),
///     expect: None,
///     sizes: StreamSizes::default(),
///     patience: StreamUpload::PATIENCE,
/// };
/// let (sender, payload) = payload();
/// let producer = tokio::task::spawn_blocking(move || {
///     let mut writer = sender.into_writer();
///     writer.write_all(b"payload")?;
///     writer.finish(Ending { head: "head, ".into(), tail: ", tail".into() })
/// });
/// let stored = put_stream(&*vault, &upload, payload, NO_PROGRESS).await?;
/// producer.await??;
/// assert_eq!(read_range(&*vault, &stored.at, 0..stored.size).await?, b"head, payload, tail");
/// # Ok(())
/// # }
/// ```
pub async fn put_stream(
    vault: &dyn Vault,
    upload: &StreamUpload,
    mut payload: Payload,
    progress: Progress<'_>,
) -> Result<Stored, VaultError> {
    let begun = Instant::now();
    let now = clock::time_of(vault, upload.now).await;
    let plan = Plan::new(vault, &upload.key, upload.sizes, upload.expect)?;
    refuse_taken(vault, &upload.key).await?;
    match hold(vault, &upload.key, &mut payload, &plan).await? {
        Held::All { held, ending } => {
            let took = SignedDuration::try_from(begun.elapsed()).unwrap_or_default();
            store_small(vault, upload, now + took, held, ending, progress).await
        }
        Held::More { held, rest } => {
            let now = now.checked_add(upload.longest).unwrap_or(Timestamp::MAX);
            let draft = Draft { key: upload.key.clone(), metadata: upload.metadata.clone(), now };
            let (names, patience) = ((vault.address(), &*upload.key), Patience::of_stream(upload.patience));
            let parts = patience.retrying(names.0, names.1, || vault.begin(&draft)).await?;
            let sending = Sending::new(names, &*parts, patience, progress);
            let stream = Stream::new(vault, &upload.key, &plan, &sending, held);
            let outcome = stream.run(rest, payload).await;
            settle(vault, &draft, parts, outcome).await
        }
    }
}

/// Refuses a key that is taken before the stream is produced. The completion decides.
async fn refuse_taken(vault: &dyn Vault, key: &str) -> Result<(), VaultError> {
    match versions_of(vault, key).await?.into_iter().find(|version| !version.is_delete_marker) {
        Some(version) => Err(VaultError::AlreadyExists {
            vault: vault.address().into(),
            key: key.to_owned(),
            found: format!("{} bytes", version.size),
        }),
        None => Ok(()),
    }
}

/// The beginning of the payload.
enum Held {
    /// All of it, at most one part.
    All { held: Bytes, ending: Ending },
    /// A whole part, and the first bytes that follow it.
    More { held: Bytes, rest: Bytes },
}

async fn hold(vault: &dyn Vault, key: &str, payload: &mut Payload, plan: &Plan) -> Result<Held, VaultError> {
    let mut filling = Filling::of(plan.size_of(1).unwrap_or(u64::MAX));
    loop {
        match payload.next().await {
            Some(Piece::Bytes(mut bytes)) => {
                filling.fill(&mut bytes);
                if !bytes.is_empty() {
                    return Ok(Held::More { held: filling.take(), rest: bytes });
                }
            }
            Some(Piece::End(ending)) => return Ok(Held::All { held: filling.take(), ending }),
            None => return Err(abandoned(vault, key)),
        }
    }
}

async fn store_small(
    vault: &dyn Vault,
    upload: &StreamUpload,
    now: Timestamp,
    held: Bytes,
    ending: Ending,
    progress: Progress<'_>,
) -> Result<Stored, VaultError> {
    let source = Source::Memory(vec![ending.head, held, ending.tail]);
    let sha256 = source.sha256().await.map_err(|error| source.unread(error))?;
    let (key, metadata) = (upload.key.clone(), upload.metadata.clone());
    store(vault, &Upload { key, size: source.size(), source, sha256, metadata, now }, progress).await
}

/// Proves what was stored, or removes what was sent.
async fn settle(
    vault: &dyn Vault,
    draft: &Draft,
    parts: Box<dyn Parts + '_>,
    outcome: Result<Outcome, VaultError>,
) -> Result<Stored, VaultError> {
    if !matches!(outcome, Ok(Outcome { completion: Ok(Some(_)), .. })) {
        parts.abort().await;
    }
    let Outcome { sent, completion } = outcome?;
    let (key, expected) = (&draft.key, Expected::of_parts(&draft.key, &sent));
    let asked = vault.lock_policy().map(|policy| policy.lock_from(draft.now));
    let failure = match completion {
        Ok(Some(placed)) => {
            // First, because it may be necessary to read everything back for the rest.
            require_lock(vault, key, &vault.head(&placed.at).await?, asked)?;
            let found = prove(vault, &expected, placed.at.clone(), Some(&placed)).await?;
            return finish(vault, key, found, asked, false).await;
        }
        Ok(None) => VaultError::Unreachable {
            vault: vault.address().into(),
            action: format!("put the parts of `{key}` together"),
            detail: "an earlier attempt seems to have done it, and its answer was lost".into(),
        },
        Err(failure @ VaultError::AlreadyExists { .. }) => failure,
        Err(failure) if failure.is_transient() => failure,
        Err(failure) => return Err(failure),
    };
    match find_same(vault, &expected).await? {
        Some(found) => finish(vault, key, found, asked, false).await,
        None => Err(failure),
    }
}
