//! Configuration: merges files, environment and flags, in rising precedence, into validated settings.
//!
//! The layers are `/etc/swarmdr/agent.toml`, then `/etc/swarmdr/agent.d/*.toml` by name, then the keys that a unit sets
//! with credentials, then `SWARMDR_*` variables (two underscores for a dot: `SWARMDR_BACKUP__MODE`), then flags. An
//! unknown key is an error that names the place and the key. Without any file, everything has a default that works on a
//! manager: a directory vault below the state directory and a key made on first use.

pub mod external;
pub mod grow;
pub mod images;
pub mod join;
mod layers;
mod network;
pub mod on_change;
mod ping_url;
pub mod retention;
pub mod schedule;
pub mod standby;
pub mod stream;
mod trusted_key;
mod validation;
mod watch;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use swarmdr_http::Proxies;
use swarmdr_vault::{
    VaultSettings,
    settings::unit_length::{Days, Milliseconds, Seconds},
};

use crate::config::{
    external::ExternalConfig, grow::GrowConfig, images::ImagesConfig, join::JoinConfig, retention::Policy,
    schedule::ScheduleConfig, standby::StandbyConfig, stream::StreamConfig,
};

pub(crate) use layers::CREDENTIALS;
pub use layers::{Loaded, Origin, Sources};
pub use network::NetworkConfig;
pub use ping_url::PingUrl;
pub use swarmdr_vault::settings::length;
pub use trusted_key::{EndedKey, NarrowKey, Only, TrustedKey};
pub use watch::WatchConfig;

/// Every key of the configuration, with its default. Paths of files and directories are absolute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Directory of the agent's own data: spool, default vault, default keys.
    pub state_dir: PathBuf,
    /// minisign secret key; default `keys/signing.key` below `state_dir`.
    pub signing_key: Option<PathBuf>,
    /// minisign public keys (`RW…`) or paths of `.pub` files whose signatures are believed, each for ever or for what
    /// was stored before a time; default: the public half of `signing_key`.
    pub trusted_keys: Vec<TrustedKey>,
    /// Encryption of the archives; must be set to `none` for an S3 vault without recipients.
    pub encryption: Option<Encryption>,
    /// age recipients (`age1…`) that can open the archives.
    pub recipients: Vec<String>,
    /// age identities with which this host opens archives; not needed to make them.
    pub identity_file: Option<PathBuf>,
    /// Command, run without a shell, that prints further identities.
    pub identity_command: Vec<String>,
    pub engine: EngineConfig,
    pub backup: BackupConfig,
    pub restore: RestoreConfig,
    pub drill: DrillConfig,
    pub schedule: ScheduleConfig,
    pub spool: SpoolConfig,
    /// Backups that `prune` keeps.
    pub retention: Policy,
    pub watch: WatchConfig,
    pub network: NetworkConfig,
    pub images: ImagesConfig,
    /// How nodes find the swarm and join it.
    pub join: JoinConfig,
    /// Which workers may become managers.
    pub grow: GrowConfig,
    /// Who may take the swarm over, and how sites tell that they are alive.
    pub standby: StandbyConfig,
    /// Data that is stored beside the state.
    pub stream: Vec<StreamConfig>,
    /// Snapshots that other tools make and keep, and that recovery points name.
    pub external: Vec<ExternalConfig>,
    /// Proxies that the environment's own variables name. Not a setting, but read from the same environment as the
    /// settings.
    #[serde(skip)]
    pub inherited_proxies: Proxies,
    /// Vaults that the archives are stored in; default: the directory `vault` below `state_dir`.
    pub vault: Vec<VaultSettings>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Archives are encrypted to `recipients`.
    Age,
    /// Archives are not encrypted: anyone who can read the vault can read every secret and the CA key.
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
    pub stop_timeout: Seconds,
    /// Seconds that the engine may take to start and to answer.
    pub start_timeout: Seconds,
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
    /// Seconds that the engine may be down in a cold backup, including the time that it takes to stop. After that the
    /// failsafe starts it, with or without the agent.
    pub max_pause: Seconds,
    /// Milliseconds that the engine may be frozen. One second later the failsafe thaws it.
    pub max_freeze_ms: Milliseconds,
    /// zstd level, 1 (fast) to 12 (small).
    pub compression_level: i32,
    /// Whether to go on if the cluster has no majority while this manager is stopped.
    pub allow_quorum_loss: bool,
}

/// How the engine is made to stop writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Stop it, and with it all containers of the host.
    Cold,
    /// Freeze it in its cgroup; containers keep running.
    Freeze,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestoreConfig {
    /// Seconds that force-new-cluster may take.
    pub init_timeout: Seconds,
    /// Milliseconds to wait for the answer of an old manager before it counts as gone.
    pub fence_timeout_ms: Milliseconds,
    /// File with the unlock key of an autolocked swarm; `verify`, `inspect` and `diff` use it too.
    pub unlock_key_file: Option<PathBuf>,
    /// Program (with its arguments) that prints the unlock key, where no file is named.
    pub unlock_key_command: Vec<String>,
    /// Seconds that an old manager must have been down before `--prune-dead` removes it.
    pub prune_grace: Seconds,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrillConfig {
    /// Days after which `status` says that the newest proof by a drill is too old; default: 15 from the first drill on.
    pub max_age_days: Option<Days>,
}

/// Limits of the spool, in which archives wait that a vault did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// Number of waiting archives at which no further backup is made.
    pub max_count: u32,
    /// Bytes of waiting archives at which no further backup is made; the spool can exceed this by one archive.
    pub max_bytes: u64,
    /// Seconds for which a vault that does not answer is tried before the archive of this run is left in the spool.
    pub patience: Seconds,
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
            images: ImagesConfig::default(),
            join: JoinConfig::default(),
            grow: GrowConfig::default(),
            standby: StandbyConfig::default(),
            stream: Vec::new(),
            external: Vec::new(),
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
            stop_timeout: Seconds::new(120),
            start_timeout: Seconds::new(120),
        }
    }
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Cold,
            max_pause: Seconds::new(60),
            max_freeze_ms: Milliseconds::new(1000),
            compression_level: 3,
            allow_quorum_loss: false,
        }
    }
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { max_count: 32, max_bytes: 8 << 30, patience: Seconds::new(90) }
    }
}

impl Default for RestoreConfig {
    fn default() -> Self {
        Self {
            init_timeout: Seconds::new(120),
            fence_timeout_ms: Milliseconds::new(2000),
            unlock_key_file: None,
            unlock_key_command: Vec::new(),
            prune_grace: Seconds::new(60),
        }
    }
}

impl Config {
    pub fn signing_key_path(&self) -> PathBuf {
        self.signing_key.clone().unwrap_or_else(|| self.state_dir.join("keys/signing.key"))
    }

    /// Path of the public half of the signing key: next to the secret half, with `.pub` for `.key`.
    pub fn public_key_path(&self) -> PathBuf {
        self.signing_key_path().with_extension("pub")
    }

    pub fn spool_dir(&self) -> PathBuf {
        self.state_dir.join("spool")
    }

    /// The configured vaults, or the default directory below the state directory.
    pub fn vaults(&self) -> Vec<VaultSettings> {
        if self.vault.is_empty() { vec![VaultSettings::own(&self.state_dir.join("vault"))] } else { self.vault.clone() }
    }
}

#[cfg(test)]
mod tests;
