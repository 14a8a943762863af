//! One attempt to join: through each manager that accepts a connection, one after the other.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use super::{
    Acted, Join, Progress,
    look::Look,
    report::Outcome,
    step,
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

impl Join<'_> {
    pub(super) async fn attempt(
        &self,
        look: &Look,
        source: &mut TokenSource<'_>,
        progress: &mut Progress,
    ) -> Result<Acted> {
        let mut whys: Vec<Why> = look.found.missing.iter().map(|error| Why::NoAddress(format!("{error:#}"))).collect();
        if let Some(missing) = self.missing_interface()? {
            return Ok(Acted::InVain(vec![missing]));
        }
        let (mut open, closed) = managers::probe(&look.found.addresses).await;
        // One that takes the connection and never answers must not be the first again and again.
        open.sort_by_key(|manager| progress.tried.get(manager).copied().unwrap_or_default());
        whys.extend(closed.into_iter().map(|(addr, why)| Why::Closed(addr, why)));
        if look.found.addresses.is_empty() && whys.is_empty() {
            whys.push(Why::NoAddress("nothing names one at this moment".to_owned()));
        }
        if open.is_empty() {
            return Ok(Acted::InVain(whys));
        }
        let token = match source.get().await {
            Ok(token) => token,
            Err(error) if why::is_mistake(&error) => return Err(error),
            Err(error) => {
                whys.push(Why::NoToken(format!("{error:#}")));
                return Ok(Acted::InVain(whys));
            }
        };
        let wanted = Wanted { ca: Some(*token.ca()), ..look.wanted.clone() };
        if let Standing::Blocked(what) = Standing::of(&look.facts.swarm, &look.on_disk, &wanted) {
            return Err(step::blocked(look, what).into());
        }
        if self.request.dry_run {
            return Ok(Acted::Rehearsed(Outcome::WouldJoin));
        }
        let ended = self.through_each(&open, &token, progress, whys).await?;
        if let Acted::InVain(whys) = &ended
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
    ) -> Result<Acted> {
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
                    return Ok(Acted::LookAgain);
                }
                Err(error) => error,
            };
            if goes_on_in_background(&error) {
                return Ok(Acted::LookAgain);
            }
            let why = Why::of_answer(*manager, &error);
            tracing::info!("{why}");
            let is_refused = matches!(why, Why::TokenRefused(_));
            whys.push(why);
            if is_refused {
                break;
            }
        }
        Ok(Acted::InVain(whys))
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
