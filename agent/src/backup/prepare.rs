//! Everything that can refuse a backup, asked before the engine is touched.

use anyhow::Result;
use swarmdr_archive::{BackupId, Recipient};

use super::{
    Backup, BackupPlan, Request,
    chain::Chain,
    check_space,
    deliver::{Courier, Delivery},
    fitness::Fitness,
    managers::Managers,
    plan::{self, Seen},
    report::SentReport,
    turn::{Look, Memory, Place},
};
use crate::{
    config::{Config, Mode},
    exit::Exit,
    fault::{Fault, Rendered},
    faults,
    host::{
        absences::Absences,
        engine::{Engine, EngineFacts},
        engine_units::EngineControl,
        freeze::Freezer,
        log_lock, network,
        stop_price::{self, Allowed},
        unlock::{self, RunningKey},
        view::ManagerView,
    },
    restore::unfinished,
    schedule::Schedule,
    signing,
    swarm::{Identity, StateDir},
};

/// What a run comes to before it touches the engine.
#[derive(Debug)]
pub enum Step {
    Ready(Box<Prepared>),
    /// No backup is to be made now; but some were waiting, and were taken care of.
    Sent(SentReport),
}

/// What was found out before the engine is touched.
#[derive(Debug)]
pub struct Prepared {
    pub plan: BackupPlan,
    pub(super) request: Request,
    pub(super) view: ManagerView,
    pub(super) courier: Courier,
    pub(super) recipients: Vec<Recipient>,
    pub(super) chain: Chain,
    pub(super) sent: Vec<Delivery>,
    /// Of an autolocked swarm.
    pub(super) unlock_key: Option<RunningKey>,
}

impl Prepared {
    /// What a person should look at, whatever becomes of this run.
    pub fn look_at(&mut self, attention: Vec<String>) {
        self.courier.attention.extend(attention);
    }
}

impl Backup<'_> {
    /// Asks and checks everything, and sends what earlier runs left waiting. A dry run sends and writes nothing.
    pub async fn prepare(&self, request: Request) -> Result<Step> {
        let config = self.config;
        let recipients = parse_recipients(config)?;
        EngineControl::require_awake(config).await?;
        let engine = Engine::at(&config.engine.socket);
        let facts = engine.facts().await?;
        let control = EngineControl::connect(config).await?;
        plan::check_manager(&facts)?;
        signing::require_believed(config, self.now)?;
        let (own, cluster) = (&facts.swarm.node_id, &facts.swarm.cluster_id);

        let mut courier = Courier::open(self).await?;
        courier.attention.extend(unfinished::in_data_root(&facts.data_root));
        let sent = if request.dry_run { Vec::new() } else { courier.send_waiting().await? };
        let chain = self.look_into_vaults(&mut courier, cluster).await?;
        let renewed = if request.dry_run { Vec::new() } else { courier.renew_locks(cluster).await };
        let view = engine.manager_witness().await?;
        let mut managers = Managers::of(&view.nodes);
        managers.probe(own).await;
        let turn = match self.turn(request, &facts, &chain, &sent, &managers) {
            Err(error) if Rendered::of(&error).exit == Exit::NotOurTurn && sent.iter().any(Delivery::is_news) => {
                return Ok(Step::Sent(SentReport::new(sent, &error, courier.attention)));
            }
            turn => turn?,
        };

        if !request.dry_run {
            courier.rehearse().await?;
        }
        let mut plan = self.plan(request, &facts, &view, &managers)?;
        plan.notes.extend(turn.into_iter().chain(renewed));
        self.look_at_disk(request, &view, &mut plan)?;
        courier.spool.require_room(&config.spool)?;
        let unlock_key = self.unlock_key(&plan).await?;
        self.look_at_host(&control, &facts, &mut plan, request.if_due).await?;
        Ok(Step::Ready(Box::new(Prepared { plan, request, view, courier, recipients, chain, sent, unlock_key })))
    }

    fn plan(
        &self,
        request: Request,
        facts: &EngineFacts,
        view: &ManagerView,
        managers: &Managers,
    ) -> Result<BackupPlan> {
        let (addresses, random) = (network::local_addresses()?, crate::random::tag()?);
        let seen = Seen { facts, view, managers, addresses: &addresses, now: self.now, random };
        BackupPlan::make(self.config, &seen, request.allow_quorum_loss)
    }

    /// Whether what lies there can be copied, and where to.
    fn look_at_disk(&self, request: Request, view: &ManagerView, plan: &mut BackupPlan) -> Result<()> {
        let fitness = Fitness::of(&plan.state_dir)?;
        check_space(plan, fitness.allocated)?;
        plan.notes.extend(fitness.mounted);
        if request.dry_run {
            plan.notes.extend(view.unclear.iter().cloned());
            plan.notes.extend(fitness.notes);
        }
        Ok(())
    }

    /// Whether the engine that answered can be made to stand still here, and what that would end.
    async fn look_at_host(
        &self,
        control: &EngineControl,
        facts: &EngineFacts,
        plan: &mut BackupPlan,
        if_due: bool,
    ) -> Result<()> {
        require_writer(control, facts, plan)?;
        if plan.mode == Mode::Freeze {
            Freezer::prepare(control, &plan.state_dir).await?;
            return Ok(());
        }
        control.require_stoppable().await?;
        let absences = Absences::read(&self.config.state_dir);
        if if_due {
            absences.require_distance(self.now)?;
        } else if let Some(until) = absences.not_before(self.now) {
            let told = format!("{}; somebody asked for this one, so it is tried", absences.told(until));
            tracing::warn!("{told}");
            plan.notes.push(told);
        }
        stop_price::require(control, &Allowed::of_backup(self.config), &absences).await?;
        plan.notes.extend(stop_price::slow_dependents(control, &Allowed::of_backup(self.config)).await);
        plan.units = control.units().into_iter().map(str::to_owned).collect();
        plan.found = control.found();
        Ok(())
    }

    /// A host that cannot see the vaults does not know how long a backup has been missing.
    async fn look_into_vaults(&self, courier: &mut Courier, cluster: &str) -> Result<Chain> {
        let look = async {
            courier.require_vaults()?;
            courier.require_clock().await?;
            courier.chain(cluster).await
        };
        look.await.inspect_err(|_| Memory::installed().forget())
    }

    /// Whether a backup is due and this manager makes it; anything goes for a person's own command.
    fn turn(
        &self,
        request: Request,
        facts: &EngineFacts,
        chain: &Chain,
        sent: &[Delivery],
        managers: &Managers,
    ) -> Result<Option<String>> {
        if !request.if_due {
            return Ok(None);
        }
        let schedule = self.schedule()?;
        let memory = Memory::installed();
        let is_due = |newest: Option<BackupId>| schedule.is_due(newest.map(|id| id.created_at()), self.now);
        if !is_due(chain.newest()) {
            memory.forget();
            let next = chain.newest().and_then(|newest| schedule.next_after(newest.created_at()));
            let next = next.map_or_else(|| "never".to_owned(), |next| next.to_string());
            return Err(Fault::new(Exit::NotOurTurn, format!("no backup is due before {next}")).into());
        }
        let waiting = sent.iter().filter(|it| it.cluster == facts.swarm.cluster_id && !it.is_stored());
        if let Some(waiting) = waiting.max_by_key(|it| it.id).filter(|it| !is_due(Some(it.id))) {
            return Err(not_stored(waiting, &self.config.spool_dir()));
        }
        let look = Look { cluster: facts.swarm.cluster_id.clone(), newest: chain.newest(), now: self.now };
        let place = Place::of(managers, &facts.swarm.node_id)?;
        let turn = place.may_go(memory.read().as_ref(), &look, schedule.takeover_after(self.now));
        if turn.is_err() && !request.dry_run {
            memory.wait(&look);
        }
        turn
    }

    fn schedule(&self) -> Result<Schedule> {
        Schedule::from_config(&self.config.schedule)?.ok_or_else(|| {
            Fault::usage("--if-due needs a schedule, and schedule.cron is `off`")
                .advice("write `cron = \"30 3 * * *\"` below `[schedule]`, or leave it out for the same")
                .advice("if something else calls the agent, call `swarmdr-agent backup` without --if-due")
                .into()
        })
    }

    /// Asks again what another manager may have changed since, just before the engine is touched: whether the others
    /// still keep a majority, whether it is still this manager's turn, and what the new backup follows.
    ///
    /// What is left is the moment between the answers and the stop, of two people on two managers.
    pub(super) async fn recheck(
        &self,
        request: Request,
        plan: &BackupPlan,
        courier: &mut Courier,
        chain: &mut Chain,
        unlock_key: Option<&RunningKey>,
    ) -> Result<()> {
        faults::reach("recheck");
        EngineControl::require_awake(self.config).await?;
        let mut managers = Managers::of(&Engine::at(&self.config.engine.socket).nodes().await?);
        managers.probe(&plan.node_id).await;
        let now = courier.chain(&plan.cluster_id).await?;
        if request.if_due {
            if now.newest() != chain.newest() {
                return Err(Fault::new(Exit::NotOurTurn, "another manager has made the backup meanwhile").into());
            }
            let look = Look { cluster: plan.cluster_id.clone(), newest: now.newest(), now: self.now };
            let takeover = self.schedule()?.takeover_after(self.now);
            Place::of(&managers, &plan.node_id)?.may_go(Memory::installed().read().as_ref(), &look, takeover)?;
        }
        managers.may_go(&plan.node_id, plan::away(plan.mode), request.allow_quorum_loss)?;
        self.require_same_lock(unlock_key).await?;
        *chain = now;
        Ok(())
    }

    /// A key that was rotated, or a swarm that was locked, since it was asked for: the engine would come back locked, and
    /// the copy could not be read.
    async fn require_same_lock(&self, unlock_key: Option<&RunningKey>) -> Result<()> {
        let socket = &self.config.engine.socket;
        let is_same = match (unlock_key, unlock::is_autolocked(socket).await?) {
            (Some(key), true) => RunningKey::ask(socket).await?.is_same(key),
            (key, is_locked) => key.is_some() == is_locked,
        };
        if is_same {
            return Ok(());
        }
        Err(Fault::failed("autolock or the unlock key of this swarm was changed while its backup was being prepared; the engine was not touched")
            .advice("run it again")
            .into())
    }

    /// An autolocked manager must not be stopped without the key that brings it back.
    async fn unlock_key(&self, plan: &BackupPlan) -> Result<Option<RunningKey>> {
        if !plan.autolock {
            return Ok(None);
        }
        let key = RunningKey::ask(&self.config.engine.socket).await.map_err(|cause| {
            Fault::refused("this swarm is autolocked, and without its unlock key a stopped manager stays locked")
                .because(cause)
        })?;
        Ok(Some(key))
    }
}

/// The engine that answered must be the one that writes the directory that is copied.
fn require_writer(control: &EngineControl, facts: &EngineFacts, plan: &BackupPlan) -> Result<()> {
    let state = &plan.state_dir;
    let process = control.process().ok_or_else(|| {
        Fault::refused(format!(
            "which process answers on {} is not known, so it is not known to be that of {}; nothing was touched",
            control.socket().display(),
            control.service()
        ))
        .advice("name the engine's own socket with `engine.socket` in the configuration, not one of a proxy")
    })?;
    let elsewhere = |why: String| -> anyhow::Error {
        Fault::refused(format!("{} is not what the engine writes: {why}; nothing was touched", state.display()))
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
    match here {
        Some(here) if here.cluster_id == facts.swarm.cluster_id && here.node_id == facts.swarm.node_id => Ok(()),
        Some(here) => Err(elsewhere(format!("it holds node {} of swarm {}", here.node_id, here.cluster_id))),
        // What is wrong with it is told by who reads it.
        None => Ok(()),
    }
}

/// The backup of this due time lies in this host's spool: another copy of the state would not help.
fn not_stored(waiting: &Delivery, spool: &std::path::Path) -> anyhow::Error {
    Fault::failed(format!("the backup that was due is made ({}), but could not be stored", waiting.id))
        .advice(format!("it waits, sealed, in {}; repair the vault, and the next run sends it", spool.display()))
        .because(anyhow::anyhow!("{}", waiting.complaints().join("; ")))
        .into()
}

pub(super) fn parse_recipients(config: &Config) -> Result<Vec<Recipient>> {
    config
        .recipients
        .iter()
        .map(|text| {
            text.parse().map_err(|cause: swarmdr_archive::Error| {
                Fault::usage(format!("`recipients` holds `{text}`, which is no age recipient")).because(cause).into()
            })
        })
        .collect()
}
