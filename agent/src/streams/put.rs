//! Stores what a command writes.

use std::time::Duration;

use anyhow::{Result, anyhow};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{
    BackupId, ClusterId, NodeId, Recipient, TrustedKeys,
    stream_archive::{StreamDraft, StreamKey, StreamName},
};
use swarmdr_vault::{Stored, StreamSizes, StreamUpload, VaultError, catalog::StreamSeries, payload, put_stream};
use tokio::sync::oneshot;

use super::{
    expectation::Expectation,
    fan::Fan,
    input::Source,
    previous::Previous,
    produce::Making,
    report::{PutReport, StoredStream},
};
use crate::{
    host::{name, random},
    keys::signing,
    outcome::{failpoint, failure::Failure},
    run::Run,
    vaults::{Connected, Shared},
};

/// Bytes of a stream that are in memory on their way into all vaults together.
const MEMORY: u64 = 448 << 20;

/// Time that vaults get to remove what they have of a stream that was given up.
const LETTING_GO: Duration = Duration::from_secs(60);

/// A stream to be stored.
#[derive(Debug, Clone)]
pub struct Order {
    pub cluster: ClusterId,
    pub node: Option<NodeId>,
    pub name: StreamName,
    /// Time of the data, if it is not that of the start.
    pub as_of: Option<Timestamp>,
    /// The command and its arguments, which are stored in clear; empty for standard input.
    pub words: Vec<String>,
    /// Time that it may take.
    pub limit: Duration,
    /// Time for which a part is sent again that a vault does not take.
    pub patience: Duration,
    /// Bytes that are expected; they choose the size of the parts.
    pub expect: Option<u64>,
    /// Text that the stream has to end with.
    pub expected_end: Option<String>,
    /// Sizes that are reported.
    pub expected: Expectation,
}

/// The vaults of a stream, and what the next one follows there.
#[derive(Debug)]
pub struct Ahead {
    vaults: Vec<Connected>,
    pub previous: Previous,
    /// Vaults that could not be asked.
    attention: Vec<String>,
}

impl Ahead {
    /// Connects to the vaults and looks for the newest stream of this name. Fails if this host would not believe its own
    /// signature.
    pub async fn look(run: &Run<'_>, vaults: &Shared, order: &Order, keys: &TrustedKeys) -> Result<Self> {
        signing::require_signer_of_streams(run.config, run.now)?;
        let vaults = vaults.get(run.config).await?.to_vec();
        let (previous, attention) = Previous::find(run, &vaults, &order.series(), keys).await;
        Ok(Self { vaults, previous, attention })
    }
}

/// Stores what the source gives in every vault. Nothing is visible in any of them unless the source ended well. Exit 6 if a
/// vault did not take it, or if it is smaller than it should be.
pub async fn put(
    run: &Run<'_>,
    order: &Order,
    ahead: Ahead,
    recipients: &[Recipient],
    source: Source,
) -> Result<PutReport> {
    let key = signing::load_or_make(run.config)?.key;
    let Ahead { vaults, previous, mut attention } = ahead;
    clear_unfinished(&vaults, order, run.now).await;
    let started_at = Timestamp::now();
    let place = StreamKey {
        cluster: order.cluster.clone(),
        name: order.name.clone(),
        id: BackupId::new(started_at, random::tag()?),
    };
    let mut fan = Fan::default();
    let puts: Vec<_> = vaults
        .iter()
        .map(|connected| {
            let (sender, payload) = payload();
            fan.add(sender.into_writer());
            let upload = order.upload(&place, started_at, vaults.len());
            async move { put_stream(connected.vault.as_ref(), &upload, payload, swarmdr_vault::NO_PROGRESS).await }
        })
        .collect();
    let making = Making {
        draft: order.draft(&place, started_at),
        recipients,
        level: run.config.backup.compression_level,
        key: &key,
        previous,
        limit: order.limit,
        expected_end: order.expected_end.as_deref(),
        shutdown: run.shutdown,
    };
    let input = source.open().await?;
    failpoint::reach("stream-begun");
    let bar = run.progress.bytes("store", 0);
    let (given_up, is_given_up) = oneshot::channel();
    let making = async {
        let made = making.run(input, fan, bar).await;
        if made.is_err() {
            // Nobody waits any more if the puts have ended.
            let _ = given_up.send(());
        }
        made
    };
    let storing = async {
        tokio::select! {
            stored = join_all(puts) => stored,
            () = patience(is_given_up) => Vec::new(),
        }
    };
    let (made, stored) = futures_util::join!(making, storing);
    failpoint::reach("stream-stored");
    let (kept, failed) = outcome(&vaults, stored);
    let manifest = match made {
        Ok(manifest) if !kept.is_empty() => manifest,
        made => return Err(nothing_stored(order, made.err(), failed)),
    };
    attention.extend(failed);
    attention.extend(order.expected.broken(manifest.payload.plain_size, previous.plain_size));
    Ok(PutReport::new(manifest, kept, attention))
}

/// Ends some time after a stream was given up, for a vault that does not let go of it.
async fn patience(is_given_up: oneshot::Receiver<()>) {
    match is_given_up.await {
        Ok(()) => tokio::time::sleep(LETTING_GO).await,
        Err(_) => std::future::pending().await,
    }
}

/// Removes what killed runs of this stream left in the vaults. It is no failure of this run if it cannot.
async fn clear_unfinished(vaults: &[Connected], order: &Order, now: Timestamp) {
    let under = StreamKey::name_prefix(&order.cluster, &order.name);
    for connected in vaults {
        match connected.vault.discard_unfinished(&under, now).await {
            Ok(keys) if keys.is_empty() => {}
            Ok(keys) => {
                tracing::info!(vault = connected.settings.url, "removed what a killed run left: {}", keys.join(", "))
            }
            Err(error) => {
                tracing::warn!(vault = connected.settings.url, "what killed runs left was not removed: {error}")
            }
        }
    }
}

impl Order {
    /// The streams that this one follows.
    pub fn series(&self) -> StreamSeries {
        StreamSeries { cluster: self.cluster.clone(), name: self.name.clone() }
    }

    fn draft(&self, place: &StreamKey, started_at: Timestamp) -> StreamDraft {
        StreamDraft {
            id: place.id,
            name: place.name.clone(),
            cluster_id: place.cluster.clone(),
            node_id: self.node.clone(),
            hostname: name::hostname(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            as_of: self.as_of.unwrap_or(started_at),
            command: self.words.clone(),
        }
    }

    fn upload(&self, place: &StreamKey, now: Timestamp, vaults: usize) -> StreamUpload {
        let memory = MEMORY / vaults.max(1) as u64;
        let plain = StreamSizes::default();
        StreamUpload {
            key: place.to_string(),
            metadata: vec![("swarmdr-id".to_owned(), place.id.to_string())],
            now,
            longest: SignedDuration::try_from(self.limit).unwrap_or(SignedDuration::MAX),
            expect: self.expect,
            patience: self.patience,
            sizes: StreamSizes { part: plain.part.min(memory / 5), memory, ..plain },
        }
    }
}

/// Sorts the vaults by what they did.
fn outcome(vaults: &[Connected], stored: Vec<Result<Stored, VaultError>>) -> (Vec<StoredStream>, Vec<String>) {
    let (mut kept, mut failed) = (Vec::new(), Vec::new());
    for (connected, stored) in vaults.iter().zip(stored) {
        match stored {
            Ok(stored) => kept.push(StoredStream::new(&connected.settings.url, stored)),
            // The run that gave the stream up says why.
            Err(VaultError::Abandoned { .. }) => {}
            Err(error) => {
                failed.push(format!("{} does not have the stream: {:#}", connected.settings.url, anyhow!(error)));
            }
        }
    }
    (kept, failed)
}

/// The error of a run that stored nothing: a vault's, if the vaults took no more of it, or else the command's.
fn nothing_stored(order: &Order, made: Option<anyhow::Error>, failed: Vec<String>) -> anyhow::Error {
    let what = format!("the stream {} was not stored, and nothing of it is in the vaults", order.name);
    if !failed.is_empty() {
        let failure = Failure::failed(what).advice("repair the vault, and run it again");
        return failure.because(anyhow!(failed.join("; "))).into();
    }
    match made {
        Some(error) => error.context(what),
        None => anyhow!(what),
    }
}
