//! Checks that a stop of the configured unit ends the process that answers on the socket. Otherwise it names the unit
//! of that process.

use std::fs;

use anyhow::Result;

use crate::{
    config::EngineConfig,
    host::{
        engine::process::EngineProcess,
        systemd::{Systemd, UnitState},
    },
    outcome::failure::Failure,
};

/// Prefix of the unit of a user's service manager, in which everything runs that this user starts.
const USER_MANAGER: &str = "user@";

/// The unit of a process that is not in the configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A unit of a user's own service manager; its name, if the cgroup has it.
    OfUser { manager: String, unit: Option<String> },
    /// A service with this process as its main process.
    Main { unit: String, socket: String },
    /// A service with another main process.
    Below { unit: String, socket: String, main: String },
    /// No service.
    None,
}

/// Refuses an engine whose process a stop of the unit would not end.
pub(super) async fn require_same(
    systemd: &Systemd,
    units: &EngineConfig,
    service: &UnitState,
    process: &EngineProcess,
) -> Result<()> {
    if service.is_on() && service.main_pid == process.pid {
        return Ok(());
    }
    let runs_as = systemd.unit_of(process.pid).await;
    // The main process may be a wrapper that waits for the engine.
    let is_inside = runs_as.as_ref() == Some(&units.service) && service.is_on();
    let is_of_user = units.service.starts_with(USER_MANAGER);
    if is_inside && !is_of_user && systemd.stopping(&units.service).await?.ends_all {
        return Ok(());
    }
    let state = match service.load.as_str() {
        "loaded" => service.active.as_str(),
        load => load,
    };
    let place = place(systemd, units, process.pid, runs_as).await;
    Err(refusal(units, state, process.pid, &place).into())
}

async fn place(systemd: &Systemd, units: &EngineConfig, pid: u32, runs_as: Option<String>) -> Place {
    let Some(unit) = runs_as.filter(|unit| unit.ends_with(".service")) else { return Place::None };
    if unit.starts_with(USER_MANAGER) {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        return Place::OfUser { unit: user_unit(&cgroup, &unit), manager: unit };
    }
    if unit == units.service {
        return Place::None;
    }
    let sockets = systemd.sockets_of(&unit).await.unwrap_or_default();
    let socket = sockets.into_iter().next().unwrap_or_default();
    match systemd.state(&unit).await {
        Ok(state) if state.main_pid != 0 && state.main_pid != pid => {
            let name = fs::read_to_string(format!("/proc/{}/comm", state.main_pid)).unwrap_or_default();
            Place::Below { unit, socket, main: format!("{} ({})", state.main_pid, name.trim()) }
        }
        _ => Place::Main { unit, socket },
    }
}

/// The service below a user's manager, from the text of `/proc/PID/cgroup`: the host's systemd knows only the manager.
fn user_unit(cgroup: &str, manager: &str) -> Option<String> {
    let below = cgroup.lines().find_map(|line| line.split_once(&format!("/{manager}/")))?.1;
    below.split('/').rfind(|name| name.ends_with(".service")).map(str::to_owned)
}

/// The id in the name of a container's unit (`docker-ID.scope`).
pub(super) fn container_id(unit: &str) -> Option<&str> {
    let id = unit.strip_suffix(".scope")?.rsplit('-').next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

fn refusal(units: &EngineConfig, state: &str, pid: u32, place: &Place) -> Failure {
    let (socket, service) = (units.socket.display(), &units.service);
    let said = format!("the engine that answers on {socket} is process {pid}");
    let setting = |unit: &str, socket: &str| {
        format!("write `service = \"{unit}\"` and `socket_unit = \"{socket}\"` below `[engine]`")
    };
    let other = "or name the socket of the engine that is meant with `engine.socket`";
    match place {
        Place::OfUser { manager, unit } => Failure::refused(format!(
            "{said} of {} (rootless), which {manager} runs, and not {service} (which is {state}); nothing was touched",
            unit.as_ref().map_or_else(|| "a user".to_owned(), |unit| format!("the user unit {unit}"))
        ))
        .advice("run the engine as a service of the system: to stop this one would take the user's own service manager")
        .advice(other),
        Place::Main { unit, socket } => {
            Failure::refused(format!("{said} of {unit}, and not {service} (which is {state}); nothing was touched"))
                .advice(setting(unit, socket))
                .advice(other)
        }
        Place::Below { unit, socket, main } => Failure::refused(format!(
            "{said}, which {unit} runs below its main process {main}, and not {service} (which is {state}); nothing was touched"
        ))
        .advice(format!(
            "if {unit} runs nothing but this engine, {}: all of that unit is stopped with it",
            setting(unit, socket)
        ))
        .advice("else run the engine as a systemd service of its own, and name that with `engine.service`")
        .advice(other),
        Place::None => Failure::refused(format!(
            "{said}, which is not the main process of {service} ({state}); nothing was touched"
        ))
        .advice("run the engine as a systemd service of its own, without a wrapper, and name it with `engine.service`")
        .advice("or name the engine's own socket with `engine.socket`: a proxy in front of it looks like the engine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    #[test]
    fn the_unit_that_really_runs_it_is_named_and_the_setting_where_there_is_one() {
        let named = |unit: &str, socket: &str| (unit.to_owned(), socket.to_owned());
        let (unit, socket) = named("snap.docker.dockerd.service", "");
        let main = Place::Main { unit, socket };
        let (unit, socket) = named("supervisor.service", "");
        let below = Place::Below { unit, socket, main: "17 (supervisord)".to_owned() };
        let user = Place::OfUser { manager: "user@1000.service".to_owned(), unit: Some("docker.service".to_owned()) };
        let cases: [(Place, &[&str], &[&str]); 4] = [
            (main, &["of snap.docker.dockerd.service, and not", "service = \"snap.docker.dockerd.service\""], &[]),
            (
                below,
                &["supervisor.service runs below its main process 17 (supervisord)", "nothing but this engine"],
                &["to do: write `service"],
            ),
            (user, &["the user unit docker.service (rootless)", "user@1000.service"], &["service = \"user@"]),
            (Place::None, &["not the main process of docker.service (inactive)", "without a wrapper"], &["service = "]),
        ];
        for (place, parts, absent) in cases {
            let rendered = Rendered::of(&refusal(&EngineConfig::default(), "inactive", 4711, &place).into());
            assert_eq!(rendered.exit, Exit::Refused);
            let said = rendered.to_string();
            for part in parts.iter().chain(&["process 4711", "nothing was touched", "engine.socket"]) {
                assert!(said.contains(part), "`{part}`: {said}");
            }
            for part in absent {
                assert!(!said.contains(part), "`{part}`: {said}");
            }
        }
    }

    #[test]
    fn the_scope_of_a_container_is_recognised() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(container_id(&format!("docker-{id}.scope")), Some(id.as_str()));
        for other in ["session-4.scope", "docker.service", "init.scope", &format!("docker-{id}.service")] {
            assert_eq!(container_id(other), None, "{other}");
        }
    }

    #[test]
    fn a_unit_of_a_user_is_read_from_the_cgroup() {
        let of = |line: &str| user_unit(line, "user@1000.service");
        let slice = "0::/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(of(&format!("{slice}/app.slice/docker.service\n")).as_deref(), Some("docker.service"));
        assert_eq!(of(&format!("1:name=x:/\n{slice}/docker.service/sub\n")).as_deref(), Some("docker.service"));
        assert_eq!(of(&format!("{slice}/init.scope")), None);
        assert_eq!(of(""), None);
    }
}
