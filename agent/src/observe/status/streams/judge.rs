//! What is wrong with a stream.

use jiff::{SignedDuration, Timestamp};

use super::StreamStatus;
use crate::{
    observe::{
        runs::{Run, StoredExit},
        status::Level,
    },
    outcome::{count::count, exit::Exit},
};

impl StreamStatus {
    /// Says what is wrong with a stream of this host's configuration. Those that other hosts store are theirs to judge.
    pub fn judge(&self, now: Timestamp, say: &mut impl FnMut(Level, String)) {
        if !self.configured {
            return;
        }
        self.judge_newest(now, say);
        if let Some(why) = &self.too_small {
            say(Level::Warning, format!("the newest stream {}: {why}", self.name));
        }
        if !self.unfinished.is_empty() {
            let number = count(self.unfinished.len() as u64, "upload");
            say(
                Level::Warning,
                format!("never completed of the stream {}: {number}; its next run removes them", self.name),
            );
        }
        self.judge_drill(now, say);
        if let Some(run) = self.last_run.as_ref().filter(|run| self.is_trouble(run)) {
            let why = run.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
            let (name, at, result) = (&self.name, run.at, &run.result);
            say(
                Level::Warning,
                format!("the last run of the stream {name} on this host, at {at}, ended `{result}`{why}"),
            );
        }
    }

    /// As the drill of a backup is judged: a failure is critical, and a proof ages.
    fn judge_drill(&self, now: Timestamp, say: &mut impl FnMut(Level, String)) {
        let name = &self.name;
        if let Some(failed) = self.drill.as_ref().filter(|drill| !drill.proven) {
            let why = failed.problem.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            let id = failed.id.as_deref().unwrap_or("of which there is none");
            say(Level::Critical, format!("the stream {name} {id} failed its drill at {}{why}", failed.at));
        }
        let Some(days) = self.drill_max_age_days else { return };
        match self.drill.as_ref().and_then(|drill| drill.last_proven) {
            Some(proven) if proven + SignedDuration::from_hours(24 * i64::from(days)) >= now => {}
            Some(proven) => say(
                Level::Warning,
                format!("no drill has proven the stream {name} for {days} days (the last one was at {proven})"),
            ),
            None => say(Level::Warning, format!("no drill has ever proven the stream {name} on this host")),
        }
    }

    fn judge_newest(&self, now: Timestamp, say: &mut impl FnMut(Level, String)) {
        let name = &self.name;
        let Some(newest) = &self.newest else {
            if self.stale == Some(true) {
                say(Level::Critical, format!("no stream {name} that verifies is in any vault"));
            }
            return;
        };
        if self.stale == Some(true) {
            let why = match (self.max_age, self.next) {
                (Some(age), _) => format!(": max_age is {age} s"),
                (None, Some(next)) => format!(": one was due at {next}"),
                (None, None) => String::new(),
            };
            say(Level::Critical, format!("the newest stream {name} is too old ({}){why}", newest.started_at));
        }
        if !newest.place.is_past(now) {
            let why = "the clock of its host or of this one is wrong; its age counts for nothing";
            say(Level::Warning, format!("the newest stream {name} {} is from the future: {why}", newest.id));
        }
        if newest.lock.is_some_and(|lock| lock.until <= now) {
            say(
                Level::Warning,
                format!("the lock of the newest stream {name} {} has ended: it can be deleted", newest.id),
            );
        }
        for vault in &self.vaults {
            if vault.newest.as_ref().is_none_or(|held| held.place.digest != newest.place.digest) {
                say(Level::Warning, format!("{} lacks the newest stream {name}", vault.url));
            }
        }
    }

    /// Whether a run left something to look at, and no newer stream came since, from this host or another one.
    fn is_trouble(&self, run: &Run) -> bool {
        let is_replaced = self.newest.as_ref().is_some_and(|newest| newest.ended_at > run.at);
        !is_replaced
            && match run.exit {
                StoredExit::Known(Exit::Done | Exit::NotOurTurn) => false,
                StoredExit::Known(Exit::Attention) => self.too_small.is_none(),
                _ => true,
            }
    }
}
