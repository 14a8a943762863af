//! The reader of state directories reports the same as dockerd, and notices every kind of damage.

mod api;
mod broken;
mod damage;
mod endings;
mod fixture;
mod grown;
mod overheard;
mod random;
mod repair;
mod rotten;
mod specs;

use std::fs;

use anyhow::{Context, Result, bail};
use swarm_state::{
    Error, Examined, Proof, Warning,
    inventory::{compare, diff},
    keys,
};

use fixture::{ENGINES, Fixture, PLANTED};

#[test]
fn a_young_state_holds_what_the_api_lists() -> Result<()> {
    holds_what_the_api_lists("plain", |_, _| Ok(()))
}

#[test]
fn a_state_with_snapshots_holds_what_the_api_lists() -> Result<()> {
    holds_what_the_api_lists("snapshots", |examined, _| {
        let raft = examined.raft.as_ref().context("position")?;
        assert!(raft.snapshot_index.is_some_and(|index| index > 20 && index < raft.commit), "{raft:?}");
        Ok(())
    })
}

#[test]
fn a_state_whose_log_lost_its_beginning_holds_what_the_api_lists() -> Result<()> {
    holds_what_the_api_lists("truncated", |examined, fixture| {
        let first = fixture.files("raft/wal-v3-encrypted")?.remove(0);
        assert!(!first.contains("/0000000000000000-"), "{first}");
        assert!(examined.raft.as_ref().is_some_and(|raft| raft.snapshot_index.is_some()), "{:?}", examined.raft);
        Ok(())
    })
}

#[test]
fn an_autolocked_state_opens_with_its_key() -> Result<()> {
    holds_what_the_api_lists("locked", |examined, fixture| {
        let key = examined.identity.key.context("key file")?;
        assert!(key.autolocked && key.kek_version > 0, "{key:?}");
        let locked = fs::read(fixture.state().join("certificates/swarm-node.key"))?;
        let unlocked = keys::unlocked(&locked, fixture.unlock_key.as_ref().context("unlock key")?)?;
        fs::write(fixture.state().join("certificates/swarm-node.key"), &unlocked)?;
        let again = swarm_state::examine(&fixture.state(), None)?;
        assert_eq!(again.proof, Proof::Proven);
        assert_eq!(again.inventory, examined.inventory);
        assert_eq!(again.identity.key.map(|key| (key.autolocked, key.kek_version)), Some((false, 0)));
        Ok(())
    })
}

#[test]
fn a_state_with_a_rotated_ca_holds_what_the_api_lists() -> Result<()> {
    holds_what_the_api_lists("rotated", |examined, _| {
        let cluster = &examined.inventory.as_ref().context("inventory")?.cluster;
        assert_eq!((cluster.force_rotate, cluster.last_forced_rotation), (Some(7), Some(7)));
        assert_eq!(cluster.root_ca_digest.as_ref(), Some(&examined.identity.root_ca_digest));
        Ok(())
    })
}

#[test]
fn states_of_several_managers_hold_what_the_api_lists() -> Result<()> {
    holds_what_the_api_lists("members", |examined, _| {
        let raft = examined.raft.as_ref().context("position")?;
        assert_eq!((raft.members.len(), raft.removed.len()), (2, 1), "{raft:?}");
        Ok(())
    })?;
    holds_what_the_api_lists("members-c", |examined, _| {
        let engine = examined.identity.engine.as_ref().context("docker-state.json")?;
        assert_eq!((engine.local_addr.as_str(), engine.advertise_addr.as_str()), ("", ""));
        assert_eq!(examined.raft_address, Some("10.66.0.3:2377".parse()?));
        Ok(())
    })
}

#[test]
fn a_demoted_manager_is_no_source_of_a_backup() -> Result<()> {
    for engine in ENGINES {
        match Fixture::unpack(engine, "members-b")?.examine() {
            Err(Error::NotAManager { .. }) => {}
            other => bail!("{engine}: {other:?}"),
        }
    }
    Ok(())
}

#[test]
fn without_the_unlock_key_a_state_is_sealed_and_its_position_known() -> Result<()> {
    for engine in ENGINES {
        let fixture = Fixture::unpack(engine, "locked")?;
        let open = fixture.examine()?;
        let sealed = swarm_state::examine(&fixture.state(), None)?;
        let Proof::Sealed(checked) = sealed.proof else { bail!("{engine}: {:?}", sealed.proof) };
        assert!(checked.entries > 0 && checked.bytes > 1000, "{checked:?}");
        let (open, raft) = (open.raft.context("position")?, sealed.raft.context("position")?);
        assert_eq!((raft.commit, raft.last_index, raft.term), (open.commit, open.last_index, open.term));
        assert_eq!(raft.members[0].raft_id, open.members[0].raft_id);
        assert_eq!(sealed.raft_address, Some("10.66.0.1:2377".parse()?));
        assert_eq!(sealed.inventory, None);
    }
    Ok(())
}

#[test]
fn a_wrong_unlock_key_is_told_apart_from_a_damaged_key_file() -> Result<()> {
    let fixture = Fixture::unpack("28.5.2", "locked")?;
    let wrong = format!("SWMKEY-1-{}", "A".repeat(43)).parse()?;
    match swarm_state::examine(&fixture.state(), Some(&wrong)) {
        Err(Error::WrongUnlockKey { .. }) => {}
        other => bail!("{other:?}"),
    }
    let path = fixture.state().join("certificates/swarm-node.key");
    let text = fs::read_to_string(&path)?;
    for part in ["raft-dek: ", "\n\n"] {
        let at = text.find(part).context("part of the key file")? + part.len() + 40;
        let mut damaged = text.clone().into_bytes();
        damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
        fs::write(&path, &damaged)?;
        let Proof::Unproven(damage) = fixture.examine()?.proof else { bail!("damage in `{part}` was not seen") };
        assert_eq!(damage.file, "certificates/swarm-node.key");
    }
    Ok(())
}

#[test]
fn an_interrupted_renewal_is_read_as_the_engine_reads_it() -> Result<()> {
    let fixture = Fixture::unpack("28.5.2", "plain")?;
    let before = fixture.examine()?;
    let foreign = Fixture::unpack("26.1.5", "plain")?;
    let certificates = fixture.state().join("certificates");
    fs::rename(certificates.join("swarm-node.crt"), certificates.join(".swarm-node.crt"))?;
    // Another node's certificate with its root: valid in itself, but not for this key.
    for file in ["swarm-node.crt", "swarm-root-ca.crt"] {
        let both = [
            fs::read(foreign.state().join("certificates").join(file))?,
            if file == "swarm-root-ca.crt" { fs::read(certificates.join(file))? } else { Vec::new() },
        ];
        fs::write(certificates.join(file), both.concat())?;
    }
    let examined = fixture.examine()?;
    assert_eq!(examined.proof, Proof::Proven);
    assert_eq!(examined.identity.node_id, before.identity.node_id);
    assert!(examined.warnings.contains(&Warning::RenewalUnfinished), "{:?}", examined.warnings);
    Ok(())
}

#[test]
fn no_value_is_shown_anywhere() -> Result<()> {
    for engine in ENGINES {
        for kind in ["plain", "snapshots", "truncated", "locked", "rotated", "members", "members-c"] {
            let fixture = Fixture::unpack(engine, kind)?;
            let api = fixture.api()?.to_string();
            assert!(api.contains(PLANTED), "the environment of services is planted");
            let examined = fixture.examine()?;
            let shown = format!("{examined:?}\n{examined:#?}\n{}", serde_json::to_string(&examined)?);
            assert!(shown.contains("service-1"), "names are shown");
            for never in [PLANTED, "SWMTKN-1", "SWMKEY-1", "PRIVATE KEY"] {
                assert!(!shown.contains(never), "{engine} {kind}: {never}");
            }
        }
    }
    Ok(())
}

/// Compares all objects of a fixture, of every engine, with what the API listed.
fn holds_what_the_api_lists(kind: &str, check: impl Fn(&Examined, &Fixture) -> Result<()>) -> Result<()> {
    for engine in ENGINES {
        let fixture = Fixture::unpack(engine, kind)?;
        check_against_api(&fixture, check_members(kind)).with_context(|| format!("{engine} {kind}"))?;
        let examined = fixture.examine()?;
        check(&examined, &fixture).with_context(|| format!("{engine} {kind}"))?;
        let json = serde_json::to_string(&examined)?;
        assert_eq!(serde_json::from_str::<Examined>(&json)?.inventory, examined.inventory);
    }
    Ok(())
}

/// Whether states of nodes can be compared. If managers were stopped one after the other, the last ones saw the others
/// go after the capture.
fn check_members(kind: &str) -> bool {
    !kind.starts_with("members")
}

fn check_against_api(fixture: &Fixture, node_states: bool) -> Result<()> {
    let examined = fixture.examine()?;
    assert_eq!(examined.proof, Proof::Proven);
    let ours = examined.inventory.context("a proven state has an inventory")?;
    let mut api = api::inventory(&fixture.api()?);
    assert_eq!(compare(&api, &ours), []);
    let mut ours = api::seen_by_api(ours);
    if !node_states {
        for node in ours.nodes.iter_mut().chain(&mut api.nodes) {
            node.state = None;
            node.manager_addr = None;
        }
        ours.tasks.clear();
        api.tasks.clear();
    }
    assert_eq!(diff(&api, &ours), []);
    assert_eq!(ours, api);
    Ok(())
}
