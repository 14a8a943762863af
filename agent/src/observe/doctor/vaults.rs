//! Checks of each vault: whether it is reachable, has versions and locks, keeps time, and holds a good backup.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{BackupId, TrustedKeys};
use swarmdr_vault::{
    LockMode, LockPolicy, Target, Vault, VaultSettings,
    catalog::{self, About, CatalogError, Filter, Place, order},
};

use super::{Check, Diagnosis, claims, engine::Manager, rollback, tamper};
use crate::{config::Config, keys::signing, outcome::count::count, vaults::last_seen::LastSeen};

/// Difference between the clocks that is reported. AWS refuses requests whose time is 15 minutes off, and the times in
/// locks and ids are wrong by the difference.
const SKEW_WARN: SignedDuration = SignedDuration::from_secs(60);
const SKEW_FAIL: SignedDuration = SignedDuration::from_mins(10);

/// Checks all vaults, and returns the newest good backup in them.
pub async fn check(
    config: &Config,
    manager: Option<&Manager>,
    now: Timestamp,
    diagnosis: &mut Diagnosis,
) -> Option<BackupId> {
    let cluster = manager.and_then(|manager| manager.facts.swarm.cluster_id.clone());
    let filter = Filter { cluster, ..Filter::default() };
    let keys = signing::trusted_for_watching(config).unwrap_or_default();
    let (mut ready_vaults, mut newest, mut whole) = (Vec::new(), Vec::new(), true);
    for settings in config.vaults() {
        let of = settings.url.as_str();
        if let Some(check) = way(config, &settings) {
            diagnosis.add(check.of(of));
        }
        let vault = match ready(config, &settings).await {
            Ok(vault) => vault,
            Err(error) => {
                whole = false;
                diagnosis.add(Check::failed("vault.ready", &error).of(of));
                continue;
            }
        };
        for found in check_ready(vault.as_ref(), &settings, now).await {
            diagnosis.add(found.of(of));
        }
        let (found, check) = newest_in(&vault, &filter, &keys, now).await;
        newest.extend(found);
        diagnosis.add(check.of(of));
        ready_vaults.push(vault);
    }
    let newest = order::newest(&newest, |_| true, now).map(|index| newest.swap_remove(index));
    if whole {
        diagnosis.checks.extend(history(&ready_vaults, &filter, &keys, now).await);
    }
    if let Some(cluster) = filter.cluster.filter(|_| whole) {
        let last_seen = LastSeen::of(config);
        // A backup that this host signed counts as present, whichever keys the configuration trusts.
        let mut keys = keys;
        if let Ok(own) = signing::read(&config.signing_key_path()) {
            keys.insert(own.public());
        }
        diagnosis.add(rollback::check(&last_seen, &cluster, &ready_vaults, newest.as_ref(), &keys, now).await);
    }
    newest.map(|newest| newest.id)
}

async fn ready(config: &Config, settings: &VaultSettings) -> anyhow::Result<Arc<dyn Vault>> {
    let vault = settings.target()?.connect(&config.proxies()?).await?;
    vault.check().await?;
    Ok(vault)
}

/// Checks one vault that answers, apart from its backups.
async fn check_ready(vault: &dyn Vault, settings: &VaultSettings, now: Timestamp) -> Vec<Check> {
    let policy = vault.lock_policy();
    let mut checks = vec![Check::ok("vault.ready", what_is_ready(policy)), mode(policy), clock(vault).await];
    checks.extend(tamper::check(vault, now, settings.endpoint.is_none()).await);
    if policy.is_some() {
        checks.push(claims::race(vault, now).await);
    }
    checks.push(unfinished(vault).await);
    checks
}

/// How a vault on the network is reached: directly, or through which proxy.
fn way(config: &Config, settings: &VaultSettings) -> Option<Check> {
    const NAME: &str = "vault.network";
    let Ok(Target::S3(target)) = settings.target() else { return None };
    let found = config.proxies().and_then(|proxies| Ok(target.proxies(&proxies)?));
    Some(match found.map(|proxies| proxies.before(&target.address()).map(|proxy| proxy.cloned())) {
        Ok(Ok(None)) => Check::ok(NAME, "it is reached without a proxy"),
        Ok(Ok(Some(proxy))) => {
            let login = if proxy.has_login() { "with a login" } else { "without a login" };
            Check::ok(NAME, format!("it is reached through the proxy {proxy} ({}), {login}", proxy.origin()))
        }
        Ok(Err(why)) => Check::fail(NAME, why).fix("write `http://host:port`, or set network.proxy"),
        Err(error) => Check::failed(NAME, &error),
    })
}

fn what_is_ready(policy: Option<LockPolicy>) -> &'static str {
    match policy {
        Some(_) => "the bucket is there, keeps versions, and has Object Lock",
        None => "the directory can be written to",
    }
}

fn mode(policy: Option<LockPolicy>) -> Check {
    const NAME: &str = "vault.mode";
    match policy {
        Some(LockPolicy { mode: LockMode::Compliance, days }) => {
            Check::ok(NAME, format!("backups are locked in COMPLIANCE mode for {}", count(days.into(), "day")))
        }
        Some(LockPolicy { mode: LockMode::Governance, days }) => Check::warn(
            NAME,
            format!("backups are locked in GOVERNANCE mode for {}: some may lift that", count(days.into(), "day")),
        )
        .fix("write lock = { mode = \"COMPLIANCE\", … } unless you know who has s3:BypassGovernanceRetention"),
        None => Check::warn(NAME, "a directory cannot lock: anyone with root on its host can delete every backup")
            .fix("add a vault in a bucket with Object Lock"),
    }
}

async fn clock(vault: &dyn Vault) -> Check {
    const NAME: &str = "vault.clock";
    match vault.clock().await {
        Ok(None) => Check::ok(NAME, "it has the clock of this host"),
        Ok(Some(theirs)) => check_clock(theirs.duration_since(Timestamp::now())),
        Err(error) => Check::failed(NAME, &error.into()),
    }
}

fn check_clock(ahead: SignedDuration) -> Check {
    const NAME: &str = "vault.clock";
    let found = format!("the clocks of the vault and of this host are {} s apart", ahead.as_secs().abs());
    let fix = "set the clock of this host (chrony, systemd-timesyncd)";
    match ahead.abs() {
        off if off > SKEW_FAIL => Check::fail(NAME, found).fix(fix),
        off if off > SKEW_WARN => Check::warn(NAME, found).fix(fix),
        _ => Check::ok(NAME, found),
    }
}

async fn unfinished(vault: &dyn Vault) -> Check {
    const NAME: &str = "vault.leftovers";
    match vault.unfinished().await {
        Ok(keys) if keys.is_empty() => Check::ok(NAME, "no unfinished uploads"),
        Ok(keys) => Check::warn(
            NAME,
            format!("{} unfinished uploads, which cost money and hold no backup", keys.len()),
        )
        .fix("a lifecycle rule that aborts incomplete multipart uploads after a day (AbortIncompleteMultipartUpload)"),
        Err(error) => Check::failed(NAME, &error.into()),
    }
}

/// Whether the backups before the newest one are there. One vault by itself does not show that: it may have been down
/// when they were stored.
async fn history(vaults: &[Arc<dyn Vault>], filter: &Filter, keys: &TrustedKeys, now: Timestamp) -> Option<Check> {
    const NAME: &str = "vault.history";
    let latest = catalog::find_latest(vaults, filter, keys, now).await.ok()?;
    let id = latest.head.manifest.id;
    let broken = latest.findings.kept.iter().find(|finding| matches!(finding.about, About::History(_)));
    Some(match broken {
        None => Check::ok(NAME, format!("the history of {id} is consistent")),
        Some(finding) => Check::warn(NAME, finding.to_string()).fix(SEE_FINDINGS),
    })
}

const SEE_FINDINGS: &str = "see `swarmdr-agent list`, and the section on findings in the runbook";

async fn newest_in(
    vault: &Arc<dyn Vault>,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> (Option<Place>, Check) {
    const NAME: &str = "vault.newest";
    match catalog::find_latest(std::slice::from_ref(vault), filter, keys, now).await {
        Ok(mut latest) => {
            let id = latest.head.manifest.id;
            latest.findings.kept.retain(|finding| !matches!(finding.about, About::History(_)));
            let check = match latest.findings.lines().as_slice() {
                [] => Check::ok(NAME, format!("{id} verifies")),
                [first, ..] => Check::warn(NAME, format!("{id} verifies, but: {first}")).fix(SEE_FINDINGS),
            };
            (Some(latest.place), check)
        }
        Err(error @ CatalogError::SeveralClusters { .. }) => {
            (None, Check::warn(NAME, error.to_string()).fix("run this on a manager of the swarm in question"))
        }
        Err(CatalogError::NothingGood { findings, .. }) if findings.is_empty() => {
            (None, Check::warn(NAME, "there is no backup yet").fix("run `swarmdr-agent backup`"))
        }
        Err(error @ CatalogError::Unanswered { .. }) => {
            let found = format!("the newest backup is not known: {error}");
            (None, Check::fail(NAME, found).fix("make the vault reachable, and run `swarmdr-agent doctor` again"))
        }
        Err(error) => {
            let fix = "check trusted_keys, and see `swarmdr-agent list`";
            (None, Check::fail(NAME, error.to_string()).fix(fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::doctor::Level;
    use swarmdr_vault::testkit::archives::{cluster_id, lives, minute};

    #[tokio::test]
    async fn no_life_of_a_vault_accuses_anybody() {
        for life in lives::all().await {
            let (vaults, filter, now) = (life.dyn_vaults(), Filter::cluster(cluster_id()), minute(life.now));
            let dir = tempfile::tempdir().expect("a scratch directory");
            let last_seen = LastSeen::of(&Config { state_dir: dir.path().to_owned(), ..Config::default() });
            if let Some(known) = life.remembered.clone() {
                last_seen.note(known);
            }
            let mut checks = Vec::from_iter(history(&vaults, &filter, &life.keys, now).await);
            let mut newest = Vec::new();
            for vault in &vaults {
                let (found, check) = newest_in(vault, &filter, &life.keys, now).await;
                newest.extend(found);
                checks.push(check);
            }
            let newest = order::newest(&newest, |_| true, now).map(|index| newest.swap_remove(index));
            for _ in 0..2 {
                checks
                    .push(rollback::check(&last_seen, &cluster_id(), &vaults, newest.as_ref(), &life.keys, now).await);
            }
            assert!(checks.iter().all(|check| check.level != Level::Fail), "{}: {checks:#?}", life.name);
            let lines: Vec<String> = checks.iter().map(|check| format!("{}: {}", check.name, check.found)).collect();
            life.assert_no_accusation("doctor", &lines);
        }
    }

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let level = |seconds| check_clock(SignedDuration::from_secs(seconds)).level;
        assert_eq!(
            [level(0), level(-60), level(61), level(-600), level(601)].map(|level| level as u8),
            [0, 0, 1, 1, 2]
        );
        assert_eq!(level(7200), Level::Fail);
    }
}
