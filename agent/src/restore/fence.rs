//! Fencing: whether old managers of a swarm are alive, and whether they could be asked at all.

use std::{fmt::Display, net::SocketAddr};

use anyhow::Result;

use super::Restore;
use crate::{
    host::network::{Answer, ask, has_link},
    outcome::failure::Failure,
};

/// Answers of the managers that were asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Managers that accept connections.
    pub living: Vec<SocketAddr>,
    /// Managers that could not be asked because the request did not leave this host: address and reason.
    pub unasked: Vec<(SocketAddr, String)>,
}

impl Restore<'_> {
    /// Asks all managers at once, each for the configured time.
    pub(crate) async fn ask_managers(&self, addresses: &[SocketAddr]) -> Asked {
        let limit = self.run.config.restore.fence_timeout_ms.duration();
        let answers = addresses.iter().map(async |addr| (*addr, ask(*addr, limit).await));
        let mut asked = Asked::default();
        let has_link = has_link().unwrap_or(true);
        for (addr, answer) in futures_util::future::join_all(answers).await {
            match answer {
                Answer::Yes => asked.living.push(addr),
                // An isolated host would take all others for dead.
                Answer::No if !has_link => {
                    asked.unasked.push((addr, "no interface of this host has a link".to_owned()))
                }
                Answer::No => {}
                Answer::NotAsked(why) => asked.unasked.push((addr, why.to_string())),
            }
        }
        asked
    }
}

impl Asked {
    /// Asks on behalf of a restore that may be at another address. Its network may have no route to the old managers,
    /// so none of them counts as unasked.
    pub fn unasked_from(&self, elsewhere: bool) -> Vec<String> {
        if elsewhere { Vec::new() } else { self.unasked() }
    }

    /// Describes them for a refusal.
    pub fn unasked(&self) -> Vec<String> {
        self.unasked.iter().map(|(addr, why)| format!("{addr} ({why})")).collect()
    }
}

/// Refuses to take managers for dead that could not be asked: a network that is not up yet says nothing about them.
pub(crate) fn require_asked(unasked: &[String]) -> Result<()> {
    if unasked.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "whether other managers of this swarm are alive is not known, for this host cannot ask them: {}",
        unasked.join(", ")
    ))
    .advice("see `ip route` and this host's firewall, and run it again when the network is up")
    .advice("if those managers are gone for good, use --fenced")
    .into())
}

/// Joins several items for a message.
pub(crate) fn listed<T: Display>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    #[test]
    fn a_manager_that_could_not_be_asked_is_not_taken_for_dead() {
        require_asked(&[]).expect("all were asked");
        let addr = "10.0.0.5:2377".parse().expect("is an address");
        let asked = Asked { unasked: vec![(addr, "Network is unreachable".to_owned())], ..Asked::default() };
        let rendered = Rendered::of(&require_asked(&asked.unasked()).expect_err("one was not"));
        assert_eq!(rendered.exit, Exit::Refused);
        assert!(rendered.what.contains("10.0.0.5:2377 (Network is unreachable)"), "{rendered}");
        assert!(rendered.advice.iter().any(|advice| advice.contains("--fenced")), "{rendered}");
    }
}
