//! What a restore refuses, and what it asks of the engine.

use std::collections::BTreeSet;

use swarmdr_archive::{
    Digest,
    manifest::{CertificateTimes, Counts, FORMAT, Payload, RestoreHints, Snapshot, SnapshotMode},
};

use super::*;
use crate::{exit::Exit, fault::Rendered, host::engine::LocalSwarm};

const NOW: &str = "2026-11-21T12:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().expect("is a time")
}

fn manifest() -> Manifest {
    let created_at = time("2026-11-20T03:30:00Z");
    Manifest {
        format: FORMAT,
        id: BackupId::new(created_at, [1, 2, 3, 4]),
        sequence: 1,
        previous: None,
        created_at,
        agent_version: "0.1.0".into(),
        engine_version: "20.10.24+dfsg1".into(),
        cluster_id: "cluster".into(),
        node_id: "node".into(),
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
        addresses: vec![LocalAddress { interface: "eth0".into(), ip: "10.0.0.4".parse().expect("is an address") }],
        living: Vec::new(),
        root,
    }
}

fn decide(manifest: &Manifest, situation: &Situation, force: bool) -> Result<Decision> {
    let seen =
        Seen { facts: &situation.facts, addresses: &situation.addresses, living: &situation.living, now: time(NOW) };
    RestorePlan::make(manifest, "vault", &["docker.service".into()], &seen, Overrides { force })
}

#[test]
fn a_fresh_host_with_the_address_gets_a_plan_that_hands_back_the_spec() {
    let situation = situation();
    let Decision::Restore(plan) = decide(&manifest(), &situation, false).expect("is allowed") else {
        panic!("there is something to do");
    };
    assert_eq!(plan.interface, "eth0");
    assert_eq!(plan.state_dir, situation.root.path().join("swarm"));
    let request = plan.init.to_api();
    assert_eq!(request.force_new_cluster, Some(true));
    assert_eq!(request.advertise_addr.as_deref(), Some("10.0.0.4:2377"));
    assert_eq!(request.listen_addr.as_deref(), Some("0.0.0.0:2377"));
    // Absent, the engine would take the pool from its defaults, and these two as "off" and "rotate".
    assert_eq!(request.default_addr_pool, None);
    let spec = request.spec.expect("is sent");
    assert_eq!(spec.encryption_config.expect("is sent").auto_lock_managers, Some(false));
    assert_eq!(spec.ca_config.expect("is sent").force_rotate, Some(7));
    assert!(plan.notes.iter().any(|note| note.contains("written by engine 20.10.24")), "{:?}", plan.notes);
}

#[test]
fn the_very_manager_is_left_alone_unless_forced() {
    let mut situation = situation();
    situation.facts.swarm = LocalSwarm {
        state: SwarmState::Active,
        cluster_id: "cluster".into(),
        node_id: "node".into(),
        is_manager: true,
        ..LocalSwarm::default()
    };
    assert!(matches!(decide(&manifest(), &situation, false), Ok(Decision::AlreadyThere)));
    assert!(matches!(decide(&manifest(), &situation, true), Ok(Decision::Restore(_))));
}

/// Changes one thing about a restore that would be allowed.
type Spoil = fn(&mut Manifest, &mut Situation);

#[test]
fn whatever_would_do_harm_is_refused() {
    let cases: [(&str, bool, Spoil); 11] = [
        ("lives at 10.0.0.4, and this host has 10.0.0.9 (eth1)", false, |_, here| {
            here.addresses =
                vec![LocalAddress { interface: "eth1".into(), ip: "10.0.0.9".parse().expect("is an address") }];
        }),
        ("autolocked", false, |backup, _| backup.autolock = true),
        ("could not be replayed", false, |backup, _| backup.proof = Proof::Unproven),
        ("this host's clock", false, |backup, _| {
            backup.certificate.node_not_before = Some(time("2026-11-21T13:00:00Z"));
        }),
        ("certificate in the backup expired", true, |backup, _| {
            backup.certificate.node_not_after = Some(time("2026-11-21T11:00:00Z"));
        }),
        ("root CA of the backup expired", false, |backup, _| {
            backup.certificate.root_not_after = Some(time("2026-11-21T11:00:00Z"));
        }),
        ("older than the engine", false, |_, here| here.facts.version = "19.03.15".into()),
        ("alive at 10.0.0.5:2377", false, |_, here| here.living = vec!["10.0.0.5:2377 (m2)".into()]),
        ("live-restore", false, |_, here| here.facts.live_restore = true),
        ("active node of swarm other", true, |_, here| {
            here.facts.swarm.state = SwarmState::Active;
            here.facts.swarm.cluster_id = "other".into();
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
