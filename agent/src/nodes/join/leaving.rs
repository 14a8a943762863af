//! Leaving a swarm whose managers are all gone.
//!
//! A manager that reboots is silent too, and a worker that leaves takes its tasks with it. So all managers that the engine
//! and the disk name have to be silent for a while, and once more right before the act; and a manager of the wanted swarm
//! has to answer, so that the host does not end in no swarm.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Acted, Join, Progress, look::Look, report::Outcome, step, why::Why};
use crate::{
    nodes::{
        managers,
        standing::{self, OnDisk},
    },
    outcome::{failpoint, failure::Failure},
    restore::fence::listed,
};

/// Time for which all managers have to be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Pause between two questions.
const AGAIN: Duration = Duration::from_secs(2);

impl Join<'_> {
    /// Leaves the swarm that was seen. Refuses (exit 4) if one of its managers answers.
    pub(super) async fn leave_dead(&self, look: &Look, progress: &mut Progress) -> Result<Acted> {
        let managers: Vec<SocketAddr> = standing::managers_of(&look.facts.swarm, &look.on_disk).into_iter().collect();
        if managers.is_empty() {
            let what = format!("this host is in another swarm, and names no manager of it: {}", step::described(look));
            return Err(Failure::refused(what).advice("if that swarm is gone: `docker swarm leave`").into());
        }
        let (open, closed) = managers::probe(&look.found.addresses).await;
        if open.is_empty() {
            return Ok(Acted::InVain(closed.into_iter().map(|(addr, why)| Why::Closed(addr, why)).collect()));
        }
        if let Some(why) = self.watch_silence(look, &managers).await? {
            return Ok(Acted::InVain(vec![why]));
        }
        if self.request.dry_run {
            return Ok(Acted::Rehearsed(Outcome::WouldLeave));
        }
        failpoint::reach("node-join-leave");
        self.require_unchanged(look).await?;
        if let Some(why) = self.require_silent(look, &managers).await? {
            return Ok(Acted::InVain(vec![why]));
        }
        tracing::warn!("leaving {}", step::described(look));
        self.engine.leave().await.context("the engine did not leave the swarm whose managers are gone")?;
        failpoint::reach("node-join-left");
        let left = look.on_disk.node.as_ref().map(|node| node.cluster.clone());
        progress.deeds.left = Some(left.unwrap_or_else(|| "unknown".to_owned()));
        Ok(Acted::LookAgain)
    }

    /// Asks the managers for [`SILENCE`], or once in a rehearsal.
    async fn watch_silence(&self, look: &Look, managers: &[SocketAddr]) -> Result<Option<Why>> {
        let begun = Instant::now();
        loop {
            let unasked = self.require_silent(look, managers).await?;
            if unasked.is_some() || self.request.dry_run || begun.elapsed() >= SILENCE {
                return Ok(unasked);
            }
            if begun.elapsed() < AGAIN {
                tracing::warn!("no manager answers of {}: asking for {} s", step::described(look), SILENCE.as_secs());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Refuses if a manager of the other swarm answers. Returns those that this host cannot ask, which says nothing about
    /// them.
    async fn require_silent(&self, look: &Look, managers: &[SocketAddr]) -> Result<Option<Why>> {
        let asked = self.restore.ask_managers(managers).await;
        if !asked.living.is_empty() {
            let living = listed(&asked.living);
            let what =
                format!("this host is in another swarm, which lives ({living} answers): {}", step::described(look));
            return Err(Failure::refused(what)
                .advice("if it is to change: drain it there, then `docker swarm leave` here; its tasks end")
                .into());
        }
        let unasked = asked.unasked();
        Ok((!unasked.is_empty()).then(|| Why::Unasked(unasked.join(", "))))
    }

    /// Refuses if this host is not the worker any more that was seen: somebody may have joined it elsewhere, or promoted
    /// it.
    async fn require_unchanged(&self, look: &Look) -> Result<()> {
        let facts = self.engine.facts().await?;
        let on_disk = OnDisk::read(&facts.data_root.join("swarm"));
        if on_disk.node == look.on_disk.node && !on_disk.may_be_manager() && !facts.swarm.is_manager {
            return Ok(());
        }
        Err(Failure::refused("the swarm of this host changed while its managers were asked; nothing was done")
            .advice("see `docker info`, and run it again")
            .into())
    }
}
