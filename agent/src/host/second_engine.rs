//! A second engine beside the host's own: a state boots in it, and the first one notices nothing.
//!
//! It is a transient systemd unit with a network of its own that holds the old addresses and leads nowhere, mounts of
//! its own from which the first engine's files and sockets are hidden, no image store, and a runtime that refuses to
//! run anything. All of its processes, the containerd that it starts for itself among them, are one cgroup; ending the
//! unit kills that, and with the last process the network and the mounts are gone. What lies on disk, systemd removes.
//!
//! **It does not outlive its maker.** The unit's main process is a [`keeper`], which reads from a pipe that only the
//! maker holds open. However the maker ends, the pipe closes, the keeper exits, and systemd cleans up. The directory is
//! made by the unit, before anything is unpacked into it. A power cut leaves the directory: systemd-tmpfiles removes
//! it at the boot (the packages bring the line), and so does the next second engine.
//!
//! Seen on 20.10.24 (systemd 252), 26.1.5 (257) and 28.5.2 (262): it answers after 0.3 s, forms the cluster in 0.6 s.
//! The kernel's neighbour table limits and IPVS settings, which an engine writes at its start, do not exist in a
//! network namespace, so not even those of the host are touched.

pub mod keeper;
mod peak;
mod unit;

use std::{
    fs,
    io::{self, PipeWriter, Write},
    net::IpAddr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use swarmdr_archive::BackupId;

use super::{
    engine::{Engine, EngineFacts, SwarmState},
    key_file::{self, OpenKey},
    systemd::{Systemd, UnitState},
};
use crate::{config::Config, fault::Fault, lock::HostLock, swarm::UnlockKey};

/// What all of them are called like.
const PREFIX: &str = "swarmdr-second-";

/// For the unit's own start: no engine runs in it yet.
const MAKING: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(20);

/// Bytes of the engine's own words that an error tells.
const TOLD: usize = 1500;

/// What it is made for.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Letters, digits and dashes; short, since paths of sockets are made of it.
    pub tag: String,
    /// Where the addresses that the state lives at are, in its own network.
    pub addresses: Vec<IpAddr>,
    /// Of the host's engine: its data root and its socket; hidden.
    pub hidden: Vec<PathBuf>,
}

impl Spec {
    /// `id` is the backup or the drill; `hidden` is the host's engine's own.
    pub fn new(purpose: &str, id: BackupId, addresses: Vec<IpAddr>, hidden: [PathBuf; 2]) -> Self {
        let id = id.to_string();
        let tag = id.rsplit('-').next().unwrap_or_default();
        Self { tag: format!("{purpose}-{tag}"), addresses, hidden: hidden.to_vec() }
    }
}

/// A second engine. Dropping it ends it, a little later; [`SecondEngine::end`] waits for that.
#[derive(Debug)]
pub struct SecondEngine {
    systemd: Systemd,
    unit: String,
    data: PathBuf,
    run: PathBuf,
    engine: Engine,
    /// Closed, it ends the unit.
    leash: PipeWriter,
    /// The key of a locked state, while it lies open.
    open_key: Option<OpenKey>,
    /// Its second name, see [`mark`].
    mark: PathBuf,
    /// There is one on a host at a time.
    _lock: HostLock,
}

impl SecondEngine {
    /// Makes the unit with its network and its empty directory, after removing what earlier ones left. No engine runs
    /// in it before [`SecondEngine::boot`].
    pub async fn make(systemd: &Systemd, config: &Config, spec: &Spec) -> Result<Self> {
        let lock = HostLock::acquire(&HostLock::second_engine_path())?;
        let home = home(config);
        // The unit may write there, so it must be there.
        fs::create_dir_all(&config.state_dir)
            .with_context(|| format!("failed to make {}", config.state_dir.display()))?;
        sweep(systemd, config).await?;
        let unit = format!("{PREFIX}{}.service", spec.tag);
        let places = unit::Places::new(&home, &spec.tag)?;
        let dockerd = dockerd(systemd, config).await?;
        let agent = std::env::current_exe().context("failed to find this program's own file")?;
        let (end, leash) = io::pipe().context("failed to make a pipe")?;
        let settings = unit::settings(&places, spec, &agent, &dockerd, end.as_fd())?;
        systemd.start_transient((&unit, &settings), None).await.context("failed to make the second engine")?;
        let engine = Engine::at(places.socket());
        let second = Self {
            systemd: systemd.clone(),
            unit,
            data: places.data,
            run: places.run,
            engine,
            leash,
            open_key: None,
            mark: mark(config),
            _lock: lock,
        };
        second.until_made().await?;
        Ok(second)
    }

    /// Ends and removes what earlier ones left. One that is in use is an error.
    pub async fn remove_left(systemd: &Systemd, config: &Config) -> Result<()> {
        let _lock = HostLock::acquire(&HostLock::second_engine_path())?;
        sweep(systemd, config).await
    }

    /// The unit's directory is made by the unit.
    async fn until_made(&self) -> Result<()> {
        let since = Instant::now();
        while !self.state_dir().is_dir() {
            if !self.unit_state().await?.is_active() || since.elapsed() > MAKING {
                bail!("the unit {} ended before an engine was started in it: see `journalctl -u {0}`", self.unit);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Where the state belongs: there, empty, and on the filesystem of the agent's own state.
    pub fn state_dir(&self) -> PathBuf {
        self.data.join("swarm")
    }

    /// A client of it; answers from [`SecondEngine::boot`] on.
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

    /// Starts the engine on what lies in [`SecondEngine::state_dir`], and waits until it answers without a swarm.
    pub async fn boot(&mut self, limit: Duration) -> Result<EngineFacts> {
        self.leash.write_all(keeper::BOOT).context("the second engine is gone")?;
        let answers = |facts: &EngineFacts| facts.swarm.state == SwarmState::Inactive;
        let wait = self.engine.wait(limit, "the second engine to answer without a swarm", answers);
        let booted = tokio::select! {
            booted = wait => booted,
            gone = self.gone() => gone,
        };
        booted.map_err(|cause| {
            Fault::failed("the second engine did not start on the state").because(self.in_its_own_words(cause)).into()
        })
    }

    /// Lays the key of a locked state open, for the engine to form its swarm; [`SecondEngine::end`] destroys it.
    pub fn lay_open(&mut self, unlock_key: &UnlockKey) -> Result<()> {
        self.open_key = Some(OpenKey::lay_open(&self.state_dir(), unlock_key, Some(&self.mark))?);
        Ok(())
    }

    /// Adds how the engine ended, if it has, and what it wrote last.
    pub fn in_its_own_words(&self, cause: anyhow::Error) -> anyhow::Error {
        let cause = match self.ended() {
            Some(how) => cause.context(format!("the engine has ended ({how})")),
            None => cause,
        };
        match fs::read(self.run.join(keeper::LOG)) {
            Ok(log) if !log.is_empty() => {
                let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(TOLD)..]).trim().to_owned();
                cause.context(format!("the engine's last words: {tail}"))
            }
            _ => cause,
        }
    }

    /// How the engine ended, in the keeper's words.
    fn ended(&self) -> Option<String> {
        fs::read_to_string(self.run.join(keeper::ENDED)).ok()
    }

    /// After a failure: how the engine was ended by somebody else, which says nothing of the state in it. The kernel
    /// does so when memory runs out, and so may systemd.
    pub async fn killed(&self) -> Option<String> {
        let since = Instant::now();
        loop {
            if let Some(how) = self.ended() {
                return how.starts_with(keeper::KILLED).then_some(how);
            }
            if !self.unit_state().await.is_ok_and(|state| state.is_active()) {
                return Some(format!("the unit {} is gone", self.unit));
            }
            // A connection breaks a moment before the process is gone.
            if self.engine.facts().await.is_ok() || since.elapsed() > MAKING {
                return None;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The most memory that any of its processes has had, in bytes; `None` where the kernel does not say.
    pub async fn peak_memory(&self) -> Option<u64> {
        let freezable = self.systemd.freezable(&self.unit).await.ok()?;
        peak::of_processes_in(&freezable.control_group)
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

    /// Kills it; when this returns nothing of it is left.
    pub async fn end(self) -> Result<()> {
        let Self { systemd, unit, data, leash, open_key, _lock, .. } = self;
        drop(leash);
        let stopped = systemd.stop_if_there(&[&unit]).await.context("failed to end the second engine");
        let ended = stopped.and_then(|()| remove(data.parent().context("its directory has no parent")?));
        // Its file is gone; its blocks on the disk would stay.
        open_key.map_or(Ok(()), OpenKey::destroy)?;
        ended
    }
}

/// Where the states of second engines lie.
fn home(config: &Config) -> PathBuf {
    config.state_dir.join("second")
}

/// Another name of an open key in the state of a second engine, by which any later run finds and overwrites it: whatever
/// ends this process, the unit removes its own directory.
pub fn mark(config: &Config) -> PathBuf {
    config.state_dir.join("second.open-key")
}

/// Ends and removes what others have left; the caller holds the lock, so none is in use.
async fn sweep(systemd: &Systemd, config: &Config) -> Result<()> {
    let left = systemd.names_like(&format!("{PREFIX}*.service")).await?;
    let names: Vec<&str> = left.iter().map(String::as_str).collect();
    systemd.stop_if_there(&names).await.context("failed to end a second engine that an earlier run left")?;
    remove(&home(config))?;
    key_file::sweep(&mark(config))?;
    Ok(())
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// The program that the host's engine runs, by its unit; else the one on the path.
async fn dockerd(systemd: &Systemd, config: &Config) -> Result<PathBuf> {
    let of_unit = systemd.program(&config.engine.service).await.unwrap_or_default();
    let usual =
        ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].map(|dir| Path::new(dir).join("dockerd"));
    of_unit
        .into_iter()
        .chain(usual)
        .find(|path| path.file_name().is_some_and(|name| name == "dockerd") && path.exists())
        .ok_or_else(|| {
            Fault::failed("there is no dockerd on this host to boot a state with")
                .advice("install the engine's packages; it need not run")
                .into()
        })
}
