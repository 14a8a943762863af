//! Checks of systemd: its version, whether the engine can be stopped and frozen, and whether the agent's timer is on.

use super::{Check, Diagnosis, engine::Manager};
use crate::{
    config::{Config, Mode},
    downtime::{
        engine_units::EngineControl,
        freeze::Freezer,
        stop_history::StopHistory,
        stop_time::{self, Allowed},
    },
    host::systemd::Systemd,
};

/// Oldest systemd that the units are written for: that of Debian 11.
const OLDEST: u32 = 247;

const TIMER: &str = "swarmdr-backup.timer";
const SERVICE: &str = "swarmdr-backup.service";
const ON_CHANGE: &str = "swarmdr-on-change.service";
const ON_CHANGE_VERB: &str = "backup --on-change";
const STREAMS_TIMER: &str = "swarmdr-streams.timer";

pub async fn check(config: &Config, manager: Option<&Manager>, diagnosis: &mut Diagnosis) {
    let systemd = match Systemd::connect().await {
        Ok(systemd) => systemd,
        Err(error) => return diagnosis.add(Check::failed("systemd.answers", &error)),
    };
    match systemd.version().await {
        Ok(version) => diagnosis.add(judge_version(&version)),
        Err(error) => diagnosis.add(Check::failed("systemd.version", &error)),
    }
    if config.stream.iter().any(|stream| stream.cron.is_some()) {
        diagnosis.add(timer(&systemd, "streams.timer", STREAMS_TIMER, "no stream is stored", "put --due").await);
    }
    let Some(manager) = manager else { return };
    for check in engine(config).await {
        diagnosis.add(check);
    }
    diagnosis.add(freeze(config, manager).await);
    diagnosis.add(timer(&systemd, "timer.enabled", TIMER, "no backup is made", "backup").await);
    if config.schedule.on_change.is_some() {
        diagnosis
            .add(timer(&systemd, "on-change.service", ON_CHANGE, "no backup follows a change", ON_CHANGE_VERB).await);
    }
    diagnosis.add(last_run(&systemd).await);
}

fn judge_version(version: &str) -> Check {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(number) if number >= OLDEST => Check::ok("systemd.version", version),
        _ => Check::warn("systemd.version", format!("{version} is older than {OLDEST}, and not tested"))
            .fix("make a backup by hand and read its report"),
    }
}

/// Whether the configured unit serves the engine's socket, which units depend on it, and whether it can stop in time.
async fn engine(config: &Config) -> Vec<Check> {
    let control = match EngineControl::connect(config).await {
        Ok(control) => control,
        Err(error) => return vec![Check::failed("engine.unit", &error)],
    };
    let unit = Check::ok("engine.unit", format!("{} is served by {}", control.socket().display(), control.service()));
    let stoppable = control.require_stoppable().await;
    let absences = StopHistory::read(&config.state_dir);
    let stop = match config.backup.mode {
        Mode::Freeze => Check::ok("engine.stop", "not needed: backups freeze the engine"),
        Mode::Cold => match stoppable.and(stop_time::require(&control, &Allowed::of_backup(config), &absences).await) {
            Ok(()) => Check::ok("engine.stop", "every container can stop within the time that a backup may take"),
            Err(error) => Check::failed("engine.stop", &error),
        },
    };
    if let Mode::Freeze = config.backup.mode
        && let Err(error) = control.inspect_containers().await
    {
        tracing::debug!("{error:#}");
    }
    let lines = control.found().lines();
    let found = match (lines.is_empty(), config.backup.mode) {
        (true, _) => "no other unit stops when the engine is stopped".to_owned(),
        (false, Mode::Freeze) => format!("left alone by a freeze; a restore: {}", lines.join("; ")),
        (false, Mode::Cold) => lines.join("; "),
    };
    vec![unit, stop, Check::ok("engine.found", found)]
}

/// Whether the engine can be frozen. That it cannot is a failure only if freeze is the configured mode.
async fn freeze(config: &Config, manager: &Manager) -> Check {
    const NAME: &str = "engine.freeze";
    let prepare = async {
        let control = EngineControl::connect(config).await?;
        Freezer::prepare(&control, &manager.facts.data_root.join("swarm")).await
    };
    // Backups after changes freeze it in any case.
    let mode = if config.schedule.on_change.is_some() { Mode::Freeze } else { config.backup.mode };
    match (prepare.await, mode) {
        (Ok(_), _) => Check::ok(NAME, "the engine could be frozen instead of stopped (backup.mode = \"freeze\")"),
        (Err(error), Mode::Freeze) => Check::failed(NAME, &error),
        (Err(error), _) => Check::ok(NAME, format!("not possible here, and not configured: {error:#}")),
    }
}

/// Whether a timer, or a service that stays, runs; `without` is what happens where it does not, and `verb` what it calls.
async fn timer(systemd: &Systemd, name: &'static str, timer: &str, without: &str, verb: &str) -> Check {
    let fix = format!("systemctl enable --now {timer}");
    let (state, active) = (systemd.unit_file_state(timer).await, systemd.state(timer).await);
    match (state, active) {
        (Ok(state), Ok(unit)) if unit.is_active() && state.starts_with("enabled") => {
            Check::ok(name, format!("{timer} is {state} and {}", unit.active))
        }
        (Ok(state), Ok(unit)) => {
            Check::fail(name, format!("{timer} is {state} and {}: {without} automatically", unit.active)).fix(fix)
        }
        // Not installed: another scheduler may call the agent.
        _ => Check::warn(name, format!("{timer} is not installed; something else must call `{verb}`")).fix(fix),
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
