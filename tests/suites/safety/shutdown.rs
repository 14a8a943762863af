//! A host that is switched off in the middle of a backup.

use std::time::Duration;

use anyhow::{Result, ensure};
use swarmdr_tests::lab::{Engine, Lab};
use swarmdr_tests::scenario::agent_with_faults;

use super::manager::{LIMIT, MAX_PAUSE, Manager};

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

/// The unit as it is shipped: no capability, and nearly everything read-only.
#[test]
fn in_its_sandbox_it_works_the_same_and_a_stop_brings_the_engine_back() -> Result<()> {
    let lab = Lab::new()?;
    for (engine, last) in [(Engine::E20_10, 11), (Engine::E28_5, 12)] {
        let manager = Manager::boot(&lab, engine, last, &agent_with_faults()?)?;
        let host = &manager.host;
        let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/swarmdr-backup.service");
        host.write_file("/etc/systemd/system/swarmdr-backup.service", std::fs::read(unit)?)?;
        for (mode, fault) in [("cold", ""), ("freeze", ""), ("cold", "kill@copying"), ("cold", "pause4@copying")] {
            let config =
                format!("[backup]\nmode = \"{mode}\"\nmax_pause = {MAX_PAUSE}\n[schedule]\ncron = \"* * * * * *\"\n");
            host.write_file("/etc/swarmdr/agent.toml", config)?;
            let environment = format!("[Service]\nEnvironment=SWARMDRTEST_FAULT={fault}\n");
            host.write_file("/etc/systemd/system/swarmdr-backup.service.d/fault.conf", environment)?;
            host.sh("systemctl daemon-reload; systemctl start --no-block swarmdr-backup.service")?;
            if fault.starts_with("pause") {
                host.wait_for("the engine to be away", LIMIT, || {
                    let journal = host.journal("swarmdr-backup.service", 200)?;
                    Ok(journal.contains("fault: pause4").then_some(()))
                })?;
                host.sh("systemctl stop swarmdr-backup.service")?;
            }
            host.wait_for("the unit to end", LIMIT, || {
                let state = host.run(&["systemctl", "is-active", "swarmdr-backup.service"])?.stdout;
                Ok(["inactive", "failed"].contains(&state.trim()).then_some(()))
            })?;
            let result = host.sh("systemctl show --property=Result --value swarmdr-backup.service")?;
            let expected = match fault {
                "" => "success",
                "kill@copying" => "signal",
                _ => "exit-code",
            };
            let journal = host.journal("swarmdr-backup.service", 30)?;
            ensure!(result == expected, "{engine:?} {mode} {fault}: {result}\n{journal}");
            manager.wait_until_back()?;
            manager.check_intact()?;
            if fault != "kill@copying" {
                manager.check_tidy()?;
            }
        }
    }
    Ok(())
}
