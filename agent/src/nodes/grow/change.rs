//! The promotion of one node: begun, and waited for until it is a manager that keeps up.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use swarm_state::identity::usable;

use super::{
    is_elsewhere,
    mark::{LABEL, Mark},
    rule::Rule,
};
use crate::{
    host::{engine::Refusal, network},
    nodes::{
        label::Label,
        roster::{Led, Listed, set_label},
    },
    outcome::failure::Failure,
};

/// Time for which a new manager has to stay reachable: managers that lose sight of a leader elect another one after ten
/// ticks of a second (swarmkit `manager/state/raft/raft.go`, `DefaultRaftConfig`).
const STAYS: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(500);

/// Time for a manager to accept a connection.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// A node that becomes a manager.
#[derive(Debug, Clone, Copy)]
pub struct Promotion<'a> {
    pub led: &'a Led,
    pub id: &'a str,
    pub name: &'a str,
    pub limit: Duration,
}

/// The property of a node for which it was chosen.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    pub node: &'a Listed,
    pub spread: Option<&'a Label>,
}

impl Chosen<'_> {
    fn is_still(&self, now: &Listed) -> bool {
        self.spread.is_none_or(|label| label.of(now) == label.of(self.node))
    }
}

/// How a promotion ended.
#[derive(Debug)]
pub enum Settled {
    Member,
    /// It is a worker after all, or is gone.
    Undone,
    /// It is no manager that keeps up after the limit: the error that says so.
    Late(anyhow::Error),
}

/// How far a promoted node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Not yet a member of the group of managers.
    Outside,
    /// A member that does not answer.
    Silent,
    Member,
    /// A member that is to become a worker.
    Leaving,
    /// Somebody made it a worker again.
    Worker,
    Removed,
}

impl Promotion<'_> {
    /// Asks for the node once more, and makes it a manager if it is still a candidate with the value of the label for which it
    /// was chosen. Returns false if it is not, or if somebody changes it at the same time. The same change marks it as
    /// promoted by `node grow`.
    pub async fn begin(&self, rule: &Rule<'_>, chosen: &Chosen<'_>) -> Result<bool> {
        let listed = match self.led.objects.node(self.id).await {
            Err(error) if Refusal::is_not_found(&error) => return Ok(false),
            read => Listed::of(read?).context("the engine's answer is no node")?,
        };
        if listed.node.is_manager_by_role() || rule.why_not(&listed).is_some() || !chosen.is_still(&listed) {
            return Ok(false);
        }
        let promote = |spec: &mut Value| {
            spec["Role"] = "manager".into();
            set_label(spec, LABEL, Some(Mark::promoted_now().to_string()));
        };
        let promoted = listed.update(&self.led.objects, promote).await;
        match promoted {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(false),
            Err(error) => Err(error.context(format!("failed to make {} a manager", self.name))),
            Ok(()) => Ok(true),
        }
    }

    /// Waits until the node is a manager that stays reachable, and the swarm has taken a change with it. One that is
    /// reachable at the limit gets the time to stay so.
    pub async fn settle(&self) -> Result<Settled> {
        let begun = Instant::now();
        let mut since: Option<Instant> = None;
        loop {
            let seen = self.look().await;
            match &seen {
                Ok(Seen::Member) => _ = since.get_or_insert_with(Instant::now),
                Ok(Seen::Worker | Seen::Removed) => return Ok(Settled::Undone),
                Err(error) if is_elsewhere(error) => return seen.map(|_| Settled::Undone),
                _ => since = None,
            }
            let stays = since.is_some_and(|since| since.elapsed() >= STAYS);
            let proven = match stays {
                true => self.prove().await,
                false => seen.map(|seen| (false, seen)),
            };
            match proven {
                Ok((true, _)) => return Ok(Settled::Member),
                not_yet if begun.elapsed() >= self.limit + if since.is_some() { STAYS } else { Duration::ZERO } => {
                    return Ok(Settled::Late(self.failure(not_yet.map(|(_, seen)| seen))));
                }
                Err(_) => since = None,
                Ok(_) => {}
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn look(&self) -> Result<Seen> {
        let nodes = self.led.nodes().await?;
        let Some(listed) = nodes.iter().find(|listed| listed.id() == self.id) else { return Ok(Seen::Removed) };
        let Some(status) = &listed.node.manager else {
            return Ok(if listed.node.is_manager_by_role() { Seen::Outside } else { Seen::Worker });
        };
        if !listed.node.is_manager_by_role() {
            return Ok(Seen::Leaving);
        }
        // The leader's own address may be one that its host does not reach, and needs no question.
        let answers = match status.addr.as_deref().and_then(usable).filter(|_| self.id != self.led.own) {
            Some(addr) => network::answers(addr, PROBE_LIMIT).await,
            None => true,
        };
        Ok(if status.reachable && answers { Seen::Member } else { Seen::Silent })
    }

    /// Has the swarm take a change, which takes the mark from the new manager. One without a mark gets the spec that it has.
    pub async fn prove(&self) -> Result<(bool, Seen)> {
        let read = self.led.objects.node(self.id).await?;
        let listed = Listed::of(read).context("the engine's answer is no node")?;
        if !listed.node.is_manager_by_role() {
            return Ok((false, Seen::Leaving));
        }
        match listed.update(&self.led.objects, |spec| set_label(spec, LABEL, None)).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok((false, Seen::Member)),
            taken => taken.map(|()| (true, Seen::Member)),
        }
    }

    /// The error after the limit, if the promotion cannot be taken back.
    fn failure(&self, seen: Result<Seen>) -> anyhow::Error {
        let (name, limit) = (self.name, self.limit.as_secs());
        let late = |what: &str| Failure::failed(format!("{name} was made a manager, and {what} within {limit} s"));
        match seen {
            Ok(Seen::Outside) => late("has not joined the group of managers")
                .advice(format!(
                    "the swarm works as before: see `journalctl -u docker` on {name}, and open port 2377 both ways; then \
                     run this again, which waits for it"
                ))
                .advice(format!(
                    "or take it out: `docker swarm leave --force` on {name}, then `docker node rm --force {}` here",
                    self.id
                ))
                .into(),
            Ok(Seen::Leaving) => Failure::failed(format!(
                "{name} was made a worker, and is still in the group of managers after {limit} s"
            ))
            .advice("see `docker node ls`, and run this again when it is a worker")
            .into(),
            Ok(_) => late("did not stay reachable")
                .advice(format!("see to {name} and its port 2377, then run this again, which waits for it"))
                .advice(format!(
                    "or take it out while the others are a majority: `docker node demote {}`, then `docker node rm`",
                    self.id
                ))
                .into(),
            Err(error) => late("the swarm did not get a leader again")
                .advice(format!(
                    "services go on, and nothing can be changed: bring {name} back (a start of its host is usually \
                     enough), and run this again"
                ))
                .advice(format!(
                    "if that does not help, or {name} is gone for good, `swarmdr-agent recover-quorum` here makes a swarm \
                     of this manager alone"
                ))
                .because(error)
                .into(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        host::engine::{EngineFacts, LocalSwarm},
        nodes::grow::{
            mark::tests::marked,
            plan::tests::{manager, rule, with, worker},
        },
        restore::fake_engine::FakeEngine,
    };

    /// Three managers of which `m` leads: all accept connections, and `w` was promoted by `node grow`.
    pub async fn group(fake: &FakeEngine, reachability: &str) -> (Led, tokio::net::TcpListener) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let addr = listener.local_addr().expect("is bound").to_string();
        let at = |id| with(manager(id, ""), "/ManagerStatus/Addr", &addr);
        let new = marked(with(at("w"), "/ManagerStatus/Reachability", reachability), &Mark::promoted_now().to_string());
        let mut leader = at("m").raw;
        leader["ManagerStatus"]["Leader"] = true.into();
        let nodes = [leader, at("a").raw, new.raw].map(|node| ("nodes".to_owned(), node));
        fake.state.lock().expect("no panic").objects.extend(nodes);
        let facts = EngineFacts {
            version: String::new(),
            hostname: String::new(),
            data_root: fake.state_dir(),
            live_restore: false,
            swarm: LocalSwarm::default(),
        };
        let led = Led { engine: fake.engine(), objects: fake.objects().await, facts, own: "m".to_owned() };
        (led, listener)
    }

    pub async fn node(led: &Led, id: &str) -> Listed {
        Listed::of(led.objects.node(id).await.expect("is there")).expect("is a node")
    }

    /// An operator may take the label away between the choice and the promotion.
    #[tokio::test]
    async fn a_worker_that_is_no_candidate_any_more_is_not_promoted() {
        let (spread, only) = ("node.labels.zone".parse().expect("is one"), "zone=a".parse().expect("is one"));
        let none = BTreeMap::new();
        for (zone, availability, has_rule, begins) in [
            ("a", "active", true, true),
            ("b", "active", true, false),
            // The managers are to differ in the zone for which it was chosen.
            ("b", "active", false, false),
            ("a", "drain", true, false),
        ] {
            let fake = FakeEngine::start();
            let (led, _listener) = group(&fake, "reachable").await;
            let now = with(worker("x", zone), "/Spec/Availability", availability);
            fake.state.lock().expect("no panic").objects.push(("nodes".to_owned(), now.raw));
            let rule = Rule { only: has_rule.then_some(&only), ..rule(&none) };
            let promotion = Promotion { led: &led, id: "x", name: "host-x", limit: Duration::ZERO };
            let chosen = Chosen { node: &worker("x", "a"), spread: Some(&spread) };
            let has_begun = promotion.begin(&rule, &chosen).await.expect("answers");
            assert_eq!((has_begun, fake.requests().len()), (begins, usize::from(begins)), "{zone} {availability}");
            assert_eq!(node(&led, "x").await.node.is_manager_by_role(), begins, "{zone} {availability}");
        }
    }
}
