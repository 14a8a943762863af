//! The units that a stop or a start of the engine's units affects, and those that start the engine.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::host::systemd::Systemd;

/// Lists the services that pull in one of these units and that systemd starts by itself: either they run and are
/// restarted whenever they end, or they are off and a timer, a socket or a path of theirs is on.
pub async fn starters(systemd: &Systemd, roots: &[String], stopped_too: &[String]) -> Result<Vec<String>> {
    let mut starters = BTreeSet::new();
    let is_stopped = |unit: &String| roots.contains(unit) || stopped_too.contains(unit);
    for root in roots {
        let pulling = [systemd.wanted_by(root).await?, systemd.stopped_with(root).await?].concat();
        for unit in pulling.into_iter().filter(|unit| unit.ends_with(".service") && !is_stopped(unit)) {
            let by_itself = match systemd.state(&unit).await?.is_on() {
                true => systemd.restarts_itself(&unit).await,
                false => is_triggered(systemd, &unit, &is_stopped).await?,
            };
            if by_itself {
                starters.insert(unit);
            }
        }
    }
    Ok(starters.into_iter().collect())
}

async fn is_triggered(systemd: &Systemd, unit: &str, is_stopped: &impl Fn(&String) -> bool) -> Result<bool> {
    for trigger in systemd.triggers_of(unit).await? {
        if !is_stopped(&trigger) && systemd.state(&trigger).await?.is_on() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Lists the units that are off and that a start of `units` starts directly. A oneshot service is not among them: it is
/// meant to end.
pub async fn off(systemd: &Systemd, units: &[String]) -> Result<Vec<String>> {
    let mut off = BTreeSet::new();
    for unit in units {
        for other in systemd.started_with(unit).await? {
            let is_kind = [".service", ".socket", ".timer", ".path"].iter().any(|kind| other.ends_with(kind));
            if !is_kind || units.contains(&other) || off.contains(&other) {
                continue;
            }
            let state = systemd.state(&other).await?;
            let is_off = state.load == "loaded" && state.is_stopped() && !systemd.is_to_start(&other).await?;
            if is_off && !systemd.is_oneshot(&other).await {
                off.insert(other);
            }
        }
    }
    Ok(off.into_iter().collect())
}

/// Finds a unit that runs, is not stopped as well, and makes systemd start one of `roots` whenever that is off
/// (`Upholds=`).
pub async fn upholder(systemd: &Systemd, roots: &[String], stopped_too: &[String]) -> Result<Option<(String, String)>> {
    for root in roots {
        for unit in systemd.upheld_by(root).await? {
            let is_stopped = roots.contains(&unit) || stopped_too.contains(&unit);
            if !is_stopped && systemd.state(&unit).await?.is_on() {
                return Ok(Some((unit, root.clone())));
            }
        }
    }
    Ok(None)
}

/// Lists the units that run now and that a stop of `roots` stops too, transitively, nearest first. The walk includes
/// units that are off, since a stop of them is passed on too. A unit whose start is queued counts as on: the stop
/// cancels that start.
pub async fn dependents(systemd: &Systemd, roots: &[String]) -> Result<Vec<String>> {
    let (mut seen, mut queue): (BTreeSet<String>, Vec<String>) = (roots.iter().cloned().collect(), roots.to_vec());
    let (mut at, mut active) = (0, Vec::new());
    while let Some(unit) = queue.get(at).cloned() {
        at += 1;
        for next in systemd.stopped_with(&unit).await? {
            if !seen.insert(next.clone()) {
                continue;
            }
            if systemd.state(&next).await?.is_on() || systemd.is_to_start(&next).await? {
                active.push(next.clone());
            }
            queue.push(next);
        }
    }
    Ok(active)
}
