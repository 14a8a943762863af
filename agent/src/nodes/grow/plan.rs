//! Which node becomes a manager next, and which ones never do.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{mark::Mark, rule::Rule};

use crate::{
    backup::managers::Managers,
    nodes::{
        label::Label,
        roster::{Led, Listed},
    },
    outcome::failure::Failure,
};

/// The group of managers at one moment, and the nodes that could join it.
#[derive(Debug, Default)]
pub struct Standing {
    /// Members of the raft group.
    pub members: Vec<Listed>,
    /// Names of members that the leader does not reach, or that accept no connection.
    pub unreachable: Vec<String>,
    /// Members that an earlier run has marked and not seen to keep up. One that does not answer is among them only if it may
    /// be made a worker again.
    pub unproven: Vec<Listed>,
    /// Nodes on their way into the group or out of it.
    pub moving: Vec<Listed>,
    /// Managers by role that are neither members nor alive, such as those that a restored swarm still lists.
    pub remains: Vec<Listed>,
    /// Workers that a run of `node grow` has made managers in the last day, and somebody else workers again.
    pub undone: Vec<Listed>,
    /// Nodes that can become managers, sorted by id.
    pub candidates: Vec<Listed>,
    pub left_out: Vec<LeftOut>,
}

/// A worker that is no candidate.
#[derive(Debug, Clone)]
pub struct LeftOut {
    pub node: Listed,
    pub why: String,
    /// Whether it is not tried again yet, since it did not become a manager a while ago.
    pub rests: bool,
}

/// What comes next.
#[derive(Debug)]
pub enum Step<'a> {
    /// There are as many managers as wanted.
    Enough,
    /// A promotion or demotion is under way, or was not seen to its end.
    Await(&'a Listed),
    Promote(&'a Listed),
    /// Nothing can be done until there are so many more candidates.
    Missing(usize),
}

impl Standing {
    pub async fn of(led: &Led, rule: &Rule<'_>) -> Result<Self> {
        let nodes = led.nodes().await?;
        let mut managers = Managers::of(&nodes.iter().map(|listed| listed.node.clone()).collect::<Vec<_>>());
        managers.probe(&led.own).await;
        let away = managers.unreachable().map(|member| member.id.clone()).collect();
        Ok(Self::sort(nodes, &away, rule))
    }

    /// Sorts the nodes of a list; `away` are the ids of members that do not answer.
    pub fn sort(nodes: Vec<Listed>, away: &BTreeSet<String>, rule: &Rule<'_>) -> Self {
        let mut sorted = Self::default();
        for listed in nodes {
            let node = &listed.node;
            let (is_away, mark) = (away.contains(&node.id), Mark::of(&listed));
            match (&node.manager, node.is_manager_by_role()) {
                (Some(_), true) => {
                    match mark {
                        Some(mark) if !is_away || mark.is_own(rule.now) => sorted.unproven.push(listed.clone()),
                        _ if is_away => sorted.unreachable.push(listed.name().to_owned()),
                        _ => {}
                    }
                    sorted.members.push(listed);
                }
                // Being demoted: a member still. An earlier run may have begun that with one that does not answer.
                (Some(_), false) => {
                    if is_away && !mark.is_some_and(|mark| mark.is_recent(rule.now)) {
                        sorted.unreachable.push(listed.name().to_owned());
                    }
                    sorted.moving.push(listed);
                }
                (None, true) if node.is_ready() => match rule.passed_over.get(listed.id()) {
                    Some(why) => {
                        sorted.left_out.push(LeftOut { why: why.clone(), node: listed, rests: false });
                    }
                    None => sorted.moving.push(listed),
                },
                (None, true) => sorted.remains.push(listed),
                (None, false) => {
                    if mark.is_some_and(|mark| mark.is_own(rule.now)) {
                        sorted.undone.push(listed.clone());
                    }
                    match rule.why_not(&listed) {
                        Some(why) => {
                            let rests = rule.rests(&listed).is_some();
                            sorted.left_out.push(LeftOut { node: listed, why, rests });
                        }
                        None => sorted.candidates.push(listed),
                    }
                }
            }
        }
        sorted
    }

    /// Refuses to change a group one of whose members does not answer: a new member raises the number that is needed.
    pub fn require_well(&self) -> Result<()> {
        if self.unreachable.is_empty() {
            return Ok(());
        }
        let (members, away) = (self.members.len(), self.unreachable.len());
        Err(Failure::refused(format!(
            "{away} of {members} managers do not answer ({}): one more manager would raise the number that is needed",
            self.unreachable.join(", ")
        ))
        .advice("bring them back first: see `docker node ls`, and port 2377 between managers")
        .advice("or take one that is gone for good out: `docker node demote` and `docker node rm`, or `node tidy`")
        .into())
    }

    pub fn next(&self, wanted: usize, spread: Option<&Label>) -> Step<'_> {
        if let Some(unproven) = self.unproven.first() {
            return Step::Await(unproven);
        }
        // What is outside of the group has no vote. What leaves it has one until it is out.
        let is_outside = |node: &Listed| node.node.manager.is_none();
        if self.members.len() >= wanted && self.moving.iter().all(is_outside) {
            return Step::Enough;
        }
        if let Some(moving) = self.moving.first() {
            return Step::Await(moving);
        }
        match self.promotions(wanted, spread).into_iter().next() {
            Some(node) => Step::Promote(node),
            None => Step::Missing(self.missing(wanted)),
        }
    }

    /// Number of candidates that are missing.
    pub fn missing(&self, wanted: usize) -> usize {
        wanted.saturating_sub(self.members.len() + self.candidates.len())
    }

    /// The nodes that are promoted, in this order: as many as lead to the wanted number, or to an odd one before it.
    pub fn promotions(&self, wanted: usize, spread: Option<&Label>) -> Vec<&Listed> {
        let within = wanted.min(self.members.len() + self.candidates.len());
        let goal = if within == wanted || within % 2 == 1 { within } else { within.saturating_sub(1) };
        let number = goal.saturating_sub(self.members.len());
        let value = |node| spread.map_or("", |label| label.of(node));
        let mut held: BTreeMap<&str, usize> = BTreeMap::new();
        self.members.iter().for_each(|member| *held.entry(value(member)).or_default() += 1);
        let mut left: Vec<&Listed> = self.candidates.iter().collect();
        let mut chosen = Vec::new();
        while chosen.len() < number {
            let best = left
                .iter()
                .enumerate()
                .min_by_key(|(_, node)| (held.get(value(node)).copied().unwrap_or_default(), node.id()));
            let Some((at, _)) = best else { break };
            let node = left.remove(at);
            *held.entry(value(node)).or_default() += 1;
            chosen.push(node);
        }
        chosen
    }
}

#[cfg(test)]
pub mod tests {
    use jiff::{SignedDuration, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::{
        nodes::grow::mark::tests::marked,
        outcome::{exit::Exit, failure::Rendered},
    };

    pub fn worker(id: &str, zone: &str) -> Listed {
        Listed::of(json!({
            "ID": id, "Version": { "Index": 7 },
            "Spec": { "Role": "worker", "Availability": "active", "Labels": { "zone": zone } },
            "Description": { "Hostname": format!("host-{id}"), "Engine": { "EngineVersion": "26.1.5", "Labels": { "rack": zone } } },
            "Status": { "State": "ready" },
        }))
        .expect("is a node")
    }

    pub fn manager(id: &str, zone: &str) -> Listed {
        with(worker(id, zone), "/Spec/Role", "manager").member()
    }

    pub fn with(listed: Listed, path: &str, value: &str) -> Listed {
        let mut raw = listed.raw;
        *raw.pointer_mut(path).expect("is there") = value.into();
        Listed::of(raw).expect("is a node")
    }

    impl Listed {
        fn member(self) -> Self {
            let mut raw = self.raw;
            raw["ManagerStatus"] = json!({ "Reachability": "reachable", "Addr": "10.0.0.1:2377" });
            Self::of(raw).expect("is a node")
        }
    }

    fn sort_away(nodes: Vec<Listed>, away: &BTreeSet<String>) -> Standing {
        Standing::sort(nodes, away, &rule(&BTreeMap::new()))
    }

    pub fn sort_without(nodes: Vec<Listed>, passed_over: &BTreeMap<String, String>) -> Standing {
        Standing::sort(nodes, &BTreeSet::new(), &rule(passed_over))
    }

    pub fn rule(passed_over: &BTreeMap<String, String>) -> Rule<'_> {
        Rule { leader_engine: "26.1.5", only: None, passed_over, now: Timestamp::now(), again: false }
    }

    pub fn sort(nodes: Vec<Listed>) -> Standing {
        sort_away(nodes, &BTreeSet::new())
    }

    fn ids(nodes: Vec<&Listed>) -> Vec<&str> {
        nodes.into_iter().map(Listed::id).collect()
    }

    #[test]
    fn each_promotion_is_the_best_spread_and_then_the_lowest_id() {
        let zone: Label = "node.labels.zone".parse().expect("is one");
        let nodes = vec![manager("m", "a"), worker("w1", "a"), worker("w2", "b"), worker("w3", "b"), worker("w4", "c")];
        let standing = sort(nodes);
        for (wanted, spread, expected) in [
            (1, None, vec![]),
            (3, None, vec!["w1", "w2"]),
            (3, Some(&zone), vec!["w2", "w4"]),
            (5, Some(&zone), vec!["w2", "w4", "w1", "w3"]),
        ] {
            assert_eq!(ids(standing.promotions(wanted, spread)), expected, "{wanted}");
        }
        let rack: Label = "engine.labels.rack".parse().expect("is one");
        assert_eq!(ids(standing.promotions(3, Some(&rack))), ["w2", "w4"]);
        assert_eq!(ids(standing.promotions(3, Some(&Label::Hostname))), ["w1", "w2"]);
    }

    #[test]
    fn a_promotion_ends_at_an_even_number_only_if_that_is_wanted() {
        for (members, candidates, wanted, promoted, missing) in [
            (1, 0, 3, 0, 2),
            (1, 1, 3, 0, 1),
            (1, 2, 3, 2, 0),
            (1, 3, 5, 2, 1),
            (2, 1, 3, 1, 0),
            (2, 0, 3, 0, 1),
            (2, 1, 5, 1, 2),
            (3, 1, 5, 0, 1),
            (3, 9, 3, 0, 0),
            (4, 1, 3, 0, 0),
            (1, 3, 4, 3, 0),
            (1, 2, 4, 2, 1),
            (3, 1, 4, 1, 0),
            (2, 1, 4, 1, 1),
        ] {
            let managers = (0..members).map(|n| manager(&format!("m{n}"), "a"));
            let workers = (0..candidates).map(|n| worker(&format!("w{n}"), "a"));
            let standing = sort(managers.chain(workers).collect());
            assert_eq!(standing.promotions(wanted, None).len(), promoted, "{members} {candidates} {wanted}");
            assert_eq!(standing.missing(wanted), missing, "{members} {candidates} {wanted}");
            match standing.next(wanted, None) {
                Step::Enough => assert!(members >= wanted),
                Step::Promote(_) => assert!(promoted > 0),
                Step::Missing(number) => assert!(promoted == 0 && number == missing),
                Step::Await(node) => panic!("{node:?}"),
            }
        }
    }

    #[test]
    fn an_earlier_promotion_is_waited_for_and_remains_are_not() {
        let joining = with(worker("j", ""), "/Spec/Role", "manager");
        let standing = sort(vec![manager("m", ""), joining.clone(), worker("w1", ""), worker("w2", "")]);
        assert!(matches!(standing.next(3, None), Step::Await(node) if node.id() == "j"));
        let leaving = worker("l", "").member();
        let standing = sort(vec![manager("m", ""), leaving, worker("w1", "")]);
        assert!(matches!(standing.next(3, None), Step::Await(node) if node.id() == "l"));
        assert!(matches!(standing.next(1, None), Step::Await(node) if node.id() == "l"), "it has a vote still");
        let standing = sort(vec![manager("m1", ""), manager("m2", ""), manager("m3", ""), joining.clone()]);
        assert!(matches!(standing.next(3, None), Step::Enough), "one outside has none");
        assert!(matches!(standing.next(5, None), Step::Await(_)));
        let old = with(joining, "/Status/State", "down");
        let standing = sort(vec![manager("m", ""), old, worker("w1", ""), worker("w2", "")]);
        assert!(matches!(standing.next(3, None), Step::Promote(node) if node.id() == "w1"));
        assert_eq!(standing.remains.len(), 1);
    }

    #[test]
    fn a_manager_that_does_not_answer_is_a_refusal_that_names_it() {
        let away = BTreeSet::from(["m2".to_owned()]);
        let standing = sort_away(vec![manager("m1", ""), manager("m2", ""), worker("w", "")], &away);
        let rendered = Rendered::of(&standing.require_well().expect_err("is refused"));
        assert!(rendered.exit == Exit::Refused && rendered.what.contains("host-m2"), "{rendered}");
        sort(vec![manager("m1", ""), manager("m2", "")]).require_well().expect("all answer");
    }

    #[test]
    fn a_manager_of_an_earlier_run_is_awaited_and_one_of_an_operator_is_left_alone() {
        let (hour, two_days) = (SignedDuration::from_hours(1), SignedDuration::from_hours(48));
        let ago = |time: SignedDuration| (Timestamp::now() - time).to_string();
        // Whether it is waited for, and whether the run is refused, if the marked member answers and if it does not.
        for (value, answering, silent) in [
            (ago(hour), (true, false), (true, false)),
            // One that has worked for long since, or was promoted by hand after it was taken back.
            (ago(two_days), (true, false), (false, true)),
            (format!("taken-back/{}", ago(hour)), (true, false), (false, true)),
            ("junk".to_owned(), (false, false), (false, true)),
        ] {
            for (away, (awaited, refused)) in [(None, answering), (Some("m2".to_owned()), silent)] {
                let nodes = vec![manager("m1", ""), marked(manager("m2", ""), &value), manager("m3", "")];
                let standing = sort_away(nodes, &away.iter().cloned().collect());
                assert_eq!(standing.require_well().is_err(), refused, "{value} {away:?}");
                // Enough managers or not.
                for wanted in [3, 5] {
                    let is_awaited = matches!(standing.next(wanted, None), Step::Await(node) if node.id() == "m2");
                    assert_eq!(is_awaited, awaited, "{value} {away:?} {wanted}");
                }
                assert_eq!(standing.members.len(), 3);
            }
        }
    }

    #[test]
    fn a_demotion_that_a_killed_run_began_is_awaited() {
        let recent = Timestamp::now().to_string();
        for (value, awaited) in [(format!("taken-back/{recent}"), true), (recent, true), ("junk".to_owned(), false)] {
            let leaving = marked(worker("l", ""), &value).member();
            let nodes = vec![manager("m1", ""), manager("m2", ""), leaving];
            let standing = sort_away(nodes, &BTreeSet::from(["l".to_owned()]));
            assert_eq!(standing.require_well().is_ok(), awaited, "{value}");
            assert!(matches!(standing.next(3, None), Step::Await(node) if node.id() == "l"), "{value}");
        }
    }

    #[test]
    fn another_manager_that_does_not_answer_is_a_refusal_beside_one_of_an_earlier_run() {
        let own = marked(manager("m2", ""), &Timestamp::now().to_string());
        let away = BTreeSet::from(["m2".to_owned(), "m3".to_owned()]);
        let standing = sort_away(vec![manager("m1", ""), own, manager("m3", "")], &away);
        let rendered = Rendered::of(&standing.require_well().expect_err("is refused"));
        assert!(rendered.what.contains("host-m3") && !rendered.what.contains("host-m2"), "{rendered}");
    }
}
