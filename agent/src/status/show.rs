//! The words of a status: a page for a person, a line for Nagios.

use std::fmt;

use jiff::Timestamp;

use super::{Level, Status};
use crate::{host::space::human_bytes, report::human_ms, terminal::shown};

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
    /// One line with performance data, as Nagios and its kin read it.
    pub fn nagios(&self) -> String {
        let newest = self.newest();
        let what = match (self.reasons.first(), newest) {
            (Some(reason), _) => plain(&reason.text),
            (None, Some(newest)) => format!("newest backup {}", newest.id),
            (None, None) => "nothing to say".to_owned(),
        };
        let more = self.reasons.len().saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let age = self.freshest().map(|id| format!("age={}s ", self.at.duration_since(id.created_at()).as_secs()));
        format!(
            "SWARMDR {} - {what}{more} | {}spool={} spool_bytes={}B",
            self.level.word(),
            age.unwrap_or_default(),
            self.spool.archives,
            self.spool.bytes
        )
    }
}

/// For the one line of a plugin: a bar begins the performance data, a line break ends the message.
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
            let required = if vault.required { "" } else { " (not required)" };
            match &vault.newest {
                Some(newest) => {
                    let lock = newest.lock.map_or_else(
                        || if newest.lock_unread { "lock not known" } else { "not locked" }.to_owned(),
                        |lock| format!("locked ({}) until {}", lock.mode, lock.until),
                    );
                    let (size, ago) = (human_bytes(newest.size), ago(self.at, newest.created_at));
                    writeln!(
                        f,
                        "  vault    {}{required}: {}, {ago}, {size}, {lock}",
                        shown(&vault.url),
                        shown(&newest.id)
                    )?;
                }
                None => writeln!(f, "  vault    {}{required}: no backup seen", shown(&vault.url))?,
            }
        }
        if let Some(due) = &self.schedule {
            let next = due.next.map_or_else(|| "now".to_owned(), |next| next.to_string());
            writeln!(f, "  due      {next}; too late {} s after that", due.grace)?;
        }
        if self.spool.archives > 0 {
            writeln!(f, "  spool    {} archives, {}", self.spool.archives, human_bytes(self.spool.bytes))?;
        }
        if let Some(run) = &self.last_run {
            writeln!(f, "  last run {} here, {}", shown(&run.result), ago(self.at, run.at))?;
        }
        if let Some(made) = &self.last_backup {
            let (down, ours) = (human_ms(made.engine_down_ms), human_ms(made.ours_ms));
            writeln!(
                f,
                "  made     {} here, {}; the engine was away for {down}, {ours} of it ours",
                shown(&made.id),
                ago(self.at, made.at)
            )?;
        }
        if let Some(drill) = &self.drills.last {
            let word = if drill.proven { "proven" } else { "FAILED" };
            let ago = ago(self.at, drill.at);
            let (backup, host, engine) = (shown(&drill.backup), shown(&drill.host), shown(&drill.engine));
            writeln!(f, "  drill    {word}, {backup} on {host} with engine {engine}, {ago}")?;
        }
        match &self.last_proof {
            Some(proof) => {
                let word = if proof.good { "good" } else { "BAD" };
                writeln!(f, "  proof    {word}, {} backups read back here, {}", proof.checked, ago(self.at, proof.at))
            }
            None => writeln!(f, "  proof    none was made on this host (`swarmdr-agent verify`)"),
        }
    }
}

fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    match seconds {
        ..0 => "in the future".to_owned(),
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
