//! The checks that are made again just before the engine is touched.

use anyhow::Result;
use swarmdr_archive::SwarmNode;

use super::{
    Backup, BackupPlan, Request,
    deliver::Uploader,
    designation::{Designation, NotOurTurn, Poll},
    managers::Managers,
    plan,
    previous::PreviousBackups,
};
use crate::{
    downtime::engine_units::EngineControl,
    host::engine::{
        Engine,
        unlock::{self, RunningKey},
    },
    outcome::{failpoint, failure::Failure},
};

impl Backup<'_> {
    /// Checks again, just before the engine is touched, what another manager may have changed meanwhile: whether the
    /// others still keep a majority, whether this manager still makes the backup, and which one the new backup follows.
    ///
    /// A race remains between operators who start backups on two managers: the moment from these answers to the stop.
    pub(super) async fn recheck(
        &self,
        request: Request,
        plan: &BackupPlan,
        uploader: &mut Uploader,
        previous: &mut PreviousBackups,
        unlock_key: Option<&RunningKey>,
    ) -> Result<Result<(), NotOurTurn>> {
        failpoint::reach("recheck");
        EngineControl::require_awake(self.run.config).await?;
        let mut managers = Managers::of(&Engine::at(&self.run.config.engine.socket).nodes().await?);
        managers.probe(plan.node_id.as_str()).await;
        let own = SwarmNode { cluster: plan.cluster_id.clone(), node: plan.node_id.clone() };
        self.require_not_superseded(uploader, &own, false).await?;
        let now = uploader.previous_backups(&plan.cluster_id).await?;
        if let Some(turn) = self.turn(request.when)? {
            if now.newest() != previous.newest() {
                return Ok(Err(NotOurTurn("another manager has made the backup meanwhile".to_owned())));
            }
            let poll = Poll { cluster: plan.cluster_id.clone(), newest: now.newest(), now: self.run.now };
            let designation = Designation::of(&managers, plan.node_id.as_str())?;
            if let Err(why) = designation.may_go(turn.memory.read().as_ref(), &poll, turn.takeover) {
                return Ok(Err(why));
            }
        }
        managers.may_go(plan.node_id.as_str(), plan::away(plan.mode), request.allow_quorum_loss)?;
        self.require_same_lock(unlock_key).await?;
        *previous = now;
        Ok(Ok(()))
    }

    /// Fails if the unlock key was rotated, or autolock was turned on or off, since the key was asked for: the engine
    /// would come back locked, or the copy could not be read.
    async fn require_same_lock(&self, unlock_key: Option<&RunningKey>) -> Result<()> {
        let socket = &self.run.config.engine.socket;
        let is_same = match (unlock_key, unlock::is_autolocked(socket).await?) {
            (Some(key), true) => RunningKey::ask(socket).await?.is_same(key),
            (key, is_locked) => key.is_some() == is_locked,
        };
        if is_same {
            return Ok(());
        }
        Err(Failure::failed("autolock or the unlock key of this swarm was changed while its backup was being prepared; the engine was not touched")
            .advice("run it again")
            .into())
    }
}
