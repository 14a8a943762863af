//! systemd: its version, whether the engine could be frozen, and whether the agent's own timer is on.

use super::{Check, Diagnosis, engine::Manager};
use crate::{
    config::{Config, Mode},
    host::{engine_units::EngineControl, freeze::Freezer, systemd::Systemd},
};

/// The units are written for the systemd of Debian 12 and everything newer.
const OLDEST: u32 = 247;

const TIMER: &str = "swarmdr-backup.timer";
const SERVICE: &str = "swarmdr-backup.service";

pub async fn check(config: &Config, manager: Option<&Manager>, diagnosis: &mut Diagnosis) {
    let systemd = match Systemd::connect().await {
        Ok(systemd) => systemd,
        Err(error) => return diagnosis.add(Check::failed("systemd.answers", &error)),
    };
    match systemd.version().await {
        Ok(version) => diagnosis.add(judge_version(&version)),
        Err(error) => diagnosis.add(Check::failed("systemd.version", &error)),
    }
    let Some(manager) = manager else { return };
    diagnosis.add(freeze(config, manager).await);
    diagnosis.add(timer(&systemd).await);
    diagnosis.add(last_run(&systemd).await);
}

fn judge_version(version: &str) -> Check {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(number) if number >= OLDEST => Check::ok("systemd.version", version),
        _ => Check::warn("systemd.version", format!("{version} is older than {OLDEST}, and not tested"))
            .fix("make a backup by hand and look at its report"),
    }
}

/// Only the mode that is configured can fail.
async fn freeze(config: &Config, manager: &Manager) -> Check {
    const NAME: &str = "engine.freeze";
    let prepare = async {
        let control = EngineControl::connect(config).await?;
        Freezer::prepare(&control, &manager.facts.data_root.join("swarm")).await
    };
    match (prepare.await, config.backup.mode) {
        (Ok(_), _) => Check::ok(NAME, "the engine could be frozen instead of stopped (backup.mode = \"freeze\")"),
        (Err(error), Mode::Freeze) => Check::failed(NAME, &error),
        (Err(error), _) => Check::ok(NAME, format!("not here, and not asked for: {error:#}")),
    }
}

async fn timer(systemd: &Systemd) -> Check {
    const NAME: &str = "timer.enabled";
    let fix = format!("systemctl enable --now {TIMER}");
    let (state, active) = (systemd.unit_file_state(TIMER).await, systemd.state(TIMER).await);
    match (state, active) {
        (Ok(state), Ok(unit)) if unit.is_active() && state.starts_with("enabled") => {
            Check::ok(NAME, format!("{TIMER} is {state} and {}", unit.active))
        }
        (Ok(state), Ok(unit)) => {
            Check::fail(NAME, format!("{TIMER} is {state} and {}: no backup is made by itself", unit.active)).fix(fix)
        }
        // Not installed: another scheduler may call the agent.
        _ => Check::warn(NAME, format!("{TIMER} is not installed; something else must call `backup`")).fix(fix),
    }
}

async fn last_run(systemd: &Systemd) -> Check {
    const NAME: &str = "timer.last-run";
    match systemd.state(SERVICE).await {
        Ok(unit) if unit.active == "failed" => {
            Check::fail(NAME, format!("the last run of {SERVICE} failed")).fix(format!("see `journalctl -u {SERVICE}`"))
        }
        Ok(unit) if unit.load == "not-found" => Check::ok(NAME, format!("{SERVICE} is not installed")),
        Ok(unit) => Check::ok(NAME, format!("{SERVICE} is {}", unit.active)),
        Err(error) => Check::failed(NAME, &error),
    }
}
