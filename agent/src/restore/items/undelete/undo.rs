//! The way back: what a run has made is removed again, the newest first, and nothing else.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use super::{
    change::Change,
    journal::{Entry, Journal, Outcome},
    living::Living,
    normal, saved,
    steps::{Step, reach},
};
use crate::{
    host::{
        engine::{
            Refusal,
            objects::{NewObject, Objects},
        },
        wait::{self, Probe},
    },
    outcome::failure::Failure,
};

/// How long a network may be in use by tasks of services that were just removed.
const IN_USE_LIMIT: Duration = Duration::from_secs(30);

/// Why a secret stays that was made in the place of another one.
const KEPT_VALUE: &str = "it has the value of the backup, since the one that it had before cannot be read from a swarm";

const POLL: Duration = Duration::from_millis(250);

/// The result of an undo.
#[derive(Debug, Default)]
pub struct TakenBack {
    /// What was removed or rolled back, in words.
    pub done: Vec<String>,
    /// What was not, and why.
    pub left: Vec<Left>,
}

/// Something that an undo could not or must not remove.
#[derive(Debug)]
pub struct Left {
    pub entry: Entry,
    pub why: String,
}

impl Left {
    /// Returns what is left and why, as a sentence.
    pub fn described(&self) -> String {
        let what = self.entry.described();
        match self.entry.outcome {
            Outcome::Removed { .. } => {
                format!("{what}, which was removed to be replaced, is not as it was: {}", self.why)
            }
            _ => format!("{what} is left as it is: {}", self.why),
        }
    }
}

impl Change<'_> {
    /// Removes everything that was made, and returns the error to report.
    pub async fn undo(mut self, cause: anyhow::Error) -> anyhow::Error {
        tracing::warn!("not everything could be brought back; removing what was made: {cause:#}");
        reach(Step::Undo);
        let kept = self.kept();
        let taken = take_back(self.objects, &mut self.journal, &kept).await;
        let failure = match taken.left.as_slice() {
            [] => {
                let failure = Failure::failed("nothing was brought back: what this run had made is removed again");
                match self.journal.finish() {
                    Ok(()) => failure,
                    Err(error) => failure.advice(format!("remove the journal of this run: {error:#}")),
                }
            }
            left => {
                let what = "not everything was brought back, and not all of it could be removed again";
                let failure = Failure::failed(what).advice("run the same command again: it goes on from here");
                left.iter().fold(failure, |failure, left| failure.advice(left.described()))
            }
        };
        reach(Step::Undone);
        failure.because(cause).into()
    }

    /// Returns why each entry stays, if it does: what an earlier run made may have been in use since.
    fn kept(&self) -> Vec<Option<String>> {
        let entries = self.journal.record.entries.iter().enumerate();
        let is_earlier = |at: usize, entry: &Entry| at < self.carried && entry.is_made();
        entries
            .map(|(at, entry)| {
                is_earlier(at, entry)
                    .then(|| format!("a run that was cut short had made it, and {}", may_be_used(entry)))
            })
            .collect()
    }
}

/// Takes back the entries of a journal, the newest first, but not those for which there is a reason to keep them, by
/// their place. The journal keeps those that are left.
pub async fn take_back(objects: &Objects, journal: &mut Journal, kept: &[Option<String>]) -> TakenBack {
    let mut taken = TakenBack::default();
    for at in (0..journal.record.entries.len()).rev() {
        let entry = journal.record.entries[at].clone();
        if is_only_value(&journal.record.entries[..at], &entry) {
            taken.left.push(Left { entry, why: KEPT_VALUE.to_owned() });
            continue;
        }
        if let Some(why) = kept.get(at).cloned().flatten() {
            taken.left.push(Left { entry, why });
            continue;
        }
        match take_back_one(objects, &entry).await {
            Ok(done) => {
                taken.done.extend(done);
                reach(Step::Removed(entry.kind));
                if let Err(error) = journal.forget(at) {
                    tracing::error!("{error:#}; going on without the note");
                }
            }
            Err(why) => taken.left.push(Left { entry, why: format!("{why:#}") }),
        }
    }
    taken
}

/// Whether the entry is a secret that was made in the place of one whose value is lost. The backup's value is better
/// than none.
fn is_only_value(earlier: &[Entry], entry: &Entry) -> bool {
    let is_lost =
        |it: &Entry| (it.kind, &it.name) == (entry.kind, &entry.name) && it.outcome == Outcome::Removed { saved: None };
    matches!(entry.outcome, Outcome::Created { .. }) && earlier.iter().any(is_lost)
}

/// Takes one entry back. Returns what was done; `None` if there was nothing to do. The error says why it is left.
async fn take_back_one(objects: &Objects, entry: &Entry) -> Result<Option<String>> {
    match &entry.outcome {
        Outcome::Adopted => Ok(None),
        Outcome::Asked => {
            let lives = Living::read_kind(objects, entry.kind).await?.named(entry.kind, &entry.name).is_some();
            let remove = format!("docker {} rm {}", entry.kind, entry.name);
            anyhow::ensure!(
                !lives,
                "the engine did not say whether this run made it; remove it with `{remove}` if nobody else did"
            );
            Ok(None)
        }
        Outcome::Removed { saved } => make_again(objects, entry, saved.as_deref()).await,
        Outcome::Created { id } => {
            require_untouched(objects, entry.kind, id).await?;
            remove(objects, entry.kind, id).await?;
            Ok(Some(format!("{} is removed again", entry.described())))
        }
        Outcome::Updating { id, saved } => {
            let service = objects.one(ObjectKind::Service, id).await?;
            anyhow::ensure!(
                is_same(&service["Spec"], &saved::read_spec(saved)?),
                "the engine did not say whether this run changed it; its former spec is in {}",
                saved.display()
            );
            Ok(None)
        }
        Outcome::Updated { id, saved } => {
            let is_rolled_back = roll_back(objects, id, saved).await?;
            Ok(is_rolled_back.then(|| format!("{} has its former spec again", entry.described())))
        }
    }
}

/// Creates a config again that was replaced. Nobody uses it, so another id does no harm. What lives by that name now
/// is left: then it was not removed, or somebody made it since, or it is the secret that was made in its place. Of a
/// secret nothing is left that could be created.
async fn make_again(objects: &Objects, entry: &Entry, file: Option<&Path>) -> Result<Option<String>> {
    if Living::read_kind(objects, entry.kind).await?.named(entry.kind, &entry.name).is_some() {
        return Ok(None);
    }
    let file = file.with_context(|| {
        let (kind, name) = (entry.kind, &entry.name);
        format!(
            "no {kind} of this name lives now, and the value that it had cannot be read from a swarm; the backup's comes \
             back with `swarmdr-agent undelete --{kind} {name}`"
        )
    })?;
    let spec = saved::read_spec(file)?;
    let new = NewObject { kind: entry.kind, spec: &spec, content: None, registry_auth: None };
    objects.create(new).await?;
    Ok(Some(format!("{} is there again as it was", entry.described())))
}

/// Refuses a service that was updated after it was created: then it has a previous spec.
async fn require_untouched(objects: &Objects, kind: ObjectKind, id: &str) -> Result<()> {
    if kind != ObjectKind::Service {
        return Ok(());
    }
    match objects.one(kind, id).await {
        Ok(service) => {
            anyhow::ensure!(!service["PreviousSpec"].is_object(), "somebody has updated it since");
            Ok(())
        }
        Err(error) if Refusal::is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes an object. The engine refuses to remove what a service uses; a network also while tasks that are ending
/// use it.
async fn remove(objects: &Objects, kind: ObjectKind, id: &str) -> Result<()> {
    let attempt = async || match objects.remove(kind, id).await {
        Err(error) if Refusal::is_not_found(&error) => Ok(Probe::Done(())),
        Err(error) if kind == ObjectKind::Network && Refusal::is_certain(&error) => Ok(Probe::NotYet(error)),
        removed => removed.map(Probe::Done),
    };
    let removed = wait::until(IN_USE_LIMIT, POLL, "its tasks to end", attempt).await;
    removed.with_context(|| format!("the {kind} {id} could not be removed"))
}

/// Gives a service its former spec back. False if it has that anyway. It is left if somebody has changed it since:
/// then its previous spec is another one.
async fn roll_back(objects: &Objects, id: &str, file: &Path) -> Result<bool> {
    let former = saved::read_spec(file)?;
    let attempt = async || {
        let service = objects.one(ObjectKind::Service, id).await?;
        if is_same(&service["Spec"], &former) {
            return Ok(Probe::Done(false));
        }
        anyhow::ensure!(
            is_same(&service["PreviousSpec"], &former),
            "somebody has updated it since; its former spec is in {}",
            file.display()
        );
        let version = service["Version"]["Index"].as_u64().context("it has no version")?;
        match objects.roll_back_service(id, version, &former).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(Probe::NotYet(error)),
            rolled_back => rolled_back.map(|()| Probe::Done(true)),
        }
    };
    wait::until(IN_USE_LIMIT, POLL, "the swarm to leave the service alone", attempt).await
}

/// Returns why an entry of an earlier run is left, and what can be done about it.
pub fn may_be_used(entry: &Entry) -> String {
    match &entry.outcome {
        Outcome::Updated { saved, .. } => {
            format!("it may be in use by now; its former spec is in {}", saved.display())
        }
        _ => format!(
            "it may be in use by now; remove it with `docker {} rm {}` if it is not wanted",
            entry.kind, entry.name
        ),
    }
}

fn is_same(spec: &Value, other: &Value) -> bool {
    normal::service(spec) == normal::service(other)
}
