//! Leaving a swarm whose managers are all gone: another one (`--leave-dead`), or the wanted one as this worker knew it,
//! which was restored at other addresses.
//!
//! A manager that reboots is silent too, and a worker that leaves takes its tasks with it. So all managers that the engine
//! and the disk name have to be silent for `join.dead_after`, and once more right before the act; and a manager of the
//! wanted swarm has to show its certificate and hand out the root CA that the token names, so that the host does not end in
//! no swarm: what runs here goes on without managers, and must not end for a load balancer, for a manager without a leader,
//! or for whatever else listens there.
//!
//! What takes connections at a known address and is no manager may be a load balancer whose managers are off for a while, so
//! it counts as silent only where `--leave-dead` says so, and only within the wanted swarm.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

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
    host::engine::Refusal,
    nodes::{
        managers,
        same_root::{self, ByToken},
        standing::{OnDisk, Standing, Swarm},
        token::CaDigest,
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
        if let Err(error) = self.engine.leave().await {
            // An engine that has not answered in time goes on with it: the next look tells.
            if Refusal::find(&error).is_none() {
                progress.deeds.leave(leaving, look, known);
            }
            return Ok(Acted::InVain(vec![Why::NotGivenUp(format!("{error:#}"))]));
        }
        failpoint::reach("node-join-left");
        progress.deeds.leave(leaving, look, known);
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
        let Some(ca) = &look.wanted.ca else {
            let why = "no token tells what the managers of the wanted swarm show";
            return Some(vec![Why::NoToken(why.to_owned())]);
        };
        let asked = match leaving {
            Leaving::Other => Ok(same_root::managers_by_token(ca, &found.addresses).await),
            Leaving::Old => moved(&look.root_ca(), ca, &look.on_disk.manager_ids, &found.addresses).await,
        };
        let ByToken { managers, others, other_root } = match asked {
            Ok(told) => told,
            Err(why) => return Some(vec![why]),
        };
        if !managers.is_empty() {
            return None;
        }
        let closed = others.into_iter().map(|(addr, why)| match other_root.contains(&addr) {
            true => Why::OtherCa(addr),
            false => Why::NoManager(addr, why),
        });
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

/// Asks which of these are managers of this swarm that let nodes in; an error if one of them is known by its node id. A
/// manager without a leader shows its certificate too, but hands out no root CA, which an engine that joins asks for first.
async fn moved(
    root_ca: &Path,
    ca: &CaDigest,
    known: &BTreeSet<String>,
    addresses: &[SocketAddr],
) -> Result<ByToken, Why> {
    let (managers, mut others) = same_root::managers(root_ca, addresses).await;
    if let Contact::KnownElsewhere(manager) = contact::of_others(&managers, known) {
        return Err(Why::KnownElsewhere(manager));
    }
    let shown: Vec<SocketAddr> = managers.iter().map(|manager| manager.addr).collect();
    let by_token = same_root::managers_by_token(ca, &shown).await;
    others.extend(by_token.others);
    Ok(ByToken { others, ..by_token })
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

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::nodes::standin;

    #[tokio::test]
    async fn a_manager_without_a_leader_is_no_place_to_move_to() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let root_ca = scratch.path().join("swarm-root-ca.crt");
        std::fs::write(&root_ca, standin::ROOT).expect("writes");
        let ca = CaDigest::from(Sha256::digest(standin::ROOT));
        let (leading, leaderless) = (standin::manager(standin::ROOT).await, standin::without_leader().await);
        let none = BTreeSet::new();
        let moved_to = moved(&root_ca, &ca, &none, &[leaderless, leading]).await.expect("none is known");
        let ByToken { managers, others, other_root } = moved_to;
        assert!(other_root.is_empty(), "the token is not in doubt: {other_root:?}");
        assert_eq!(managers.iter().map(|manager| manager.addr).collect::<Vec<_>>(), [leading]);
        let [(addr, why)] = &others[..] else { panic!("{others:?}") };
        assert!(*addr == leaderless && why.contains("it hands out no root CA as a manager does"), "{others:?}");
        let known = BTreeSet::from([standin::NODE.to_owned()]);
        let error = moved(&root_ca, &ca, &known, &[leaderless]).await.expect_err("their swarm lives");
        assert_eq!(error, Why::KnownElsewhere(leaderless));
    }
}
