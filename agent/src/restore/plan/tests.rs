//! Tests of the refusals of a restore, and of the request to the engine.

use std::collections::BTreeSet;

use std::path::Path;

use swarm_state::{Damage, Examined, Inventory, Warning, inventory::Cluster};
use swarmdr_archive::{
    Digest, SwarmNode,
    manifest::{CertificateTimes, Counts, FORMAT, Payload, Proof, RestoreHints, Snapshot, SnapshotMode},
};

use super::*;
use crate::{
    host::engine::{LocalSwarm, SwarmState},
    outcome::{exit::Exit, failure::Rendered},
    restore::on_disk::Held,
};

const NOW: &str = "2026-11-21T12:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().expect("is a time")
}

pub(crate) fn manifest() -> Manifest {
    let created_at = time("2026-11-20T03:30:00Z");
    Manifest {
        format: FORMAT,
        id: BackupId::new(created_at, [1, 2, 3, 4]),
        sequence: 1,
        previous: None,
        created_at,
        agent_version: "0.1.0".into(),
        engine_version: "20.10.24+dfsg1".into(),
        cluster_id: "cluster".parse().expect("is an id"),
        node_id: "node".parse().expect("is an id"),
        hostname: "m1".into(),
        raft_addr: "10.0.0.4:2377".parse().expect("is an address"),
        raft_addr_local: true,
        managers: Vec::new(),
        raft: None,
        certificate: CertificateTimes {
            node_not_before: Some(time("2026-11-01T00:00:00Z")),
            node_not_after: Some(time("2027-01-30T00:00:00Z")),
            root_not_after: Some(time("2046-01-01T00:00:00Z")),
        },
        autolock: false,
        kek_version: None,
        proof: Proof::Proven,
        proof_reason: None,
        restore: RestoreHints { listen_addr: Some("0.0.0.0:2377".into()), force_rotate: 7, ..RestoreHints::default() },
        snapshot: Snapshot { mode: SnapshotMode::Cold, engine_down_ms: 1, ours_ms: 1 },
        counts: Counts::default(),
        specs: None,
        payload: Payload {
            name: "state.tar.zst".into(),
            size: 1,
            sha256: Digest::of(b""),
            tar_size: 1,
            tar_sha256: Digest::of(b""),
            recipients: Vec::new(),
            compression: "zstd".into(),
        },
    }
}

struct Situation {
    root: tempfile::TempDir,
    facts: EngineFacts,
    addresses: Vec<LocalAddress>,
    living: Vec<String>,
    unasked: Vec<String>,
    on_disk: OnDisk,
    last_restore: Option<(BackupId, Timestamp)>,
    newest: bool,
    has_unlock_key: bool,
}

pub(super) fn local(ip: &str, interface: &str) -> LocalAddress {
    LocalAddress { interface: interface.into(), ip: ip.parse().expect("is an address") }
}

fn situation() -> Situation {
    let root = tempfile::tempdir().expect("a scratch directory");
    Situation {
        facts: EngineFacts {
            version: "26.1.5+dfsg1".into(),
            hostname: "fresh".into(),
            data_root: root.path().to_owned(),
            live_restore: false,
            swarm: LocalSwarm::default(),
        },
        addresses: vec![local("127.0.0.1", "lo"), local("10.0.0.4", "eth0")],
        living: Vec::new(),
        unasked: Vec::new(),
        on_disk: OnDisk::Nothing,
        last_restore: None,
        newest: true,
        has_unlock_key: false,
        root,
    }
}

fn decide_with(manifest: &Manifest, situation: &Situation, overrides: &Overrides) -> Result<Decision> {
    let seen = Seen {
        here: Here {
            facts: &situation.facts,
            addresses: &situation.addresses,
            on_disk: &situation.on_disk,
            has_unlock_key: situation.has_unlock_key,
            now: time(NOW),
        },
        living: &situation.living,
        unasked: &situation.unasked,
        last_restore: situation.last_restore,
        newest: situation.newest,
    };
    RestorePlan::make(manifest, "vault", &["docker.service".into()], &seen, overrides)
}

fn decide(manifest: &Manifest, situation: &Situation, force: bool) -> Result<Decision> {
    decide_with(manifest, situation, &Overrides { force, ..Overrides::default() })
}

fn planned(decision: Result<Decision>) -> RestorePlan {
    match decision.expect("is allowed") {
        Decision::Restore(plan) => *plan,
        other => panic!("there is something to do: {other:?}"),
    }
}

/// A plan for the tests of other modules.
pub(crate) fn a_plan(data_root: &Path) -> RestorePlan {
    let mut plan = planned(decide(&manifest(), &situation(), false));
    plan.state_dir = data_root.join("swarm");
    plan.staging = data_root.join("staging");
    plan
}

#[test]
fn a_fresh_host_with_the_address_gets_a_plan_that_hands_back_the_spec() {
    let situation = situation();
    let plan = planned(decide(&manifest(), &situation, false));
    assert_eq!(plan.interface.as_deref(), Some("eth0"));
    assert_eq!(plan.state_dir, situation.root.path().join("swarm"));
    assert_eq!(plan.init.advertise_addr, "10.0.0.4:2377");
    assert_eq!(plan.init.listen_addr, "0.0.0.0:2377");
    assert_eq!((plan.init.auto_lock_managers, plan.init.force_rotate), (false, 7));
    assert!(plan.notes.iter().any(|note| note.contains("written by engine 20.10.24")), "{:?}", plan.notes);
}

fn held(cluster: &str, node: &str) -> OnDisk {
    let own = SwarmNode::parse(cluster, node).expect("are ids");
    OnDisk::State(Held { own, is_manager: true, is_taken_up: true })
}

fn working(situation: &mut Situation) {
    situation.on_disk = held("cluster", "node");
    situation.facts.swarm = LocalSwarm {
        state: SwarmState::Active,
        cluster_id: Some("cluster".parse().expect("is an id")),
        node_id: Some("node".parse().expect("is an id")),
        is_manager: true,
        ..LocalSwarm::default()
    };
}

#[test]
fn a_healed_host_is_left_alone_and_one_that_moved_on_is_not_rolled_back() {
    let (id, other) = (manifest().id, BackupId::new(time("2026-11-01T00:00:00Z"), [9; 4]));
    let restored = |at: &str, id| Some((id, time(at)));
    // The last restore, whether the newest backup was asked for, and whether there is nothing to do.
    for (last_restore, newest, healed) in [
        (None, true, true),
        (restored("2026-11-20T04:00:00Z", id), true, true),
        (restored("2026-11-20T04:00:00Z", id), false, true),
        // The newest backup was made by the restored swarm itself.
        (restored("2026-11-19T04:00:00Z", other), true, true),
        // The newest backup is older than the restore of this host from an even older one.
        (restored("2026-11-20T04:00:00Z", other), true, false),
        (None, false, false),
        (restored("2026-11-20T04:00:00Z", other), false, false),
    ] {
        let mut situation = Situation { last_restore, newest, ..situation() };
        working(&mut situation);
        let decided = decide(&manifest(), &situation, false);
        match healed {
            true => assert!(matches!(decided, Ok(Decision::AlreadyThere)), "{last_restore:?} {newest}: {decided:?}"),
            false => {
                let rendered = Rendered::of(&decided.expect_err("would roll back"));
                assert_eq!(rendered.exit, Exit::Refused);
                assert!(rendered.to_string().contains("--force"), "{rendered}");
            }
        }
        planned(decide(&manifest(), &situation, true));
    }
    // Another manager of the same swarm: its backup may be the newest, and there is nothing to restore here either.
    let mut elsewhere = situation();
    working(&mut elsewhere);
    elsewhere.facts.swarm.node_id = Some("another".parse().expect("is an id"));
    elsewhere.addresses = vec![local("10.0.0.9", "eth0")];
    assert!(matches!(decide(&manifest(), &elsewhere, false), Ok(Decision::AlreadyThere)));
}

#[test]
fn a_healed_host_that_waits_for_its_unlock_key_gets_it() {
    let mut locked = situation();
    locked.on_disk = held("cluster", "node");
    locked.facts.swarm.state = SwarmState::Locked;
    let rendered = Rendered::of(&decide(&manifest(), &locked, false).expect_err("there is no key"));
    assert!(rendered.exit == Exit::Refused && rendered.to_string().contains("--unlock-key"), "{rendered}");
    locked.has_unlock_key = true;
    assert!(matches!(decide(&manifest(), &locked, false), Ok(Decision::AlreadyThereLocked)));
}

#[test]
fn a_manager_that_lost_its_majority_is_told_how_to_keep_its_state() {
    let mut situation = situation();
    working(&mut situation);
    situation.facts.swarm.cluster_id = None;
    situation.facts.swarm.error = "The swarm does not have a leader".into();
    let rendered = Rendered::of(&decide(&manifest(), &situation, false).expect_err("is newer"));
    assert_eq!(rendered.exit, Exit::Refused);
    assert!(rendered.to_string().contains("recover-quorum"), "{rendered}");
    planned(decide(&manifest(), &situation, true));
}

#[test]
fn whatever_an_engine_starts_with_is_replaced_only_when_told() {
    let not_taken_up = |on_disk: OnDisk| match on_disk {
        OnDisk::State(held) => OnDisk::State(Held { is_taken_up: false, ..held }),
        other => other,
    };
    let (own, other) = (held("cluster", "node"), held("other", "someone"));
    for (state, on_disk, said) in [
        (SwarmState::Error, own.clone(), "its own state may be newer"),
        (SwarmState::Pending, own.clone(), "its own state may be newer"),
        (SwarmState::Inactive, own.clone(), "the engine does not start it"),
        (SwarmState::Inactive, not_taken_up(own.clone()), "its own state may be newer"),
        (SwarmState::Error, other.clone(), "is node someone of swarm other"),
        (SwarmState::Inactive, other.clone(), "is node someone of swarm other"),
        (SwarmState::Pending, other.clone(), "is node someone of swarm other"),
        (SwarmState::Locked, other.clone(), "holds a locked swarm"),
        (SwarmState::Error, OnDisk::Unknown, "is joining a swarm"),
        (SwarmState::Inactive, OnDisk::Unknown, "they cannot be read"),
        (SwarmState::Pending, OnDisk::Nothing, "is joining a swarm"),
    ] {
        let mut situation = Situation { on_disk, has_unlock_key: true, ..situation() };
        situation.facts.swarm.state = state;
        let rendered = Rendered::of(&decide(&manifest(), &situation, false).expect_err("it may be in use"));
        assert!(rendered.exit == Exit::Refused && rendered.what.contains(said), "{state:?}: {rendered}");
        assert!(rendered.advice.iter().any(|advice| advice.contains("--force")), "{rendered}");
        planned(decide(&manifest(), &situation, true));
    }
    for (state, on_disk) in [
        (SwarmState::Inactive, OnDisk::Nothing),
        (SwarmState::Inactive, not_taken_up(other)),
        (SwarmState::Error, OnDisk::Nothing),
    ] {
        let mut situation = Situation { on_disk, ..situation() };
        situation.facts.swarm.state = state;
        planned(decide(&manifest(), &situation, false));
    }
}

#[test]
fn addresses_are_those_that_the_engine_can_use_here() {
    let init = |manifest: &Manifest, situation: &Situation, overrides: &Overrides| {
        planned(decide_with(manifest, situation, overrides)).init
    };
    let none = Overrides::default();
    // IPv6, with a port of its own.
    let mut backup = manifest();
    backup.raft_addr = "[fd00:77::4]:4000".parse().expect("is an address");
    backup.restore.listen_addr = Some("[::]:4000".into());
    let here = Situation { addresses: vec![local("fe80::1", "eth0"), local("fd00:77::4", "eth0")], ..situation() };
    let request = init(&backup, &here, &none);
    assert_eq!((request.advertise_addr.as_str(), request.listen_addr.as_str()), ("[fd00:77::4]:4000", "[::]:4000"));

    // No recorded listen address, or one of the old host only: the engine listens on the swarm's address.
    for recorded in [None, Some("192.168.7.7:2377".to_owned())] {
        let mut backup = manifest();
        backup.restore.listen_addr = recorded;
        assert_eq!(init(&backup, &situation(), &none).listen_addr, "10.0.0.4:2377");
    }

    // NAT: allowed only if the manager was behind NAT at the backup, and only with --address-elsewhere.
    let mut backup = manifest();
    backup.raft_addr = "203.0.113.7:2377".parse().expect("is an address");
    let told = Overrides { address_elsewhere: true, ..Overrides::default() };
    decide_with(&backup, &situation(), &told).expect_err("it was local at the backup");
    backup.raft_addr_local = false;
    let rendered = Rendered::of(&decide_with(&backup, &situation(), &none).expect_err("was not told"));
    assert!(rendered.to_string().contains("--address-elsewhere"), "{rendered}");
    let request = init(&backup, &situation(), &told);
    assert_eq!((request.advertise_addr.as_str(), request.listen_addr.as_str()), ("203.0.113.7:2377", "10.0.0.4:2377"));
    let mut here = situation();
    here.addresses.push(local("172.17.0.1", "docker0"));
    assert_eq!(init(&backup, &here, &told).listen_addr, "10.0.0.4:2377", "not the engine's own bridge");
    here.addresses.push(local("10.0.1.4", "eth1"));
    decide_with(&backup, &here, &told).expect_err("which of the two is not clear");

    // An address of its own for overlay traffic.
    let mut backup = manifest();
    backup.restore.data_path_addr = Some("10.9.0.4".into());
    let rendered = Rendered::of(&decide_with(&backup, &situation(), &none).expect_err("is not here"));
    assert!(rendered.exit == Exit::Refused && rendered.to_string().contains("--data-path-addr"), "{rendered}");
    let other = Overrides { data_path_addr: Some("10.0.0.4".into()), ..Overrides::default() };
    assert_eq!(init(&backup, &situation(), &other).data_path_addr.as_deref(), Some("10.0.0.4"));
    let mut here = situation();
    here.addresses.push(local("10.9.0.4", "eth1"));
    assert_eq!(init(&backup, &here, &none).data_path_addr.as_deref(), Some("10.9.0.4"));
}

#[test]
fn an_operator_is_told_what_is_not_as_it_was() {
    let mut backup = manifest();
    backup.restore.data_root = Some("/srv/docker".into());
    backup.certificate.node_not_after = Some(time("2026-11-21T11:00:00Z"));
    backup.autolock = true;
    let here = Situation { has_unlock_key: true, ..situation() };
    let notes = planned(decide(&backup, &here, false)).notes.join("\n");
    for said in
        ["/srv/docker", "expired at 2026-11-21T11:00:00Z; force-new-cluster renews it", "autolocked", "engine 20.10.24"]
    {
        assert!(notes.contains(said), "{notes}");
    }
}

/// The result of examining a proven state with an empty inventory.
pub(crate) fn examined() -> Examined {
    let dates = serde_json::json!({ "not_before": "2026-11-01T00:00:00Z", "not_after": "2027-01-30T00:00:00Z" });
    let identity = serde_json::json!({
        "node_id": "node", "cluster_id": "cluster", "role": "manager", "node_certificate": dates, "root_ca": dates,
        "root_ca_digest": "", "key": null, "engine": { "JoinInProgress": false }, "known_managers": [],
    });
    let cluster = Cluster { has_ca_key: Some(true), ..Cluster::default() };
    let examined = serde_json::json!({
        "identity": identity, "proof": "proven", "inventory": Inventory::empty(cluster), "raft": null,
        "raft_address": null, "warnings": [],
    });
    serde_json::from_value(examined).expect("is what an examination says")
}

/// Changes one thing about a state that would be placed.
type SpoilState = fn(&mut Examined);

#[test]
fn what_only_the_unpacked_state_says_is_refused_before_anything_is_touched() {
    let expire = |state: &mut Examined| state.identity.node_certificate.not_after = time("2026-11-21T11:00:00Z");
    assert_eq!(checks::staged(&examined(), &manifest(), time(NOW)).expect("is fine"), Vec::<String>::new());
    let mut expired = examined();
    expire(&mut expired);
    checks::staged(&expired, &manifest(), time(NOW)).expect("force-new-cluster renews it");

    let cases: [(&str, SpoilState); 5] = [
        ("still joining", |state| state.identity.engine.as_mut().expect("is there").join_in_progress = true),
        ("raft log in the backup breaks", |state| {
            state.proof = swarm_state::Proof::Unproven(Damage::corrupt("raft", 7, "bad"));
        }),
        ("unlock key was not given", |state| {
            state.proof = swarm_state::Proof::Sealed(swarm_state::Checked { entries: 1, bytes: 1 });
        }),
        ("cannot renew it by itself", |state| {
            state.identity.node_certificate.not_after = time("2026-11-21T11:00:00Z");
            state.inventory.as_mut().expect("is there").cluster.has_ca_key = Some(false);
        }),
        ("cannot renew it by itself", |state| {
            state.identity.node_certificate.not_after = time("2026-11-21T11:00:00Z");
            state.inventory.as_mut().expect("is there").cluster.external_cas = Some(vec!["https://ca".into()]);
        }),
    ];
    for (wanted, spoil) in cases {
        let mut state = examined();
        spoil(&mut state);
        let rendered = Rendered::of(&checks::staged(&state, &manifest(), time(NOW)).expect_err(wanted));
        assert_eq!(rendered.exit, Exit::Refused, "{rendered}");
        assert!(rendered.what.contains(wanted) && !rendered.advice.is_empty(), "{rendered}");
    }

    let mut rotating = examined();
    rotating.warnings = vec![
        Warning::RootRotation,
        Warning::ExternalCa { urls: vec!["https://ca".into()] },
        Warning::UncommittedEntries { count: 1 },
    ];
    let notes = checks::staged(&rotating, &manifest(), time(NOW)).expect("goes on");
    assert!(notes.len() == 2 && notes[0].contains("rotated") && notes[1].contains("https://ca"), "{notes:?}");
}

/// Changes one thing about a restore that would be allowed.
type Spoil = fn(&mut Manifest, &mut Situation);

#[test]
fn whatever_would_do_harm_is_refused() {
    let cases: [(&str, bool, Spoil); 11] = [
        ("has the address 10.0.0.4, and this host has 10.0.0.9 (eth1)", false, |_, here| {
            here.addresses =
                vec![LocalAddress { interface: "eth1".into(), ip: "10.0.0.9".parse().expect("is an address") }];
        }),
        ("autolocked, and its unlock key was not given", false, |backup, _| backup.autolock = true),
        ("could not be replayed", false, |backup, _| backup.proof = Proof::Unproven),
        ("the clock of this host", false, |backup, _| {
            backup.certificate.node_not_before = Some(time("2026-11-21T13:00:00Z"));
        }),
        ("root CA of the backup expired", false, |backup, _| {
            backup.certificate.root_not_after = Some(time("2026-11-21T11:00:00Z"));
        }),
        ("older than the engine", false, |_, here| here.facts.version = "19.03.15".into()),
        ("alive at 10.0.0.5:2377", false, |_, here| here.living = vec!["10.0.0.5:2377 (m2)".into()]),
        ("cannot ask them: 10.0.0.5:2377", false, |_, here| here.unasked = vec!["10.0.0.5:2377 (no route)".into()]),
        ("live-restore", false, |_, here| here.facts.live_restore = true),
        ("active node of swarm other", true, |_, here| {
            here.facts.swarm.state = SwarmState::Active;
            here.facts.swarm.cluster_id = Some("other".parse().expect("is an id"));
        }),
        ("locked swarm", true, |_, here| here.facts.swarm.state = SwarmState::Locked),
    ];
    let mut said = BTreeSet::new();
    for (wanted, can_be_forced, spoil) in cases {
        let (mut manifest, mut situation) = (manifest(), situation());
        spoil(&mut manifest, &mut situation);
        let rendered = Rendered::of(&decide(&manifest, &situation, false).expect_err(wanted));
        assert_eq!(rendered.exit, Exit::Refused, "{rendered}");
        assert!(rendered.what.contains(wanted), "should say `{wanted}`: {rendered}");
        assert!(!rendered.advice.is_empty(), "no way out: {rendered}");
        assert_eq!(decide(&manifest, &situation, true).is_ok(), can_be_forced, "{wanted}");
        said.insert(rendered.what);
    }
    assert_eq!(said.len(), 11, "each case has its own words");
}

#[test]
fn a_manifest_of_others_does_not_steer_the_terminal() {
    use crate::outcome::terminal::tests::{assert_tame, forged};
    assert_tame(|text| forged(&a_plan(Path::new("/d")), text));
    // Text that is made from the manifest: the error of a refusal, or the plan.
    for (force, engine) in [(false, false), (true, false), (true, true)] {
        let of = |text: &str| {
            let mut manifest = manifest();
            manifest.managers = vec![swarmdr_archive::manifest::Manager {
                node_id: "other".into(),
                addr: "10.0.0.5:2377".into(),
                hostname: Some("m2".into()),
            }];
            let mut forged = forged(&manifest, text);
            if !engine {
                forged.engine_version = manifest.engine_version;
            }
            match decide(&forged, &situation(), force) {
                Ok(Decision::Restore(plan)) => plan.to_string(),
                Ok(other) => panic!("there is something to do: {other:?}"),
                Err(error) => crate::outcome::failure::Rendered::of(&error).to_string(),
            }
        };
        let told = of(swarmdr_archive::untrusted::HOSTILE);
        let unseen = |character| swarmdr_archive::untrusted::needs_escape(character) && character != '\n';
        assert!(!told.chars().any(unseen), "{told:?}");
        assert_eq!(told.lines().count(), of("m1").lines().count(), "{told}");
    }
}
