//! Brings single objects of a backup back into a living swarm: services with their networks, secrets and configs.
//!
//! First a plan is made (`plan`), which reads only; with `--dry-run` that is all. Then each object is made
//! (`change`), and noted in a journal (`journal`) before and after. If one cannot be made, everything that the run
//! has made is removed again (`undo`); what a run that was killed has left is settled by the next one that is carried
//! out (`earlier`).

mod change;
pub(crate) mod checks;
mod confirm;
mod conflict;
mod contents;
mod earlier;
mod hints;
mod journal;
mod living;
mod obstacle;
mod plan;
mod ports;
mod report;
mod request;
mod sameness;
mod saved;
mod steps;
mod undo;
mod wanted;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use nix::unistd::Uid;
use swarm_state::{
    inventory::ObjectKind,
    specs::{Item, Values},
};
use swarmdr_archive::ClusterId;

use crate::{
    archive::open_state::OpenState,
    config::Config,
    host::{
        engine::{Engine, EngineFacts, objects::Objects},
        lock::HostLock,
    },
    restore::items::{image, normal, references},
    run::Run,
};
use change::Change;
use contents::{Contents, Known};
use earlier::{EarlierRun, Settled};
use journal::{Journal, Record};
use living::{Living, LivingObject};
use plan::{Basis, Plan};
use report::About;
pub use report::Report;
pub use request::{Conflict, Request};
use steps::{Step, reach};

/// The path of the lock. Other users than root, who change a swarm through the socket of another host, cannot write
/// where the lock of the host is.
pub fn lock_path(config: &Config) -> PathBuf {
    if Uid::effective().is_root() { HostLock::default_path() } else { config.state_dir.join("undelete.lock") }
}

/// A living swarm that can be changed.
#[derive(Debug)]
pub struct Swarm {
    engine: Engine,
    objects: Objects,
    facts: EngineFacts,
    cluster: ClusterId,
}

impl Swarm {
    /// Asks the engine for its swarm. Refuses (exit 4) an engine that is no manager, or whose swarm has no leader.
    pub async fn of(config: &Config) -> Result<Self> {
        let engine = Engine::at(&config.engine.socket);
        let facts = engine.facts().await?;
        let cluster = checks::cluster(&facts)?;
        let objects = engine.objects().await?;
        Ok(Self { engine, objects, facts, cluster })
    }
}

/// Brings objects of a backup back into a living swarm.
pub struct Undelete<'a> {
    pub run: Run<'a>,
    pub swarm: Swarm,
    pub request: &'a Request,
    pub dry_run: bool,
}

impl Undelete<'_> {
    /// Runs the whole flow. The report of a run that something is in the way of has the obstacles, and nothing was
    /// changed: what an earlier run left is touched only by one that is carried out.
    pub async fn run(&self, state: &OpenState) -> Result<Report> {
        let look = async { Ok((self.earlier()?, self.plan(state).await?)) };
        let (earlier, mut plan) = self.run.shutdown.or_interrupted(look).await?;
        reach(Step::Planned);
        if self.dry_run || !plan.obstacles.is_empty() {
            let outcome = if self.dry_run { report::Outcome::Planned } else { report::Outcome::Refused };
            plan.attention.splice(0..0, earlier.and_then(|earlier| earlier.told()));
            return Ok(Report::of(outcome, plan, self.about(state)));
        }
        if plan.changes().next().is_none() {
            let told = earlier.map(EarlierRun::end_untouched).transpose()?.flatten();
            plan.attention.splice(0..0, told);
            return Ok(Report::of(report::Outcome::NothingToDo, plan, self.about(state)));
        }
        let settled = self.settle(earlier, &plan).await?;
        if !settled.attention.is_empty() {
            plan = self.run.shutdown.or_interrupted(self.plan(state)).await?;
        }
        plan.attention.splice(0..0, settled.attention);
        plan.notes.splice(0..0, settled.notes);
        if !plan.obstacles.is_empty() {
            return Ok(Report::of(report::Outcome::Refused, plan, self.about(state)));
        }
        let values = self.run.shutdown.or_interrupted(state.values(needed(&plan))).await?;
        self.make(state, plan, settled.carried, &values).await
    }

    fn about(&self, state: &OpenState) -> About {
        About {
            source: state.source.clone(),
            created_at: state.created_at,
            backup_cluster_id: state.own.cluster.clone(),
            cluster_id: self.swarm.cluster.clone(),
            findings: state.findings.clone(),
        }
    }

    /// Makes the plan, which reads only.
    async fn plan(&self, state: &OpenState) -> Result<Plan> {
        let Swarm { engine, objects, facts, .. } = &self.swarm;
        let nodes = engine.nodes().await?;
        checks::versions(facts, &nodes, state.engine_version.as_deref().unwrap_or_default())?;
        let living = Living::read(objects, nodes).await?;
        let date = state.created_at.unwrap_or(self.run.now).strftime("%Y%m%d").to_string();
        let chosen = wanted::choose(&state.items, self.request, &living)?;
        let pairs = plan::pairs(&chosen, self.request, &living, &date);
        let contents = self.compare(&pairs, state).await?;
        let basis = Basis {
            items: &state.items,
            nodes: &state.inventory.nodes,
            request: self.request,
            living: &living,
            contents: &contents,
            date: &date,
        };
        Ok(plan::make(&chosen, &basis))
    }

    async fn compare(&self, pairs: &[(&Item, &LivingObject)], state: &OpenState) -> Result<Contents> {
        let secrets = pairs.iter().filter(|(item, _)| item.kind == ObjectKind::Secret);
        let wanted: Vec<(ObjectKind, String)> = secrets.map(|(item, _)| (item.kind, item.id.clone())).collect();
        let values = if wanted.is_empty() { Values::default() } else { state.values(wanted).await? };
        Ok(Contents::compare(&self.swarm.objects, pairs, &values).await)
    }

    fn earlier(&self) -> Result<Option<EarlierRun>> {
        let journal = Journal::read(&self.run.config.state_dir, &self.swarm.cluster)?;
        Ok(journal.map(|journal| EarlierRun::of(journal, self.request, self.run.now)))
    }

    async fn settle(&self, earlier: Option<EarlierRun>, plan: &Plan) -> Result<Settled> {
        match earlier {
            Some(earlier) => self.run.shutdown.shielded(earlier.settle(&self.swarm.objects, plan)).await,
            None => Ok(Settled::default()),
        }
    }

    /// Makes everything, or nothing.
    async fn make(
        &self,
        state: &OpenState,
        mut plan: Plan,
        carried: Option<Record>,
        values: &dyn Known,
    ) -> Result<Report> {
        let Swarm { objects, cluster, .. } = &self.swarm;
        let Run { config, shutdown, now, .. } = self.run;
        let record = carried.unwrap_or_else(|| Record::new(now, self.request.clone()));
        let journal = Journal::begin(&config.state_dir, cluster, record)?;
        reach(Step::Begun);
        let saved_dir = saved_dir(&config.state_dir, now);
        let mut change = Change::new(objects, shutdown, &state.items, values, journal, saved_dir);
        if let Err(cause) = change.make(&mut plan).await {
            return Err(change.undo(cause).await);
        }
        if let Err(error) = change.journal.complete() {
            tracing::warn!("{error:#}; everything is back nevertheless");
        }
        reach(Step::Complete);
        if let Err(error) = change.journal.finish() {
            plan.attention.push(format!("everything is back, but the journal of this run stays: {error:#}"));
        }
        reach(Step::Finished);
        let differing = confirm::confirm(objects, &plan, &state.items).await;
        plan.attention.extend(differing);
        Ok(Report { saved: change.saved, ..Report::of(report::Outcome::Done, plan, self.about(state)) })
    }
}

/// Returns kind and id of the objects whose contents or credentials are sent to the engine.
fn needed(plan: &Plan) -> Vec<(ObjectKind, String)> {
    let has_value = |it: &&plan::Planned| match it.kind {
        ObjectKind::Secret | ObjectKind::Config => true,
        ObjectKind::Service => it.has_registry_auth,
        _ => false,
    };
    plan.changes().filter(has_value).map(|it| (it.kind, it.backup_id.clone())).collect()
}

fn saved_dir(state_dir: &Path, now: Timestamp) -> PathBuf {
    journal::directory(state_dir).join(now.strftime("%Y%m%dT%H%M%SZ").to_string())
}
