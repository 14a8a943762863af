//! Gathers the status from the vaults and from this host.

use anyhow::Result;
use futures_util::future::{OptionFuture, join, join_all};
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{ClusterId, TrustedKeys};
use swarmdr_vault::catalog::Filter;

use super::{
    Drilled, Due, Level, Newest, OwnSign, SpoolStatus, Standby, Status, claimed, living,
    look::look,
    own_node::OwnNode,
    points::PointStatus,
    streams::{self, StreamStatus},
    tidied,
};
use crate::{
    archive::removals::{memory::Memory, object::Object, removed::Removed},
    backup::spool::{self, Spool},
    config::{Config, images::Check, schedule::Schedule},
    downtime::stop_history::StopHistory,
    keys::signing,
    observe::{history::History, verb::Verb},
    restore::{images::memory::ImagesChecked, interrupted::unfinished},
    vaults,
};

/// Gathers the status of a cluster. Without `cluster`, it is the one that this host last backed up, or whose worker it
/// is, or all if there is none.
pub async fn gather(
    config: &Config,
    keys: &TrustedKeys,
    cluster: Option<&ClusterId>,
    now: Timestamp,
) -> Result<Status> {
    let history = History::read(&config.state_dir);
    let node = OwnNode::find(config).await;
    let filter =
        Filter { cluster: cluster.cloned().or_else(|| own_cluster(&history, node.as_ref())), ..Filter::default() };
    let of_streams = streams::filter(&filter, &history, node.as_ref());
    let on_streams = signing::trusted_on_streams_for_watching(config)?;
    let connected = vaults::connect(config).await?;
    let memory = remembered(config, filter.cluster.as_ref());
    let living = OptionFuture::from(memory.as_ref().map(|memory| living::objects(config, &memory.cluster)));
    let looking = join_all(connected.iter().map(|vault| look(vault, (&filter, &of_streams), (keys, &on_streams), now)));
    let claimed = claimed::look(config, &connected, filter.cluster.as_ref(), now);
    let left_drained = tidied::left_over(config, filter.cluster.as_ref());
    let left_claim = claimed::left_here(config, &connected, now);
    let claimed = join(claimed, left_claim);
    let ((looked, living), ((claims, left_claim), left_drained)) =
        join(join(looking, living), join(claimed, left_drained)).await;
    let streams = StreamStatus::all(config, &looked, &history, now)?;
    let points = PointStatus::of(config, &looked, now);
    let (vaults, receipts): (Vec<_>, Vec<_>) = looked.into_iter().map(|it| (it.status, it.receipts)).unzip();
    let mut status = Status {
        at: now,
        level: Level::Ok,
        reasons: Vec::new(),
        schedule: None,
        streams_only: node.is_some_and(|node| node.is_worker),
        vaults,
        streams,
        points,
        spool: look_into_spool(config)?,
        absences: StopHistory::read(&config.state_dir),
        last_run: history.runs.of(Verb::Backup).and_then(|runs| runs.last.clone()),
        last_backup: history.backup.clone(),
        last_proof: history.proof.clone(),
        drills: Drilled::new(&config.drill, &receipts.concat()),
        unfinished_restore: unfinished::on_this_host(config),
        left_claim: left_claim?,
        removed: None,
        claims: claims?,
        images: images(config, filter.cluster.as_ref(), now),
        sign_of_life: OwnSign::read(config, filter.cluster.as_ref(), now),
        standby: Standby::of_host(config),
        left_drained,
        history,
    };
    status.removed = memory.and_then(|memory| removed_since(&memory, status.newest(), &living.flatten()?));
    if let Some(schedule) = Schedule::from_config(&config.schedule)?.filter(|_| !status.streams_only) {
        let newest = status.freshest();
        status.schedule = Some(Due::new(&schedule, newest, grace(config, &schedule, now), now));
    }
    status.judge();
    Ok(status)
}

/// The cluster that this host last backed up, or else the one whose worker it is.
fn own_cluster(history: &History, node: Option<&OwnNode>) -> Option<ClusterId> {
    let backed_up = history.backup.as_ref().and_then(|made| made.cluster.parse().ok());
    backed_up.or_else(|| Some(node.filter(|node| node.is_worker)?.cluster.clone()))
}

/// Returns what this host found out last about the images of the cluster, if that is not long ago.
fn images(config: &Config, cluster: Option<&ClusterId>, now: Timestamp) -> Option<ImagesChecked> {
    let checked = ImagesChecked::read(&config.state_dir)?;
    // Without `images.check` somebody looked once, and nobody looks again.
    let is_of_today = config.images.check != Check::Off || !checked.is_due(now, SignedDuration::from_hours(48));
    (checked.is_recent(now) && is_of_today && cluster.is_none_or(|cluster| *cluster == checked.cluster))
        .then_some(checked)
}

/// Returns what this host remembers of the backup that it made last; `None` unless removals are watched, or if another
/// cluster is asked for.
fn remembered(config: &Config, cluster: Option<&ClusterId>) -> Option<Memory> {
    let memory = config.watch.removals.then(|| Memory::read(&config.state_dir)).flatten();
    memory.filter(|memory| cluster.is_none_or(|cluster| *cluster == memory.cluster))
}

/// Compares what lives with the last backup; `None` if another manager has made a newer one, whose objects this host
/// does not know.
fn removed_since(memory: &Memory, newest: Option<&Newest>, living: &[Object]) -> Option<Removed> {
    let is_last = newest.is_none_or(|newest| newest.place.id == memory.backup);
    is_last.then(|| memory.removed(living))
}

/// How late a backup may be: time for the next manager in line to take over, for its backup, and for a tick of the
/// timer before and after.
fn grace(config: &Config, schedule: &Schedule, now: Timestamp) -> SignedDuration {
    match config.watch.grace {
        Some(configured) => configured.signed(),
        None => schedule.takeover_after(now) + SignedDuration::from_mins(45),
    }
}

fn look_into_spool(config: &Config) -> Result<SpoolStatus> {
    let spool = Spool::at(&config.spool_dir());
    let waiting = spool.waiting()?;
    Ok(SpoolStatus {
        archives: waiting.len() as u64,
        bytes: waiting.iter().map(|spooled| spooled.size).sum(),
        oldest: waiting.first().map(|spooled| spooled.id.created_at()),
        damaged: spool.damaged()?.len() as u64,
        full: spool::is_full(&waiting, &config.spool),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{archive::removals::memory::tests::memory, observe::status::tests::newest as newest_of};

    #[test]
    fn only_the_last_backup_is_compared_with_what_lives() {
        let remembered = memory(3, "c", &["a", "b"]);
        let living = memory(4, "c", &["b"]).objects;
        for (newest, compared) in [
            (Some("20261121T030000Z-00000001"), true),
            // Another manager made it.
            (Some("20261121T040000Z-00000001"), false),
            // No vault answers.
            (None, true),
        ] {
            let removed = removed_since(&remembered, newest.map(newest_of).as_ref(), &living);
            let words = removed.map(|removed| removed.words());
            assert_eq!(words.as_deref(), compared.then_some("service a"), "{newest:?}");
        }
    }

    #[test]
    fn nothing_is_remembered_unless_it_is_wanted() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        memory(3, "c", &["a"]).replace(dir.path());
        assert_eq!(remembered(&config, None), None);
        config.watch.removals = true;
        let of = |cluster: &str| remembered(&config, Some(&cluster.parse().expect("is an id")));
        assert_eq!((of("c"), of("d")), (Some(memory(3, "c", &["a"])), None));
        assert_eq!(remembered(&config, None), Some(memory(3, "c", &["a"])));
    }
}
