//! Whether this manager leaves signs of life in the vaults, so that no other site takes over.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{ClusterId, untrusted::joined};

use super::{Level, show::ago};
use crate::{claims::life::LastSign, config::Config};

/// The sign of life of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnSign {
    /// Seconds between two signs, as configured.
    pub every: u32,
    /// When a vault took the last one; absent if none did.
    pub at: Option<Timestamp>,
    /// Vaults that took the last one.
    pub vaults: Vec<String>,
    /// Whether others may take this site for dead.
    pub late: bool,
}

impl OwnSign {
    /// Returns what is known; `None` unless signs are configured. `cluster` is the one that the status is about.
    pub fn read(config: &Config, cluster: Option<&ClusterId>, now: Timestamp) -> Option<Self> {
        let every = config.standby.sign_of_life?.count();
        let last = LastSign::read(&config.state_dir).filter(|last| cluster.is_none_or(|it| *it == last.cluster));
        let late = last.as_ref().is_none_or(|last| last.is_late(every, now));
        let at = last.as_ref().and_then(|last| last.at);
        Some(Self { every, at, vaults: last.map(|last| last.vaults).unwrap_or_default(), late })
    }

    pub fn judge(&self, say: &mut impl FnMut(Level, String)) {
        if !self.late {
            return;
        }
        let since = match self.at {
            Some(at) => format!("this host left no sign of life since {at:.0}"),
            None => "this host left no sign of life yet".to_owned(),
        };
        let advice = "see `systemctl status swarmdr-life.timer swarmdr-life.service`";
        say(Level::Warning, format!("{since}: another site may take this one for dead; {advice}"));
    }

    pub(super) fn show(&self, now: Timestamp, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => writeln!(f, "  life     a sign was left {} in {}", ago(now, at), joined(&self.vaults, ", ")),
            None => writeln!(f, "  life     no sign was left yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_vault::settings::unit_length::Seconds;

    use super::*;

    #[test]
    fn a_late_sign_is_a_warning_and_none_is_expected_unless_configured() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().expect("is a time");
        assert_eq!(OwnSign::read(&config, None, now), None);
        config.standby.sign_of_life = Some(Seconds::new(120));
        let said = |cluster: Option<&str>, now| {
            let cluster = cluster.map(|it| it.parse().expect("is an id"));
            let mut said = Vec::new();
            let own = OwnSign::read(&config, cluster.as_ref(), now).expect("is configured");
            own.judge(&mut |level, text| said.push((level, text)));
            said
        };
        assert!(said(None, now)[0].1.contains("left no sign of life yet"));
        let last = LastSign {
            host: "i".to_owned(),
            cluster: "c".parse().expect("is an id"),
            at: Some(now),
            signed: None,
            vaults: vec!["s3://a/x".to_owned()],
        };
        last.write(dir.path()).expect("writes");
        assert_eq!(said(Some("c"), now), []);
        let late = said(None, "2026-11-21T10:07:01Z".parse().expect("is a time"));
        assert!(late[0].0 == Level::Warning && late[0].1.contains("since 2026-11-21T10:00:00Z"), "{late:?}");
        assert_eq!(said(Some("d"), now).len(), 1, "it is of another swarm");
    }
}
