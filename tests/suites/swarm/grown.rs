//! States of a size and an age that no fixture has, freshly made by real engines.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{campaign::generations, lab::Engine};
use tempfile::TempDir;

use crate::{check_against_api, fixture::Fixture};

/// Three managers of which one was demoted, 59 services and jobs, 274 secrets, configs and networks of which some were
/// edited or removed, several snapshots, a rotated CA, and autolock. Each engine takes a minute, so there is one by
/// default.
#[test]
fn a_grown_state_holds_what_the_api_lists() -> Result<()> {
    generations().iter().try_for_each(|engine| grown(*engine))
}

fn grown(engine: Engine) -> Result<()> {
    let made = make(engine, &["large"])?;
    for kind in ["large", "large-c"] {
        let fixture = Fixture::at(made.path().join(kind))?;
        check_against_api(&fixture, true).with_context(|| format!("{engine:?} {kind}"))?;
        let examined = fixture.examine()?;
        let inventory = examined.inventory.context("inventory")?;
        assert!(inventory.services.len() >= 50 && inventory.secrets.len() >= 200, "{:?}", inventory.counts());
        for mode in ["replicated", "global", "replicated-job", "global-job"] {
            assert!(inventory.services.iter().any(|service| service.mode == mode), "{mode}: {:?}", inventory.services);
        }
        assert!(
            inventory.configs.iter().any(|config| config.labels.as_ref().is_some_and(|it| it.contains_key("edited")))
        );
        assert!(inventory.nodes.iter().any(|node| node.labels.as_ref().is_some_and(|it| it.contains_key("zone"))));
        assert!(examined.identity.key.is_some_and(|key| key.autolocked), "{:?}", examined.identity.key);
        assert_eq!(inventory.cluster.last_forced_rotation, Some(3));
    }
    let manager = Fixture::at(made.path().join("large"))?;
    assert!(manager.files("raft/snap-v3-encrypted")?.len() > 1, "several snapshots are kept");
    Ok(())
}

fn make(engine: Engine, kinds: &[&str]) -> Result<TempDir> {
    make_with(engine, kinds, &[])
}

/// Makes states with files that are named by variables of the script.
pub fn make_with(engine: Engine, kinds: &[&str], files: &[(&str, &Path)]) -> Result<TempDir> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/swarm/make");
    let out = tempfile::tempdir_in("/var/tmp")?;
    let made =
        Command::new(script).arg(engine.tree()?).arg(out.path()).args(kinds).envs(files.iter().copied()).status()?;
    ensure!(made.success(), "{engine:?} cannot make {kinds:?}");
    Ok(out)
}
