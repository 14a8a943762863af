//! What a standby host keeps, and how far it is behind the vaults.

use std::fmt;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::BackupId;

use super::{Level, Newest, show::ago};
use crate::{
    archive::kept::{Kept, Shelf},
    config::Config,
};

/// What this host keeps as a standby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standby {
    /// The kept backup; absent if there is none.
    pub backup: Option<BackupId>,
    pub created_at: Option<Timestamp>,
    pub kept_at: Option<Timestamp>,
    /// True if its state was formed beforehand.
    pub formed: bool,
    /// Why what is kept cannot be read.
    pub error: Option<String>,
    /// What a promotion would meet.
    pub attention: Vec<String>,
}

impl Standby {
    /// Returns what this host keeps; `None` if it is no standby, or was promoted.
    pub fn of_host(config: &Config) -> Option<Self> {
        let shelf = Shelf::of(config);
        if !shelf.is_there() {
            return None;
        }
        Self::of(shelf.read())
    }

    pub(in crate::observe) fn of(kept: Result<Option<Kept>>) -> Option<Self> {
        let nothing =
            Self { backup: None, created_at: None, kept_at: None, formed: false, error: None, attention: Vec::new() };
        match kept {
            Err(error) => Some(Self { error: Some(format!("{error:#}")), ..nothing }),
            Ok(None) => Some(nothing),
            Ok(Some(kept)) if !kept.waits() => None,
            Ok(Some(kept)) => Some(Self {
                backup: Some(kept.backup),
                created_at: Some(kept.created_at),
                kept_at: Some(kept.kept_at),
                formed: kept.formed.is_some(),
                error: None,
                attention: kept.attention,
            }),
        }
    }

    pub(super) fn show(&self, at: Timestamp, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((backup, kept_at)) = self.backup.zip(self.kept_at) else { return Ok(()) };
        let how = if self.formed { ", formed beforehand" } else { "" };
        writeln!(f, "  standby  {backup} is kept here{how}, {}", ago(at, kept_at))
    }

    pub(super) fn judge(&self, newest: Option<&Newest>, say: &mut impl FnMut(Level, String)) {
        let Some((backup, created_at)) = self.backup.zip(self.created_at) else {
            let why = self.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
            say(Level::Critical, format!("this standby host keeps no backup that it can use{why}"));
            return;
        };
        if let Some(newest) = newest.filter(|newest| newest.created_at > created_at) {
            let behind = newest.created_at.duration_since(created_at).as_mins();
            let what =
                format!("this standby host keeps {backup}, and the newest backup {} is {behind} min newer", newest.id);
            say(Level::Warning, format!("{what}: `swarmdr-agent standby` fetches it"));
        }
        for line in &self.attention {
            say(Level::Warning, format!("what this standby host keeps: {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{archive::kept::tests::kept, observe::status::tests::newest};

    fn levels(standby: &Standby, newest: Option<&Newest>) -> Vec<Level> {
        let mut levels = Vec::new();
        standby.judge(newest, &mut |level, _| levels.push(level));
        levels
    }

    #[test]
    fn a_copy_that_lags_is_yellow_and_none_is_red() {
        let [old, new] = ["20261121T030000Z-00000001", "20261121T040000Z-00000001"];
        let of = Standby::of(Ok(Some(kept(old)))).expect("is a standby");
        assert_eq!(levels(&of, Some(&newest(old))), []);
        assert_eq!(levels(&of, Some(&newest(new))), [Level::Warning]);
        // No vault answers, which is told elsewhere.
        assert_eq!(levels(&of, None), []);
        for none in [Ok(None), Err(anyhow::anyhow!("it is damaged"))] {
            assert_eq!(levels(&Standby::of(none).expect("is a standby"), Some(&newest(new))), [Level::Critical]);
        }
        let promoted = Kept { promoted_at: Some("2026-11-21T05:00:00Z".parse().expect("is a time")), ..kept(old) };
        assert_eq!(Standby::of(Ok(Some(promoted))), None);
        let with = Standby::of(Ok(Some(Kept { attention: vec!["no room".to_owned()], ..kept(old) })));
        assert_eq!(levels(&with.expect("is a standby"), None), [Level::Warning]);
    }
}
