//! What a restore does with a claim that is, or may be, in a vault: it is carried late, and given up when it is undone.

use std::path::Path;

use serde_json::json;
use swarmdr_archive::Identities;
use swarmdr_vault::{VaultSettings, store_bytes};

use super::{claimed::Claimed, *};
use crate::{
    claims::{Name, Origin, Record as OwnClaim, testkit},
    config::Config,
    host::{
        engine::{EngineFacts, LocalSwarm},
        shutdown::Shutdown,
    },
    keys::Keyring,
    outcome::progress::Progress,
    restore::{
        fake_engine::FakeEngine,
        journal::{Journal, Phase, Record},
        plan::{Target, tests::a_plan},
    },
    run::Run,
};

/// A journal of a restore in this phase, whose claim may be in a vault and is owed to the swarm.
fn journal(data_root: &Path, phase: Phase) -> Journal {
    let plan = a_plan(data_root);
    let recorded = swarm_state::Inventory::empty(swarm_state::inventory::Cluster::default());
    let mut record =
        Record::new(testkit::second_at(0), plan, None, swarmdr_archive::manifest::Counts::default(), recorded);
    let perhaps = Some(Box::new(testkit::claim(3, 7, None)));
    record.claim = Some(Claimed { perhaps, is_owed: true, ..Claimed::default() });
    let mut journal = Journal::begin(data_root, record).expect("writes");
    journal.enter(phase).expect("writes");
    journal
}

fn facts(data_root: &Path, node: &str) -> EngineFacts {
    let plan = a_plan(data_root);
    let node = if node == "own" { plan.node_id.clone() } else { node.parse().expect("is an id") };
    let swarm = LocalSwarm { node_id: Some(node), cluster_id: Some(plan.cluster_id), ..LocalSwarm::default() };
    EngineFacts {
        version: "26.1.5".to_owned(),
        hostname: "h".to_owned(),
        data_root: data_root.to_owned(),
        live_restore: false,
        swarm,
    }
}

fn origin_of(data_root: &Path, node: &str) -> Origin {
    origin(&facts(data_root, node)).expect("is known")
}

#[test]
fn a_host_knows_by_its_restore_whether_it_brought_this_very_swarm() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let (root, claim) = (dir.path(), claims::ClaimId::of(7));
    assert_eq!(origin_of(root, "own"), Origin::Unknown, "there was no restore");
    for (phase, own, other) in [
        (Phase::Done, Origin::Restored(claim), Origin::Elsewhere(claim)),
        // The swarm works, and the run was cut: its label comes late.
        (Phase::Init, Origin::Restored(claim), Origin::Unknown),
        (Phase::Confirm, Origin::Restored(claim), Origin::Unknown),
        // What is there is the old state, or may be.
        (Phase::Stop, Origin::Unknown, Origin::Unknown),
        (Phase::Undo, Origin::Unknown, Origin::Unknown),
    ] {
        journal(root, phase);
        assert_eq!(origin_of(root, "own"), own, "{phase:?}");
        assert_eq!(origin_of(root, "another"), other, "{phase:?}");
    }
    // Without a leader the engine does not name its swarm, which is not another one for that.
    let mut without_leader = facts(root, "own");
    without_leader.swarm.cluster_id = None;
    assert!(origin(&without_leader).is_err());
    // At another address the node has an id of its own.
    let mut moved = journal(root, Phase::Done);
    moved.record.plan.readdress = Some(Target {
        addr: ([10, 0, 0, 9], 2377).into(),
        interface: "eth0".to_owned(),
        data_path_addr: None,
        copy_labels: false,
    });
    moved.note().expect("writes");
    assert_eq!(origin_of(root, "own"), Origin::Elsewhere(claim), "it has not joined");
    moved.record.joined = Some("another".parse().expect("is an id"));
    moved.note().expect("writes");
    assert_eq!(origin_of(root, "another"), Origin::Restored(claim));
}

#[tokio::test]
async fn a_claim_that_may_be_there_is_carried_once_and_a_failure_stays_owed() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let mut journal = journal(dir.path(), Phase::Done);
    let fake = FakeEngine::start();
    let swarm = json!({ "Version": { "Index": 9 }, "Spec": { "Labels": { "a": "b" } } });
    {
        let mut state = fake.state.lock().expect("no panic");
        (state.swarm, state.has_lost_its_swarm) = (swarm, true);
    }
    let told = carried::carry(&fake.engine(), &mut journal).await;
    assert!(told.len() == 1 && told[0].contains("does not carry its claim yet"), "{told:?}");
    assert!(Journal::read(dir.path()).expect("reads").is_some_and(|it| it.record.claim.is_some_and(|it| it.is_owed)));
    fake.state.lock().expect("no panic").has_lost_its_swarm = false;
    fake.requests();
    assert_eq!(carried::carry(&fake.engine(), &mut journal).await, Vec::<String>::new());
    assert_eq!(label::read(&fake.engine()).await.expect("answers"), Some(claims::ClaimId::of(7)));
    let spec = fake.state.lock().expect("no panic").swarm["Spec"].clone();
    assert_eq!(spec["Labels"]["a"], "b", "the others stay");
    assert_eq!(fake.requests(), ["POST /swarm/update?version=9"]);
    // It is noted, so no later run overwrites what the swarm carries by then.
    let later = json!({ "Labels": { "swarmdr.claim": claims::ClaimId::of(8).to_string() } });
    fake.state.lock().expect("no panic").swarm["Spec"] = later;
    let mut noted = Journal::read(dir.path()).expect("reads").expect("is there");
    assert_eq!(carried::carry(&fake.engine(), &mut noted).await, Vec::<String>::new());
    assert_eq!(fake.requests(), Vec::<String>::new());
}

/// A host with one vault in a directory, and keys of its own.
struct Host {
    dir: tempfile::TempDir,
    config: Config,
    identities: std::sync::Arc<Identities>,
    shutdown: Shutdown,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let vault = dir.path().join("vault");
        std::fs::create_dir(&vault).expect("makes it");
        let mut config = Config { state_dir: dir.path().join("state"), ..Config::default() };
        config.vault = vec![VaultSettings::new(format!("file://{}", vault.display()))];
        Self { dir, config, identities: std::sync::Arc::new(Identities::generate()), shutdown: Shutdown::default() }
    }

    fn restore(&self) -> Restore<'_> {
        Restore {
            run: Run {
                config: &self.config,
                shutdown: &self.shutdown,
                progress: Progress::hidden(),
                now: testkit::second_at(60),
            },
            keyring: Keyring { identities: std::sync::Arc::clone(&self.identities), ..Keyring::without_archives(None) },
            prune_dead: false,
            follow: None,
            claiming: Some(Claiming::default()),
            vaults: Default::default(),
        }
    }

    /// Puts the claim into the vault, as a put does whose reply is lost, and notes it as its maker does.
    async fn put(&self, claim: &Claim) -> Promoter {
        let promoter = Promoter::find(&self.config, &self.identities).expect("finds");
        let packed = testkit::packed(claim, promoter.signer.as_ref().expect("has one"));
        let restore = self.restore();
        let vaults = restore.vaults.get(&self.config).await.expect("connects");
        let key = Name::Claim(claim.epoch).key(&claim.cluster_id);
        store_bytes(vaults[0].vault.as_ref(), key, &packed, restore.run.now).await.expect("stores");
        OwnClaim::new(claim.cluster_id.clone(), claim.epoch, claim.claim_id, Stage::Used)
            .write(&self.config)
            .expect("writes");
        promoter
    }
}

#[tokio::test]
async fn a_claim_that_may_be_there_is_given_up_when_its_restore_is_undone() {
    let (host, claim) = (Host::new(), testkit::claim(3, 7, None));
    let promoter = host.put(&claim).await;
    let restore = host.restore();
    let claimed = Claimed { perhaps: Some(Box::new(claim.clone())), is_owed: true, ..Claimed::default() };
    assert_eq!(restore.give_up(Some(&claimed)).await, None);
    let query = Query::new(&claim.cluster_id, &promoter.trusted, restore.run.now);
    let readings = claims::read_all(restore.vaults.get(&host.config).await.expect("connects"), query).await;
    assert!(claims::owners(&readings).is_empty(), "it never counted: {readings:?}");
    assert_eq!(OwnClaim::read(&host.config, &claim.cluster_id), None);
    // There is nothing to give up.
    assert_eq!(restore.give_up(Some(&Claimed::default())).await, None);
    assert_eq!(restore.give_up(None).await, None);
}

#[tokio::test]
async fn a_claim_that_no_vault_lets_go_is_told_with_what_ends_it_and_stays_noted() {
    let (host, claim) = (Host::new(), testkit::claim(3, 7, None));
    host.put(&claim).await;
    let restore = host.restore();
    restore.vaults.get(&host.config).await.expect("connects");
    std::fs::rename(host.dir.path().join("vault"), host.dir.path().join("gone")).expect("moves it");
    let claimed = Claimed { perhaps: Some(Box::new(claim.clone())), is_owed: true, ..Claimed::default() };
    let told = restore.give_up(Some(&claimed)).await.expect("is told");
    assert!(told.contains("step-down --claim 3"), "{told}");
    assert!(OwnClaim::read(&host.config, &claim.cluster_id).is_some_and(|record| record.is_owed()));
    // A later run ends it, also one that makes no claim.
    std::fs::rename(host.dir.path().join("gone"), host.dir.path().join("vault")).expect("moves it");
    let without = Restore { claiming: None, ..host.restore() };
    assert_eq!(without.give_up(Some(&claimed)).await, None);
    assert_eq!(OwnClaim::read(&host.config, &claim.cluster_id), None);
}

/// A second restore went on with the claim of the first one, whose swarm is back when it is undone.
#[tokio::test]
async fn the_claim_of_the_swarm_that_an_undo_brings_back_is_kept() {
    let (host, claim) = (Host::new(), testkit::claim(3, 7, None));
    host.put(&claim).await;
    let mut record = journal(host.dir.path(), Phase::Stop).record;
    record.claim = Some(Claimed { perhaps: Some(Box::new(claim.clone())), ..Claimed::default() });
    record.previous = Some(Box::new(record.clone()));
    assert_eq!(host.restore().give_up_claim_of(&record).await, None);
    assert!(OwnClaim::read(&host.config, &claim.cluster_id).is_some_and(|record| !record.is_bare()));
    record.previous = None;
    assert_eq!(host.restore().give_up_claim_of(&record).await, None);
    assert_eq!(OwnClaim::read(&host.config, &claim.cluster_id), None);
}
