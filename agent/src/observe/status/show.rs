//! Text forms of a status: a page for a person, a line for Nagios.

use std::fmt;

use jiff::Timestamp;
use swarmdr_archive::untrusted::shown;

use super::{Level, Status, VaultStatus};
use crate::{
    host::files::space::human_bytes,
    outcome::{count::count, elapsed::human_ms},
};

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Level::Ok => "OK",
            Level::Warning => "WARNING",
            Level::Critical => "CRITICAL",
        }
    }

    /// Exit code of a Nagios plugin (Monitoring Plugins Development Guidelines, 2.3).
    pub fn nagios(self) -> u8 {
        match self {
            Level::Ok => 0,
            Level::Warning => 1,
            Level::Critical => 2,
        }
    }
}

impl Status {
    /// One line with performance data, in the format of Nagios plugins.
    pub fn nagios(&self) -> String {
        let newest = self.newest();
        let what = match (self.reasons.first(), newest) {
            (Some(reason), _) => plain(&reason.text),
            (None, Some(newest)) => format!("newest backup {}", newest.id),
            (None, None) => match self.streams.iter().find_map(|stream| stream.newest.as_ref()) {
                Some(newest) => format!("newest stream {}", newest.id),
                None => "nothing to report".to_owned(),
            },
        };
        let more = self.reasons.len().saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let age = self.freshest().map(|id| format!("age={}s ", self.at.duration_since(id.created_at()).as_secs()));
        format!(
            "SWARMDR {} - {what}{more} | {}{}spool={} spool_bytes={}B",
            self.level.word(),
            age.unwrap_or_default(),
            self.ages_of_streams(),
            self.spool.archives,
            self.spool.bytes
        )
    }
}

impl Status {
    /// Performance data of the streams of this host.
    fn ages_of_streams(&self) -> String {
        let own = self.streams.iter().filter(|stream| stream.configured);
        let ages = own.filter_map(|stream| {
            let age = self.at.duration_since(stream.freshest()?.created_at()).as_secs();
            Some(format!("stream_{}_age={age}s ", stream.name))
        });
        ages.collect()
    }
}

/// Makes a text fit into a plugin's line, where a bar begins the performance data and a line break ends the message.
pub fn plain(text: &str) -> String {
    shown(text.replace(['|', '\n'], " ")).to_string()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.level.word())?;
        for reason in &self.reasons {
            writeln!(f, "  {:8} {}", reason.level.word(), shown(&reason.text))?;
        }
        for vault in &self.vaults {
            self.show_vault(vault, f)?;
        }
        self.streams.iter().try_for_each(|stream| stream.show(self.at, f))?;
        self.points.iter().try_for_each(|points| points.show(self.at, f))?;
        if let Some(due) = &self.schedule {
            let next = due.next.map_or_else(|| "now".to_owned(), |next| next.to_string());
            writeln!(f, "  due      {next}; counts as late {} s after that", due.grace)?;
        }
        self.show_host(f)?;
        self.show_drill(f)?;
        self.show_proof(f)
    }
}

impl Status {
    fn show_vault(&self, vault: &VaultStatus, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let required = if vault.required { "" } else { " (not required)" };
        let Some(newest) = &vault.newest else {
            return writeln!(f, "  vault    {}{required}: no backup seen", shown(&vault.url));
        };
        let lock = newest.lock.map_or_else(
            || if newest.lock_unread { "lock not known" } else { "not locked" }.to_owned(),
            |lock| format!("locked ({}) until {}", lock.mode, lock.until),
        );
        let (size, ago) = (human_bytes(newest.size), ago(self.at, newest.created_at));
        writeln!(f, "  vault    {}{required}: {}, {ago}, {size}, {lock}", shown(&vault.url), shown(&newest.id))
    }

    /// Shows what brings back what was removed, the spool, the last run and the last backup of this host.
    fn show_host(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(undelete) = self.removed.as_ref().and_then(|removed| removed.undelete.as_ref()) {
            writeln!(f, "  undelete {undelete}")?;
        }
        if let Some(images) = &self.images {
            writeln!(f, "  images   {images}, {}", ago(self.at, images.at))?;
        }
        if let Some(sign) = &self.sign_of_life {
            sign.show(self.at, f)?;
        }
        if let Some(standby) = &self.standby {
            standby.show(self.at, f)?;
        }
        if self.spool.archives > 0 {
            writeln!(f, "  spool    {}, {}", count(self.spool.archives, "archive"), human_bytes(self.spool.bytes))?;
        }
        if let Some(run) = &self.last_run {
            writeln!(f, "  last run {} on this host, {}", shown(&run.result), ago(self.at, run.at))?;
        }
        if let Some(made) = &self.last_backup {
            let (down, ours) = (human_ms(made.engine_down_ms), human_ms(made.ours_ms));
            writeln!(
                f,
                "  made     {} on this host, {}; the engine was down for {down}, {ours} of it for the copy",
                shown(&made.id),
                ago(self.at, made.at)
            )?;
        }
        Ok(())
    }

    fn show_drill(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(drill) = &self.drills.last else { return Ok(()) };
        let word = if drill.proven { "proven" } else { "FAILED" };
        let ago = ago(self.at, drill.at);
        let (backup, host) = (shown(&drill.backup), shown(&drill.host));
        // A drill that failed before its engine answered names no engine.
        let engine =
            if drill.engine.is_empty() { String::new() } else { format!(" with engine {}", shown(&drill.engine)) };
        writeln!(f, "  drill    {word}, {backup} on {host}{engine}, {ago}")
    }

    fn show_proof(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(proof) = &self.last_proof else {
            return writeln!(f, "  proof    none was made on this host (`swarmdr-agent verify`)");
        };
        let (word, ago) = (if proof.good { "good" } else { "BAD" }, ago(self.at, proof.at));
        writeln!(f, "  proof    {word}, {} read back on this host, {ago}", count(proof.checked, "backup"))
    }
}

pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    match seconds {
        ..0 => "in the future".to_owned(),
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
