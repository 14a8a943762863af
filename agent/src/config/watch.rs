//! Where runs are told.

use serde::{Deserialize, Serialize};

/// The `[watch]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Seconds that a backup may be late before `status` calls it so; default: the time that another manager waits
    /// before it takes over, and 45 minutes.
    pub grace: Option<u32>,
    /// Where node_exporter's textfile collector reads.
    pub textfile_dir: Option<std::path::PathBuf>,
    pub hooks_dir: std::path::PathBuf,
    /// Seconds that one program of a hook may take.
    pub hook_timeout: u64,
    /// Address of a dead man's switch, as healthchecks.io gives it.
    pub ping_url: Option<String>,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            grace: None,
            textfile_dir: None,
            hooks_dir: "/etc/swarmdr/hooks.d".into(),
            hook_timeout: 60,
            ping_url: None,
        }
    }
}
