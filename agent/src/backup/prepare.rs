//! All checks that can refuse a backup, made before the engine is touched.

use std::collections::BTreeSet;

use anyhow::Result;
use swarm_state::{Identity, StateDir};
use swarmdr_archive::{ClusterId, Digest, Recipient};

use super::{
    Backup, BackupPlan, Request, When, check_space,
    deliver::{Delivery, Uploader},
    designation::{Memory, NotOurTurn},
    fitness::Fitness,
    managers::Managers,
    plan::{self, Seen},
    previous::PreviousBackups,
    report::SentReport,
    turn::Asked,
};
use crate::{
    config::Mode,
    downtime::{
        engine_units::EngineControl,
        freeze::Freezer,
        stop_history::StopHistory,
        stop_time::{self, Allowed},
    },
    host::{
        engine::{Engine, EngineFacts, log_lock, unlock::RunningKey, view::ManagerView},
        network,
    },
    keys::{recipients, signing},
    outcome::failure::Failure,
    points::{self, Occasion},
    restore::{images::memory::ImagesChecked, interrupted::unfinished},
    vaults,
};

/// Outcome of the checks.
#[derive(Debug)]
pub enum Step {
    Ready(Box<Prepared>),
    /// No backup is to be made by this manager now.
    NotOurTurn(NotOurTurn),
    /// Nor is one to be made now, but archives that were waiting in the spool were stored.
    Sent(Box<SentReport>),
}

/// Results of the checks, for the run that follows.
#[derive(Debug)]
pub struct Prepared {
    pub plan: BackupPlan,
    pub(super) request: Request,
    pub(super) view: ManagerView,
    pub(super) uploader: Uploader,
    pub(super) recipients: Vec<Recipient>,
    pub(super) previous: PreviousBackups,
    pub(super) sent: Vec<Delivery>,
    /// The unlock key, if the swarm is autolocked.
    pub(super) unlock_key: Option<RunningKey>,
}

impl Prepared {
    /// Adds findings for the operator to the report of this run.
    pub fn look_at(&mut self, attention: Vec<String>) {
        self.uploader.attention.extend(attention);
    }
}

impl Backup<'_> {
    /// Checks everything, and sends archives that earlier runs left in the spool. A dry run sends and writes nothing.
    pub async fn prepare(&self, request: Request) -> Result<Step> {
        let config = self.run.config;
        let recipients = recipients::parse(config)?;
        EngineControl::require_awake(config).await?;
        let engine = Engine::at(&config.engine.socket);
        let facts = engine.facts().await?;
        let control = EngineControl::connect(config).await?;
        plan::check_manager(&facts)?;
        signing::require_trusted_signer(config, self.run.now)?;
        let own = facts.swarm.swarm_node()?;

        let mut uploader = Uploader::open(&self.run, &self.vaults).await?;
        uploader.attention.extend(unfinished::in_data_root(&facts.data_root));
        self.require_not_superseded(&mut uploader, &own, request.dry_run).await?;
        let sent = if request.dry_run { Vec::new() } else { self.send_waiting(&mut uploader).await? };
        let point = self.point_of(&own.cluster, &sent).await;
        uploader.attention.extend(point.attention);
        let previous = self.read_previous(&mut uploader, &own.cluster).await?;
        let mut renewed = if request.dry_run { Vec::new() } else { uploader.renew_locks(&own.cluster).await };
        // Before the listing, so that a copy that holds what was listed holds this too.
        let specs = self.specs(request.when, &previous, &engine).await?;
        let view = engine.list_required().await?;
        let mut managers = Managers::of(&view.nodes);
        managers.probe(own.node.as_str()).await;
        let asked = Asked { own: &own, previous: &previous, sent: &sent, managers: &managers, specs };
        let taken_over = match self.designate(request, &asked)? {
            Ok(taken_over) => taken_over,
            Err(why) if sent.iter().any(Delivery::stored_something) => {
                let report = SentReport { point: point.point, ..SentReport::new(sent, &why, uploader.attention) };
                return Ok(Step::Sent(Box::new(report)));
            }
            Err(why) => return Ok(Step::NotOurTurn(why)),
        };

        if !request.dry_run {
            renewed.extend(uploader.renew_locks_of_data(&own.cluster, |name| config.renews(name)).await);
            uploader.rehearse().await?;
        }
        let mut plan = self.plan(request, &facts, &view, &managers, specs)?;
        plan.notes.extend(taken_over.into_iter().chain(renewed));
        self.check_disk(request, &view, &mut plan)?;
        uploader.spool.require_room(&config.spool)?;
        let unlock_key = self.unlock_key(&plan).await?;
        self.check_host(&control, &facts, &mut plan, request.when).await?;
        Ok(Step::Ready(Box::new(Prepared { plan, request, view, uploader, recipients, previous, sent, unlock_key })))
    }

    /// Sends what earlier runs left in the spool. They may have made it for another reason than this run, so it is locked as
    /// any backup is, not for as long as this one's.
    async fn send_waiting(&self, uploader: &mut Uploader) -> Result<Vec<Delivery>> {
        match self.usual {
            Some(usual) if !uploader.spool.waiting()?.is_empty() => {
                uploader.send_waiting_to(vaults::connect(usual).await?).await
            }
            _ => uploader.send_waiting().await,
        }
    }

    /// Makes a recovery point about what waited in the spool, in the vaults that have it now: while they were away, no
    /// point could name it.
    async fn point_of(&self, cluster: &ClusterId, sent: &[Delivery]) -> points::Made {
        let new = sent.iter().filter(|delivery| delivery.stored_something() && delivery.cluster == *cluster);
        let took: BTreeSet<String> = new.flat_map(Delivery::vaults).collect();
        if took.is_empty() {
            return points::Made::default();
        }
        self.make_point(cluster, took).await
    }

    /// Makes a recovery point in the vaults with these URLs, which took a backup.
    pub async fn make_point(&self, cluster: &ClusterId, took: BTreeSet<String>) -> points::Made {
        let images = ImagesChecked::for_point(&self.run.config.state_dir, cluster);
        let occasion = Occasion { took: Some(took), images, ..Occasion::default() };
        points::after(&self.run, &self.vaults, cluster, occasion).await
    }

    fn plan(
        &self,
        request: Request,
        facts: &EngineFacts,
        view: &ManagerView,
        managers: &Managers,
        specs: Option<Digest>,
    ) -> Result<BackupPlan> {
        let (addresses, random) = (network::local_addresses()?, crate::host::random::tag()?);
        let seen = Seen { facts, view, managers, addresses: &addresses, specs, now: self.run.now, random };
        BackupPlan::make(self.run.config, &seen, request.allow_quorum_loss)
    }

    /// Checks that the state directory can be copied, and that there is space for the copy and the archive.
    fn check_disk(&self, request: Request, view: &ManagerView, plan: &mut BackupPlan) -> Result<()> {
        let fitness = Fitness::of(&plan.state_dir)?;
        check_space(plan, fitness.allocated)?;
        plan.notes.extend(fitness.mounted);
        if request.dry_run {
            plan.notes.extend(view.unclear.iter().cloned());
            plan.notes.extend(fitness.notes);
        }
        Ok(())
    }

    /// Checks that the engine that answered can be stopped or frozen on this host; records the units and containers
    /// that a stop would end.
    async fn check_host(
        &self,
        control: &EngineControl,
        facts: &EngineFacts,
        plan: &mut BackupPlan,
        when: When,
    ) -> Result<()> {
        require_writer(control, facts, plan)?;
        if plan.mode == Mode::Freeze {
            Freezer::prepare(control, &plan.state_dir).await?;
            return Ok(());
        }
        control.require_stoppable().await?;
        let absences = StopHistory::read(&self.run.config.state_dir);
        if when != When::Now {
            absences.require_distance(self.run.now)?;
        } else if let Some(until) = absences.not_before(self.run.now) {
            let told = format!("{}; this run was started by hand, so it goes on", absences.describe(until));
            tracing::warn!("{told}");
            plan.notes.push(told);
        }
        stop_time::require(control, &Allowed::of_backup(self.run.config), &absences).await?;
        plan.notes.extend(stop_time::slow_dependents(control, &Allowed::of_backup(self.run.config)).await);
        plan.units = control.units().into_iter().map(str::to_owned).collect();
        plan.found = control.found();
        Ok(())
    }

    /// Returns the digest of what people set, before anything is copied: a change that comes meanwhile is in the copy and
    /// not in the digest, and the next look at it makes one backup too many. Only a run that asks for changes needs it, and
    /// the timer's many runs that find nothing due are spared the listings.
    async fn specs(&self, when: When, previous: &PreviousBackups, engine: &Engine) -> Result<Option<Digest>> {
        if when == When::Due && !self.is_due(previous.newest())? {
            return Ok(None);
        }
        match engine.specs_digest().await {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if when == When::Changed => Err(error.context("failed to find out what is set in the swarm")),
            Err(error) => {
                tracing::warn!("this backup will not say which settings it holds: {error:#}");
                Ok(None)
            }
        }
    }

    /// Reads the newest backups from the vaults. If that fails, the waiting for other managers is forgotten: a host
    /// that cannot see the vaults does not know how long a backup has been missing.
    async fn read_previous(&self, uploader: &mut Uploader, cluster: &ClusterId) -> Result<PreviousBackups> {
        let look = async {
            uploader.require_vaults()?;
            uploader.require_clock().await?;
            uploader.previous_backups(cluster).await
        };
        look.await.inspect_err(|_| {
            Memory::installed().forget();
            Memory::of_changes().forget();
        })
    }

    /// Asks for the unlock key. An autolocked manager must not be stopped without the key that unlocks it afterwards.
    async fn unlock_key(&self, plan: &BackupPlan) -> Result<Option<RunningKey>> {
        if !plan.autolock {
            return Ok(None);
        }
        let key = RunningKey::ask(&self.run.config.engine.socket).await.map_err(|cause| {
            Failure::refused("this swarm is autolocked, and without its unlock key a stopped manager stays locked")
                .because(cause)
        })?;
        Ok(Some(key))
    }
}

/// Refuses unless the engine that answered is the one that writes the directory that is copied.
fn require_writer(control: &EngineControl, facts: &EngineFacts, plan: &BackupPlan) -> Result<()> {
    let state = &plan.state_dir;
    let process = control.process().ok_or_else(|| {
        Failure::refused(format!(
            "which process answers on {} is not known, so it is not known to be that of {}; nothing was touched",
            control.socket().display(),
            control.service()
        ))
        .advice("name the engine's own socket with `engine.socket` in the configuration, not one of a proxy")
    })?;
    let elsewhere = |why: String| -> anyhow::Error {
        Failure::refused(format!("{} is not what the engine writes: {why}; nothing was touched", state.display()))
            .advice(format!(
                "the engine calls {} its data root: it must be the same directory for the agent, without a mount in between",
                facts.data_root.display()
            ))
            .into()
    };
    if !log_lock::is_held(state)? {
        return Err(elsewhere("no process has the raft log there open".to_owned()));
    }
    if log_lock::is_open_in(process.pid, state)? == Some(false) {
        return Err(elsewhere(format!("its process {} has no file of the raft log there open", process.pid)));
    }
    let here = StateDir::open(state).ok().and_then(|dir| Identity::read(&dir).ok());
    let own = facts.swarm.swarm_node()?;
    match here {
        Some(here) if own.is(&here.cluster_id, &here.node_id) => Ok(()),
        Some(here) => Err(elsewhere(format!("it holds node {} of swarm {}", here.node_id, here.cluster_id))),
        // The examination of the copy reports what is wrong with it.
        None => Ok(()),
    }
}
