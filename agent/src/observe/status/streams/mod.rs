//! The streams as the status shows them: those of this host's configuration, and those that the vaults hold besides.

mod judge;
mod look;
mod show;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_archive::{
    BackupId, ClusterId,
    stream_archive::{StreamKey, StreamName},
};
use swarmdr_vault::{
    Lock,
    catalog::{Filter, Place, order},
};

use super::{drilled, look::Looked, own_node::OwnNode};
use crate::{
    config::{Config, stream::StreamConfig},
    observe::{
        history::History,
        runs::{Run, StreamDrilled},
    },
    streams::{Expectation, orders},
};

pub use look::InVault;

/// How late a stream may be beyond the time that its command may take, where nothing else is configured.
const GRACE: SignedDuration = SignedDuration::from_mins(45);

/// Age from which an upload that was not completed is one of a run that was killed, if the stream is not configured.
const UNFINISHED: SignedDuration = SignedDuration::from_hours(24);

/// The streams of one name.
#[derive(Debug, Clone, Serialize)]
pub struct StreamStatus {
    pub name: StreamName,
    /// Whether this host's configuration has it. The age and the size of others are not judged.
    pub configured: bool,
    /// Seconds after its start at which the newest one is too old; absent if `cron` decides, or nothing does.
    pub max_age: Option<i64>,
    /// When the next one is due; absent without `cron`, and if there is none at all.
    pub next: Option<Timestamp>,
    /// Whether the newest one is too old, or there is none at all; absent where no age is.
    pub stale: Option<bool>,
    /// The newest one over all vaults.
    pub newest: Option<NewestStream>,
    /// The vaults that were read, in the order of the configuration.
    pub vaults: Vec<StreamInVault>,
    /// What is wrong with the size of the newest one.
    pub too_small: Option<String>,
    /// When uploads were begun that were never completed, and are not of a run that goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<Timestamp>,
    /// The last run on this host that stored it, or should have.
    pub last_run: Option<Run>,
    /// The last drill on this host; absent if the configuration has none for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill: Option<StreamDrilled>,
    /// Days after which the last drill that succeeded is too old; absent if it matters to nobody here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill_max_age_days: Option<u32>,
}

/// The newest stream of a name in one vault.
#[derive(Debug, Clone, Serialize)]
pub struct StreamInVault {
    pub url: String,
    pub newest: Option<NewestStream>,
    /// The newest one that is not from the future: its age counts.
    #[serde(skip)]
    pub freshest: Option<BackupId>,
}

/// The newest stream of a name.
#[derive(Debug, Clone, Serialize)]
pub struct NewestStream {
    pub id: BackupId,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub as_of: Timestamp,
    /// When it was stored, by the vault's clock.
    pub stored_at: Timestamp,
    pub cluster_id: ClusterId,
    pub hostname: String,
    /// Bytes that the command wrote.
    pub size: u64,
    /// Bytes of the object.
    pub stored_size: u64,
    /// Absent where it is not locked, and where `lock_unread`.
    pub lock: Option<Lock>,
    /// Whether the lock could not be read; an absent `lock` then means nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lock_unread: bool,
    /// Bytes of the one before, if the vault has it.
    #[serde(skip)]
    pub size_before: Option<u64>,
    #[serde(skip)]
    pub place: Place,
}

/// Returns the filter for streams: the swarm that is asked for, or else the one that this host is a node of, or stored
/// streams of.
pub fn filter(filter: &Filter, history: &History, node: Option<&OwnNode>) -> Filter {
    let of_node = || node.map(|node| node.cluster.clone());
    let stored = || history.streams.values().find_map(|of_name| of_name.cluster.as_ref()?.parse().ok());
    Filter { cluster: filter.cluster.clone().or_else(of_node).or_else(stored), ..filter.clone() }
}

impl StreamStatus {
    /// All that are configured or seen, by name.
    pub fn all(config: &Config, looked: &[Looked], history: &History, now: Timestamp) -> anyhow::Result<Vec<Self>> {
        let configured = config.stream.iter().map(StreamConfig::stream_name);
        let mut names = configured.collect::<anyhow::Result<Vec<StreamName>>>()?;
        names.extend(looked.iter().flat_map(|looked| looked.streams.seen.keys().cloned()));
        names.sort();
        names.dedup();
        names.into_iter().map(|name| Self::of(name, config, looked, history, now)).collect()
    }

    fn of(
        name: StreamName,
        config: &Config,
        looked: &[Looked],
        history: &History,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let stream = config.stream_named(name.as_str());
        let vaults: Vec<StreamInVault> = looked.iter().filter_map(|looked| StreamInVault::of(&name, looked)).collect();
        let newest = newest(&vaults, now);
        let freshest = freshest(&vaults);
        let schedule = stream.map_or(Ok(None), |stream| orders::schedule(config, stream))?;
        let next = schedule.as_ref().zip(freshest).and_then(|(schedule, id)| schedule.next_after(id.created_at()));
        let max_age = stream.and_then(|stream| stream.max_age).map(|age| age.signed());
        let is_judged = max_age.is_some() || schedule.is_some();
        // The last moment at which the newest one is not too old.
        let until = match (max_age, stream) {
            (Some(age), _) => freshest.map(|id| id.created_at() + age),
            (None, Some(stream)) => next.map(|next| next + grace(config, stream)),
            (None, None) => None,
        };
        let stale = is_judged.then(|| freshest.is_none() || until.is_some_and(|until| until < now));
        let size = newest.as_ref().map(|newest| (newest.size, newest.size_before));
        let expected = stream.map(Expectation::of);
        let too_small = expected.zip(size).and_then(|(expected, (size, before))| expected.broken(size, before));
        let unfinished = unfinished(&name, stream, looked, now);
        let last_run = history.streams.get(name.as_str()).and_then(|of_name| of_name.runs.last.clone());
        let drilled = stream.filter(|stream| !stream.drill.is_empty());
        let drill = drilled.and_then(|_| history.streams.get(name.as_str())?.drill.clone());
        let drill_max_age_days = drilled.and_then(|_| drilled::max_age_days(&config.drill, drill.is_some()));
        let (configured, max_age) = (stream.is_some(), max_age.map(|age| age.as_secs()));
        Ok(Self {
            name,
            configured,
            max_age,
            next,
            stale,
            newest,
            vaults,
            too_small,
            unfinished,
            last_run,
            drill,
            drill_max_age_days,
        })
    }
}

impl StreamStatus {
    /// The newest one over all vaults that is not from the future: its age counts.
    pub fn freshest(&self) -> Option<BackupId> {
        freshest(&self.vaults)
    }
}

fn freshest(vaults: &[StreamInVault]) -> Option<BackupId> {
    vaults.iter().filter_map(|vault| vault.freshest).max()
}

impl StreamInVault {
    /// `None` if the vault was not read, and this stream was not seen in it before that.
    fn of(name: &StreamName, looked: &Looked) -> Option<Self> {
        let url = looked.status.url.clone();
        match looked.streams.seen.get(name) {
            Some(seen) => Some(Self { url, newest: seen.newest.clone(), freshest: seen.freshest }),
            None => looked.streams.is_whole.then_some(Self { url, newest: None, freshest: None }),
        }
    }
}

fn newest(vaults: &[StreamInVault], now: Timestamp) -> Option<NewestStream> {
    let all: Vec<&NewestStream> = vaults.iter().filter_map(|vault| vault.newest.as_ref()).collect();
    let places: Vec<Place> = all.iter().map(|newest| newest.place.clone()).collect();
    let index = order::newest(&places, |_| true, now)?;
    let digest = places[index].digest;
    // Another vault may have the one before.
    let copies = all.iter().filter(|newest| newest.place.digest == digest);
    let size_before = copies.filter_map(|newest| newest.size_before).next();
    Some(NewestStream { size_before, ..all[index].clone() })
}

fn grace(config: &Config, stream: &StreamConfig) -> SignedDuration {
    stream.timeout.signed() + config.watch.grace.map_or(GRACE, |grace| grace.signed())
}

fn unfinished(name: &StreamName, stream: Option<&StreamConfig>, looked: &[Looked], now: Timestamp) -> Vec<Timestamp> {
    let longest = stream.map_or(UNFINISHED, |stream| stream.timeout.signed() + GRACE);
    let uploads = looked.iter().flat_map(|looked| &looked.streams.unfinished).filter(|key| key.name == *name);
    let begun = uploads.map(|key: &StreamKey| key.id.created_at());
    begun.filter(|begun| now.duration_since(*begun) > longest).collect()
}

#[cfg(test)]
pub(crate) mod tests;
