//! The address of a dead man's switch.

use std::fmt;

use anyhow::Result;
use url::Url;

use crate::outcome::failure::Failure;

/// The address that is called when a run begins and ends. Its path is what identifies the switch, so it is never logged.
#[derive(Clone)]
pub struct PingUrl(Url);

impl fmt::Debug for PingUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PingUrl({})", self.host())
    }
}

impl PingUrl {
    /// Parses the value of a key, such as `watch.ping_url`.
    pub fn parse(key: &str, text: &str) -> Result<Self> {
        let wrong =
            || Failure::usage(format!("{key} is no address that can be called")).advice("write `https://host/path`");
        let url = Url::parse(text).map_err(|cause| wrong().because(cause))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || url.query().is_some() {
            return Err(wrong().into());
        }
        Ok(Self(url))
    }

    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The whole address, for the call itself.
    pub fn secret(&self) -> &Url {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        for wrong in ["ftp://x/y", "https://", "nonsense", "https://x/y?z=1"] {
            assert!(PingUrl::parse("key", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_path_is_not_shown() {
        let url = PingUrl::parse("key", "https://hc-ping.com/the-secret").expect("is valid");
        assert_eq!(format!("{url:?}"), "PingUrl(hc-ping.com)");
    }
}
