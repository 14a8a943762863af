//! Configuration: files, environment and flags, in rising order, into validated settings.
//!
//! `/etc/swarmdr/agent.toml`, then `/etc/swarmdr/agent.d/*.toml` by name, then the keys that a unit hands over
//! as credentials, then `SWARMDR_*` (two underscores for a dot: `SWARMDR_BACKUP__MODE`), then flags. An unknown key is an error that
//! names the place and the key. With no file at all everything has a default that works on a
//! manager: a directory vault below the state directory and a key made on first use.

mod layers;
mod network;
mod trusted_key;
mod watch;

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    fault::Fault,
    http::Proxies,
    ping::Ping,
    prune::policy::Policy,
    schedule::{Schedule, ScheduleConfig},
    vault::VaultSettings,
};

pub use layers::{Loaded, Origin, Sources};
pub use network::NetworkConfig;
pub use trusted_key::{EndedKey, TrustedKey};
pub use watch::WatchConfig;

/// Levels above need more memory than the agent promises to take (zstd 1.5.4: 55 MiB at 12, 92 MiB at 19).
const MAX_COMPRESSION_LEVEL: i32 = 12;

/// Less leaves an engine no time to stop; more is no failsafe.
const PAUSE_SECONDS: RangeInclusive<u64> = 5..=3600;

/// The most is the time after which a manager's raft messages time out (swarmkit `raft.go`, `SendTimeout`).
const FREEZE_MS: RangeInclusive<u64> = 50..=2000;

/// Every key of the configuration, with its default. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the agent keeps what is its own: spool, default vault, default keys.
    pub state_dir: PathBuf,
    /// minisign secret key; default `keys/signing.key` below `state_dir`.
    pub signing_key: Option<PathBuf>,
    /// minisign public keys (`RW…`) or paths of `.pub` files whose signatures are believed, each for ever or for what
    /// was stored before a time; default: the public half of `signing_key`.
    pub trusted_keys: Vec<TrustedKey>,
    /// Must be written down as `none` for an S3 vault without recipients.
    pub encryption: Option<Encryption>,
    /// age recipients (`age1…`) that can open the archives.
    pub recipients: Vec<String>,
    /// age identities with which this host opens archives; not needed to make them.
    pub identity_file: Option<PathBuf>,
    /// A command, without a shell, that prints such identities; both count.
    pub identity_command: Vec<String>,
    pub engine: EngineConfig,
    pub backup: BackupConfig,
    pub restore: RestoreConfig,
    pub drill: DrillConfig,
    pub schedule: ScheduleConfig,
    pub spool: SpoolConfig,
    /// What `prune` keeps.
    pub retention: Policy,
    pub watch: WatchConfig,
    pub network: NetworkConfig,
    /// What the variables say of proxies: no setting, and taken from the same environment as those.
    #[serde(skip)]
    pub inherited_proxies: Proxies,
    /// Where archives go; default: the directory `vault` below `state_dir`.
    pub vault: Vec<VaultSettings>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// To `recipients`.
    Age,
    /// Readable by whoever reads the vault: it holds every secret and the CA key.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    pub socket: PathBuf,
    pub service: String,
    /// The socket unit that would start the service; empty if there is none.
    pub socket_unit: String,
    /// Seconds that the engine may take to stop; more than its unit's own stop timeout.
    pub stop_timeout: u64,
    /// Seconds that the engine may take to start and to answer.
    pub start_timeout: u64,
}

impl EngineConfig {
    /// The engine's units, socket first.
    pub fn units(&self) -> Vec<String> {
        [&self.socket_unit, &self.service].into_iter().filter(|unit| !unit.is_empty()).cloned().collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupConfig {
    pub mode: Mode,
    /// Seconds that the engine may be away in a cold backup, its own time to stop included. Then the failsafe
    /// starts it, whatever becomes of the agent.
    pub max_pause: u64,
    /// Milliseconds that the engine may be frozen. One second later the failsafe thaws it.
    pub max_freeze_ms: u64,
    /// zstd level, 1 (fast) to 12 (small).
    pub compression_level: i32,
    /// Go on where stopping this manager costs the cluster its majority.
    pub allow_quorum_loss: bool,
}

/// How the engine is made to stop writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Stop it, with all containers of the host.
    Cold,
    /// Freeze it in its cgroup; containers run on.
    Freeze,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestoreConfig {
    /// Seconds that force-new-cluster may take.
    pub init_timeout: u64,
    /// Milliseconds to wait for an old manager to answer before it counts as gone.
    pub fence_timeout_ms: u64,
    /// File with the unlock key of an autolocked swarm; `verify`, `inspect` and `diff` open states with it too.
    pub unlock_key_file: Option<PathBuf>,
    /// Program and arguments that print the unlock key, where no file is named.
    pub unlock_key_command: Vec<String>,
    /// Seconds that an old manager must have been away before `--prune-dead` removes it.
    pub prune_grace: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrillConfig {
    /// Days after which `status` says that the newest proof by a drill is too old; default: 15 from the first drill on.
    pub max_age_days: Option<u32>,
}

/// What waits on this host because a vault did not take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// Archives from which on no further backup is made.
    pub max_count: u32,
    /// Bytes from which on no further backup is made; the spool can grow beyond them by one archive.
    pub max_bytes: u64,
    /// Seconds to go on trying a vault that does not answer, before the archive of this run waits in the spool.
    pub patience: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/swarmdr".into(),
            signing_key: None,
            trusted_keys: Vec::new(),
            encryption: None,
            recipients: Vec::new(),
            identity_file: None,
            identity_command: Vec::new(),
            engine: EngineConfig::default(),
            backup: BackupConfig::default(),
            restore: RestoreConfig::default(),
            drill: DrillConfig::default(),
            schedule: ScheduleConfig::default(),
            spool: SpoolConfig::default(),
            retention: Policy::default(),
            watch: WatchConfig::default(),
            network: NetworkConfig::default(),
            inherited_proxies: Proxies::none(),
            vault: Vec::new(),
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            socket: "/run/docker.sock".into(),
            service: "docker.service".into(),
            socket_unit: "docker.socket".into(),
            stop_timeout: 120,
            start_timeout: 120,
        }
    }
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self { mode: Mode::Cold, max_pause: 60, max_freeze_ms: 1000, compression_level: 3, allow_quorum_loss: false }
    }
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { max_count: 32, max_bytes: 8 << 30, patience: 90 }
    }
}

impl Default for RestoreConfig {
    fn default() -> Self {
        Self {
            init_timeout: 120,
            fence_timeout_ms: 2000,
            unlock_key_file: None,
            unlock_key_command: Vec::new(),
            prune_grace: 60,
        }
    }
}

impl Config {
    pub fn signing_key_path(&self) -> PathBuf {
        self.signing_key.clone().unwrap_or_else(|| self.state_dir.join("keys/signing.key"))
    }

    /// Where the public half of the signing key lies: beside it, `.pub` for `.key`.
    pub fn public_key_path(&self) -> PathBuf {
        self.signing_key_path().with_extension("pub")
    }

    pub fn spool_dir(&self) -> PathBuf {
        self.state_dir.join("spool")
    }

    /// The vaults that were named, or the directory below the state directory.
    pub fn vaults(&self) -> Vec<VaultSettings> {
        if self.vault.is_empty() { vec![VaultSettings::own(&self.state_dir.join("vault"))] } else { self.vault.clone() }
    }

    /// Checks what a single key cannot know of the others.
    pub fn validate(&self) -> Result<()> {
        self.validate_encryption()?;
        if !(1..=MAX_COMPRESSION_LEVEL).contains(&self.backup.compression_level) {
            return Err(Fault::usage(format!(
                "backup.compression_level is {}, not 1 to {MAX_COMPRESSION_LEVEL}",
                self.backup.compression_level
            ))
            .into());
        }
        self.validate_pauses()?;
        for path in [
            Some(&self.state_dir),
            self.signing_key.as_ref(),
            self.identity_file.as_ref(),
            self.restore.unlock_key_file.as_ref(),
        ]
        .into_iter()
        .flatten()
        {
            require_absolute(path)?;
        }
        for vault in &self.vault {
            vault
                .target()
                .map_err(|cause| Fault::usage(format!("cannot use the vault `{}`", vault.url)).because(cause))?;
        }
        if self.spool.max_count == 0 {
            return Err(Fault::usage("spool.max_count is 0: an archive is in the spool before it is in a vault").into());
        }
        for path in self.watch.textfile_dir.iter().chain([&self.watch.hooks_dir]) {
            require_absolute(path)?;
        }
        self.validate_network()?;
        self.watch.ping_url.as_deref().map(Ping::parse).transpose()?;
        Schedule::from_config(&self.schedule)?;
        Ok(())
    }

    fn validate_pauses(&self) -> Result<()> {
        let BackupConfig { max_pause, max_freeze_ms, .. } = self.backup;
        if !PAUSE_SECONDS.contains(&max_pause) {
            let (least, most) = PAUSE_SECONDS.into_inner();
            return Err(Fault::usage(format!("backup.max_pause is {max_pause} s, not {least} to {most}")).into());
        }
        if !FREEZE_MS.contains(&max_freeze_ms) {
            let (least, most) = FREEZE_MS.into_inner();
            return Err(Fault::usage(format!("backup.max_freeze_ms is {max_freeze_ms}, not {least} to {most}"))
                .advice("the other managers give up on one that is silent for 2 s; `mode = \"cold\"` has no such limit")
                .into());
        }
        Ok(())
    }

    fn validate_encryption(&self) -> Result<()> {
        let remote = self.vault.iter().find(|vault| vault.url.starts_with("s3://"));
        match (self.encryption, self.recipients.is_empty()) {
            (Some(Encryption::Age), true) => Err(Fault::usage("encryption is `age` but recipients is empty")
                .advice("make an identity with `age-keygen -o identity.txt`, keep it off this host, and write its `age1…` line into recipients")
                .into()),
            (Some(Encryption::None), false) => Err(Fault::usage("encryption is `none` but recipients are named")
                .advice("remove one of the two keys")
                .into()),
            (None, true) if remote.is_some() => Err(Fault::usage(format!(
                "the vault {} leaves this host, and no recipients are named: an archive holds every secret and the CA key of the swarm",
                remote.map(|vault| vault.url.as_str()).unwrap_or_default()
            ))
            .advice("make an identity with `age-keygen -o identity.txt`, keep it off this host, and write its `age1…` line into recipients")
            .advice("or write `encryption = \"none\"` if the bucket's own encryption is enough for you")
            .into()),
            _ => Ok(()),
        }
    }
}

fn require_absolute(path: &Path) -> Result<()> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(Fault::usage(format!("{} is not an absolute path", path.display())).into())
}

#[cfg(test)]
mod tests;
