//! States of a size and an age that no fixture has, made anew by real engines.

use std::env;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use swarmdr_tests::lab::Engine;
use swarmdr_tests::measure::on_one_processor;
use swarmdr_tests::scenario::agent_binary;
use tempfile::TempDir;

use crate::check_against_api;
use crate::fixture::Fixture;

/// Three managers of which one was demoted, 59 services, 274 secrets, four snapshots, a rotated CA, and autolock.
#[test]
fn a_grown_state_of_every_engine_holds_what_the_api_lists() -> Result<()> {
    // At the same time: most of it is waiting.
    let runs = [Engine::E20_10, Engine::E26_1, Engine::E28_5].map(|engine| thread::spawn(move || grown(engine)));
    for run in runs {
        run.join().expect("a run does not panic")?;
    }
    Ok(())
}

fn grown(engine: Engine) -> Result<()> {
    let made = make(engine, &["large"])?;
    for kind in ["large", "large-c"] {
        let fixture = Fixture::at(made.path().join(kind))?;
        check_against_api(&fixture, true).with_context(|| format!("{engine:?} {kind}"))?;
        let examined = fixture.examine()?;
        let inventory = examined.inventory.context("inventory")?;
        assert!(inventory.services.len() >= 50 && inventory.secrets.len() >= 200, "{:?}", inventory.counts());
        assert!(examined.identity.key.is_some_and(|key| key.autolocked), "{:?}", examined.identity.key);
        assert_eq!(inventory.cluster.last_forced_rotation, Some(3));
    }
    let manager = Fixture::at(made.path().join("large"))?;
    assert!(manager.files("raft/snap-v3-encrypted")?.len() > 1, "several snapshots are kept");
    Ok(())
}

/// Prints the speed of the proof of a log and of a snapshot; `SWARMDR_TEST_FULL` only, because an engine takes two minutes
/// and 4 GB to make this, and the suite `large` measures the log every time. The speed is that of a release build.
#[test]
fn a_state_of_one_gibibyte_is_proven_quickly_in_little_memory() -> Result<()> {
    if env::var_os("SWARMDR_TEST_FULL").is_none() {
        eprintln!("NOTE: only with SWARMDR_TEST_FULL");
        return Ok(());
    }
    let made = make(Engine::E26_1, &["huge", "huge-snapshot"])?;
    let agent = agent_binary()?;
    // Of the log before a snapshot nothing is read.
    for (kind, read) in [("huge", "raft"), ("huge-snapshot", "raft/snap-v3-encrypted")] {
        let state = Fixture::at(made.path().join(kind))?.state();
        let bytes = size(&state.join(read))?;
        let state = state.to_str().context("UTF-8")?;
        let cost = on_one_processor(&agent, &["--config", "/dev/null", "inspect", "--dir", state, "--json"], &[0])?;
        let speed = cost.speed(bytes);
        eprintln!("{kind}: {} MB, {speed} MB/s of one processor, {cost:?}", bytes / 1_000_000);
        assert!(bytes > 1 << 30, "{bytes}");
        assert!(cost.memory < (64 << 20) + 500_000, "{cost:?}");
        let release = agent.components().any(|part| part.as_os_str() == "release");
        assert!(!release || speed >= 200, "{speed} MB/s");
    }
    Ok(())
}

fn make(engine: Engine, kinds: &[&str]) -> Result<TempDir> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/swarm/make");
    let out = tempfile::tempdir_in("/var/tmp")?;
    let made = Command::new(script).arg(engine.tree()?).arg(out.path()).args(kinds).status()?;
    ensure!(made.success(), "{engine:?} cannot make {kinds:?}");
    Ok(out)
}

/// Disk blocks, as the spare space of the last segment is never read.
fn size(dir: &Path) -> Result<u64> {
    let out = Command::new("du").args(["--summarize", "--block-size=1"]).arg(dir).output()?;
    let text = String::from_utf8(out.stdout)?;
    text.split_whitespace().next().context("du prints a number")?.parse().context("du prints a number")
}
