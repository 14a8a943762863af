//! A restore at another address: this host's instead of the one in the raft log.
//!
//! Force-new-cluster never rewrites a manager's raft address (moby/moby#34306), so a copied state works at its old
//! address only. Here it runs there for some seconds, as a [`Twin`] in a network of its own. This host's engine joins
//! it as a manager; when the whole log is on this host's disk, the old manager is demoted and removed. All of it uses
//! the engine's API; no file of the engine is changed. The swarm keeps its id, its CA and its tokens; its manager is a
//! new node.
//!
//! The node joins drained, so until the old manager is out no task of the swarm runs here and an undo loses nothing.
//! The swarm of two managers has no majority without the twin, which ends with this process. However that ends before
//! the demotion, the next run puts the old state back and begins again. After the demotion the swarm is this host's
//! alone, and the next run finishes.
//!
//! Seen on 20.10.24, 26.1.5 and 28.5.2: `docker-state.json` keeps the address that was joined as `RemoteAddr`. Since it
//! also names a specific listen address, the engine never reads `RemoteAddr` again. `state.json` names the old manager
//! until the next message of the dispatcher.

pub(super) mod bound;
mod finish;
mod twin;
mod unfinished;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use swarm_state::{self, Inventory, Proof, inventory::Compared};
use swarmdr_archive::NodeId;
pub(super) use unfinished::recovery_action;

use super::{
    Prepared, Restore, RestorePlan, RestoreReport,
    change::Change,
    interrupted::unfinished::note_data_root,
    journal::{Journal, Phase},
    plan::{self, Target},
    report::Confirmed,
    strictness::Strictness,
};
use crate::{
    archive::{fetched::Fetched, inspection::renews, specs::Specs, stage::Staged},
    host::{
        engine::{
            Engine, EngineFacts, SwarmState,
            join::{Join, NodeSpec},
            view::Node,
        },
        files::{placement::Placement, space},
        wait,
    },
    keys::unlock_key::GivenKey,
    outcome::{failpoint, failure::Failure, phases::Phases},
};
use twin::Twin;

const POLL: Duration = Duration::from_millis(100);

/// Time for a node that has joined to receive the whole log, in addition to the join; a large log is sent as a
/// snapshot.
const CATCH_UP: Duration = Duration::from_secs(300);

/// Time for a leader to step down and its successor to be elected: an election takes up to 20 s.
const SUCCESSION: Duration = Duration::from_secs(60);

impl Restore<'_> {
    /// Carries the plan out; puts the old state back on failure.
    pub(super) async fn run_elsewhere(
        &self,
        plan: RestorePlan,
        target: Target,
        mut prepared: Prepared,
    ) -> Result<RestoreReport> {
        let mut phases = Phases::new();
        let manifest = &prepared.found.head.manifest;
        let data_root = plan.data_root()?.to_owned();
        space::require(&data_root, prepared.found.head.archive_size, "the archive")?;
        phases.begin("fetch");
        let archive = self.fetch(&prepared, &data_root).await?;
        phases.begin("second");
        let mut twin = Some(Twin::make(self, &plan, plan::old_addresses(manifest)).await?);
        let moved = Box::pin(self.move_over(plan, &target, &mut prepared, archive, &mut twin, &mut phases)).await;
        if let Some(twin) = twin.take() {
            phases.begin("end");
            match (twin.end().await, &moved) {
                // The first error is the one that matters.
                (Err(error), Err(_)) => tracing::error!("{error:#}"),
                (ended, _) => ended?,
            }
        }
        let mut report = moved?;
        report.findings.extend(prepared.found.findings);
        report.phases = phases.finish();
        Ok(report)
    }

    async fn move_over(
        &self,
        plan: RestorePlan,
        target: &Target,
        prepared: &mut Prepared,
        archive: Fetched,
        twin: &mut Option<Twin>,
        phases: &mut Phases,
    ) -> Result<RestoreReport> {
        let manifest = &prepared.found.head.manifest;
        let old = twin.as_mut().context("there is no second engine")?;
        space::require(&old.state_dir(), manifest.payload.tar_size, "the state that is unpacked")?;
        phases.begin("stage");
        let staged = archive.stage(old.state_dir(), &self.keyring, Specs::Skip).await;
        let staged = staged.context("the backup cannot be restored; nothing was changed")?;
        check_can_sign(&staged)?;
        let data_root = plan.data_root()?.to_owned();
        let placement = Placement::new(&data_root, &plan.id.to_string())?;
        let examined = staged.examined.clone();
        let mut record = self.record(plan, manifest, &staged, &placement, &old.state_dir())?;
        // The decrypted key is in the twin's state and ends with it; this host never holds it.
        record.locked_key = None;
        phases.begin("form");
        let recorded = record.recorded.clone().context("there is no inventory")?;
        let formed = old.form(self, manifest, &recorded);
        self.run.shutdown.or_interrupted(formed).await.context("the backup cannot be restored; nothing was changed")?;
        self.check_again(prepared, &examined).await?;
        let doubts = self.look_again(prepared).await?;
        prepared.note_findings(doubts);
        phases.begin("claim");
        self.claim(&mut record, prepared, &examined).await?;
        note_data_root(self.run.config, &data_root);
        let journal = Journal::begin(&data_root, record)?;
        let change = Change::new(self, placement, journal).await?.only_over(prepared.on_disk.clone());
        let steps = async |change: &mut Change<'_>| Box::pin(change.take_over(target, twin, phases)).await;
        change.or_undo(steps).await
    }
}

/// The swarm issues the new node's certificate in a network without a route outside.
fn check_can_sign(staged: &Staged) -> Result<()> {
    if staged.examined.inventory.as_ref().and_then(renews) != Some(false) {
        return Ok(());
    }
    Err(Failure::refused("this swarm cannot sign the certificate of a new manager by itself: it has no key of its root CA, or an external one signs")
        .advice("give this host the swarm's own address, and restore without --readdress")
        .into())
}

impl Change<'_> {
    /// Goes from a working twin to a swarm that is this host's alone.
    async fn take_over(&mut self, target: &Target, twin: &mut Option<Twin>, phases: &mut Phases) -> Result<Confirmed> {
        self.enter(Phase::Stop, phases)?;
        self.arm().await?;
        self.control.stop().await?;
        self.check_replaced()?;
        self.use_claim()?;
        self.enter(Phase::Aside, phases)?;
        self.placement.move_aside()?;
        self.enter(Phase::Start, phases)?;
        // Units that depend on the engine may use its swarm, or create one: they are started when the swarm is back.
        self.control.start_engine().await?;
        let answers = |facts: &EngineFacts| facts.swarm.state == SwarmState::Inactive;
        self.engine.wait(self.start_limit, "the engine to answer without a swarm", answers).await?;
        self.disarm().await?;
        self.enter(Phase::Join, phases)?;
        let old = twin.as_mut().context("there is no second engine")?;
        let joined = self.join(target, old).await;
        let own = joined.map_err(|error| old.with_engine_log(error))?;
        failpoint::reach("joined");
        self.journal.record.joined = Some(own.clone());
        self.enter(Phase::Demote, phases)?;
        self.demote(own.as_str()).await?;
        failpoint::reach("demoted");
        self.enter(Phase::Remove, phases)?;
        if let Some(twin) = twin.take()
            && let Err(error) = twin.end().await
        {
            // The old manager is no member any more; the next run removes what is left of it.
            self.attention.push(format!("the second engine did not end well: {error:#}"));
        }
        self.finish_elsewhere(Strictness::Fresh, phases).await
    }

    /// Makes this host a manager next to the twin, with the whole log. Returns the id of the new node.
    async fn join(&self, target: &Target, twin: &mut Twin) -> Result<NodeId> {
        let old = self.record().plan.raft_addr;
        twin.plug(target.addr.ip(), old.ip()).await?;
        let token = twin.token().await?;
        let join =
            Join { own: target.addr, data_path_addr: target.data_path_addr.as_deref(), manager: old, token: &token };
        let limit = self.restore.run.config.restore.init_timeout.duration();
        self.engine.join(&join, limit).await.map_err(|cause| {
            Failure::failed(format!("this host's engine did not become a manager at {}", target.addr))
                .advice(format!("a firewall of this host must let {old} in to port {}", target.addr.port()))
                .because(cause)
        })?;
        let is_manager = |facts: &EngineFacts| facts.swarm.is_manager && facts.swarm.error.is_empty();
        let facts = self.engine.wait(limit, "this host to be a manager", is_manager).await?;
        let own = facts.swarm.swarm_node()?.node;
        self.await_whole(own.as_str()).await?;
        Ok(own)
    }

    /// Waits until the swarm reaches the new manager, and the log on this disk holds all that was backed up. The API
    /// would not show that: a follower forwards every request to the leader.
    async fn await_whole(&self, own: &str) -> Result<()> {
        let recorded = self.record().recorded.as_ref().context("the journal has no inventory")?;
        let mut missing = None;
        let whole = wait::poll(CATCH_UP, POLL, async || {
            missing = match self.is_reachable(own).await {
                Ok(true) => self.lacks(recorded).await,
                Ok(false) => Some("the swarm does not reach it".to_owned()),
                Err(error) => Some(format!("{error:#}")),
            };
            missing.is_none().then_some(())
        });
        match (whole.await, missing) {
            (None, Some(missing)) => bail!("the new manager did not get the whole state: {missing}"),
            _ => Ok(()),
        }
    }

    async fn is_reachable(&self, own: &str) -> Result<bool> {
        let nodes = self.engine.nodes().await?;
        let node = nodes.iter().find(|node| node.id == own);
        Ok(node.and_then(|node| node.manager.as_ref()).is_some_and(|status| status.reachable))
    }

    /// Describes what the log on this disk lacks.
    async fn lacks(&self, recorded: &Inventory) -> Option<String> {
        let (state_dir, key) = (self.placement.state_dir(), self.restore.keyring.unlock_key.clone());
        let read = tokio::task::spawn_blocking(move || {
            swarm_state::examine(&state_dir, key.as_ref().map(GivenKey::for_state))
        });
        let examined = match read.await {
            Ok(Ok(examined)) => examined,
            Ok(Err(error)) => return Some(format!("its log cannot be read: {error}")),
            Err(_) => return Some("reading its log ended unexpectedly".to_owned()),
        };
        match (examined.proof, examined.inventory) {
            (Proof::Proven, Some(inventory)) => Compared::of(recorded, &inventory).loss(),
            (proof, _) => Some(format!("its log cannot be read: {proof:?}")),
        }
    }

    /// Demotes the old manager to a worker; the new one is alone then, and leads.
    async fn demote(&self, own: &str) -> Result<()> {
        let old = self.record().plan.node_id.as_str();
        let to_worker = |spec: &mut NodeSpec| drop(spec.insert("Role".to_owned(), "worker".into()));
        self.engine.update_node(old, to_worker).await.context("failed to demote the old manager")?;
        stands_alone(&self.engine, own, SUCCESSION).await
    }
}

/// Waits until the swarm does not list the node as one of its managers.
async fn is_no_manager(engine: &Engine, node: &str, limit: Duration) -> Result<()> {
    let mut seen = String::new();
    let demoted = wait::poll(limit, POLL, async || {
        seen = match engine.nodes().await {
            Ok(nodes) if !nodes.iter().any(|it| it.id == node && it.manager.is_some()) => return Some(()),
            Ok(_) => "it is listed as a manager still".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        None
    });
    let demoted = demoted.await;
    demoted.ok_or_else(|| {
        Failure::refused(format!("the swarm on this host works, but its old manager {node} was not demoted: {seen}"))
            .advice(format!("demote and remove it: `docker node demote {node}`, `docker node rm --force {node}`; then run the same command again"))
            .into()
    })
}

/// Waits until the swarm has one manager, this one, and it leads.
async fn stands_alone(engine: &Engine, own: &str, limit: Duration) -> Result<()> {
    let mut seen = String::new();
    let alone = wait::poll(limit, POLL, async || {
        seen = match engine.nodes().await {
            Ok(nodes) => {
                let managers: Vec<_> = nodes.iter().filter(|node| node.manager.is_some()).collect();
                let leads = |node: &Node| node.id == own && node.manager.as_ref().is_some_and(|status| status.leader);
                match managers.as_slice() {
                    [one] if leads(one) => return Some(()),
                    _ => format!("{} managers are listed, and this one does not lead alone", managers.len()),
                }
            }
            Err(error) => format!("{error:#}"),
        };
        None
    });
    let alone = alone.await;
    alone.ok_or_else(|| anyhow!("this host did not become the only manager within {} s: {seen}", limit.as_secs()))
}
