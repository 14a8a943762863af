//! `node join`: makes this host a worker of the swarm, and is safe at every boot.
//!
//! Each round looks first (`look`): the engine's answer, the disk, the managers, and the token where that is needed.
//! A worker is asked about too: whether a manager that it knows can be reached (`contact`), and whether they refuse it
//! (`refusal`), since its engine stays `active` either way. Then one step is chosen (`step`) and taken: nothing, a wait, an
//! attempt (`attempt`), the end of an attempt or of a place that went nowhere, or leaving managers that are all gone
//! (`leaving`, `silence`). What a round did not achieve is kept in words (`why`) for the log and for the end. Nothing is
//! remembered between runs: a run that was killed is continued by looking.

mod attempt;
mod contact;
mod leaving;
mod look;
mod pacing;
mod refusal;
mod report;
mod silence;
mod step;
mod why;
mod worker;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{managers, token_source::TokenSource};
use crate::{
    config::join::ManagerAddr,
    host::{engine::Engine, lock::HostLock},
    keys::Keyring,
    outcome::{exit::Exit, failpoint, failure::Rendered},
    restore::{Restore, interrupted::unfinished},
    run::Run,
};
use look::Look;
use pacing::Pacing;
pub use report::Report;
use report::{Deeds, Outcome};
use silence::Silence;
use step::{Seen, Step};
use why::Why;

/// A request of the operator.
#[derive(Debug)]
pub struct Request {
    /// Managers in addition to the configured ones, and before them.
    pub managers: Vec<ManagerAddr>,
    pub advertise_addr: Option<String>,
    /// Zero: each manager is tried once.
    pub wait: Duration,
    pub leave_dead: bool,
    pub dry_run: bool,
}

/// A join and its context.
#[derive(Debug)]
pub struct Join<'a> {
    run: Run<'a>,
    request: Request,
    engine: Engine,
    /// Waits for the engine, and asks managers whether they live.
    restore: Restore<'a>,
}

/// How a step ended.
#[derive(Debug)]
enum Acted {
    /// Nothing was done, for that was not wanted; it could be, as far as can be told.
    Rehearsed(Outcome),
    /// The host is not as it was seen.
    LookAgain,
    InVain(Vec<Why>),
}

/// What a run has seen and done so far.
#[derive(Debug, Default)]
struct Progress {
    /// Managers through which this run has tried to join, and how often.
    tried: BTreeMap<SocketAddr, u32>,
    silence: Silence,
    deeds: Deeds,
}

impl<'a> Join<'a> {
    pub fn new(run: Run<'a>, request: Request) -> Self {
        let keyring = Keyring::without_archives(None);
        let restore =
            Restore { run, keyring, prune_dead: false, follow: None, claiming: None, vaults: Default::default() };
        Self { run, request, engine: Engine::at(&run.config.engine.socket), restore }
    }

    /// Joins, unless this host is in the swarm already. Ends when it is, when something must not be done (exit 4), or
    /// when the time is over.
    pub async fn run(&self) -> Result<Report> {
        managers::require_configured(self.run.config, &self.request.managers)?;
        let mut pacing = Pacing::new(self.request.wait);
        let _lock = if self.request.dry_run { None } else { Some(lock(&mut pacing).await?) };
        if let Some(restore) = unfinished::on_this_host(self.run.config) {
            return Err(why::restore_under_way(&restore));
        }
        let mut token = TokenSource::new(self.run.config);
        let mut progress = Progress::default();
        loop {
            let look = self.look(&mut token, &pacing).await?;
            progress.deeds.was_member.get_or_insert(look.is_wanted_member());
            let masks_too = self.takes_masks_for_silence(&look);
            progress.silence.see(&look.contact, masks_too, &contact::known(&look), Instant::now());
            let seen = Seen { pending: pacing.pending_for(look.standing), refused: pacing.refused_for(look.heard) };
            let step = step::next(&look, &self.request, &progress.tried, seen);
            tracing::debug!(standing = ?look.standing, ?step, "looked");
            let whys = match step {
                Step::Done => return Ok(Report::of(Outcome::of(&progress.deeds), &look, progress.deeds, &pacing)),
                Step::Refuse(failure) => return Err(failure.into()),
                Step::Wait(why) if pacing.poll(&why.to_string()).await => continue,
                Step::Wait(why) => return Err(why::gave_up(vec![why], &pacing).into()),
                Step::Retry(why) => vec![why],
                step => match self.act(step, &look, &mut token, (&mut progress, &pacing)).await? {
                    Acted::Rehearsed(outcome) => return Ok(Report::planned(outcome, &look, &pacing)),
                    Acted::LookAgain => continue,
                    Acted::InVain(whys) => whys,
                },
            };
            let failure = why::gave_up(whys, &pacing);
            if self.request.dry_run || !pacing.pause(&why::in_one_line(&failure)).await {
                return Err(failure.into());
            }
        }
    }

    /// Takes a step that changes this host, or finds out whether it could be taken.
    async fn act(
        &self,
        step: Step,
        look: &Look,
        token: &mut TokenSource<'_>,
        (progress, pacing): (&mut Progress, &Pacing),
    ) -> Result<Acted> {
        match step {
            Step::Leave(leaving) => {
                let acted = self.leave(leaving, look, progress, pacing).await?;
                if let Acted::InVain(whys) = &acted
                    && whys.iter().any(Why::is_of_the_token)
                {
                    token.refuse();
                }
                Ok(acted)
            }
            Step::Abandon | Step::Renew(_) if self.request.dry_run => Ok(Acted::Rehearsed(Outcome::WouldJoin)),
            Step::Abandon => {
                tracing::warn!("an attempt to join the swarm went nowhere: the engine is told to give it up");
                Ok(self.give_up_place().await)
            }
            Step::Renew(refusal) => {
                if !self.is_refused_again(look).await {
                    return Ok(Acted::InVain(vec![Why::Refused(refusal, None)]));
                }
                self.require_unchanged(look).await?;
                tracing::warn!("{refusal}: this host joins anew");
                progress.deeds.refused = Some(refusal);
                Ok(self.give_up_place().await)
            }
            _ => self.attempt(look, token, progress).await,
        }
    }

    /// Ends an attempt to join that went nowhere, or the membership of a node that was removed: the engine keeps it
    /// otherwise, and refuses any other.
    async fn give_up_place(&self) -> Acted {
        failpoint::reach("node-join-abandon");
        match self.engine.leave().await {
            Ok(()) => Acted::LookAgain,
            // It may have been let in, or have ended by itself, a moment before: the next look tells.
            Err(error) => Acted::InVain(vec![Why::NotGivenUp(format!("{error:#}"))]),
        }
    }
}

/// Takes the host's lock; waits for another run as long as for anything else.
async fn lock(pacing: &mut Pacing) -> Result<HostLock> {
    loop {
        let error = match HostLock::acquire(&HostLock::default_path()) {
            Ok(lock) => return Ok(lock),
            Err(error) => error,
        };
        let rendered = Rendered::of(&error);
        if rendered.exit != Exit::NotOurTurn || !pacing.pause(&rendered.because.join(": ")).await {
            return Err(error);
        }
    }
}
