//! What this host holds of a swarm: on its disk, and in the words of its engine once these are settled.
//!
//! One answer of an engine says little. It is `error` for as long as an address is missing or the clock is wrong,
//! `pending` while it dials, `locked` after each boot of an autolocked manager, and without a leader during an election:
//! each of them passes by itself, or with a restart or a key, and the state on the disk is whole all the while (moby
//! `daemon/cluster/noderunner.go`). So the disk says whose state it is, and the engine is asked until its answer is about
//! to stay. One that stays in `error` is restarted: a first start that failed is not tried again by itself.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Restore, plan::checks};
use crate::{
    fault::Fault,
    faults,
    host::{
        absences::Absences,
        engine::{EngineFacts, LocalSwarm, SwarmState},
        engine_units::EngineControl,
        failsafe::Failsafe,
        stop_price::{self, Allowed},
    },
    swarm::{
        self, Examined, Identity, Proof, StateDir,
        identity::Role,
        state_dir::{ENGINE_STATE, NODE_CERT},
    },
    unlock_key::GivenKey,
};

/// The node that a run is about. An engine is unlocked or restarted for its state only: another swarm's is not ours to
/// touch.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub cluster_id: &'a str,
    /// `None` at another address, where the node is another one.
    pub node_id: Option<&'a str>,
}

impl Wanted<'_> {
    pub fn is(&self, on_disk: &OnDisk) -> bool {
        let is_it = |held: &Held| {
            held.cluster_id == self.cluster_id && self.node_id.is_none_or(|node_id| held.node_id == node_id)
        };
        on_disk.held().is_some_and(is_it)
    }
}

/// At least this long for a leader: an election takes up to 20 s.
const ELECTION: Duration = Duration::from_secs(30);

/// An engine reconnects by itself after a while; the first pauses are shorter than this.
const UNTIL_RESTART: Duration = Duration::from_secs(10);

/// Between two restarts of an engine that stays in `error`; doubled each time.
const BETWEEN_RESTARTS: Duration = Duration::from_secs(60);

/// What this many restarts do not heal, no restart heals: each ends the containers of this host.
const RESTARTS: u32 = 3;

const POLL: Duration = Duration::from_millis(500);

/// For an engine to take an unlock key and come up with it.
pub const KEY_LIMIT: Duration = Duration::from_secs(60);

/// For starting the engine again, beyond what it may take to stop.
const RESTARTING: Duration = Duration::from_secs(60);

/// An engine without a leader writes its votes now and then, so one reading of its log may fail.
const READINGS: u32 = 3;

/// What lies in the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnDisk {
    /// Nothing of a swarm.
    Nothing,
    /// Something of a swarm; whose is not to be read from it.
    Unknown,
    State(Held),
}

/// A state that somebody owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub cluster_id: String,
    pub node_id: String,
    pub is_manager: bool,
    /// An engine has made it its own: it starts with it.
    pub is_taken_up: bool,
}

/// The disk, and what the engine made of it.
#[derive(Debug, Clone)]
pub struct Holding {
    pub facts: EngineFacts,
    pub on_disk: OnDisk,
    /// The engine was unlocked to find that out.
    pub was_unlocked: bool,
}

/// What may change an answer of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// It stays as it is.
    None,
    Time,
    Key,
    /// Time, and then a restart.
    Restart,
}

impl OnDisk {
    pub fn read(state_dir: &Path) -> Self {
        let is_there = |name: &str| state_dir.join(name).exists();
        if let Some(identity) = StateDir::open(state_dir).ok().and_then(|dir| Identity::read(&dir).ok()) {
            return OnDisk::State(Held {
                cluster_id: identity.cluster_id,
                node_id: identity.node_id,
                is_manager: identity.role == Role::Manager,
                is_taken_up: is_there(ENGINE_STATE),
            });
        }
        if [ENGINE_STATE, NODE_CERT, "raft"].into_iter().any(is_there) { OnDisk::Unknown } else { OnDisk::Nothing }
    }

    pub fn held(&self) -> Option<&Held> {
        match self {
            OnDisk::State(held) => Some(held),
            OnDisk::Nothing | OnDisk::Unknown => None,
        }
    }
}

impl Held {
    pub fn is(&self, cluster_id: &str, node_id: &str) -> bool {
        self.cluster_id == cluster_id && self.node_id == node_id
    }
}

/// `is_wanted`: the state is the one that this run is about.
fn remedy(swarm: &LocalSwarm, on_disk: &OnDisk, is_wanted: bool, has_key: bool) -> Remedy {
    let held = on_disk.held();
    if *on_disk == OnDisk::Unknown {
        // A join that is under way: an engine that is restarted without a certificate deletes what there is of it.
        return Remedy::None;
    }
    match swarm.state {
        SwarmState::Active if checks::works(swarm) => Remedy::None,
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

/// Until when the engine is asked, and when it is restarted next.
struct Patience {
    until: Instant,
    restart_at: Instant,
    pause: Duration,
    restarts: u32,
}

impl Patience {
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

    /// What a restart heals takes a moment to show, whatever the limit is.
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
    /// What this host holds, asked until the answer is about to stay, for `limit` or as long as an election takes. A
    /// locked engine is unlocked with the key that was given, one that stays in `error` is restarted, both only where
    /// `may_change` says so.
    pub(crate) async fn await_settled(&self, wanted: Wanted<'_>, limit: Duration, may_change: bool) -> Result<Holding> {
        let mut patience = Patience::new(limit);
        let mut told = String::new();
        let (mut was_unlocked, mut key_failed) = (false, false);
        loop {
            let facts = self.await_engine(patience.left(), may_change).await?;
            let on_disk = OnDisk::read(&facts.data_root.join("swarm"));
            let holding = Holding { facts, on_disk, was_unlocked };
            let swarm = &holding.facts.swarm;
            let is_wanted = wanted.is(&holding.on_disk);
            match remedy(swarm, &holding.on_disk, is_wanted, self.unlock_key.is_some()) {
                Remedy::None => return Ok(holding),
                Remedy::Key if !may_change => return Ok(holding),
                Remedy::Key if key_failed => return Ok(holding),
                Remedy::Key => {
                    // Without a leader the call does not end, although the engine has taken the key.
                    if let Err(error) = self.unlock_present(KEY_LIMIT).await {
                        tracing::warn!("{error:#}");
                        key_failed = true;
                    }
                    was_unlocked = true;
                    continue;
                }
                Remedy::Restart if may_change && patience.may_restart() => {
                    match self.restartable().await {
                        Ok(control) => {
                            self.restart_engine(control, swarm).await?;
                            patience.was_restarted();
                            continue;
                        }
                        // It may come to itself all the same.
                        Err(error) => {
                            tracing::warn!("the engine is not restarted: {error:#}");
                            patience.restarts = RESTARTS;
                        }
                    }
                }
                Remedy::Time | Remedy::Restart => {}
            }
            if patience.left().is_zero() {
                return Ok(holding);
            }
            let seen = format!("the swarm on this host is {}", described(swarm));
            if told != seen {
                tracing::info!("waiting up to {} s: {seen}", patience.left().as_secs());
                told = seen;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The engine, if a stop of it may be asked for.
    async fn restartable(&self) -> Result<EngineControl> {
        let control = EngineControl::connect(self.config).await?;
        control.require_stoppable().await?;
        stop_price::require(&control, &Allowed::of_restore(self.config), &Absences::default()).await?;
        Ok(control)
    }

    /// Stops and starts the engine, with a failsafe that starts it if this process does not. A signal waits until it has
    /// been started again.
    async fn restart_engine(&self, control: EngineControl, swarm: &LocalSwarm) -> Result<()> {
        tracing::warn!("the swarm on this host stays {}: restarting the engine", described(swarm));
        let restart = async {
            let delay = Duration::from_secs(self.config.engine.stop_timeout) + RESTARTING;
            let tag = format!("restart-{}", std::process::id());
            let failsafe = Failsafe::arm(control.systemd(), &tag, &control.rescue(), delay).await?;
            let stopped = control.stop().await;
            faults::reach("restart-stopped");
            control.start().await?;
            failsafe.disarm().await?;
            stopped.context("the engine was started again, but had not stopped before")?;
            Ok(())
        };
        self.shutdown.shielded(restart).await
    }

    /// Unlocks the engine of this host; `docker swarm unlock` with the key that was given.
    pub async fn unlock_present(&self, limit: Duration) -> Result<()> {
        let key = self.unlock_key.as_ref().context("there is no unlock key")?.for_engine();
        let socket = &self.config.engine.socket;
        let unlock = async { tokio::time::timeout(limit, key.unlock(socket)).await.context("it takes too long")? };
        unlock.await.map_err(|cause| {
            Fault::refused("this host holds a locked swarm, and the given key did not unlock it")
                .advice("see `journalctl -u docker`, and `docker swarm unlock`")
                .because(cause)
        })?;
        let engine = crate::host::engine::Engine::at(socket);
        engine
            .wait(limit, "the engine to take the unlock key", |facts| facts.swarm.state != SwarmState::Locked)
            .await?;
        Ok(())
    }

    /// Reads the state on this host's disk with the key that was given; `None` where it cannot be read to its end.
    pub(super) async fn examine_present(&self, state_dir: &Path) -> Option<Examined> {
        let (state_dir, key) = (state_dir.to_owned(), self.unlock_key.clone());
        let read = move || {
            let key = key.as_ref().map(GivenKey::for_state);
            let readings = (0..READINGS).filter_map(|_| swarm::examine(&state_dir, key).ok());
            readings.reduce(|best, next| if best.proof == Proof::Proven { best } else { next })
        };
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Addresses of the other managers of the state on this host's disk, as far as they can be read.
    pub(super) async fn present_peers(&self, state_dir: &Path) -> Vec<SocketAddr> {
        match self.examine_present(state_dir).await {
            Some(examined) => peers(&examined),
            None => {
                let identity = StateDir::open(state_dir).ok().and_then(|dir| Identity::read(&dir).ok());
                let others = identity.iter().flat_map(|identity| {
                    identity.known_managers.iter().filter(|manager| manager.node_id != identity.node_id)
                });
                others.filter_map(|manager| swarm::identity::usable(&manager.addr)).collect()
            }
        }
    }
}

/// The other managers, as raft and `state.json` know them.
pub(crate) fn peers(examined: &Examined) -> Vec<SocketAddr> {
    let members = examined.raft.iter().flat_map(|raft| &raft.members).filter_map(|member| member.addr.as_deref());
    let known = examined.identity.known_managers.iter().map(|manager| manager.addr.as_str());
    let mut peers: Vec<SocketAddr> = members.chain(known).filter_map(swarm::identity::usable).collect();
    peers.retain(|addr| Some(*addr) != examined.raft_address);
    peers.sort();
    peers.dedup();
    peers
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
    use crate::{
        restore::plan::tests::examined,
        swarm::{
            identity::KnownManager,
            inventory::{Member, Raft},
        },
    };

    pub(super) fn held(is_taken_up: bool) -> OnDisk {
        OnDisk::State(Held { cluster_id: "cluster".into(), node_id: "node".into(), is_manager: true, is_taken_up })
    }

    #[test]
    fn only_an_answer_that_may_change_is_waited_for() {
        let swarm = |state, is_manager, error: &str| LocalSwarm {
            state,
            is_manager,
            error: error.into(),
            ..LocalSwarm::default()
        };
        let worker = OnDisk::State(Held {
            is_manager: false,
            is_taken_up: true,
            cluster_id: "cluster".into(),
            node_id: "worker".into(),
        });
        for (state, is_manager, error, on_disk, has_key, expected) in [
            (SwarmState::Active, true, "", held(true), false, Remedy::None),
            (SwarmState::Active, true, "no leader", held(true), false, Remedy::Time),
            // The manager of a node that has just started comes after its agent.
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
            let is_wanted = on_disk.held().is_some_and(|held| held.is("cluster", "node"));
            assert_eq!(remedy(&swarm, &on_disk, is_wanted, has_key), expected, "{swarm:?} {on_disk:?} {has_key}");
            let is_ours_alone = matches!(expected, Remedy::Key | Remedy::Restart);
            let not_wanted = remedy(&swarm, &on_disk, false, has_key);
            assert!(!is_ours_alone || matches!(not_wanted, Remedy::None | Remedy::Time), "{swarm:?}: {not_wanted:?}");
        }
    }

    #[test]
    fn what_lies_on_the_disk_is_told_apart() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let state_dir = dir.path().join("swarm");
        assert_eq!(OnDisk::read(&state_dir), OnDisk::Nothing);
        std::fs::create_dir_all(state_dir.join("worker")).expect("makes");
        assert_eq!(OnDisk::read(&state_dir), OnDisk::Nothing);
        std::fs::create_dir(state_dir.join("raft")).expect("makes");
        assert_eq!(OnDisk::read(&state_dir), OnDisk::Unknown);
    }

    #[test]
    fn every_other_manager_that_is_known_is_looked_for_once() {
        let mut state = examined();
        state.raft_address = Some("10.0.0.4:2377".parse().expect("is an address"));
        let member = |addr: &str| Member { addr: Some(addr.to_owned()), ..Member::default() };
        state.raft = Some(Raft {
            members: vec![member("10.0.0.4:2377"), member("10.0.0.5:2377"), member("0.0.0.0:2377")],
            ..Raft::default()
        });
        let known = |addr: &str| KnownManager { node_id: "other".to_owned(), addr: addr.to_owned() };
        state.identity.known_managers = vec![known("10.0.0.6:4000"), known("10.0.0.5:2377")];
        let found: Vec<String> = peers(&state).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.5:2377", "10.0.0.6:4000"]);
    }
}
