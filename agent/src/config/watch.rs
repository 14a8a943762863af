//! Settings for the reports about runs.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use swarmdr_vault::settings::unit_length::Seconds;

use super::PingUrl;

/// The `[watch]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Seconds that a backup may be late before `status` reports it; default: the time that another manager waits
    /// before it takes over, and 45 minutes.
    pub grace: Option<Seconds>,
    /// Directory that node_exporter's textfile collector reads.
    pub textfile_dir: Option<std::path::PathBuf>,
    pub hooks_dir: std::path::PathBuf,
    /// Seconds that one program of a hook may take.
    pub hook_timeout: Seconds,
    /// Address of a dead man's switch, as healthchecks.io gives it.
    pub ping_url: Option<String>,
    /// Whether a manager remembers the names of what its last backup holds, and reports what was removed since then.
    pub removals: bool,
}

impl WatchConfig {
    /// The dead man's switch of backups.
    pub fn ping(&self) -> Result<Option<PingUrl>> {
        self.ping_url.as_deref().map(|text| PingUrl::parse("watch.ping_url", text)).transpose()
    }
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            grace: None,
            textfile_dir: None,
            hooks_dir: "/etc/swarmdr/hooks.d".into(),
            hook_timeout: Seconds::new(60),
            ping_url: None,
            removals: false,
        }
    }
}
