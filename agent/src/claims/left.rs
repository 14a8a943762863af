//! The claim that a run of this host left, and behind which nobody stands.
//!
//! A run that is killed after it has claimed the swarm and before it has placed anything leaves a claim that supersedes a
//! site which works. The record of the claim says how far the host had come. A run that goes on takes it over, or ends it
//! before it makes another one ([`super::make`]); whoever does not go on ends it here. The lock of the host must be held:
//! otherwise the run that made it may be under way.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::{Claim, Ended, Query, Reading, Record, ReleaseKind, Stage, judge, read_all_within, release};
use crate::{config::Config, keys::promoter::Promoter, vaults::Connected};

/// Time for the vaults to show the claim, and again to take its release: nobody waits for that.
const LIMIT: Duration = Duration::from_secs(20);

const REASON: &str = "the run ended before it had placed anything";

/// Returns the record of a claim of this host behind which nobody stands, unless the run that made it is under way.
pub fn find(config: &Config) -> Option<Record> {
    Record::of_host(config).filter(Record::is_bare)
}

/// Ends the claim. Returns what to tell if it may hold still.
pub async fn end(
    config: &Config,
    vaults: &[Connected],
    promoter: &Promoter,
    record: &Record,
    now: Timestamp,
) -> Option<String> {
    let why = match look(vaults, promoter, record, now).await {
        Found::Gone => {
            Record::forget(config, record.claim_id);
            return None;
        }
        Found::Unknown(why) => why,
        Found::There(claim) => match &promoter.signer {
            None => "this host has no promoter's key at hand".to_owned(),
            Some(signer) => {
                let release = release(vaults, signer, &claim, ReleaseKind::Undone, REASON, now);
                match tokio::time::timeout(LIMIT, release).await {
                    Ok(Ok(missed)) => {
                        missed.iter().for_each(|missed| tracing::warn!("{missed}"));
                        tracing::info!("ended claim {}, which an earlier run of this host had left", claim.epoch);
                        Record::forget(config, record.claim_id);
                        return None;
                    }
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(_) => format!("no vault took its release within {} s", LIMIT.as_secs()),
                }
            }
        },
    };
    note_undone(config, record);
    Some(told(record, &why))
}

/// Describes the claim for a verb that ends nothing; `None` if the vaults show that it is ended, or nowhere.
pub async fn describe(vaults: &[Connected], promoter: &Promoter, record: &Record, now: Timestamp) -> Option<String> {
    match look(vaults, promoter, record, now).await {
        Found::Gone => None,
        Found::There(_) => Some(told(record, REASON)),
        Found::Unknown(why) => Some(told(record, &why)),
    }
}

/// Notes that the release of a claim is owed, so that the same run does not try again.
pub fn note_undone(config: &Config, record: &Record) {
    if let Err(error) = Record::advance(config, record.claim_id, Stage::Undone) {
        tracing::warn!("{error:#}");
    }
}

/// What the vaults show of a claim.
enum Found {
    There(Box<Claim>),
    /// It is ended, or was never taken.
    Gone,
    Unknown(String),
}

async fn look(vaults: &[Connected], promoter: &Promoter, record: &Record, now: Timestamp) -> Found {
    if promoter.trusted.is_empty() {
        return Found::Unknown("no promoter is known here".to_owned());
    }
    let first = [record.epoch];
    let query = Query { first: &first, ..Query::new(&record.cluster_id, &promoter.trusted, now) };
    weigh(record, &read_all_within(LIMIT, vaults, query).await)
}

fn weigh(record: &Record, readings: &[Result<Reading>]) -> Found {
    let ended = Ended::of(readings.iter().flatten());
    if ended.has_undone(record.claim_id) {
        return Found::Gone;
    }
    let mut entries = readings.iter().flatten().flat_map(|reading| judge(reading, &ended));
    // Also where it is void: elsewhere it may come first.
    if let Some(entry) = entries.find(|entry| entry.seen.claim.claim_id == record.claim_id) {
        return Found::There(Box::new(entry.seen.claim));
    }
    let unread: Vec<String> =
        readings.iter().filter_map(|reading| reading.as_ref().err()).map(|error| format!("{error:#}")).collect();
    if !unread.is_empty() {
        return Found::Unknown(unread.join("; "));
    }
    // What lies under its key and does not count here may count elsewhere: its key may be unknown to this host.
    match readings.iter().flatten().find(|reading| !is_without(reading, record.epoch)) {
        Some(reading) => {
            Found::Unknown(format!("{} has objects among the claims that do not count here", reading.vault))
        }
        None => Found::Gone,
    }
}

/// Whether no object in the vault can be a claim of this epoch that does not count here.
fn is_without(reading: &Reading, epoch: u32) -> bool {
    reading.is_whole && (reading.others == 0 || !reading.taken.contains(&epoch))
}

/// Says what is left, and what ends it.
pub fn told(record: &Record, why: &str) -> String {
    let Record { epoch, cluster_id, .. } = record;
    format!(
        "nobody stands behind claim {epoch} on swarm {cluster_id}, which a restore of this host left, and it supersedes a site that works ({why}): the next `restore` or `promote` here goes on with it or ends it, or `swarmdr-agent step-down --claim {epoch} --cluster {cluster_id}` with a promoter's key"
    )
}
