//! Judges whether a stop of the engine may take too long, before it is asked for.
//!
//! An engine that stops waits for each of its containers as long as the container's stop timeout says, then kills it
//! (moby `daemon/daemon.go`, `Shutdown`). The limit of its unit is systemd's: when that is over, the engine itself is
//! killed. The stop grace period of a service is not known here: engines from 20.10 to 28.5 do not write it on the
//! task's container.

use std::{cmp::Reverse, time::Duration};

use anyhow::Result;

use super::{engine_units::EngineControl, stop_history::StopHistory};
use crate::{
    config::Config,
    host::{engine::containers::Container, systemd::Stopping},
    outcome::failure::Failure,
};

/// Time that the engine needs in addition to the slowest of its containers.
const OWN: Duration = Duration::from_secs(2);

/// The time that a stop of the engine may take, and the setting that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    pub time: Duration,
    pub setting: &'static str,
    /// True if freeze mode would do as well.
    pub or_freeze: bool,
}

impl Allowed {
    /// The time for a cold backup.
    pub fn of_backup(config: &Config) -> Self {
        let (pause, stop) = (config.backup.max_pause.duration(), config.engine.stop_timeout.duration());
        match pause <= stop {
            true => Self { time: pause, setting: "backup.max_pause", or_freeze: true },
            false => Self { time: stop, setting: "engine.stop_timeout", or_freeze: true },
        }
    }

    /// The time for a restore, which has to stop the engine.
    pub fn of_restore(config: &Config) -> Self {
        let time = config.engine.stop_timeout.duration();
        Self { time, setting: "engine.stop_timeout", or_freeze: false }
    }
}

/// Refuses a stop that may not end in time.
pub async fn require(control: &EngineControl, allowed: &Allowed, history: &StopHistory) -> Result<()> {
    if control.process().is_none() {
        // No engine answers, and none is known to run.
        return Ok(());
    }
    let running = match control.inspect_containers().await {
        Ok(running) => running,
        Err(cause) if allowed.or_freeze => {
            return Err(Failure::refused(
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
    Ok(judge(&running, control.service(), unit, allowed, history)?)
}

/// Returns sentences about dependents whose stop may take longer than the engine may be down. They are reported and are
/// no reason to refuse, since a limit does not say how long a stop takes.
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
            "{unit} is stopped with the engine and may take {limit} to stop (TimeoutStopSec=), and the engine may be down for {} s ({})",
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
    history: &StopHistory,
) -> Result<(), Failure> {
    let mut slowest: Vec<&Container> = running.iter().collect();
    // `None` is longer than any time.
    slowest.sort_by_key(|container| Reverse(container.stop_timeout.unwrap_or(u64::MAX)));
    judge_containers(&slowest, allowed)?;
    judge_unit(&slowest, service, unit)?;
    judge_last_stop(allowed, history)
}

/// Refuses containers that the engine waits for longer than it may be down.
fn judge_containers(slowest: &[&Container], allowed: &Allowed) -> Result<(), Failure> {
    let Allowed { time, setting, .. } = *allowed;
    // An operator who allows less than the engine's default knows that the containers end sooner.
    let is_late = |it: &&&Container| it.stop_timeout_given && needed(it).is_none_or(|needed| needed > time);
    let Some(container) = slowest.iter().find(is_late) else { return Ok(()) };
    let others = slowest.iter().filter(is_late).count() - 1;
    let said = format!(
        "the engine may not stop in time: it waits for the container {}{} {}, and may be down for {} s ({setting})",
        container.label(),
        if others > 0 { format!(" and {others} more") } else { String::new() },
        waits(container),
        time.as_secs()
    );
    Err(with_fix(Failure::refused(said), container, allowed))
}

/// Refuses a unit that systemd would kill while its engine waits for a container.
fn judge_unit(slowest: &[&Container], service: &str, unit: Stopping) -> Result<(), Failure> {
    // The same holds for a limit that this host sets for all of its units; a limit of this unit is meant for its
    // containers.
    let mut may_take_it = slowest.iter().filter(|it| it.stop_timeout_given || unit.limit_given);
    if let (Some(container), Some(limit)) = (may_take_it.next(), unit.limit)
        && needed(container).is_none_or(|needed| needed > limit)
    {
        return Err(Failure::refused(format!(
            "systemd would kill the engine while it stops: {service} is given {} s (TimeoutStopSec=), and the container {} {}",
            limit.as_secs(),
            container.label(),
            waits(container)
        ))
        .advice(format!("raise TimeoutStopSec= of {service} above that (`systemctl edit {service}`)")));
    }
    Ok(())
}

/// Refuses an engine whose last stop took longer than this one may take.
fn judge_last_stop(&Allowed { time, setting, .. }: &Allowed, history: &StopHistory) -> Result<(), Failure> {
    match history.last_stop {
        Some(stop) if Duration::from_millis(stop.ms) >= time => Err(Failure::refused(format!(
            "the last stop of this engine took {} s ({}), and the next may take no more than {} s ({setting})",
            stop.ms / 1000,
            stop.at,
            time.as_secs()
        ))
        .advice(format!("raise {setting} above that"))),
        _ => Ok(()),
    }
}

fn with_fix(failure: Failure, container: &Container, allowed: &Allowed) -> Failure {
    let shorter = match &container.task {
        Some(service) => format!("`docker service update --stop-grace-period 10s {service}`"),
        None => format!("run {} again with a shorter --stop-timeout", container.name),
    };
    let failure = failure.advice(shorter);
    let failure = match allowed.or_freeze {
        true => failure.advice("or write `mode = \"freeze\"` below `[backup]`: containers run on then"),
        false => failure,
    };
    match needed(container) {
        Some(time) => failure.advice(format!("or raise {} above {} s", allowed.setting, time.as_secs())),
        None => failure,
    }
}

/// Returns the time that a stop of this container needs; `None` if it has no limit.
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
        downtime::stop_history::Stop,
        host::engine::containers::tests::named,
        outcome::{exit::Exit, failure::Rendered},
    };

    const ALLOWED: Allowed = Allowed { time: Duration::from_secs(60), setting: "backup.max_pause", or_freeze: true };

    fn taking(name: &str, seconds: Option<u64>) -> Container {
        Container { stop_timeout: seconds, stop_timeout_given: true, ..named(name) }
    }

    fn limit(seconds: Option<u64>, limit_given: bool) -> Stopping {
        Stopping { limit: seconds.map(Duration::from_secs), limit_given, ends_all: false }
    }

    fn refused(running: &[Container], unit: Option<u64>, history: &StopHistory) -> String {
        let unit = limit(unit, true);
        let error = judge(running, "docker.service", unit, &ALLOWED, history).expect_err("cannot end in time");
        let rendered = Rendered::of(&error.into());
        assert_eq!(rendered.exit, Exit::Refused);
        rendered.to_string()
    }

    #[test]
    fn usual_containers_are_no_reason() {
        let usual = [named("a"), taking("b", Some(58))];
        judge(&usual, "docker.service", limit(Some(90), false), &ALLOWED, &StopHistory::default()).expect("fits");
        judge(&[], "docker.service", limit(None, false), &ALLOWED, &StopHistory::default()).expect("fits");
        // The ten seconds of these containers are only a default; the five that are allowed are a setting.
        let short = Allowed { time: Duration::from_secs(5), ..ALLOWED };
        judge(&[named("a")], "docker.service", limit(None, false), &short, &StopHistory::default()).expect("fits");
        // `DefaultTimeoutStopSec=10s` of a host is meant for all of its units, and `infinity` is no limit.
        for unit in [limit(Some(10), false), limit(None, true)] {
            judge(&[named("a")], "docker.service", unit, &ALLOWED, &StopHistory::default()).expect("fits");
        }
    }

    #[test]
    fn the_slowest_is_named_with_every_way_out() {
        let running = [named("a"), taking("slow", Some(300)), taking("b", Some(59))];
        let said = refused(&running, None, &StopHistory::default());
        for part in
            ["container slow and 1 more", "300 s", "60 s (backup.max_pause)", "freeze", "--stop-timeout", "302 s"]
        {
            assert!(said.contains(part), "`{part}`: {said}");
        }
        let task = Container { task: Some("db".to_owned()), ..taking("db.1", None) };
        let said = refused(&[task, taking("b", Some(300))], None, &StopHistory::default());
        for part in ["for as long as it takes", "docker service update --stop-grace-period 10s db"] {
            assert!(said.contains(part), "`{part}`: {said}");
        }
    }

    #[test]
    fn a_dependent_with_a_longer_limit_is_reported() {
        for (seconds, given, expected) in [
            (Some(120), true, Some("up to 120 s")),
            (None, true, Some("as long as it likes")),
            (Some(120), false, None),
            (Some(60), true, None),
        ] {
            let reported = slow_dependent("app.service", limit(seconds, given), &ALLOWED);
            assert_eq!(reported.is_some(), expected.is_some(), "{seconds:?} {given}");
            assert!(reported.is_none_or(|sentence| sentence.contains(expected.unwrap_or_default())), "{seconds:?}");
        }
    }

    #[test]
    fn a_unit_that_would_be_killed_and_a_stop_that_took_longer_are_refused() {
        for (container, seconds, given) in [(taking("b", Some(30)), 20, false), (named("a"), 3, true)] {
            let unit = limit(Some(seconds), given);
            let error = judge(&[container], "docker.service", unit, &ALLOWED, &StopHistory::default());
            let said = Rendered::of(&error.expect_err("would be killed").into()).to_string();
            assert!(said.contains("systemctl edit docker.service"), "{said}");
        }
        let stop = Some(Stop { at: Timestamp::UNIX_EPOCH, ms: 61_000 });
        let said = refused(&[], None, &StopHistory { last_stop: stop, ..StopHistory::default() });
        assert!(said.contains("took 61 s") && said.contains("raise backup.max_pause"), "{said}");
    }
}
