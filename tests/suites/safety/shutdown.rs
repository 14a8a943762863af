//! A host that is switched off in the middle of a backup.

use std::time::Duration;

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Lab},
    scenario::agent_with_faults,
};

use super::manager::{LIMIT, Manager};

#[test]
fn a_shutdown_in_the_middle_leaves_a_consistent_state_and_a_clean_boot() -> Result<()> {
    let lab = Lab::new()?;
    let mut manager = Manager::boot(&lab, Engine::E28_5, 11, &agent_with_faults()?)?;
    for (mode, fault) in [("cold", "pause2@copying"), ("freeze", "pause2@pack")] {
        let mut run = manager.spawn(mode, fault)?;
        manager.wait_for_fault(&mut run)?;
        let inhibitors = manager.host.sh("busctl call org.freedesktop.login1 /org/freedesktop/login1 \
             org.freedesktop.login1.Manager ListInhibitors")?;
        ensure!(inhibitors.contains("swarmdr-agent") == (mode == "cold"), "{mode}: {inhibitors}");
        // The host may be gone before this command is.
        let _ = manager.host.run(&["systemctl", "poweroff"]);
        let ended = run.wait(LIMIT)?;
        println!("{mode}: the agent's last words: {}", ended.stderr.lines().last().unwrap_or_default());
        if mode == "cold" {
            ensure!(ended.stderr.contains("the host is about to shut down"), "{}", ended.stderr);
        }
        manager.host.wait_for("the host to be off", Duration::from_secs(120), || {
            Ok(manager.host.run(&["true"]).map_or(true, |it| !it.status.success()).then_some(()))
        })?;
        manager.host.reboot()?;
        manager.wait_until_back()?;
        manager.check_intact()?;
        manager.backup("freeze", "", 0)?;
        manager.check_tidy()?;
    }
    Ok(())
}
