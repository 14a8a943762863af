//! The vaults, one by one: there, versioned, locking, on time, and with a backup in them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::{BackupId, TrustedKeys};

use super::{Check, Diagnosis, engine::Manager, tamper};
use crate::{
    config::Config,
    signing,
    vault::{
        LockMode, LockPolicy, Target, Vault, VaultError, VaultSettings,
        catalog::{
            self, About, CatalogError, Filter, Place, Verdict, Walk,
            chain::{Gone, Remembered},
            order,
        },
        object_name::ObjectName,
    },
    witness::Witness,
};

/// AWS refuses requests whose time is a quarter of an hour off; locks and ids are off by as much.
const SKEW_WARN: SignedDuration = SignedDuration::from_secs(60);
const SKEW_FAIL: SignedDuration = SignedDuration::from_mins(10);

/// Answers with the newest good backup over all of them.
pub async fn check(
    config: &Config,
    manager: Option<&Manager>,
    now: Timestamp,
    diagnosis: &mut Diagnosis,
) -> Option<BackupId> {
    let cluster = manager.map(|manager| manager.facts.swarm.cluster_id.clone());
    let filter = Filter { cluster, ..Filter::default() };
    let keys = signing::believed(config).unwrap_or_default();
    let (mut ready_vaults, mut newest, mut whole) = (Vec::new(), Vec::new(), true);
    for settings in config.vaults() {
        let of = settings.url.as_str();
        if let Some(check) = way(config, &settings) {
            diagnosis.add(check.of(of));
        }
        let ready = async {
            let vault = settings.target()?.connect(&config.proxies()?).await?;
            vault.check().await?;
            anyhow::Ok(vault)
        };
        let vault = match ready.await {
            Ok(vault) => vault,
            Err(error) => {
                whole = false;
                diagnosis.add(Check::failed("vault.ready", &error).of(of));
                continue;
            }
        };
        diagnosis.add(Check::ok("vault.ready", what_is_ready(vault.lock_policy())).of(of));
        diagnosis.add(mode(vault.lock_policy()).of(of));
        diagnosis.add(clock(vault.as_ref()).await.of(of));
        for found in tamper::check(vault.as_ref(), now, settings.endpoint.is_none()).await {
            diagnosis.add(found.of(of));
        }
        diagnosis.add(unfinished(vault.as_ref()).await.of(of));
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
        let witness = Witness::of(config);
        // What this host signed is there, whomever its configuration believes.
        let mut keys = keys;
        if let Ok(own) = signing::read(&config.signing_key_path()) {
            keys.insert(own.public());
        }
        diagnosis.add(rollback(&witness, &cluster, &ready_vaults, newest.as_ref(), &keys, now).await);
    }
    newest.map(|newest| newest.id)
}

/// How a vault on the network is reached.
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

/// Whether what this host knows to have been stored is still there.
async fn rollback(
    witness: &Witness,
    cluster: &str,
    vaults: &[Arc<dyn Vault>],
    newest: Option<&Place>,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Check {
    const NAME: &str = "vault.rollback";
    let Some(known) = witness.read(cluster) else {
        note(witness, cluster, vaults, newest).await;
        return Check::ok(NAME, "this host remembers no backup to compare with");
    };
    let check = match is_there(vaults, &known, keys, now).await {
        Err(error) => return Check::failed(NAME, &error.into()),
        Ok(true) => Check::ok(NAME, format!("the vaults have what this host knows to be stored ({})", known.id)),
        Ok(false) => {
            match known.gone(newest.map(|newest| newest.sequence), now) {
                Gone::Pruned => {
                    Check::ok(NAME, format!("backup {} is gone, as pruning leaves it; newer ones are there", known.id))
                }
                Gone::Unlocked => Check::warn(
                    NAME,
                    format!(
                        "backup {} was stored and is in no vault any more; its lock has ended, and none is newer",
                        known.id
                    ),
                )
                .fix("make backups again, and see what removes old ones: a lifecycle rule, `prune`"),
                // Kept in mind: the next run says so again.
                Gone::TakenAway => {
                    return Check::fail(
                    NAME,
                    format!(
                        "backup {} was stored and is in no vault that is configured here: it was taken away, or its \
                         vault is not among them any more",
                        known.id
                    ),
                )
                .fix("if vaults were changed, make a backup; else find out who can delete there; look into copies");
                }
            }
        }
    };
    note(witness, cluster, vaults, newest).await;
    check
}

/// Unproven, late, by a key that has ended: it was not taken away.
async fn is_there(
    vaults: &[Arc<dyn Vault>],
    known: &Remembered,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<bool, VaultError> {
    let filter = Filter { id: Some(known.id), ..Filter::cluster(&known.cluster) };
    for vault in vaults {
        let mut walk = Walk::new(vault.as_ref(), &known.cluster, &filter, keys, now);
        while let Some(entry) = walk.next().await? {
            match entry.verdict {
                Verdict::Good(_) | Verdict::Impossible(_) | Verdict::KeyEnded { .. } => return Ok(true),
                Verdict::Unread(error) => return Err(error),
                // Its key was taken from `trusted_keys`, and it is the very same.
                Verdict::Forged { digest, .. } if known.digest == Some(digest) => return Ok(true),
                // Whoever took it away may have left something in its place.
                Verdict::Forged { .. }
                | Verdict::Damaged(_)
                | Verdict::WrongSize { .. }
                | Verdict::Misplaced { .. } => {}
            }
        }
    }
    Ok(false)
}

/// Remembers the newest one from now on, and how long it must stay. One whose lock cannot be read is not taken for one
/// that may go: what was known before stays.
async fn note(witness: &Witness, cluster: &str, vaults: &[Arc<dyn Vault>], newest: Option<&Place>) {
    let Some(newest) = newest else { return };
    let Ok(name) = ObjectName::new(cluster, newest.id) else { return };
    let mut locked_until = None;
    for vault in vaults {
        let Ok(longest) = longest_lock(vault.as_ref(), &name).await else { return };
        locked_until = locked_until.max(longest);
    }
    let Place { id, sequence, digest, .. } = *newest;
    witness.note(Remembered { id, cluster: cluster.to_owned(), sequence, locked_until, digest: Some(digest) });
}

async fn longest_lock(vault: &dyn Vault, name: &ObjectName) -> Result<Option<Timestamp>, VaultError> {
    let page = vault.list_versions(&name.key(), None).await?;
    let mut longest = None;
    // A key of ours has one version; a thousand strange ones are not worth a question each.
    for version in page.versions.iter().rev().filter(|version| !version.is_delete_marker).take(4) {
        let lock = vault.head(&version.at).await?.lock;
        longest = longest.max(lock.map(|lock| lock.until));
    }
    Ok(longest)
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
            Check::ok(NAME, format!("backups are locked in COMPLIANCE mode for {days} days"))
        }
        Some(LockPolicy { mode: LockMode::Governance, days }) => {
            Check::warn(NAME, format!("backups are locked in GOVERNANCE mode for {days} days: some may lift that"))
                .fix("write lock = { mode = \"COMPLIANCE\", … } unless you know who has s3:BypassGovernanceRetention")
        }
        None => Check::warn(NAME, "a directory cannot lock: whoever owns its host can delete every backup")
            .fix("add a vault in a bucket with Object Lock"),
    }
}

async fn clock(vault: &dyn Vault) -> Check {
    const NAME: &str = "vault.clock";
    match vault.clock().await {
        Ok(None) => Check::ok(NAME, "it has the clock of this host"),
        Ok(Some(theirs)) => judge_clock(theirs.duration_since(Timestamp::now())),
        Err(error) => Check::failed(NAME, &error.into()),
    }
}

fn judge_clock(ahead: SignedDuration) -> Check {
    const NAME: &str = "vault.clock";
    let found = format!("the vault's clock and this host's are {} s apart", ahead.as_secs().abs());
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

/// Whether what comes before the newest backup is there. One vault by itself does not show that: it may have been away.
async fn history(vaults: &[Arc<dyn Vault>], filter: &Filter, keys: &TrustedKeys, now: Timestamp) -> Option<Check> {
    const NAME: &str = "vault.history";
    let latest = catalog::find_latest(vaults, filter, keys, now).await.ok()?;
    let id = latest.head.manifest.id;
    let broken = latest.findings.kept.iter().find(|finding| matches!(finding.about, About::History(_)));
    Some(match broken {
        None => Check::ok(NAME, format!("the history of {id} holds together")),
        Some(finding) => Check::warn(NAME, finding.to_string()).fix(SEE_FINDINGS),
    })
}

const SEE_FINDINGS: &str = "see what `swarmdr-agent list` says of it, and the section on findings in the runbook";

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
            (None, Check::warn(NAME, error.to_string()).fix("run this on a manager of the swarm that is meant"))
        }
        Err(CatalogError::NothingGood { findings, .. }) if findings.is_empty() => {
            (None, Check::warn(NAME, "there is no backup yet").fix("run `swarmdr-agent backup`"))
        }
        Err(error @ CatalogError::Unanswered { .. }) => {
            let found = format!("which backup is the newest is not known: {error}");
            (None, Check::fail(NAME, found).fix("make the vault answer, and run `swarmdr-agent doctor` again"))
        }
        Err(error) => {
            let fix = "check trusted_keys, and see `swarmdr-agent list`";
            (None, Check::fail(NAME, error.to_string()).fix(fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::manifest::Proof;

    use super::*;
    use crate::{
        doctor::Level,
        vault::{
            catalog::testing::{Archive, CLUSTER, archive_with, key, lives, minute, put, vault},
            faulty::without_locks_to_read,
            memory::MemoryVault,
        },
    };

    const DAY: i64 = 24 * 60;

    /// A host that made some backups, and the vaults that it looks into.
    struct Scene {
        dir: tempfile::TempDir,
        key: swarmdr_archive::SecretKey,
        vaults: Vec<Arc<MemoryVault>>,
    }

    impl Scene {
        fn new(names: &[&str]) -> Self {
            let vaults = names.iter().map(|name| Arc::new(vault(name))).collect();
            Self { dir: tempfile::tempdir().expect("a scratch directory"), key: key(), vaults }
        }

        fn witness(&self) -> Witness {
            Witness::of(&Config { state_dir: self.dir.path().to_owned(), ..Config::default() })
        }

        /// As `backup` does it.
        async fn backup(&self, at: i64, proof: Proof, into: &[usize]) -> Archive {
            let archive = archive_with(CLUSTER, at, &self.key, proof);
            for index in into {
                put(self.vaults[*index].as_ref(), &archive).await;
            }
            let locked_until = Some(minute(at + 30 * DAY));
            let (id, cluster) = (archive.name.id(), CLUSTER.to_owned());
            let (sequence, digest) = (archive.sequence, Some(archive.digest));
            self.witness().note(Remembered { id, cluster, sequence, locked_until, digest });
            archive
        }

        /// What `doctor` says of it.
        async fn looked_at(&self, now: i64) -> Check {
            let vaults: Vec<Arc<dyn Vault>> = self.vaults.iter().map(|it| Arc::clone(it) as Arc<dyn Vault>).collect();
            let keys = TrustedKeys::from(self.key.public());
            let filter = Filter::cluster(CLUSTER);
            let latest = catalog::find_latest(&vaults, &filter, &keys, minute(now)).await.ok();
            let newest = latest.map(|latest| latest.place);
            rollback(&self.witness(), CLUSTER, &vaults, newest.as_ref(), &keys, minute(now)).await
        }
    }

    #[tokio::test]
    async fn honest_lives_accuse_nobody() {
        // The newest was stored unproven, so an older one is what a restore takes.
        let scene = Scene::new(&["one"]);
        scene.backup(0, Proof::Proven, &[0]).await;
        scene.backup(DAY, Proof::Unproven, &[0]).await;
        for _ in 0..2 {
            assert_eq!(scene.looked_at(2 * DAY).await.level, Level::Ok);
        }
        // Two vaults, and the newest reached only one of them.
        let scene = Scene::new(&["one", "two"]);
        scene.backup(0, Proof::Proven, &[0, 1]).await;
        scene.backup(DAY, Proof::Proven, &[1]).await;
        assert_eq!(scene.looked_at(2 * DAY).await.level, Level::Ok);
        // Other managers went on, and what this host made was pruned when its lock had ended.
        let scene = Scene::new(&["one"]);
        let old = scene.backup(0, Proof::Proven, &[0]).await;
        put(&*scene.vaults[0], &crate::vault::catalog::testing::following(Some(&old), CLUSTER, 40 * DAY, &scene.key))
            .await;
        scene.vaults[0].remove(&old.name.key());
        let check = scene.looked_at(41 * DAY).await;
        assert!(check.level == Level::Ok && check.found.contains("as pruning leaves it"), "{check:?}");
        // Its own clock was behind when it made the newest.
        let scene = Scene::new(&["one"]);
        scene.backup(5 * DAY, Proof::Proven, &[0]).await;
        scene.backup(3 * DAY, Proof::Proven, &[0]).await;
        assert_eq!(scene.looked_at(6 * DAY).await.level, Level::Ok);
        // It outlived its lock, and nobody made another.
        let scene = Scene::new(&["one"]);
        let last = scene.backup(0, Proof::Proven, &[0]).await;
        scene.vaults[0].remove(&last.name.key());
        let check = scene.looked_at(41 * DAY).await;
        assert!(check.level == Level::Warn && check.found.contains("its lock has ended"), "{check:?}");
    }

    #[tokio::test]
    async fn no_life_of_a_vault_accuses_anybody() {
        for life in lives::all().await {
            let (vaults, filter, now) = (life.dyn_vaults(), Filter::cluster(CLUSTER), minute(life.now));
            let dir = tempfile::tempdir().expect("a scratch directory");
            let witness = Witness::of(&Config { state_dir: dir.path().to_owned(), ..Config::default() });
            if let Some(known) = life.remembered.clone() {
                witness.note(known);
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
                checks.push(rollback(&witness, CLUSTER, &vaults, newest.as_ref(), &life.keys, now).await);
            }
            assert!(checks.iter().all(|check| check.level != Level::Fail), "{}: {checks:#?}", life.name);
            let lines: Vec<String> = checks.iter().map(|check| format!("{}: {}", check.name, check.found)).collect();
            life.assert_tame("doctor", &lines);
        }
    }

    #[tokio::test]
    async fn what_was_taken_away_while_its_lock_must_hold_is_told_until_it_is_back() {
        let scene = Scene::new(&["one"]);
        scene.backup(0, Proof::Proven, &[0]).await;
        let taken = scene.backup(DAY, Proof::Proven, &[0]).await;
        scene.vaults[0].remove(&taken.name.key());
        for _ in 0..2 {
            let check = scene.looked_at(2 * DAY).await;
            assert!(check.level == Level::Fail && check.found.contains("taken away"), "{check:?}");
        }
        // Something else in its place is not it.
        scene.vaults[0].overlay(&taken.name.key(), "junk");
        assert_eq!(scene.looked_at(2 * DAY).await.level, Level::Fail);
        scene.vaults[0].remove(&taken.name.key());
        put(&*scene.vaults[0], &taken).await;
        assert_eq!(scene.looked_at(2 * DAY).await.level, Level::Ok);
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_read_is_not_one_that_has_ended() {
        let scene = Scene::new(&["one"]);
        scene.backup(0, Proof::Proven, &[0]).await;
        let known = scene.witness().read(CLUSTER);
        let later = archive_with(CLUSTER, DAY, &scene.key, Proof::Proven);
        put(scene.vaults[0].as_ref(), &later).await;
        let unread: Arc<dyn Vault> = Arc::new(without_locks_to_read(scene.vaults[0].clone()));
        let (keys, filter) = (TrustedKeys::from(scene.key.public()), Filter::cluster(CLUSTER));
        let found = catalog::find_latest(std::slice::from_ref(&unread), &filter, &keys, minute(2 * DAY)).await;
        let newest = found.expect("it can be listed and read").place;
        note(&scene.witness(), CLUSTER, &[unread], Some(&newest)).await;
        assert_eq!(scene.witness().read(CLUSTER), known);
    }

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let level = |seconds| judge_clock(SignedDuration::from_secs(seconds)).level;
        assert_eq!(
            [level(0), level(-60), level(61), level(-600), level(601)].map(|level| level as u8),
            [0, 0, 1, 1, 2]
        );
        assert_eq!(level(7200), Level::Fail);
    }
}
