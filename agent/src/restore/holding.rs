//! The swarm that this host holds: the state on its disk, and the engine's answer once that is stable.
//!
//! One answer of an engine says little. The swarm is in `error` while an address is missing or the clock is wrong,
//! `pending` while the engine dials, `locked` after each boot of an autolocked manager, and without a leader during an
//! election. Each of these passes by itself, or with a restart or a key, and the state on disk is intact meanwhile
//! (moby `daemon/cluster/noderunner.go`). So the disk says whose state it is, and the engine is asked until its answer
//! is stable. An engine that stays in `error` is restarted: it does not retry a first start that failed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use swarmdr_archive::{ClusterId, NodeId};

use super::{
    Restore,
    on_disk::{Held, OnDisk},
};
use crate::{
    downtime::{
        engine_units::EngineControl,
        failsafe::Failsafe,
        stop_history::StopHistory,
        stop_time::{self, Allowed},
    },
    host::engine::{EngineFacts, LocalSwarm, SwarmState},
    outcome::{failpoint, failure::Failure},
};

/// The node that a run is about. The engine is unlocked or restarted for that node's state only; any other swarm is
/// left alone.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub cluster: &'a ClusterId,
    /// `None` at another address, where the node gets a new id.
    pub node: Option<&'a NodeId>,
}

impl Wanted<'_> {
    pub fn is(&self, on_disk: &OnDisk) -> bool {
        let is_it =
            |held: &Held| held.own.cluster == *self.cluster && self.node.is_none_or(|node| held.own.node == *node);
        on_disk.held().is_some_and(is_it)
    }
}

/// Minimum time for a leader: an election takes up to 20 s.
const ELECTION: Duration = Duration::from_secs(30);

/// Time before the first restart. An engine reconnects by itself after a while; its first pauses are shorter than this.
const UNTIL_RESTART: Duration = Duration::from_secs(10);

/// Pause between two restarts of an engine that stays in `error`; doubled each time.
const BETWEEN_RESTARTS: Duration = Duration::from_secs(60);

/// Maximum number of restarts. Each ends the containers of this host, and more of them do not help.
const RESTARTS: u32 = 3;

const POLL: Duration = Duration::from_millis(500);

/// Time for an engine to take an unlock key and come up with it.
pub const KEY_LIMIT: Duration = Duration::from_secs(60);

/// Time to start the engine again, in addition to its stop timeout.
const RESTARTING: Duration = Duration::from_secs(60);

/// The state on disk, and the engine's answer about it.
#[derive(Debug, Clone)]
pub struct Holding {
    pub facts: EngineFacts,
    pub on_disk: OnDisk,
    /// True if the engine was unlocked to get that answer.
    pub was_unlocked: bool,
}

/// What may change the answer of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// Nothing: the answer is stable.
    None,
    Time,
    Key,
    /// Time first, then a restart.
    Restart,
}

/// Decides what may change the answer. `is_wanted`: the state is the one that this run is about.
fn remedy(swarm: &LocalSwarm, on_disk: &OnDisk, is_wanted: bool, has_key: bool) -> Remedy {
    let held = on_disk.held();
    if *on_disk == OnDisk::Unknown {
        // A join is under way: an engine that is restarted without a certificate deletes what it has so far.
        return Remedy::None;
    }
    match swarm.state {
        SwarmState::Active if swarm.works() => Remedy::None,
        SwarmState::Active if swarm.error.is_empty() && held.is_none_or(|held| !held.is_manager) => Remedy::None,
        SwarmState::Active | SwarmState::Pending => Remedy::Time,
        SwarmState::Locked if has_key && is_wanted => Remedy::Key,
        SwarmState::Locked => Remedy::None,
        SwarmState::Error if *on_disk == OnDisk::Nothing => Remedy::None,
        SwarmState::Error if is_wanted => Remedy::Restart,
        SwarmState::Error => Remedy::Time,
        SwarmState::Inactive if is_wanted && held.is_some_and(|held| held.is_taken_up) => Remedy::Restart,
        SwarmState::Inactive => Remedy::None,
    }
}

/// Deadline of the wait, and the time of the next restart.
struct RestartPacing {
    until: Instant,
    restart_at: Instant,
    pause: Duration,
    restarts: u32,
}

impl RestartPacing {
    fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self { until: now + limit.max(ELECTION), restart_at: now + UNTIL_RESTART, pause: BETWEEN_RESTARTS, restarts: 0 }
    }

    fn may_restart(&self) -> bool {
        self.restarts < RESTARTS && Instant::now() >= self.restart_at
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Extends the deadline: the effect of a restart takes a moment to show.
    fn was_restarted(&mut self) {
        let now = Instant::now();
        if self.pause == BETWEEN_RESTARTS {
            self.until = self.until.max(now + ELECTION);
        }
        self.restarts += 1;
        self.restart_at = now + self.pause;
        self.pause *= 2;
    }
}

impl Restore<'_> {
    /// Asks what this host holds until the answer is stable, for `limit` or the time of an election, whichever is
    /// longer. If `may_change`, a locked engine is unlocked with the given key, and an engine that stays in `error` is
    /// restarted.
    pub(crate) async fn await_settled(&self, wanted: Wanted<'_>, limit: Duration, may_change: bool) -> Result<Holding> {
        let mut pacing = RestartPacing::new(limit);
        let (mut was_unlocked, mut key_failed, mut told) = (false, false, String::new());
        loop {
            let facts = self.await_engine(pacing.left(), may_change).await?;
            let on_disk = OnDisk::read(&facts.data_root.join("swarm"));
            let holding = Holding { facts, on_disk, was_unlocked };
            let swarm = &holding.facts.swarm;
            let is_wanted = wanted.is(&holding.on_disk);
            match remedy(swarm, &holding.on_disk, is_wanted, self.keyring.unlock_key.is_some()) {
                Remedy::None => return Ok(holding),
                Remedy::Key if !may_change => return Ok(holding),
                Remedy::Key if key_failed => return Ok(holding),
                Remedy::Key => {
                    // Without a leader the call does not return, although the engine has taken the key.
                    if let Err(error) = self.unlock_present(KEY_LIMIT).await {
                        tracing::warn!("{error:#}");
                        key_failed = true;
                    }
                    was_unlocked = true;
                    continue;
                }
                Remedy::Restart if may_change && pacing.may_restart() => {
                    if self.restart_if_possible(swarm, &mut pacing).await? {
                        continue;
                    }
                }
                Remedy::Time | Remedy::Restart => {}
            }
            if pacing.left().is_zero() {
                return Ok(holding);
            }
            let seen = format!("the swarm on this host is {}", described(swarm));
            if told != seen {
                tracing::info!("waiting up to {:.0} s: {seen}", pacing.left().as_secs_f64().ceil());
                told = seen;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Restarts the engine, if it may be stopped; false if it may not, and then there is no further attempt.
    async fn restart_if_possible(&self, swarm: &LocalSwarm, pacing: &mut RestartPacing) -> Result<bool> {
        match self.restartable().await {
            Ok(control) => {
                self.restart_engine(control, swarm).await?;
                pacing.was_restarted();
                Ok(true)
            }
            // It may recover anyway.
            Err(error) => {
                tracing::warn!("the engine is not restarted: {error:#}");
                pacing.restarts = RESTARTS;
                Ok(false)
            }
        }
    }

    /// Connects to the engine's units, if the engine may be stopped.
    async fn restartable(&self) -> Result<EngineControl> {
        let control = EngineControl::connect(self.run.config).await?;
        control.require_stoppable().await?;
        stop_time::require(&control, &Allowed::of_restore(self.run.config), &StopHistory::default()).await?;
        Ok(control)
    }

    /// Stops and starts the engine, with a failsafe that starts it if this process does not. A signal is delayed until
    /// it has been started again.
    async fn restart_engine(&self, control: EngineControl, swarm: &LocalSwarm) -> Result<()> {
        tracing::warn!("the swarm on this host stays {}: restarting the engine", described(swarm));
        let restart = async {
            let delay = self.run.config.engine.stop_timeout.duration() + RESTARTING;
            let tag = format!("restart-{}", std::process::id());
            let failsafe = Failsafe::arm(control.systemd(), &tag, &control.rescue(), delay).await?;
            let stopped = control.stop().await;
            failpoint::reach("restart-stopped");
            control.start().await?;
            failsafe.disarm().await?;
            stopped.context("the engine was started again, but had not stopped before")?;
            Ok(())
        };
        self.run.shutdown.shielded(restart).await
    }

    /// Unlocks the engine of this host with the given key, like `docker swarm unlock`.
    pub async fn unlock_present(&self, limit: Duration) -> Result<()> {
        let key = self.keyring.unlock_key.as_ref().context("there is no unlock key")?.for_engine();
        let socket = &self.run.config.engine.socket;
        let unlock = async { tokio::time::timeout(limit, key.unlock(socket)).await.context("it takes too long")? };
        unlock.await.map_err(|cause| {
            Failure::refused("this host holds a locked swarm, and the given key did not unlock it")
                .advice("see `journalctl -u docker`, and `docker swarm unlock`")
                .because(cause)
        })?;
        let engine = crate::host::engine::Engine::at(socket);
        engine
            .wait(limit, "the engine to take the unlock key", |facts| facts.swarm.state != SwarmState::Locked)
            .await?;
        Ok(())
    }
}

fn described(swarm: &LocalSwarm) -> String {
    let state = match swarm.state {
        SwarmState::Inactive => "not taken up by the engine",
        SwarmState::Pending => "pending",
        SwarmState::Active => "active without a leader",
        SwarmState::Error => "in error",
        SwarmState::Locked => "locked",
    };
    if swarm.error.is_empty() { state.to_owned() } else { format!("{state} ({})", swarm.error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarmdr_archive::SwarmNode;

    fn node(id: &str) -> SwarmNode {
        SwarmNode::parse("cluster", id).expect("are ids")
    }

    pub(super) fn held(is_taken_up: bool) -> OnDisk {
        OnDisk::State(Held { own: node("node"), is_manager: true, is_taken_up })
    }

    #[test]
    fn only_an_answer_that_may_change_is_waited_for() {
        let swarm = |state, is_manager, error: &str| LocalSwarm {
            state,
            is_manager,
            error: error.into(),
            ..LocalSwarm::default()
        };
        let worker = OnDisk::State(Held { is_manager: false, is_taken_up: true, own: node("worker") });
        for (state, is_manager, error, on_disk, has_key, expected) in [
            (SwarmState::Active, true, "", held(true), false, Remedy::None),
            (SwarmState::Active, true, "no leader", held(true), false, Remedy::Time),
            // The manager of a node that has just started comes up after its agent.
            (SwarmState::Active, false, "", held(true), false, Remedy::Time),
            (SwarmState::Active, false, "", worker, false, Remedy::None),
            (SwarmState::Pending, false, "", held(true), false, Remedy::Time),
            (SwarmState::Pending, false, "", OnDisk::Unknown, false, Remedy::None),
            (SwarmState::Locked, false, "", held(true), false, Remedy::None),
            (SwarmState::Locked, false, "", held(true), true, Remedy::Key),
            (SwarmState::Error, false, "x509", held(true), true, Remedy::Restart),
            (SwarmState::Error, false, "x509", OnDisk::Unknown, true, Remedy::None),
            (SwarmState::Error, false, "x509", OnDisk::Nothing, true, Remedy::None),
            (SwarmState::Inactive, false, "", held(true), false, Remedy::Restart),
            (SwarmState::Inactive, false, "", held(false), false, Remedy::None),
            (SwarmState::Inactive, false, "", OnDisk::Unknown, false, Remedy::None),
            (SwarmState::Inactive, false, "", OnDisk::Nothing, false, Remedy::None),
        ] {
            let swarm = swarm(state, is_manager, error);
            let is_wanted = on_disk.held().is_some_and(|held| held.own == node("node"));
            assert_eq!(remedy(&swarm, &on_disk, is_wanted, has_key), expected, "{swarm:?} {on_disk:?} {has_key}");
            let is_ours_alone = matches!(expected, Remedy::Key | Remedy::Restart);
            let not_wanted = remedy(&swarm, &on_disk, false, has_key);
            assert!(!is_ours_alone || matches!(not_wanted, Remedy::None | Remedy::Time), "{swarm:?}: {not_wanted:?}");
        }
    }
}
