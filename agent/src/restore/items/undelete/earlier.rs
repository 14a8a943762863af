//! A run that was cut short, and what this one does about what it left.
//!
//! The same command finishes it. Another one removes of it what nothing uses, but no service, which may be at work.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use swarm_state::inventory::ObjectKind;

use super::{
    journal::{Entry, Journal, Outcome, Record},
    living::Living,
    plan::Plan,
    request::Request,
    undo::{Left, may_be_used, take_back},
};
use crate::host::engine::objects::Objects;

/// Age from which on a later run removes nothing of what was made: it may be in use.
const FRESH: SignedDuration = SignedDuration::from_hours(1);

/// What is done about the journal of an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It had made everything: nothing is left to do.
    Forget,
    /// It had the same wishes: this run goes on.
    Continue,
    /// It had other wishes: what it made and nothing uses is removed.
    TakeBack,
    /// It is so long ago that what it made may be in use: that is named and left.
    Leave,
}

/// An earlier run that did not end.
#[derive(Debug)]
pub struct EarlierRun {
    journal: Journal,
    decision: Decision,
}

/// The result for this run.
#[derive(Debug, Default)]
pub struct Settled {
    /// What this run takes over.
    pub carried: Option<Record>,
    pub attention: Vec<String>,
    pub notes: Vec<String>,
}

/// Decides about the journal of an earlier run. A clock that runs backwards makes it old.
pub fn decide(record: &Record, request: &Request, now: Timestamp) -> Decision {
    let age = now.duration_since(record.begun_at);
    let is_fresh = !age.is_negative() && age < FRESH;
    match (record.complete, is_fresh, record.request == *request) {
        (true, _, _) => Decision::Forget,
        (false, true, true) => Decision::Continue,
        (false, true, false) => Decision::TakeBack,
        (false, false, _) => Decision::Leave,
    }
}

impl EarlierRun {
    pub fn of(journal: Journal, request: &Request, now: Timestamp) -> Self {
        let decision = decide(&journal.record, request, now);
        Self { journal, decision }
    }

    /// Tells what it left to a run that changes nothing.
    pub fn told(&self) -> Option<String> {
        let record = &self.journal.record;
        let made = listed(&record.entries);
        let begun = format!("an earlier run, which began at {:.0}, was cut short", record.begun_at);
        match self.decision {
            Decision::Forget => None,
            Decision::Continue => Some(format!("{begun}: this one would finish it ({made})")),
            Decision::TakeBack => Some(format!(
                "{begun}: the same command would finish it; one that changes something else removes of what it made \
                 what nothing uses, and leaves its services ({made})"
            )),
            Decision::Leave => Some(format!("{begun}: what it made may be in use by now, and stays ({made})")),
        }
    }

    /// Ends it for a run that has nothing to do, which removes nothing of it. Returns what there is to tell.
    pub fn end_untouched(self) -> Result<Option<String>> {
        match self.decision {
            Decision::TakeBack => return Ok(self.told()),
            Decision::Forget | Decision::Continue | Decision::Leave => self.journal.finish()?,
        }
        Ok(self.told().filter(|_| self.decision == Decision::Leave))
    }

    /// Settles what it left, for a run that is about to carry out this plan.
    pub async fn settle(mut self, objects: &Objects, plan: &Plan) -> Result<Settled> {
        let mut settled = Settled::default();
        match self.decision {
            Decision::Forget => self.journal.finish()?,
            Decision::Continue => {
                let mut record = self.journal.record;
                record.entries.retain(|entry| entry.outcome != Outcome::Adopted);
                settled.carried = Some(record);
                settled
                    .notes
                    .push("an earlier run with the same wishes was cut short: this one finishes it".to_owned());
            }
            Decision::Leave => {
                settled.attention.extend(self.told());
                self.journal.finish()?;
            }
            Decision::TakeBack => {
                settled.attention = clear(objects, &mut self.journal, plan).await?;
                self.journal.finish()?;
            }
        }
        // This run may end with an error, which would not have these sentences.
        settled.attention.iter().for_each(|told| tracing::warn!("{told}"));
        Ok(settled)
    }
}

/// Removes what nothing uses and the plan does not want. Returns what was done and what is left, as sentences.
async fn clear(objects: &Objects, journal: &mut Journal, plan: &Plan) -> Result<Vec<String>> {
    let is_wanted = |entry: &Entry| {
        plan.objects.iter().any(|it| it.kind == entry.kind && it.name.to_lowercase() == entry.name.to_lowercase())
    };
    let services = Living::read_kind(objects, ObjectKind::Service).await?;
    let (wanted, others): (Vec<Entry>, Vec<Entry>) = journal.record.entries.drain(..).partition(is_wanted);
    let kept: Vec<Option<String>> = others.iter().map(|entry| reason_to_keep(entry, &services)).collect();
    journal.record.entries = others;
    let taken = take_back(objects, journal, &kept).await;
    let done = taken.done.iter().map(|done| format!("{done}: a run that was cut short had made it"));
    let left = taken.left.iter().map(Left::described);
    Ok(wanted.iter().filter_map(former).chain(done).chain(left).collect())
}

/// Returns why an entry of a run with other wishes stays as it is; `None` if it is to be taken back.
fn reason_to_keep(entry: &Entry, services: &Living) -> Option<String> {
    let made_it = "a run that was cut short had made it";
    match &entry.outcome {
        _ if entry.kind == ObjectKind::Service && entry.is_made() => {
            Some(format!("{made_it}, and {}", may_be_used(entry)))
        }
        Outcome::Created { id } => match services.users_of(entry.kind, id).as_slice() {
            [] => None,
            [user, ..] => Some(format!("{made_it}, and service `{user}` uses it")),
        },
        _ => None,
    }
}

/// Names the file with what an entry was before, if this run brings another one back in its place.
fn former(entry: &Entry) -> Option<String> {
    let (Outcome::Removed { saved: Some(file) } | Outcome::Updated { saved: file, .. }) = &entry.outcome else {
        return None;
    };
    Some(format!(
        "{} was replaced by a run that was cut short: what was there before that is in {}",
        entry.described(),
        file.display()
    ))
}

fn listed(entries: &[Entry]) -> String {
    let all: Vec<String> = entries.iter().map(Entry::described).collect();
    if all.is_empty() { "it had made nothing".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_run_with_other_wishes_is_taken_back() {
        let begun: Timestamp = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let entry = |outcome| Entry { kind: ObjectKind::Secret, name: "key".to_owned(), outcome };
        let record = |entries| Record { entries, ..Record::new(begun, Request::default()) };
        let complete = |entries| Record { complete: true, ..record(entries) };
        let created = || entry(Outcome::Created { id: "s1".to_owned() });
        let (soon, late) = (begun + SignedDuration::from_mins(5), begun + SignedDuration::from_hours(3));
        let same = Request::default;
        let other = || Request { all_missing: true, ..Request::default() };
        for (record, request, now, expected) in [
            (record(vec![created()]), same(), soon, Decision::Continue),
            (record(vec![created()]), other(), soon, Decision::TakeBack),
            (record(vec![created()]), same(), late, Decision::Leave),
            (record(vec![created()]), other(), late, Decision::Leave),
            (record(vec![created()]), other(), begun - SignedDuration::from_mins(5), Decision::Leave),
            (complete(vec![created()]), other(), soon, Decision::Forget),
            (complete(vec![created(), entry(Outcome::Removed { saved: None })]), other(), soon, Decision::Forget),
            (record(Vec::new()), same(), soon, Decision::Continue),
        ] {
            assert_eq!(decide(&record, &request, now), expected, "{record:?} {request:?} {now}");
        }
    }
}
