//! The part of a restore that changes the host: from stopping the engine to the proof that the swarm
//! is back, and the way back if it is not.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result};
use futures_util::FutureExt;

use super::{DeadNode, Restore, RestorePlan};
use crate::{
    fault::Fault,
    host::{
        engine::{Engine, EngineFacts, SwarmState},
        engine_units::EngineControl,
        listing,
        placement::Placement,
    },
    report::Phases,
    swarm::{
        Inventory,
        inventory::{self, Difference, ObjectKind, compare},
    },
};

/// One change of this host.
pub struct Change<'a> {
    restore: &'a Restore<'a>,
    plan: &'a RestorePlan,
    placement: &'a Placement,
    control: EngineControl,
    engine: Engine,
    start_limit: Duration,
}

/// What the restored swarm was found to be.
pub struct Confirmed {
    pub differences: Vec<Difference>,
    pub dead_nodes: Vec<DeadNode>,
}

impl<'a> Change<'a> {
    /// Connects to systemd; changes nothing yet.
    pub async fn new(restore: &'a Restore<'a>, plan: &'a RestorePlan, placement: &'a Placement) -> Result<Self> {
        let config = restore.config;
        Ok(Self {
            restore,
            plan,
            placement,
            control: EngineControl::connect(config).await?,
            engine: Engine::at(&config.engine.socket),
            start_limit: Duration::from_secs(config.engine.start_timeout),
        })
    }

    /// Places, starts, forms the cluster and confirms it; on an error, a panic or a signal the old state
    /// is back and the engine started before this returns.
    pub async fn carry_out(self, recorded: &Inventory, phases: &mut Phases) -> Result<Confirmed> {
        let attempt = self.restore.shutdown.or_interrupted(self.attempt(recorded, phases));
        let outcome = AssertUnwindSafe(attempt).catch_unwind().await;
        match outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the restore panicked"))) {
            Ok(confirmed) => Ok(confirmed),
            Err(error) => Err(self.undo(error).await),
        }
    }

    async fn attempt(&self, recorded: &Inventory, phases: &mut Phases) -> Result<Confirmed> {
        phases.begin("stop");
        self.control.stop().await?;
        phases.begin("place");
        self.placement.move_aside()?;
        self.placement.place()?;
        phases.begin("start");
        self.control.start().await?;
        let answers = |facts: &EngineFacts| facts.swarm.state == SwarmState::Inactive;
        self.engine.wait(self.start_limit, "the engine to answer without a swarm", answers).await?;
        phases.begin("init");
        let limit = Duration::from_secs(self.restore.config.restore.init_timeout);
        self.engine.force_new_cluster(self.plan.init.to_api(), limit).await?;
        phases.begin("confirm");
        self.confirm(recorded).await
    }

    async fn confirm(&self, recorded: &Inventory) -> Result<Confirmed> {
        let works = |facts: &EngineFacts| {
            facts.swarm.state == SwarmState::Active && facts.swarm.is_manager && facts.swarm.error.is_empty()
        };
        let facts = self.engine.wait(self.start_limit, "the restored swarm to be active", works).await?;
        let plan = self.plan;
        if facts.swarm.cluster_id != plan.cluster_id || facts.swarm.node_id != plan.node_id {
            anyhow::bail!(
                "the engine formed node {} of swarm {} instead of node {} of swarm {}",
                facts.swarm.node_id,
                facts.swarm.cluster_id,
                plan.node_id,
                plan.cluster_id
            );
        }
        let view = self.engine.manager_view().await?;
        let raft_addr = view.node(&plan.node_id).and_then(|node| node.manager_status.as_ref()?.addr.clone());
        if raft_addr.as_deref() != Some(plan.raft_addr.to_string().as_str()) {
            anyhow::bail!("the restored manager is at {raft_addr:?} in its raft log, not at {}", plan.raft_addr);
        }
        let actual = listing::inventory(&view);
        let differences = compare(recorded, &actual);
        let (lost, harmless): (Vec<_>, Vec<_>) = differences.into_iter().partition(is_loss);
        if !lost.is_empty() {
            let lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
            anyhow::bail!("the restored swarm is not what was backed up: {}", lost.join("; "));
        }
        Ok(Confirmed { differences: harmless, dead_nodes: dead_nodes(recorded, &plan.node_id) })
    }

    /// Puts back what was there and starts the engine; answers with the error to report.
    async fn undo(&self, cause: anyhow::Error) -> anyhow::Error {
        tracing::warn!("the restore failed; putting back what was there: {cause:#}");
        let undone = async {
            self.control.stop().await.context("failed to stop the engine to put the old state back")?;
            let kept = self.placement.put_back()?;
            self.control.start().await.context("failed to start the engine on the old state")?;
            anyhow::Ok(kept)
        };
        match undone.await {
            Ok(kept) => {
                let mut fault = Fault::failed("the restore failed; what was there before is back and the engine runs");
                if let Some(kept) = kept {
                    fault =
                        fault.advice(format!("the state that did not work is kept in {} for a look", kept.display()));
                }
                fault.because(cause).into()
            }
            Err(second) => {
                let state = self.placement.state_dir();
                let mut fault = Fault::failed(format!("the restore failed ({cause:#}), and so did undoing it"));
                if let Some(aside) = self.placement.aside().filter(|aside| aside.exists()) {
                    fault = fault.advice(format!(
                        "stop the engine, move {} away, rename {} to it, start the engine",
                        state.display(),
                        aside.display()
                    ));
                }
                fault.because(second).into()
            }
        }
    }
}

/// What must not differ after a restore. Nodes and the cluster object change by themselves as soon as
/// the swarm runs; an object too many was written between the listing and the copy.
fn is_loss(difference: &Difference) -> bool {
    match difference.change {
        inventory::Change::Missing => true,
        inventory::Change::Extra => false,
        inventory::Change::Changed { .. } => !matches!(difference.kind, ObjectKind::Node | ObjectKind::Cluster),
    }
}

/// Every other node of the backup: workers may come back by themselves, managers never.
fn dead_nodes(recorded: &Inventory, own: &str) -> Vec<DeadNode> {
    let others = recorded.nodes.iter().filter(|node| node.id != own);
    others
        .map(|node| DeadNode {
            id: node.id.clone(),
            hostname: node.hostname.clone(),
            remove_with: format!("docker node rm --force {}", node.id),
        })
        .collect()
}
