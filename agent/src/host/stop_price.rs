//! What a stop of the engine may take, known before it is asked for.
//!
//! An engine that stops waits for each of its containers as long as that one's stop timeout says, then kills it (moby
//! `daemon/daemon.go`, `Shutdown`). Its unit's own limit is systemd's: when that is over, the engine itself is killed.
//! The grace of a swarm's service is the swarm's: engines from 20.10 to 28.5 do not write it on the task's container.

use std::time::Duration;

use anyhow::Result;

use super::{absences::Absences, containers::Container, engine_units::EngineControl, systemd::Stopping};
use crate::{config::Config, fault::Fault};

/// What the engine needs beside the slowest of its containers.
const OWN: Duration = Duration::from_secs(2);

/// For how long the engine may take to stop, and which setting says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    pub time: Duration,
    pub setting: &'static str,
    /// Freeze mode would do as well.
    pub or_freeze: bool,
}

impl Allowed {
    /// Of a cold backup.
    pub fn of_backup(config: &Config) -> Self {
        let (pause, stop) = (config.backup.max_pause, config.engine.stop_timeout);
        match pause <= stop {
            true => Self { time: Duration::from_secs(pause), setting: "backup.max_pause", or_freeze: true },
            false => Self { time: Duration::from_secs(stop), setting: "engine.stop_timeout", or_freeze: true },
        }
    }

    /// Of a restore, which has no other way.
    pub fn of_restore(config: &Config) -> Self {
        let time = Duration::from_secs(config.engine.stop_timeout);
        Self { time, setting: "engine.stop_timeout", or_freeze: false }
    }
}

/// Refuses a stop that need not end in time.
pub async fn require(control: &EngineControl, allowed: &Allowed, absences: &Absences) -> Result<()> {
    if control.process().is_none() {
        // Nothing answers, so nothing can be asked, and nothing of it is known to run.
        return Ok(());
    }
    let running = match control.look_at_containers().await {
        Ok(running) => running,
        Err(cause) if allowed.or_freeze => {
            return Err(Fault::refused(
                "it is not known what a stop of the engine would end, nor how long it would take",
            )
            .advice("find out why the engine does not list its containers (`docker ps`)")
            .advice("or write `mode = \"freeze\"` below `[backup]`: no container is touched then")
            .because(cause)
            .into());
        }
        // A broken engine is what a restore is for.
        Err(error) => {
            control.note_unseen(format!("which containers run is not known, so none is started again: {error:#}"));
            Vec::new()
        }
    };
    let unit = control.systemd().stopping(control.service()).await?;
    Ok(judge(&running, control.service(), unit, allowed, absences)?)
}

/// What systemd stops before the engine and may take longer over than the engine may be away: told, and not refused, since a
/// limit says nothing of how long it takes.
pub async fn slow_dependents(control: &EngineControl, allowed: &Allowed) -> Vec<String> {
    let mut slow = Vec::new();
    for unit in control.found().dependents.iter().filter(|unit| unit.ends_with(".service")) {
        if let Ok(stopping) = control.systemd().stopping(unit).await {
            slow.extend(slow_dependent(unit, stopping, allowed));
        }
    }
    slow
}

fn slow_dependent(unit: &str, Stopping { limit, limit_given, .. }: Stopping, allowed: &Allowed) -> Option<String> {
    let is_slow = limit_given && limit.is_none_or(|limit| limit > allowed.time);
    is_slow.then(|| {
        let limit = limit.map_or("as long as it likes".to_owned(), |limit| format!("up to {} s", limit.as_secs()));
        format!(
            "{unit} is stopped with the engine and may take {limit} to stop (TimeoutStopSec=), and the engine may be away for {} s ({})",
            allowed.time.as_secs(),
            allowed.setting
        )
    })
}

fn judge(
    running: &[Container],
    service: &str,
    unit: Stopping,
    allowed: &Allowed,
    absences: &Absences,
) -> Result<(), Fault> {
    let mut slowest: Vec<&Container> = running.iter().collect();
    // For ever is longer than any time.
    slowest.sort_by_key(|container| std::cmp::Reverse(container.stop_timeout.unwrap_or(u64::MAX)));
    let Allowed { time, setting, .. } = *allowed;
    // Who allows less than the engine's usual time knows containers that end sooner.
    let is_late = |it: &&&Container| it.stop_timeout_given && needed(it).is_none_or(|needed| needed > time);
    if let Some(container) = slowest.iter().find(is_late) {
        let others = slowest.iter().filter(is_late).count() - 1;
        let said = format!(
            "the engine may not stop in time: it waits for the container {}{} {}, and may be away for {} s ({setting})",
            container.label(),
            if others > 0 { format!(" and {others} more") } else { String::new() },
            waits(container),
            time.as_secs()
        );
        return Err(with_fix(Fault::refused(said), container, allowed));
    }
    // The same where it is this host's setting for all of its units; but who gives this unit a time means its containers.
    let mut may_take_it = slowest.iter().filter(|it| it.stop_timeout_given || unit.limit_given);
    if let (Some(container), Some(limit)) = (may_take_it.next(), unit.limit)
        && needed(container).is_none_or(|needed| needed > limit)
    {
        return Err(Fault::refused(format!(
            "systemd would kill the engine while it stops: {service} is given {} s (TimeoutStopSec=), and the container {} {}",
            limit.as_secs(),
            container.label(),
            waits(container)
        ))
        .advice(format!("raise TimeoutStopSec= of {service} above that (`systemctl edit {service}`)")));
    }
    match absences.last_stop {
        Some(stop) if Duration::from_millis(stop.ms) >= time => Err(Fault::refused(format!(
            "the last stop of this engine took {} s ({}), and the next may take no more than {} s ({setting})",
            stop.ms / 1000,
            stop.at,
            time.as_secs()
        ))
        .advice(format!("raise {setting} above that"))),
        _ => Ok(()),
    }
}

fn with_fix(fault: Fault, container: &Container, allowed: &Allowed) -> Fault {
    let shorter = match &container.task {
        Some(service) => format!("`docker service update --stop-grace-period 10s {service}`"),
        None => format!("run {} again with a shorter --stop-timeout", container.name),
    };
    let fault = fault.advice(shorter);
    let fault = match allowed.or_freeze {
        true => fault.advice("or write `mode = \"freeze\"` below `[backup]`: containers run on then"),
        false => fault,
    };
    match needed(container) {
        Some(time) => fault.advice(format!("or raise {} above {} s", allowed.setting, time.as_secs())),
        None => fault,
    }
}

/// `None` is for ever.
fn needed(container: &Container) -> Option<Duration> {
    container.stop_timeout.map(|seconds| Duration::from_secs(seconds).saturating_add(OWN))
}

fn waits(container: &Container) -> String {
    match container.stop_timeout {
        Some(seconds) => format!("for up to {seconds} s"),
        None => "for as long as it takes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        exit::Exit,
        fault::Rendered,
        host::{absences::Stop, containers::tests::named},
    };

    const ALLOWED: Allowed = Allowed { time: Duration::from_secs(60), setting: "backup.max_pause", or_freeze: true };

    fn taking(name: &str, seconds: Option<u64>) -> Container {
        Container { stop_timeout: seconds, stop_timeout_given: true, ..named(name) }
    }

    fn limit(seconds: Option<u64>, limit_given: bool) -> Stopping {
        Stopping { limit: seconds.map(Duration::from_secs), limit_given, ends_all: false }
    }

    fn refused(running: &[Container], unit: Option<u64>, absences: &Absences) -> String {
        let unit = limit(unit, true);
        let error = judge(running, "docker.service", unit, &ALLOWED, absences).expect_err("cannot end in time");
        let rendered = Rendered::of(&error.into());
        assert_eq!(rendered.exit, Exit::Refused);
        rendered.to_string()
    }

    #[test]
    fn usual_containers_are_no_reason() {
        let usual = [named("a"), taking("b", Some(58))];
        judge(&usual, "docker.service", limit(Some(90), false), &ALLOWED, &Absences::default()).expect("fits");
        judge(&[], "docker.service", limit(None, false), &ALLOWED, &Absences::default()).expect("fits");
        // Nobody said that these may take ten seconds, and somebody said that five are enough.
        let short = Allowed { time: Duration::from_secs(5), ..ALLOWED };
        judge(&[named("a")], "docker.service", limit(None, false), &short, &Absences::default()).expect("fits");
        // `DefaultTimeoutStopSec=10s` of a host is meant for all of its units, and `infinity` is no limit.
        for unit in [limit(Some(10), false), limit(None, true)] {
            judge(&[named("a")], "docker.service", unit, &ALLOWED, &Absences::default()).expect("fits");
        }
    }

    #[test]
    fn the_slowest_is_named_with_every_way_out() {
        let running = [named("a"), taking("slow", Some(300)), taking("b", Some(59))];
        let said = refused(&running, None, &Absences::default());
        for part in
            ["container slow and 1 more", "300 s", "60 s (backup.max_pause)", "freeze", "--stop-timeout", "302 s"]
        {
            assert!(said.contains(part), "`{part}`: {said}");
        }
        let task = Container { task: Some("db".to_owned()), ..taking("db.1", None) };
        let said = refused(&[task, taking("b", Some(300))], None, &Absences::default());
        for part in ["for as long as it takes", "docker service update --stop-grace-period 10s db"] {
            assert!(said.contains(part), "`{part}`: {said}");
        }
    }

    #[test]
    fn a_dependent_that_was_given_longer_is_told() {
        for (seconds, given, expected) in [
            (Some(120), true, Some("up to 120 s")),
            (None, true, Some("as long as it likes")),
            (Some(120), false, None),
            (Some(60), true, None),
        ] {
            let told = slow_dependent("app.service", limit(seconds, given), &ALLOWED);
            assert_eq!(told.is_some(), expected.is_some(), "{seconds:?} {given}");
            assert!(told.is_none_or(|told| told.contains(expected.unwrap_or_default())), "{seconds:?}");
        }
    }

    #[test]
    fn a_unit_that_would_be_killed_and_a_stop_that_took_longer_are_refused() {
        for (container, seconds, given) in [(taking("b", Some(30)), 20, false), (named("a"), 3, true)] {
            let unit = limit(Some(seconds), given);
            let error = judge(&[container], "docker.service", unit, &ALLOWED, &Absences::default());
            let said = Rendered::of(&error.expect_err("would be killed").into()).to_string();
            assert!(said.contains("systemctl edit docker.service"), "{said}");
        }
        let stop = Some(Stop { at: Timestamp::UNIX_EPOCH, ms: 61_000 });
        let said = refused(&[], None, &Absences { last_stop: stop, ..Absences::default() });
        assert!(said.contains("took 61 s") && said.contains("raise backup.max_pause"), "{said}");
    }
}
