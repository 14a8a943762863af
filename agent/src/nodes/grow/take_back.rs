//! The way back of a node that did not become a manager, so that others can be tried.
//!
//! A node outside of the group of managers cannot be demoted: the engine answers "can't find manager in raft memberlist"
//! (swarmkit `manager/controlapi/node.go`, `UpdateNode`). It has no vote, and is left as it is. To have few of those, a
//! worker is asked for its port before it is promoted ([`shut`]).
//!
//! A node without the mark of `node grow` is not demoted: somebody took it away, and means the node to stay.
//!
//! A member that does not answer leaves the group by a change that a majority of all its members has to take, itself included
//! in the number: with two members there is no such majority without the second one, so that one stays.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{
    change::{Promotion, Seen},
    is_elsewhere,
    mark::{LABEL, Mark},
};
use crate::{
    backup::managers::{Agreement, Managers},
    host::{
        engine::Refusal,
        wait::{self, Probe},
    },
    nodes::roster::{Listed, set_label},
    outcome::failpoint,
};

/// Time for the swarm to make a node a worker: its role manager tries again every five seconds.
const LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(500);

/// Port of managers.
const PORT: u16 = 2377;

/// Time for a host to say that nobody listens on that port.
const REFUSAL_LIMIT: Duration = Duration::from_secs(5);

/// What became of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenBack {
    Worker,
    /// It was told to be one, and another manager leads by now: the swarm does the rest.
    Told,
    /// It has become a manager meanwhile.
    Member,
    /// It is outside of the group, and stays a manager by its role.
    Outside,
}

impl Promotion<'_> {
    /// Makes the node a worker again if it is a member of the group, and waits until it is one. An error if that could
    /// cost the majority, or does not happen in time.
    pub async fn take_back(&self) -> Result<TakenBack> {
        let mut is_told = false;
        let attempt = async || match self.look().await {
            Err(error) if is_told && is_elsewhere(&error) => Ok(Probe::Done(TakenBack::Told)),
            // The group has no leader for a moment while the node leaves it.
            Err(error) if is_told => Ok(Probe::NotYet(error)),
            Err(error) => Err(error),
            Ok(Seen::Member) => Ok(Probe::Done(TakenBack::Member)),
            Ok(Seen::Worker | Seen::Removed) => Ok(Probe::Done(TakenBack::Worker)),
            Ok(Seen::Outside) => Ok(Probe::Done(TakenBack::Outside)),
            Ok(Seen::Leaving) => Ok(Probe::NotYet(anyhow!("it is still a member of the group of managers"))),
            Ok(Seen::Silent) => self.demote(&mut is_told).await,
        };
        let what = format!("{} to be a worker again", self.name);
        wait::until(LIMIT, POLL, &what, attempt).await
    }

    /// Tells the node to be a worker if it is still silent, and notes that in `is_told`.
    async fn demote(&self, is_told: &mut bool) -> Result<Probe<TakenBack>> {
        let nodes = self.led.nodes().await?;
        let mut managers = Managers::of(&nodes.iter().map(|listed| listed.node.clone()).collect::<Vec<_>>());
        managers.probe(&self.led.own).await;
        // The question to all of them took its time.
        if managers.member(self.id).is_some_and(|member| member.reachable) {
            return Ok(Probe::NotYet(anyhow!("it answers again")));
        }
        may_demote(&managers, self.id, self.name)?;
        let listed: &Listed =
            nodes.iter().find(|listed| listed.id() == self.id).with_context(|| format!("{} is gone", self.name))?;
        let is_marked = matches!(Mark::of(listed), Some(Mark::Promoted(_)));
        ensure!(is_marked, "{} stays as it is: somebody took the label {LABEL} from it", self.name);
        let demote = |spec: &mut Value| {
            spec["Role"] = "worker".into();
            set_label(spec, LABEL, Some(Mark::taken_back_now().to_string()));
        };
        match listed.update(&self.led.objects, demote).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(Probe::NotYet(error)),
            Err(error) => Err(error.context(format!("failed to make {} a worker again", self.name))),
            Ok(()) => {
                *is_told = true;
                failpoint::reach("taken-back");
                Ok(Probe::NotYet(anyhow!("it was told to be a worker")))
            }
        }
    }
}

/// What became of a node that is to be left as it is. An error for a member that does not answer.
pub fn as_it_is(seen: Seen, name: &str) -> Result<TakenBack> {
    match seen {
        Seen::Member => Ok(TakenBack::Member),
        Seen::Worker | Seen::Removed => Ok(TakenBack::Worker),
        Seen::Outside => Ok(TakenBack::Outside),
        Seen::Silent | Seen::Leaving => {
            bail!("`node grow` did not promote {name} in the last day, and takes back only what it has promoted")
        }
    }
}

/// Refuses unless the other members that answer are a majority of all. The caller has seen that the node is a member.
fn may_demote(managers: &Managers, id: &str, name: &str) -> Result<()> {
    let agreement = managers.without(id);
    if !agreement.is_possible() {
        let Agreement { all, answering, majority } = agreement;
        bail!(
            "{name} stays as it is: {answering} of the other managers answer, and {majority} of {all} have to agree when \
             one leaves"
        );
    }
    Ok(())
}

/// Returns those of some workers whose port is shut. All are asked at the same time.
pub async fn shut<'a>(workers: &[&'a Listed]) -> Vec<&'a Listed> {
    let asked = join_all(workers.iter().map(|worker| is_shut(worker))).await;
    workers.iter().zip(asked).filter(|(_, is_shut)| *is_shut).map(|(worker, _)| *worker).collect()
}

/// Returns true if a worker's host lets nobody know whether somebody listens on the port of managers: a firewall drops or
/// forbids it. Nobody listens there yet, so an open port refuses.
async fn is_shut(worker: &Listed) -> bool {
    let Some(addr) = port_of(worker) else { return false };
    match tokio::time::timeout(REFUSAL_LIMIT, TcpStream::connect(addr)).await {
        Ok(Ok(_)) => false,
        Ok(Err(error)) => !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset),
        Err(_) => true,
    }
}

/// The port at the address from which the node has come; `None` for one that cannot be asked.
fn port_of(worker: &Listed) -> Option<SocketAddr> {
    let ip: IpAddr = worker.node.addr.as_deref()?.parse().ok()?;
    (!ip.is_unspecified()).then_some(SocketAddr::new(ip, PORT))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::{
        backup::managers::tests::cluster,
        nodes::grow::{
            change::tests::{group, node},
            plan::{
                Step,
                tests::{manager, sort, sort_without, worker},
            },
            report::GrowReport,
        },
        restore::fake_engine::FakeEngine,
    };

    #[test]
    fn a_member_is_taken_back_only_by_a_majority_without_it() {
        for (reachable, id, expected) in [
            // The second of two is needed for every change.
            (&[true, false][..], "m1", false),
            (&[true, true], "m1", false),
            (&[true, true, false], "m2", true),
            (&[true, false, false], "m2", false),
            (&[true, true, true, false], "m3", true),
            (&[true, true, false, false], "m3", false),
        ] {
            assert_eq!(may_demote(&cluster(0, reachable), id, "host").is_ok(), expected, "{reachable:?} {id}");
        }
    }

    #[test]
    fn a_member_that_somebody_else_promoted_stays_as_it_is() {
        for silent in [Seen::Silent, Seen::Leaving] {
            let error = as_it_is(silent, "w1").expect_err("it is not taken back");
            assert!(error.to_string().contains("did not promote w1"), "{error}");
        }
        assert_eq!(as_it_is(Seen::Outside, "w1").expect("is passed over"), TakenBack::Outside);
        assert_eq!(as_it_is(Seen::Member, "w1").expect("is one"), TakenBack::Member);
    }

    #[tokio::test]
    async fn a_member_that_answers_again_is_not_demoted() {
        for (reachability, is_demoted) in [("reachable", false), ("unreachable", true)] {
            let fake = FakeEngine::start();
            let (led, _listener) = group(&fake, reachability).await;
            let promotion = Promotion { led: &led, id: "w", name: "host-w", limit: Duration::ZERO };
            // It was silent a moment ago.
            let mut is_told = false;
            let Ok(Probe::NotYet(_)) = promotion.demote(&mut is_told).await else { panic!("it is a member still") };
            let listed = node(&led, "w").await;
            assert_eq!((!listed.node.is_manager_by_role(), is_told), (is_demoted, is_demoted), "{listed:?}");
            assert_eq!(matches!(Mark::of(&listed), Some(Mark::TakenBack(_))), is_demoted, "{listed:?}");
            assert_eq!(fake.requests().len(), usize::from(is_demoted));
        }
    }

    /// The change is made, and the swarm sees to the rest, whoever leads it.
    #[tokio::test]
    async fn a_leader_that_changes_after_the_demotion_leaves_work_that_is_done() {
        let fake = FakeEngine::start();
        let (led, _listener) = group(&fake, "unreachable").await;
        let promotion = Promotion { led: &led, id: "w", name: "host-w", limit: Duration::ZERO };
        let lead_elsewhere = |fake: &FakeEngine| {
            let mut state = fake.state.lock().expect("no panic");
            state.objects[0].1["ManagerStatus"]["Leader"] = false.into();
            state.objects[1].1["ManagerStatus"]["Leader"] = true.into();
        };
        let elsewhere = async {
            let told = async || (!fake.requests().is_empty()).then_some(());
            wait::poll(LIMIT, Duration::from_millis(5), told).await.expect("it is told to be a worker");
            lead_elsewhere(&fake);
        };
        let (taken, ()) = futures_util::join!(promotion.take_back(), elsewhere);
        assert_eq!(taken.expect("is done"), TakenBack::Told);
        // Before that nothing is done, and the new leader goes on.
        let fake = FakeEngine::start();
        let (led, _listener) = group(&fake, "unreachable").await;
        lead_elsewhere(&fake);
        let promotion = Promotion { led: &led, ..promotion };
        let error = promotion.take_back().await.expect_err("it leads no more");
        assert!(is_elsewhere(&error) && fake.requests().is_empty(), "{error:#}");
    }

    #[tokio::test]
    async fn nothing_begins_if_the_port_of_the_second_one_is_shut() {
        // The first one refuses connections, and no packet can be sent to the other.
        let nodes = || {
            let at = |id: &str, addr: &str| {
                let mut raw = worker(id, "").raw;
                raw["Status"]["Addr"] = addr.into();
                Listed::of(raw).expect("is a node")
            };
            vec![manager("m", ""), at("a", "127.7.0.21"), at("b", "255.255.255.255"), at("c", "127.7.0.22")]
        };
        let standing = sort(nodes());
        let shut = shut(&standing.promotions(3, None)).await;
        assert_eq!(shut.iter().map(|node| node.id()).collect::<Vec<_>>(), ["b"]);
        let mut report = GrowReport::new(3, false);
        let mut passed_over = BTreeMap::new();
        shut.into_iter().for_each(|node| report.shut(node, &mut passed_over));
        assert!(report.finish().to_string().contains("port 2377 of host-b is closed"));
        for (workers, expected) in [(4, Some("a")), (3, None)] {
            let nodes = nodes().into_iter().take(workers).collect();
            let standing = sort_without(nodes, &passed_over);
            match standing.next(3, None) {
                Step::Promote(node) => assert_eq!(Some(node.id()), expected),
                step => assert!(expected.is_none() && matches!(step, Step::Missing(1)), "{step:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_port_that_refuses_is_open() {
        let at = |addr: &str| Listed::of(json!({ "ID": "w", "Status": { "Addr": addr } })).expect("is a node");
        assert!(!is_shut(&at("127.7.0.19")).await, "nobody listens there, and it says so");
        let listener = tokio::net::TcpListener::bind("127.7.0.18:2377").await.expect("listens");
        assert!(!is_shut(&at("127.7.0.18")).await);
        drop(listener);
        for unknown in ["", "0.0.0.0", "nonsense"] {
            assert_eq!(port_of(&at(unknown)), None, "{unknown}");
        }
    }
}
