//! States of a size and an age that no fixture has, made anew by real engines.

use std::env;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use swarmdr_agent::swarm::Proof;
use swarmdr_tests::lab::Engine;
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

/// Prints the speed of the proof; `SWARMDR_TEST_FULL` only, because an engine takes two minutes and 4 GB to make this.
/// The bound on memory and the speed are those of a release build: `cargo test --release`.
#[test]
fn a_state_of_one_gibibyte_is_proven_quickly_in_little_memory() -> Result<()> {
    if env::var_os("SWARMDR_TEST_FULL").is_none() {
        eprintln!("NOTE: only with SWARMDR_TEST_FULL");
        return Ok(());
    }
    let made = make(Engine::E26_1, &["huge", "huge-snapshot"])?;
    for kind in ["huge", "huge-snapshot"] {
        let fixture = Fixture::at(made.path().join(kind))?;
        let bytes = size(&fixture.state().join("raft"))?;
        let before = peak_memory()?;
        let begun = Instant::now();
        let examined = fixture.examine()?;
        let took = begun.elapsed();
        assert_eq!(examined.proof, Proof::Proven);
        let grown = peak_memory()?.saturating_sub(before);
        let speed = bytes as f64 / took.as_secs_f64() / 1e6;
        eprintln!(
            "{kind}: {} MB in {took:.2?}, {speed:.0} MB/s, {} MB of memory",
            bytes / 1_000_000,
            grown / 1_000_000
        );
        assert!(bytes > 1 << 30, "{bytes}");
        assert!(grown < 64 << 20, "{grown} bytes of memory");
        assert!(cfg!(debug_assertions) || speed > 200.0, "{speed} MB/s");
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

/// The most memory that this process ever had, in bytes.
fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
