//! Prunes all vaults that are configured, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use swarmdr_archive::{ClusterId, Digest, TrustedKeys, point::Point};
use swarmdr_vault::catalog::{PointSeries, Series, StreamSeries};

use super::{
    LifePlan, PointPlan, PruneReport, StreamPlan, VaultPlan, carry_out,
    held::{Held, list_with},
    lifecycle, list, plan,
    points::{self, Staying},
};
use crate::{
    config::{Config, retention::Policy},
    keys::signing,
    run::Run,
    vaults::{self, Connected},
};

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// Policy for backups, and for streams that have none of their own.
    pub policy: Policy,
    /// Only archives of this cluster; all clusters if `None`.
    pub cluster: Option<ClusterId>,
    /// Makes the plan and removes nothing.
    pub dry_run: bool,
    /// Deletes versions in buckets too.
    pub delete_versions: bool,
}

/// Prunes every vault. One that cannot be listed or pruned is reported, and the others are pruned anyway.
pub async fn run(run: &Run<'_>, request: &Request) -> Result<PruneReport> {
    let keys = signing::trusted_for_watching(run.config)?;
    let on_streams = signing::trusted_on_streams_for_watching(run.config)?;
    let mut report = PruneReport {
        result: "",
        dry_run: request.dry_run,
        policy: request.policy,
        plans: Vec::new(),
        streams: Vec::new(),
        points: Vec::new(),
        signs_of_life: Vec::new(),
        removed: 0,
        removed_streams: 0,
        removed_points: 0,
        attention: Vec::new(),
    };
    let vaults = vaults::connect(run.config).await?;
    let mut listed = Vec::new();
    for connected in &vaults {
        listed.push(points_of(run, request, connected, &keys).await);
    }
    let of_vaults = listed.iter().flatten().flat_map(BTreeMap::values);
    // A part of a point may be in another vault than the point.
    let pinned = of_vaults.flat_map(|points| points::in_newest_complete(points, run.now)).collect();
    let pinned = Pinned { digests: pinned, is_whole: listed.iter().all(Result::is_ok) };
    for (connected, points) in vaults.iter().zip(listed) {
        let pruned = match points {
            Ok(points) => one(run, request, connected, (&keys, &on_streams), (&pinned, points), &mut report).await,
            Err(error) => Err(error),
        };
        if let Err(error) = pruned {
            run.shutdown.check()?;
            report.attention.push(format!("{error:#}"));
        }
    }
    report.result = report.exit().word();
    Ok(report)
}

/// The recovery points of a vault by cluster, newest first.
type Points = BTreeMap<PointSeries, Vec<(Held, Point)>>;

async fn points_of(run: &Run<'_>, request: &Request, connected: &Connected, keys: &TrustedKeys) -> Result<Points> {
    let only = request.cluster.as_ref();
    list_with::<PointSeries, Point>(connected, &(), only, keys, run.shutdown, run.now, |head| head.point.clone()).await
}

/// What the newest complete points name.
struct Pinned {
    digests: BTreeSet<Digest>,
    /// False if the points of some vault could not be read.
    is_whole: bool,
}

impl Pinned {
    /// Why nothing is removed from a vault: what a point that was not read names may be there. Where there are no points, it
    /// is not.
    fn unknown(&self, config: &Config, points: &Points) -> Option<&'static str> {
        let has_data = !(points.is_empty() && config.stream.is_empty() && config.external.is_empty());
        (has_data && !self.is_whole).then_some(
            "nothing was removed, since the recovery points in another vault could not be read, and what the newest \
             complete one names may be here",
        )
    }
}

async fn one(
    run: &Run<'_>,
    request: &Request,
    connected: &Connected,
    (keys, on_streams): (&TrustedKeys, &TrustedKeys),
    (pinned, points): (&Pinned, Points),
    report: &mut PruneReport,
) -> Result<()> {
    let mut staying = Staying::default();
    let pin = |held: &mut Held| held.in_point = pinned.digests.contains(&held.place.digest);
    let lifecycle = lifecycle::rule(&connected.settings, request.longest(run));
    let acts = lifecycle.is_none() || request.delete_versions;
    let (only, vault) = (request.cluster.as_ref(), connected.settings.url.clone());
    let unknown = pinned.unknown(run.config, &points).filter(|_| acts && !request.dry_run);
    report.attention.extend(unknown.map(|why| format!("{vault}: {why}")));
    let shows_only = request.dry_run || !acts || unknown.is_some();
    for (cluster, mut held) in list::<ClusterId>(connected, &(), only, keys, run.shutdown, run.now).await? {
        held.iter_mut().for_each(pin);
        let backups = plan(&held, &request.policy, run.now);
        staying.add(&backups);
        let (one, lifecycle) = (Series::one(&cluster), lifecycle.clone());
        let plan = VaultPlan { vault: vault.clone(), cluster, backups, lifecycle, acts };
        let removed = if shows_only { Ok(0) } else { carry_out(&plan.backups, &one, connected, run.shutdown).await };
        report.plans.push(plan);
        report.removed += removed?;
    }
    for (series, mut held) in list::<StreamSeries>(connected, &None, only, on_streams, run.shutdown, run.now).await? {
        held.iter_mut().for_each(pin);
        let (one, policy) = (series.one(), request.policy_of(run, series.name.as_str()));
        let StreamSeries { cluster, name } = series;
        let streams = plan(&held, &policy, run.now);
        staying.add(&streams);
        let plan = StreamPlan { vault: vault.clone(), cluster, name, policy, streams, acts };
        let removed = if shows_only { Ok(0) } else { carry_out(&plan.streams, &one, connected, run.shutdown).await };
        report.streams.push(plan);
        report.removed_streams += removed?;
    }
    for (series, points) in points {
        let (one, keep_days) = (series.one(), request.longest(run));
        let points = points::plan(&points, &staying, keep_days, run.now);
        let plan = PointPlan { vault: vault.clone(), cluster: series.0, keep_days, points, acts };
        let removed = if shows_only { Ok(0) } else { carry_out(&plan.points, &one, connected, run.shutdown).await };
        report.points.push(plan);
        report.removed_points += removed?;
    }
    let mut signs = LifePlan::make(connected, only, !shows_only, run.now).await?;
    let carried_out = signs.carry_out(connected.vault.as_ref(), run.shutdown).await;
    report.signs_of_life.push(signs);
    carried_out
}

impl Request {
    /// The policy for the streams of this name: their own, or else that of backups.
    fn policy_of(&self, run: &Run<'_>, name: &str) -> Policy {
        run.config.stream_named(name).and_then(|stream| stream.retention).unwrap_or(self.policy)
    }

    /// Days after which no policy keeps anything, if one archive is made each day.
    fn longest(&self, run: &Run<'_>) -> u32 {
        let own = run.config.stream.iter().filter_map(|stream| stream.retention);
        own.chain([self.policy]).map(|policy| policy.days()).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Act;
    use super::*;
    use crate::{
        config::{TrustedKey, stream::StreamConfig},
        host::shutdown::Shutdown,
        outcome::{exit::Exit, progress::Progress},
    };
    use swarmdr_archive::SecretKey;
    use swarmdr_http::Proxies;
    use swarmdr_vault::{
        Vault, VaultSettings,
        testkit::archives::{self, Archive, CLUSTER, archive, key, minute, put, streams},
    };

    #[tokio::test]
    async fn a_vault_that_cannot_be_listed_is_reported_and_the_next_one_is_pruned() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let url = format!("file://{}", dir.path().display());
        let key = key();
        let config = Config {
            trusted_keys: vec![TrustedKey::Always(key.public().to_string())],
            vault: vec![VaultSettings::new(format!("{url}/missing")), VaultSettings::new(url)],
            ..Config::default()
        };
        let target = config.vault[1].target().expect("is valid");
        let vault = target.connect(&Proxies::none()).await.expect("connects");
        for at in [0, 10] {
            put(vault.as_ref(), &archive(CLUSTER, at, &key)).await;
        }
        let shutdown = Shutdown::default();
        let context = Run { config: &config, shutdown: &shutdown, progress: Progress::hidden(), now: minute(60) };
        let policy = Policy { keep_last: 1, ..Policy::default() };
        let request = |dry_run| Request { policy, cluster: None, dry_run, delete_versions: false };
        for (dry_run, removed) in [(true, 0), (false, 1)] {
            let report = run(&context, &request(dry_run)).await.expect("goes through all");
            assert_eq!((report.removed, report.plans.len(), report.exit()), (removed, 1, Exit::Attention));
            assert!(report.attention[0].contains("missing"), "{:?}", report.attention);
        }
    }

    /// Stores a complete point about a backup.
    async fn put_point(vault: &dyn Vault, at: i64, of: &Archive, key: &SecretKey) {
        let point = Point { state: Some(archives::points::state(of)), ..archives::points::invented(minute(at), 4) };
        archives::points::put(vault, &point, key).await;
    }

    #[tokio::test]
    async fn points_go_with_their_backups_and_hold_the_one_of_the_newest() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (key, forger) = (key(), key());
        let config = Config {
            trusted_keys: vec![TrustedKey::Always(key.public().to_string())],
            vault: vec![VaultSettings::new(format!("file://{}", dir.path().display()))],
            ..Config::default()
        };
        let connected = vaults::connect(&config).await.expect("connects").remove(0);
        let vault = connected.vault.as_ref();
        let backups = [0, 10, 20].map(|at| archive(CLUSTER, at, &key));
        for archive in &backups {
            put(vault, archive).await;
        }
        for (at, of) in [(1, &backups[0]), (11, &backups[1]), (12, &backups[1])] {
            put_point(vault, at, of, &key).await;
        }
        put_point(vault, 30, &backups[0], &forger).await;
        let shutdown = Shutdown::default();
        let context = Run { config: &config, shutdown: &shutdown, progress: Progress::hidden(), now: minute(60) };
        let policy = Policy { keep_last: 1, ..Policy::default() };
        let request = |dry_run| Request { policy, cluster: None, dry_run, delete_versions: false };
        let planned = run(&context, &request(true)).await.expect("is planned");
        assert_eq!((planned.removed, planned.removed_points), (0, 0));
        let done = run(&context, &request(false)).await.expect("is done");
        assert_eq!((done.removed, done.removed_points), (1, 1), "{done}");
        assert!(done.to_string().ends_with("1 backup and 1 recovery point removed.\n"), "{done}");
        let kept = &done.plans[0].backups[1];
        assert_eq!(kept.because, ["in the newest complete recovery point"], "of a point that nobody forged");
        let again = run(&context, &request(false)).await.expect("is done");
        assert_eq!((again.removed, again.removed_points), (0, 0));
    }

    /// The newest complete point is in one vault, and what it names in the other one.
    #[tokio::test]
    async fn nothing_goes_while_a_vault_is_away_whose_newest_complete_point_may_name_it() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (here, away) = (dir.path().join("here"), dir.path().join("away"));
        [&here, &away].into_iter().for_each(|path| std::fs::create_dir(path).expect("is made"));
        let key = key();
        let config = Config {
            trusted_keys: vec![TrustedKey::Always(key.public().to_string())],
            vault: [&here, &away].map(|path| VaultSettings::new(format!("file://{}", path.display()))).to_vec(),
            ..Config::default()
        };
        let vaults = vaults::connect(&config).await.expect("connects");
        let backups = [0, 10, 20].map(|at| archive(CLUSTER, at, &key));
        for archive in &backups {
            put(vaults[0].vault.as_ref(), archive).await;
        }
        put_point(vaults[0].vault.as_ref(), 11, &backups[2], &key).await;
        put_point(vaults[1].vault.as_ref(), 12, &backups[0], &key).await;
        let shutdown = Shutdown::default();
        let context = Run { config: &config, shutdown: &shutdown, progress: Progress::hidden(), now: minute(60) };
        let policy = Policy { keep_last: 1, ..Policy::default() };
        let request = Request { policy, cluster: None, dry_run: false, delete_versions: false };
        let gone = dir.path().join("gone");
        std::fs::rename(&away, &gone).expect("goes away");
        let blind = run(&context, &request).await.expect("goes through all");
        assert_eq!((blind.removed, blind.exit()), (0, Exit::Attention), "{blind}");
        assert!(blind.attention.iter().any(|it| it.contains("could not be read")), "{:?}", blind.attention);
        std::fs::rename(&gone, &away).expect("comes back");
        let seen = run(&context, &request).await.expect("goes through all");
        let kept = &seen.plans[0].backups[2];
        assert_eq!((seen.removed, &kept.because[..]), (1, &["in the newest complete recovery point".to_owned()][..]));
    }

    /// Two streams that share nothing: one with a policy of its own, one by that of backups.
    #[tokio::test]
    async fn each_stream_goes_by_its_own_policy_and_its_newest_stays() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (key, forger) = (key(), key());
        let own = Policy { keep_last: 3, ..Policy::default() };
        let db = StreamConfig { name: "db".to_owned(), retention: Some(own), ..StreamConfig::default() };
        let config = Config {
            trusted_keys: vec![TrustedKey::Always(key.public().to_string())],
            vault: vec![VaultSettings::new(format!("file://{}", dir.path().display()))],
            stream: vec![db],
            ..Config::default()
        };
        let connected = vaults::connect(&config).await.expect("connects").remove(0);
        let vault = connected.vault.as_ref();
        for name in ["db", "files"] {
            for at in [0, 10, 20, 30, 40] {
                streams::put(vault, &streams::stream(name, at, &key)).await;
            }
            streams::put(vault, &streams::stream(name, 50, &forger)).await;
        }
        put(vault, &archive(CLUSTER, 0, &key)).await;
        let shutdown = Shutdown::default();
        let context = Run { config: &config, shutdown: &shutdown, progress: Progress::hidden(), now: minute(60) };
        let policy = Policy { keep_last: 1, ..Policy::default() };
        let request = |dry_run| Request { policy, cluster: None, dry_run, delete_versions: false };
        let planned = run(&context, &request(true)).await.expect("is planned");
        let done = run(&context, &request(false)).await.expect("is done");
        assert_eq!((planned.removed_streams, done.removed_streams, done.removed), (0, 6, 0));
        for report in [&planned, &done] {
            let of = |name: &str| {
                let plan = report.streams.iter().find(|plan| plan.name.as_str() == name).expect("is planned");
                let kept = plan.streams.iter().filter(|decision| decision.act == Act::Keep);
                (plan.policy.keep_last, kept.map(|decision| decision.id.created_at()).collect::<Vec<_>>())
            };
            assert_eq!(of("db"), (3, vec![minute(40), minute(30), minute(20)]));
            assert_eq!(of("files"), (1, vec![minute(40)]));
        }
        let again = run(&context, &request(false)).await.expect("is done");
        assert_eq!(again.removed_streams, 0, "what is forged is left alone, and displaces none");
        assert!(done.to_string().ends_with("0 backups and 6 streams removed.\n"), "{done}");
    }
}
