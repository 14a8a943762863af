//! Which nodes are to go, and why the others stay.

use jiff::{SignedDuration, Timestamp};

use super::survey::Survey;
use crate::nodes::roster::Listed;

/// The label on a node that `node tidy` has drained: the moment since which it was down, a slash, and that of the drain.
pub const LABEL: &str = "swarmdr.tidy";

/// Time that a swarm takes to note a drain: a change of the node later than this is another one.
const DRAINING: SignedDuration = SignedDuration::from_mins(2);

/// When a node has been down for long enough.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub now: Timestamp,
    /// Start of the leader's engine: before it, nobody looked.
    pub engine_since: Timestamp,
    pub dead_for: SignedDuration,
}

#[derive(Debug)]
pub struct Plan {
    /// Nodes that are down, or were drained by an earlier run: workers first, managers last.
    pub nodes: Vec<(Listed, Verdict)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Due {
        since: Timestamp,
    },
    /// Not down for long enough.
    NotYet {
        since: Timestamp,
    },
    /// It is down for the leader, and accepts connections, or cannot be asked.
    Answers,
    /// An operator paused or drained it, so it may be off for a while.
    Operators {
        availability: String,
    },
    /// An earlier run drained it, and it is not down any more.
    Back,
}

impl Verdict {
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Due { since } | Self::NotYet { since } => Some(*since),
            _ => None,
        }
    }
}

impl Plan {
    pub fn of(survey: &Survey, rule: Rule) -> Self {
        let judged = survey
            .nodes
            .iter()
            .filter_map(|listed| Some((listed.clone(), judge(listed, survey.answering.contains(listed.id()), rule)?)));
        let mut nodes: Vec<_> = judged.collect();
        nodes.sort_by_key(|(listed, _)| {
            (listed.node.manager.is_some(), listed.node.is_manager_by_role(), listed.id().to_owned())
        });
        Self { nodes }
    }
}

/// Returns what becomes of a node; `None` for one that works.
fn judge(listed: &Listed, answers: bool, rule: Rule) -> Option<Verdict> {
    let node = &listed.node;
    let own = node.labels.get(LABEL);
    if !node.is_down() {
        return (own.is_some() && node.is_ready()).then_some(Verdict::Back);
    }
    if answers {
        return Some(Verdict::Answers);
    }
    if node.availability != "active" && !(own.is_some() && node.availability == "drain") {
        return Some(Verdict::Operators { availability: node.availability.clone() });
    }
    let noted = own.filter(|_| node.availability == "drain").and_then(|text| noted(text, listed.updated_at));
    let changed = noted.or(listed.updated_at).unwrap_or(rule.now);
    let since = changed.max(rule.engine_since);
    // A time ahead of this host's clock is no time at all.
    let long = rule.now.duration_since(since) >= rule.dead_for && since <= rule.now;
    Some(if long { Verdict::Due { since } } else { Verdict::NotYet { since } })
}

/// Returns since when a node is down by the label of an earlier run's drain, `<down since>/<drained at>`; `None` if the
/// node has changed after the drain: it came back in between.
fn noted(label: &str, updated_at: Option<Timestamp>) -> Option<Timestamp> {
    let (since, drained) = label.split_once('/')?;
    let drained: Timestamp = drained.parse().ok()?;
    updated_at.is_none_or(|at| at <= drained + DRAINING).then(|| since.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-21T{text}:00Z").parse().expect("is a time")
    }

    fn rule(engine: &str) -> Rule {
        Rule { now: at("12:00"), engine_since: at(engine), dead_for: SignedDuration::from_mins(30) }
    }

    fn node(more: Value) -> Listed {
        let mut raw = json!({
            "ID": "n", "UpdatedAt": "2026-11-21T11:00:00.123456789Z", "Status": { "State": "down" },
            "Spec": { "Role": "worker", "Availability": "active", "Labels": {} },
        });
        for (path, value) in more.as_object().into_iter().flatten() {
            match path.strip_prefix("label ") {
                Some(label) => raw["Spec"]["Labels"][label] = value.clone(),
                None => *raw.pointer_mut(path).expect("is there") = value.clone(),
            }
        }
        Listed::of(raw).expect("is a node")
    }

    #[test]
    fn a_node_is_due_once_it_was_down_for_long_enough() {
        let down = node(json!({}));
        let since = "2026-11-21T11:00:00.123456789Z".parse().expect("is a time");
        assert_eq!(judge(&down, false, rule("10:00")), Some(Verdict::Due { since }));
        assert_eq!(judge(&down, true, rule("10:00")), Some(Verdict::Answers));
        // A leader that has just started knows an old state.
        assert_eq!(judge(&down, false, rule("11:31")), Some(Verdict::NotYet { since: at("11:31") }));
        assert_eq!(judge(&down, false, rule("11:30")), Some(Verdict::Due { since: at("11:30") }));
        let late = node(json!({ "/UpdatedAt": "2026-11-21T11:45:00Z" }));
        assert_eq!(judge(&late, false, rule("10:00")), Some(Verdict::NotYet { since: at("11:45") }));
    }

    #[test]
    fn a_time_that_is_ahead_or_missing_is_not_long_ago() {
        for updated in [json!("2027-11-21T11:00:00Z"), json!("yesterday"), json!(null)] {
            let odd = node(json!({ "/UpdatedAt": updated }));
            assert!(matches!(judge(&odd, false, rule("10:00")), Some(Verdict::NotYet { .. })), "{updated}");
        }
        let none = Rule { dead_for: SignedDuration::ZERO, ..rule("10:00") };
        let ahead = node(json!({ "/UpdatedAt": "2027-11-21T11:00:00Z" }));
        assert!(matches!(judge(&ahead, false, none), Some(Verdict::NotYet { .. })));
    }

    #[test]
    fn what_an_operator_set_is_respected_and_what_an_earlier_run_set_is_not() {
        for availability in ["drain", "pause"] {
            let set = node(json!({ "/Spec/Availability": availability }));
            assert_eq!(
                judge(&set, false, rule("10:00")),
                Some(Verdict::Operators { availability: availability.to_owned() })
            );
        }
        let own = json!({ "/Spec/Availability": "drain", "/UpdatedAt": "2026-11-21T11:59:00Z", "label swarmdr.tidy": "2026-11-21T11:05:00Z/2026-11-21T11:58:30Z" });
        assert_eq!(judge(&node(own.clone()), false, rule("10:00")), Some(Verdict::Due { since: at("11:05") }));
        let mut back = own.clone();
        back["/Status/State"] = "ready".into();
        assert_eq!(judge(&node(back), false, rule("10:00")), Some(Verdict::Back));
        let mut paused = own;
        paused["/Spec/Availability"] = "pause".into();
        assert!(matches!(judge(&node(paused), false, rule("10:00")), Some(Verdict::Operators { .. })));
    }

    #[test]
    fn a_node_that_came_back_after_its_drain_is_down_since_then_only() {
        let drained = "2026-11-21T11:05:00Z/2026-11-21T11:20:00Z";
        let again = json!({ "/Spec/Availability": "drain", "/UpdatedAt": "2026-11-21T11:59:00Z", "label swarmdr.tidy": drained });
        assert!(matches!(judge(&node(again.clone()), false, rule("10:00")), Some(Verdict::NotYet { .. })));
        let mut taken_back = again;
        taken_back["/Spec/Availability"] = "active".into();
        assert!(matches!(judge(&node(taken_back), false, rule("10:00")), Some(Verdict::NotYet { .. })));
    }

    #[test]
    fn nodes_that_work_are_not_judged_and_managers_come_last() {
        for state in ["ready", "unknown", "disconnected", ""] {
            assert_eq!(judge(&node(json!({ "/Status/State": state })), false, rule("10:00")), None, "{state}");
        }
        let named = |id: &str, role: &str, member: bool| {
            let mut raw = node(json!({ "/Spec/Role": role, "/ID": id })).raw;
            if member {
                raw["ManagerStatus"] = json!({ "Reachability": "unreachable" });
            }
            Listed::of(raw).expect("is a node")
        };
        let nodes = vec![
            named("a", "manager", true),
            named("b", "worker", false),
            named("c", "manager", false),
            named("d", "worker", false),
        ];
        let plan = Plan::of(&Survey { nodes, answering: BTreeSet::new() }, rule("10:00"));
        let order: Vec<&str> = plan.nodes.iter().map(|(listed, _)| listed.id()).collect();
        assert_eq!(order, ["b", "d", "c", "a"]);
    }
}
