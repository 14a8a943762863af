//! A second engine alongside the host's own, in which a state is booted without an effect on the first one.
//!
//! It is a transient systemd unit with a network of its own that has the old addresses and no way out, mounts of its
//! own from which the first engine's files and sockets are hidden, no image store, and a runtime that refuses to run
//! anything. All of its processes, including the containerd that it starts for itself, are in one cgroup; stopping the
//! unit kills them, and with the last process the network and the mounts are gone. systemd removes its files.
//!
//! **It does not outlive the run that made it.** The unit's main process is a [`keeper`], which reads from a pipe that
//! only this process holds open. However this process ends, the pipe closes, the keeper exits, and systemd cleans up.
//! The unit itself makes the directory, before anything is unpacked into it. A power cut leaves the directory:
//! systemd-tmpfiles removes it at boot (the packages bring the line), and so does the next second engine.
//!
//! Seen on 20.10.24 (systemd 252), 26.1.5 (257) and 28.5.2 (262): it answers after 0.3 s, and forms the cluster in 0.6
//! s. The kernel's neighbour table limits and IPVS settings, which an engine writes at its start, do not exist in a
//! network namespace, so those of the host are not touched either.

mod ending;
pub mod keeper;
mod leftovers;
pub mod link;
mod peak;
mod unit;

use std::{
    env, fs,
    io::{self, PipeWriter, Write},
    net::IpAddr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use swarm_state::UnlockKey;
use swarmdr_archive::BackupId;

use super::{
    engine::{Engine, EngineFacts, SwarmState},
    files::key_file::PlaintextKey,
    systemd::{Systemd, UnitState},
    wait::{self, Probe},
};
use crate::{config::Config, host::lock::HostLock, outcome::failure::Failure};
use ending::{End, how_ended};
use leftovers::{home, remove, sweep};

pub use leftovers::mark;

/// Start of the names of the units.
const PREFIX: &str = "swarmdr-second-";

/// Time limit for the start of the unit, in which no engine runs yet, and for finding out how it ended.
const MAKING: Duration = Duration::from_secs(30);

/// Time for the second engine of another run to end: a standby forms a state in it, or a drill boots one.
const TURN: Duration = Duration::from_secs(300);

const POLL: Duration = Duration::from_millis(20);

/// Bytes of the engine's log that are in an error.
const LOG_TAIL: usize = 1500;

/// The parameters of a second engine.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Letters, digits and dashes; short, since paths of sockets are made of it.
    pub tag: String,
    /// The addresses of its network, at which the state's manager was.
    pub addresses: Vec<IpAddr>,
    /// Paths that are hidden: data root and socket of the host's engine.
    pub hidden: Vec<PathBuf>,
}

impl Spec {
    /// The parameters for a backup or a drill of this id.
    pub fn new(purpose: &str, id: BackupId, addresses: Vec<IpAddr>, hidden: [PathBuf; 2]) -> Self {
        let id = id.to_string();
        let tag = id.rsplit('-').next().unwrap_or_default();
        Self { tag: format!("{purpose}-{tag}"), addresses, hidden: hidden.to_vec() }
    }
}

/// A second engine. Dropping this ends it a little later; [`SecondEngine::end`] waits for that.
#[derive(Debug)]
pub struct SecondEngine {
    systemd: Systemd,
    unit: String,
    data: PathBuf,
    run: PathBuf,
    engine: Engine,
    /// The pipe to the keeper: closing it ends the unit.
    lifeline: PipeWriter,
    /// Whether the keeper was asked to start the engine.
    started: bool,
    /// The key of a locked state, while it is decrypted.
    plaintext_key: Option<PlaintextKey>,
    /// The second hard link to the key, see [`mark`].
    mark: PathBuf,
    /// The lock that allows one second engine on a host at a time.
    _lock: HostLock,
}

impl SecondEngine {
    /// Makes the unit with its network and its empty directory, after removing what earlier second engines left. No
    /// engine runs in it before [`SecondEngine::boot`].
    pub async fn make(systemd: &Systemd, config: &Config, spec: &Spec) -> Result<Self> {
        Self::make_under(HostLock::acquire(&HostLock::second_engine_path())?, systemd, config, spec).await
    }

    /// Does what [`Self::make`] does, once the second engine of another run has ended: the standby and drills use one by
    /// themselves, and a swarm that is to come back must not fail for that.
    pub async fn make_in_turn(systemd: &Systemd, config: &Config, spec: &Spec) -> Result<Self> {
        Self::make_under(Self::turn().await?, systemd, config, spec).await
    }

    async fn turn() -> Result<HostLock> {
        HostLock::acquire_within(&HostLock::second_engine_path(), TURN, "the second engine of this host").await
    }

    async fn make_under(lock: HostLock, systemd: &Systemd, config: &Config, spec: &Spec) -> Result<Self> {
        let home = home(config);
        // The unit may write there, so it must be there.
        fs::create_dir_all(&config.state_dir)
            .with_context(|| format!("failed to make {}", config.state_dir.display()))?;
        sweep(systemd, config).await?;
        let unit = format!("{PREFIX}{}.service", spec.tag);
        let places = unit::Places::new(&home, &spec.tag)?;
        let dockerd = dockerd(systemd, config).await?;
        let agent = env::current_exe().context("failed to find this program's own file")?;
        let (end, lifeline) = io::pipe().context("failed to make a pipe")?;
        let settings = unit::settings(&places, spec, &agent, &dockerd, end.as_fd())?;
        systemd.start_transient((&unit, &settings), None).await.context("failed to make the second engine")?;
        let engine = Engine::at(places.socket());
        let second = Self {
            systemd: systemd.clone(),
            unit,
            data: places.data,
            run: places.run,
            engine,
            lifeline,
            started: false,
            plaintext_key: None,
            mark: mark(config),
            _lock: lock,
        };
        second.until_made().await?;
        Ok(second)
    }

    /// Stops and removes what earlier second engines left. One that is in use is waited for.
    pub async fn remove_left(systemd: &Systemd, config: &Config) -> Result<()> {
        let _lock = Self::turn().await?;
        sweep(systemd, config).await
    }

    /// Waits until the unit has made its directory.
    async fn until_made(&self) -> Result<()> {
        let what = format!("the unit {} to make its directory", self.unit);
        let probe = async || {
            if self.state_dir().is_dir() {
                return Ok(Probe::Done(()));
            }
            let state = self.unit_state().await?;
            if !state.is_active() {
                bail!("the unit {} ended before an engine was started in it: see `journalctl -u {0}`", self.unit);
            }
            Ok(Probe::NotYet(anyhow!("the unit is {}", state.active)))
        };
        wait::until(MAKING, POLL, &what, probe).await
    }

    /// The directory for the state: it exists, is empty, and is on the filesystem of the agent's own state.
    pub fn state_dir(&self) -> PathBuf {
        self.data.join("swarm")
    }

    /// A client of the engine, which answers after [`SecondEngine::boot`].
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A process in its network namespace.
    pub async fn pid(&self) -> Result<u32> {
        match self.unit_state().await?.main_pid {
            0 => bail!("{} has no process", self.unit),
            pid => Ok(pid),
        }
    }

    /// Starts the engine on the state in [`SecondEngine::state_dir`], and waits until it answers without a swarm.
    pub async fn boot(&mut self, limit: Duration) -> Result<EngineFacts> {
        self.started = true;
        self.lifeline.write_all(keeper::BOOT).context("the second engine is gone")?;
        let answers = |facts: &EngineFacts| facts.swarm.state == SwarmState::Inactive;
        let wait = self.engine.wait(limit, "the second engine to answer without a swarm", answers);
        let booted = tokio::select! {
            booted = wait => booted,
            gone = self.gone() => gone,
        };
        booted.map_err(|cause| {
            Failure::failed("the second engine did not start on the state").because(self.with_engine_log(cause)).into()
        })
    }

    /// Decrypts the key of a locked state, for the engine to form its swarm; [`SecondEngine::end`] destroys it.
    pub fn decrypt_key(&mut self, unlock_key: &UnlockKey) -> Result<()> {
        self.plaintext_key = Some(PlaintextKey::decrypt(&self.state_dir(), unlock_key, Some(&self.mark))?);
        Ok(())
    }

    /// Adds to an error how the engine ended, if it has, and the end of its log.
    pub fn with_engine_log(&self, cause: anyhow::Error) -> anyhow::Error {
        let cause = match self.ended() {
            Some(how) => cause.context(format!("the engine has ended ({how})")),
            None => cause,
        };
        match fs::read(self.run.join(keeper::LOG)) {
            Ok(log) if !log.is_empty() => {
                let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]).trim().to_owned();
                cause.context(format!("the engine's last words: {tail}"))
            }
            _ => cause,
        }
    }

    /// The engine's exit status, as the keeper wrote it.
    fn ended(&self) -> Option<String> {
        fs::read_to_string(self.run.join(keeper::ENDED)).ok()
    }

    /// Returns how another process killed the engine, after a failure; `None` if none did. The failure then says
    /// nothing about the state. The kernel kills an engine when memory runs out, and systemd may too.
    pub async fn killed(&self) -> Option<String> {
        let is_active = async || self.unit_state().await.is_ok_and(|state| state.is_active());
        let answers = async || self.engine.facts().await.is_ok();
        match how_ended(self.started, || self.ended(), is_active, answers).await? {
            End::Engine(how) => how.starts_with(keeper::KILLED).then_some(how),
            End::Unit => Some(format!("the unit {} is gone", self.unit)),
        }
    }

    /// The peak memory of its largest process in bytes; `None` where the kernel does not report it.
    pub async fn peak_memory(&self) -> Option<u64> {
        let freezable = self.systemd.freezable(&self.unit).await.ok()?;
        peak::of_processes_in(&freezable.control_group)
    }

    /// Kills the engine and waits until it has ended; its state stays until [`SecondEngine::end`]. Everything that it has
    /// acknowledged is on the disk, as after a power cut.
    pub async fn kill_engine(&self) -> Result<()> {
        let noted = fs::read_to_string(self.run.join("pid")).context("the second engine does not say its process")?;
        let pid: i32 = noted.trim().parse().context("the second engine's process is no number")?;
        kill(Pid::from_raw(pid), Signal::SIGKILL).context("failed to kill the second engine")?;
        let ended = async || self.ended().map(drop);
        wait::poll(MAKING, POLL, ended).await.context("the second engine did not end when it was killed")
    }

    /// Returns when the engine or its unit has ended by itself.
    async fn gone(&self) -> Result<EngineFacts> {
        while self.ended().is_none() {
            let state = self.unit_state().await?;
            if !state.is_active() {
                bail!("its unit ended by itself ({})", state.sub);
            }
            tokio::time::sleep(POLL * 10).await;
        }
        bail!("it ended by itself")
    }

    async fn unit_state(&self) -> Result<UnitState> {
        self.systemd.state(&self.unit).await
    }

    /// Kills the engine; when this returns nothing of it is left.
    pub async fn end(self) -> Result<()> {
        let Self { systemd, unit, data, lifeline, plaintext_key, _lock, .. } = self;
        drop(lifeline);
        let stopped = systemd.stop_if_there(&[&unit]).await.context("failed to end the second engine");
        let ended = stopped.and_then(|()| remove(data.parent().context("its directory has no parent")?));
        // The file is removed, but its blocks would stay on the disk.
        plaintext_key.map_or(Ok(()), PlaintextKey::destroy)?;
        ended
    }
}

/// The engine's program: the one that its unit runs, or else the one on the path.
async fn dockerd(systemd: &Systemd, config: &Config) -> Result<PathBuf> {
    let of_unit = systemd.program(&config.engine.service).await.unwrap_or_default();
    let usual =
        ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].map(|dir| Path::new(dir).join("dockerd"));
    of_unit
        .into_iter()
        .chain(usual)
        .find(|path| path.file_name().is_some_and(|name| name == "dockerd") && path.exists())
        .ok_or_else(|| {
            Failure::failed("there is no dockerd on this host to boot a state with")
                .advice("install the engine's packages; it need not run")
                .into()
        })
}
