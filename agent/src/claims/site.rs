//! The name of this site in claims and signs of life.

use crate::{config::Config, host::name::hostname};

/// Returns the configured name, or else that of this host.
pub fn site(config: &Config) -> String {
    config.standby.site.clone().unwrap_or_else(hostname)
}
