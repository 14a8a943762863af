//! Leaving a swarm whose managers are all gone: another one (`--leave-dead`), or the wanted one as this worker knew it,
//! which was restored at other addresses.
//!
//! A manager that reboots is silent too, and a worker that leaves takes its tasks with it. So all managers that the engine
//! and the disk name have to be silent for `join.dead_after`, and once more right before the act; and a manager of the
//! wanted swarm has to show its certificate, so that the host does not end in no swarm: what runs here goes on without
//! managers, and must not end for a load balancer or for whatever else listens there.
//!
//! What takes connections at a known address and is no manager may be a load balancer whose managers are off for a while, so
//! it counts as silent only where `--leave-dead` says so, and only within the wanted swarm.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    Acted, Join, Progress,
    contact::{self, Contact},
    look::Look,
    pacing::Pacing,
    report::Outcome,
    step,
    why::Why,
};
use crate::{
    nodes::{
        managers, same_root,
        standing::{OnDisk, Standing, Swarm},
    },
    outcome::{failpoint, failure::Failure},
};

/// Pause between two questions.
const AGAIN: Duration = Duration::from_secs(2);

/// Which swarm is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    Other,
    /// The wanted one, as it was at other addresses.
    Old,
}

/// How the managers behaved while they were watched.
enum Watched {
    Silent,
    Answered(SocketAddr),
    InVain(Why),
}

impl Join<'_> {
    /// Leaves the swarm that was seen, if its managers are silent for long enough. Refuses (exit 4) to leave another
    /// swarm that lives, and to take less time for it.
    pub(super) async fn leave(
        &self,
        leaving: Leaving,
        look: &Look,
        progress: &mut Progress,
        pacing: &Pacing,
    ) -> Result<Acted> {
        let known = contact::known(look);
        if known.is_empty() {
            let what = format!("this host is in another swarm, and names no manager of it: {}", step::described(look));
            return Err(Failure::refused(what).advice("if that swarm is gone: `docker swarm leave`").into());
        }
        match self.watch(leaving, look, &known, progress, pacing).await? {
            Watched::Silent => {}
            Watched::Answered(manager) => return answered(leaving, look, manager),
            Watched::InVain(why) => return Ok(Acted::InVain(vec![why])),
        }
        if let Some(whys) = self.wanted_is_closed(leaving, look, &known).await {
            return Ok(Acted::InVain(whys));
        }
        if self.request.dry_run {
            return Ok(Acted::Rehearsed(Outcome::WouldLeave));
        }
        failpoint::reach("node-join-leave");
        self.require_unchanged(look).await?;
        match self.ask(look, &known).await {
            Contact::Silent { .. } => {}
            Contact::Masked { .. } if self.takes_masks_for_silence(look) => {}
            Contact::Masked { told, .. } => return Ok(Acted::InVain(vec![masked(leaving, told)])),
            Contact::Unasked(managers) => return Ok(Acted::InVain(vec![Why::Unasked(managers)])),
            Contact::Reached(manager) => return answered(leaving, look, manager),
            Contact::NotAsked | Contact::KnownElsewhere(_) => return Ok(Acted::LookAgain),
        }
        tracing::warn!("leaving {}", step::described(look));
        self.engine.leave().await.context("the engine did not leave the swarm whose managers are gone")?;
        failpoint::reach("node-join-left");
        match leaving {
            Leaving::Other => {
                let left = look.on_disk.node.as_ref().map(|node| node.cluster.clone());
                progress.deeds.left = Some(left.unwrap_or_else(|| "unknown".to_owned()));
            }
            Leaving::Old => progress.deeds.moved_from = known,
        }
        Ok(Acted::LookAgain)
    }

    /// Asks the managers until they have been silent for `join.dead_after`, or once in a rehearsal.
    async fn watch(
        &self,
        leaving: Leaving,
        look: &Look,
        known: &[SocketAddr],
        progress: &mut Progress,
        pacing: &Pacing,
    ) -> Result<Watched> {
        let needed = self.run.config.join.dead_after.duration();
        let mut is_told = false;
        loop {
            match self.ask(look, known).await {
                Contact::Silent { .. } | Contact::NotAsked | Contact::KnownElsewhere(_) => {}
                Contact::Masked { .. } if self.takes_masks_for_silence(look) => {}
                Contact::Masked { told, .. } => {
                    progress.silence.end();
                    return Ok(Watched::InVain(masked(leaving, told)));
                }
                Contact::Reached(manager) => {
                    progress.silence.end();
                    return Ok(Watched::Answered(manager));
                }
                Contact::Unasked(managers) => {
                    progress.silence.end();
                    return Ok(Watched::InVain(Why::Unasked(managers)));
                }
            }
            let silent = progress.silence.note(known, Instant::now());
            if self.request.dry_run || silent >= needed {
                return Ok(Watched::Silent);
            }
            if pacing.left() < needed - silent {
                return match leaving {
                    Leaving::Other => Err(too_short(look, needed, pacing).into()),
                    Leaving::Old => Ok(Watched::InVain(Why::silent(known, needed))),
                };
            }
            if !std::mem::replace(&mut is_told, true) {
                let left = (needed - silent).as_secs();
                tracing::warn!("no manager answers of {}: asking for {left} s", step::described(look));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// True if what takes connections at a known address, and shows no certificate of this swarm, counts as silent.
    pub(super) fn takes_masks_for_silence(&self, look: &Look) -> bool {
        let is_wanted = matches!(look.standing, Standing::Member { swarm: Swarm::Wanted, .. });
        self.request.leave_dead && is_wanted
    }

    /// Returns why no manager of the wanted swarm can be joined through. Asked anew: what a name stands for may have
    /// changed since the silence began.
    async fn wanted_is_closed(&self, leaving: Leaving, look: &Look, known: &[SocketAddr]) -> Option<Vec<Why>> {
        let mut found = managers::find(self.run.config, &self.request.managers).await;
        found.addresses.retain(|address| !known.contains(address));
        let (managers, others) = match (leaving, &look.wanted.ca) {
            (Leaving::Other, None) => {
                return Some(vec![Why::NoToken(
                    "no token tells what the managers of the wanted swarm show".to_owned(),
                )]);
            }
            (Leaving::Other, Some(ca)) => same_root::managers_by_token(ca, &found.addresses).await,
            (Leaving::Old, _) => {
                let (managers, others) = same_root::managers(&look.root_ca(), &found.addresses).await;
                if let Contact::KnownElsewhere(manager) = contact::of_others(&managers, &look.on_disk.manager_ids) {
                    return Some(vec![Why::KnownElsewhere(manager)]);
                }
                (managers, others)
            }
        };
        if !managers.is_empty() {
            return None;
        }
        let closed = others.into_iter().map(|(addr, why)| Why::NoManager(addr, why));
        let missing = found.missing.iter().map(|error| Why::NoAddress(format!("{error:#}")));
        let whys: Vec<Why> = closed.chain(missing).collect();
        Some(if whys.is_empty() {
            vec![Why::NoAddress("only those of the swarm to leave are".to_owned())]
        } else {
            whys
        })
    }

    /// Refuses if this host is not the worker any more that was seen: somebody may have joined it elsewhere, or promoted
    /// it.
    pub(super) async fn require_unchanged(&self, look: &Look) -> Result<()> {
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

/// Why a swarm is not left whose managers' addresses take connections, and show no manager.
fn masked(leaving: Leaving, told: String) -> Why {
    match leaving {
        Leaving::Other => Why::Unasked(told),
        Leaving::Old => Why::Masked(told),
    }
}

/// A manager of the swarm answers: another swarm is left alone, and the wanted one is looked at again.
fn answered(leaving: Leaving, look: &Look, manager: SocketAddr) -> Result<Acted> {
    match leaving {
        Leaving::Old => Ok(Acted::LookAgain),
        Leaving::Other => {
            let described = step::described(look);
            let what = format!("this host is in another swarm, which lives ({manager} answers): {described}");
            Err(Failure::refused(what)
                .advice("if it is to change: drain it there, then `docker swarm leave` here; its tasks end")
                .into())
        }
    }
}

fn too_short(look: &Look, needed: Duration, pacing: &Pacing) -> Failure {
    let (needed, left) = (needed.as_secs(), pacing.left().as_secs());
    Failure::refused(format!(
        "this host is in another swarm, whose managers have to be silent for {needed} s before it leaves them, and --wait \
         leaves {left} s for that: {}",
        step::described(look)
    ))
    .advice(format!("give it more time: --wait {}s", needed + 300))
    .advice("if you know that those managers are gone for good: `docker swarm leave`, then run this again")
}
