//! One attempt to join: through each manager that accepts a connection, one after the other.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use super::{
    Join, Progress,
    look::Look,
    why::{self, Why},
};
use crate::{
    host::{
        engine::membership::{WorkerJoin, goes_on_in_background},
        network,
    },
    nodes::{
        managers,
        standing::{Standing, Wanted},
        token::JoinToken,
        token_source::TokenSource,
    },
    outcome::failpoint,
};

/// How an attempt ended.
pub enum Ended {
    /// Nothing was done, for that was not wanted; it could be.
    Rehearsed,
    /// The engine is in the swarm, or on its way, or not as it was seen.
    LookAgain,
    InVain(Vec<Why>),
}

impl Join<'_> {
    pub(super) async fn attempt(
        &self,
        look: &Look,
        source: &mut TokenSource<'_>,
        progress: &mut Progress,
    ) -> Result<Ended> {
        let mut whys: Vec<Why> = look.found.missing.iter().map(|error| Why::NoAddress(format!("{error:#}"))).collect();
        if let Some(missing) = self.missing_interface()? {
            return Ok(Ended::InVain(vec![missing]));
        }
        let (mut open, closed) = managers::probe(&look.found.addresses).await;
        // One that takes the connection and never answers must not be the first again and again.
        open.sort_by_key(|manager| progress.tried.get(manager).copied().unwrap_or_default());
        whys.extend(closed.into_iter().map(|(addr, why)| Why::Closed(addr, why)));
        if look.found.addresses.is_empty() && whys.is_empty() {
            whys.push(Why::NoAddress("nothing names one at this moment".to_owned()));
        }
        if open.is_empty() {
            return Ok(Ended::InVain(whys));
        }
        let token = match source.get().await {
            Ok(token) => token,
            Err(error) if why::is_mistake(&error) => return Err(error),
            Err(error) => {
                whys.push(Why::NoToken(format!("{error:#}")));
                return Ok(Ended::InVain(whys));
            }
        };
        let wanted = Wanted { ca: Some(*token.ca()), ..look.wanted.clone() };
        if let Standing::Blocked(what) = Standing::of(&look.facts.swarm, &look.on_disk, &wanted) {
            return Err(super::step::blocked(look, what).into());
        }
        if self.request.dry_run {
            return Ok(Ended::Rehearsed);
        }
        let ended = self.through_each(&open, &token, progress, whys).await?;
        if let Ended::InVain(whys) = &ended
            && whys.iter().any(Why::is_of_the_token)
        {
            source.refuse();
        }
        Ok(ended)
    }

    async fn through_each(
        &self,
        open: &[SocketAddr],
        token: &JoinToken,
        progress: &mut Progress,
        mut whys: Vec<Why>,
    ) -> Result<Ended> {
        for manager in open {
            tracing::info!("joining the swarm through {manager}");
            *progress.tried.entry(*manager).or_default() += 1;
            progress.deeds.attempts += 1;
            failpoint::reach("node-join-call");
            let advertise = self.request.advertise_addr.as_deref();
            let join = WorkerJoin { manager: *manager, advertise, token: token.text() };
            let error = match self.engine.join_as_worker(&join).await {
                Ok(()) => {
                    failpoint::reach("node-join-called");
                    return Ok(Ended::LookAgain);
                }
                Err(error) => error,
            };
            if goes_on_in_background(&error) || why::is_in_a_swarm(&error) {
                return Ok(Ended::LookAgain);
            }
            let why = Why::of_answer(*manager, &error);
            tracing::info!("{why}");
            let is_refused = matches!(why, Why::TokenRefused(_));
            whys.push(why);
            if is_refused {
                break;
            }
        }
        Ok(Ended::InVain(whys))
    }

    /// Engines join without the address that they were given if they cannot make sense of it (moby
    /// `daemon/cluster/swarm.go`, `Join`): so an interface that is not there yet is waited for.
    fn missing_interface(&self) -> Result<Option<Why>> {
        let Some(given) = &self.request.advertise_addr else { return Ok(None) };
        if given.parse::<IpAddr>().is_ok() || given.parse::<SocketAddr>().is_ok() {
            return Ok(None);
        }
        let name = given.rsplit_once(':').map_or(given.as_str(), |(name, _)| name);
        let is_there = network::local_addresses()?.iter().any(|address| address.interface == name);
        Ok((!is_there).then(|| Why::NoInterface(given.clone())))
    }
}
