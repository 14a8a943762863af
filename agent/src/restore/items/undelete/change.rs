//! The change of the swarm: the objects of a plan are created, one after the other, each noted in the journal before.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;
use swarm_state::{inventory::ObjectKind, specs::Item};

use super::{
    contents::{Contents, Known},
    journal::{Journal, Outcome},
    living::Living,
    normal,
    plan::{Action, Plan, Planned},
    references::{self, Target},
    sameness::{self, Sameness},
    saved,
    steps::{Step, reach},
};
use crate::{
    host::{
        engine::{
            Refusal,
            objects::{NewObject, Objects},
        },
        shutdown::Shutdown,
        wait::{self, Probe},
    },
    outcome::failure::Failure,
};

/// How long a network of the same name may take to leave this host: its containers get some time to stop.
const LEAVE_LIMIT: Duration = Duration::from_secs(60);

/// Time limit of an update that keeps conflicting with what the swarm itself writes.
const UPDATE_LIMIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(250);

/// A change that is under way.
pub struct Change<'a> {
    pub objects: &'a Objects,
    pub shutdown: &'a Shutdown,
    pub items: &'a [Item],
    /// Contents of the secrets and configs that are made, and credentials of services.
    pub values: &'a dyn Known,
    pub journal: Journal,
    /// Number of the first entries of the journal, which are of an earlier run.
    pub carried: usize,
    /// Directory for specs that are replaced.
    pub saved_dir: PathBuf,
    /// Files with specs that were replaced.
    pub saved: Vec<PathBuf>,
    /// Living ids by kind and name.
    pub ids: HashMap<(ObjectKind, String), String>,
    /// Time limit for a network that leaves this host.
    pub leave_limit: Duration,
}

/// The answer of the swarm, with the id of the object that has the name now.
enum Made {
    Created(String),
    /// Somebody else made the same meanwhile.
    Adopted(String),
    /// Somebody else made another one meanwhile.
    Taken,
}

impl<'a> Change<'a> {
    pub fn new(
        objects: &'a Objects,
        shutdown: &'a Shutdown,
        items: &'a [Item],
        values: &'a dyn Known,
        journal: Journal,
        saved_dir: PathBuf,
    ) -> Self {
        let (saved, ids, leave_limit) = (Vec::new(), HashMap::new(), LEAVE_LIMIT);
        let carried = journal.record.entries.len();
        Self { objects, shutdown, items, values, journal, carried, saved_dir, saved, ids, leave_limit }
    }

    /// Makes everything that the plan has to make, and fills in the ids. A stop request ends it between two objects.
    pub async fn make(&mut self, plan: &mut Plan) -> Result<()> {
        for planned in &mut plan.objects {
            self.shutdown.check()?;
            match planned.action {
                Action::Keep => {}
                Action::Create => self.create(planned).await?,
                Action::Replace if planned.kind == ObjectKind::Service => self.update(planned).await?,
                Action::Replace => self.replace(planned).await?,
                Action::Refuse => {
                    anyhow::bail!("{} `{}` is in the plan and must not be made", planned.kind, planned.name)
                }
            }
            if let Some(id) = &planned.id {
                self.ids.insert((planned.kind, planned.name.clone()), id.clone());
            }
        }
        Ok(())
    }

    async fn create(&mut self, planned: &mut Planned) -> Result<()> {
        self.journal.note(planned.kind, &planned.name, Outcome::Asked)?;
        reach(Step::Noted(planned.kind));
        let (id, outcome) = match self.ask(planned).await {
            Ok(Made::Created(id)) => (id.clone(), Outcome::Created { id }),
            Ok(Made::Adopted(id)) => {
                planned.action = Action::Keep;
                (id, Outcome::Adopted)
            }
            Ok(Made::Taken) => {
                self.forget_last();
                return Err(taken_meanwhile(planned));
            }
            Err(error) => {
                if Refusal::is_certain(&error) {
                    self.forget_last();
                }
                return Err(error.context(format!("failed to create the {} `{}`", planned.kind, planned.name)));
            }
        };
        reach(Step::Created(planned.kind));
        planned.id = Some(id);
        self.journal.settle(outcome)?;
        reach(Step::Made(planned.kind));
        Ok(())
    }

    /// Creates the object. If its name was taken since the plan was made, the one that has it is used if it is the
    /// same. Of a service the engine may name another reason first, such as the port that this very one has.
    async fn ask(&self, planned: &Planned) -> Result<Made> {
        let spec = self.with_ids(planned);
        match self.objects.create(self.new_object(planned, &spec)).await {
            Ok(id) => Ok(Made::Created(id)),
            Err(error) if Refusal::is_name_taken(&error) => self.ask_again(planned, &spec).await,
            Err(error) if planned.kind == ObjectKind::Service && Refusal::is_certain(&error) => {
                let living = Living::read_kind(self.objects, planned.kind).await.unwrap_or_default();
                let same = self.same(planned, &living).await.unwrap_or_default();
                same.map(Made::Adopted).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn ask_again(&self, planned: &Planned, spec: &Value) -> Result<Made> {
        let what = format!("the network `{}`, which was removed, to leave this host", planned.name);
        let attempt = async || {
            self.shutdown.check()?;
            let living = Living::read_kind(self.objects, planned.kind).await?;
            if let Some(id) = self.same(planned, &living).await? {
                return Ok(Probe::Done(Made::Adopted(id)));
            }
            let name = &planned.name;
            let is_taken = living.named(planned.kind, name).is_some() || living.is_local(name);
            if planned.kind != ObjectKind::Network || is_taken {
                return Ok(Probe::Done(Made::Taken));
            }
            match self.objects.create(self.new_object(planned, spec)).await {
                Ok(id) => Ok(Probe::Done(Made::Created(id))),
                Err(error) if Refusal::is_name_taken(&error) => Ok(Probe::NotYet(error)),
                Err(error) => Err(error),
            }
        };
        wait::until(self.leave_limit, POLL, &what, attempt).await
    }

    /// Returns the id of the living object of this name if it is the same, and no other object of the plan is it. A service is compared by ids: only the
    /// services were listed again.
    async fn same(&self, planned: &Planned, living: &Living) -> Result<Option<String>> {
        let Some(found) = living.named(planned.kind, &planned.name) else { return Ok(None) };
        if self.ids.iter().any(|((kind, _), id)| *kind == planned.kind && *id == found.id) {
            return Ok(None);
        }
        let sameness = match (planned.kind, self.item(planned)) {
            (ObjectKind::Service, _) | (_, None) => sameness::of_service(&self.with_ids(planned), found, living),
            (_, Some(item)) => {
                let contents = Contents::compare(self.objects, &[(item, found)], self.values).await;
                sameness::of_item(item, &planned.name, contents.of(item, found), found)
            }
        };
        Ok(matches!(sameness, Sameness::Same | Sameness::Labels(_)).then(|| found.id.clone()))
    }

    /// Removes a secret or a config that no service uses, and creates it again.
    async fn replace(&mut self, planned: &mut Planned) -> Result<()> {
        let (kind, id) = (planned.kind, planned.id.clone().context("what is replaced has an id")?);
        let saved = match kind {
            ObjectKind::Config => {
                let whole = self.objects.one(kind, &id).await?;
                Some(saved::write(&self.saved_dir, kind, &planned.name, &whole)?)
            }
            _ => None,
        };
        self.saved.extend(saved.clone());
        self.journal.note(kind, &planned.name, Outcome::Removed { saved })?;
        if let Err(error) = self.objects.remove(kind, &id).await {
            if Refusal::is_certain(&error) {
                self.forget_last();
            }
            return Err(error.context(format!("failed to remove the {kind} `{}` that is replaced", planned.name)));
        }
        reach(Step::Removed(kind));
        self.create(planned).await
    }

    /// Gives a service the spec of the backup. The one that lives is written to a file before.
    async fn update(&mut self, planned: &Planned) -> Result<()> {
        let id = planned.id.clone().context("what is replaced has an id")?;
        let living = self.objects.one(ObjectKind::Service, &id).await?;
        let saved = saved::write(&self.saved_dir, ObjectKind::Service, &planned.name, &living)?;
        self.saved.push(saved.clone());
        let outcome = Outcome::Updating { id: id.clone(), saved: saved.clone() };
        self.journal.note(ObjectKind::Service, &planned.name, outcome)?;
        reach(Step::Noted(ObjectKind::Service));
        match self.ask_for_update(planned, &id).await {
            Ok(true) => {}
            Ok(false) => {
                self.forget_last();
                let what = format!("somebody changed the service `{}` while this ran", planned.name);
                return Err(Failure::refused(what)
                    .advice("see what it is now with --dry-run, and run this again")
                    .into());
            }
            Err(error) => {
                if Refusal::is_certain(&error) || Refusal::is_out_of_sequence(&error) {
                    self.forget_last();
                }
                return Err(error.context(format!("failed to replace the spec of the service `{}`", planned.name)));
            }
        }
        reach(Step::Created(ObjectKind::Service));
        self.journal.settle(Outcome::Updated { id, saved })?;
        reach(Step::Made(ObjectKind::Service));
        Ok(())
    }

    /// Updates a service, unless somebody has changed its spec since the plan was made: then it returns false. The
    /// swarm itself writes to its services too, so the version that was read may be stale.
    async fn ask_for_update(&self, planned: &Planned, id: &str) -> Result<bool> {
        let spec = self.with_ids(planned);
        let attempt = async || {
            let living = self.objects.one(ObjectKind::Service, id).await?;
            if normal::service(&living["Spec"]) != normal::service(&planned.living_spec) {
                return Ok(Probe::Done(false));
            }
            let version = living["Version"]["Index"].as_u64().context("the service has no version")?;
            match self.objects.update_service(id, version, self.new_object(planned, &spec)).await {
                Err(error) if Refusal::is_out_of_sequence(&error) => Ok(Probe::NotYet(error)),
                updated => updated.map(|()| Probe::Done(true)),
            }
        };
        wait::until(UPDATE_LIMIT, POLL, "the swarm to leave the service alone", attempt).await
    }

    /// Drops the last note of the journal, of something that was surely not made. A note that stays is found out later.
    fn forget_last(&mut self) {
        let last = self.journal.record.entries.len().saturating_sub(1);
        if let Err(error) = self.journal.forget(last) {
            tracing::warn!("{error:#}");
        }
    }

    fn new_object<'b>(&'b self, planned: &Planned, spec: &'b Value) -> NewObject<'b> {
        let value = self.values.value(planned.kind, &planned.backup_id);
        let sends_auth = planned.kind == ObjectKind::Service && planned.has_registry_auth;
        let has_content = matches!(planned.kind, ObjectKind::Secret | ObjectKind::Config);
        NewObject {
            kind: planned.kind,
            spec,
            content: value.filter(|_| has_content),
            registry_auth: value.filter(|auth| sends_auth && !auth.is_empty()),
        }
    }

    /// Returns the spec with living ids in the place of names. A network without an id is one of the engine's own,
    /// for which the engine takes the name (moby `daemon/cluster/networks.go`, `populateNetworkID`).
    fn with_ids(&self, planned: &Planned) -> Value {
        let mut spec = planned.spec.clone();
        if planned.kind == ObjectKind::Service {
            references::replace(&mut spec, |kind, name| {
                let id = self.ids.get(&(kind, name.to_owned()))?.clone();
                Some(Target { id, name: name.to_owned() })
            });
        }
        spec
    }

    fn item(&self, planned: &Planned) -> Option<&'a Item> {
        self.items.iter().find(|item| item.kind == planned.kind && item.id == planned.backup_id)
    }
}

fn taken_meanwhile(planned: &Planned) -> anyhow::Error {
    let what = format!("another {} `{}` came to be while this ran", planned.kind, planned.name);
    Failure::refused(what).advice("see what it is, and run this again").into()
}
