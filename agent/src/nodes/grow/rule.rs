//! Which workers may become managers.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::mark::Mark;
use crate::{config::grow::NodeLabel, host::engine::version::EngineVersion, nodes::roster::Listed};

/// Which workers may become managers.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    /// Version of the leader's engine.
    pub leader_engine: &'a str,
    /// Label that they must have.
    pub only: Option<&'a NodeLabel>,
    /// Ids of those that did not become one, with the reason.
    pub passed_over: &'a BTreeMap<String, String>,
    pub now: Timestamp,
    /// Whether those that did not become one in an earlier run are tried again at once.
    pub again: bool,
}

impl Rule<'_> {
    /// The reason why a worker does not become a manager now.
    pub fn why_not(&self, listed: &Listed) -> Option<String> {
        self.why_never(listed).or_else(|| self.rests(listed))
    }

    /// The reason why a worker that could be a manager is not tried again yet: it did not become one a while ago.
    pub fn rests(&self, listed: &Listed) -> Option<String> {
        let mark = Mark::of(listed).filter(|_| !self.again && self.why_never(listed).is_none());
        mark.and_then(|mark| mark.why_not(listed.id(), self.now))
    }

    fn why_never(&self, listed: &Listed) -> Option<String> {
        let Self { leader_engine, only, passed_over, .. } = self;
        let node = &listed.node;
        if let Some(why) = passed_over.get(listed.id()) {
            return Some(why.clone());
        }
        if !node.is_ready() {
            return Some(format!("it is {}", if node.state.is_empty() { "in no known state" } else { &node.state }));
        }
        if node.availability != "active" {
            return Some(format!("its availability is `{}`", node.availability));
        }
        if let Some(label) = only.filter(|label| !label.is_in(&node.labels)) {
            return Some(format!("it has no label {label}"));
        }
        let engine = node.engine_version.as_deref().unwrap_or_default();
        match (EngineVersion::parse(engine), EngineVersion::parse(leader_engine)) {
            (Some(own), Some(leader)) if own < leader => Some(format!(
                "its engine {engine} is older than the leader's {leader_engine}, and would lose what it does not know"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::nodes::grow::{
        mark::tests::marked,
        plan::{
            LeftOut, Standing,
            tests::{manager, rule, sort, with, worker},
        },
    };

    #[test]
    fn a_worker_that_is_left_out_has_its_reason() {
        let standing = sort(vec![
            with(worker("a", ""), "/Status/State", "down"),
            with(worker("b", ""), "/Spec/Availability", "drain"),
            with(worker("c", ""), "/Spec/Availability", "pause"),
            with(worker("d", ""), "/Description/Engine/EngineVersion", "20.10.24+dfsg1"),
            with(worker("e", ""), "/Description/Engine/EngineVersion", "28.5.2"),
            with(worker("f", ""), "/Description/Engine/EngineVersion", "dev"),
        ]);
        let reasons: Vec<(&str, &str)> = standing.left_out.iter().map(|it| (it.node.id(), it.why.as_str())).collect();
        let [a, b, c, d] = reasons[..] else { panic!("{reasons:?}") };
        assert!(a.1.contains("down") && b.1.contains("drain") && c.1.contains("pause"), "{reasons:?}");
        assert!(d.1.contains("20.10.24") && d.1.contains("older"), "{d:?}");
        assert_eq!(standing.candidates.iter().map(Listed::id).collect::<Vec<_>>(), ["e", "f"]);
    }

    #[test]
    fn only_workers_with_the_label_are_candidates_and_none_that_was_passed_over() {
        let nodes = || vec![worker("a", "x"), worker("b", "y"), worker("c", "x")];
        let label: NodeLabel = "zone=x".parse().expect("is one");
        let passed_over = BTreeMap::from([("a".to_owned(), "it did not join".to_owned())]);
        let rule = Rule { only: Some(&label), ..rule(&passed_over) };
        let standing = Standing::sort(nodes(), &BTreeSet::new(), &rule);
        assert_eq!(standing.candidates.iter().map(Listed::id).collect::<Vec<_>>(), ["c"]);
        let reasons: Vec<&str> = standing.left_out.iter().map(|it| it.why.as_str()).collect();
        assert_eq!(reasons, ["it did not join", "it has no label zone=x"]);
        // One that stays outside of the group is not awaited again.
        let outside = with(worker("a", "x"), "/Spec/Role", "manager");
        let standing = Standing::sort(vec![manager("m", ""), outside], &BTreeSet::new(), &rule);
        assert!(standing.moving.is_empty() && standing.left_out.len() == 1, "{standing:?}");
        let engine_label: NodeLabel = "rack".parse().expect("is one");
        let rule = Rule { only: Some(&engine_label), ..rule };
        assert!(Standing::sort(nodes(), &BTreeSet::new(), &rule).candidates.is_empty(), "an engine's own label counts");
    }

    #[test]
    fn a_worker_that_did_not_become_a_manager_is_not_tried_again_for_an_hour() {
        let none = BTreeMap::new();
        let rule = rule(&none);
        let ago = |minutes: i64| rule.now - jiff::SignedDuration::from_mins(minutes);
        for (value, again, tried) in [
            (format!("taken-back/{}", ago(59)), false, false),
            (format!("taken-back/{}", ago(59)), true, true),
            (format!("taken-back/{}", ago(60)), false, true),
            // An operator made it a worker again after a run that was killed.
            (ago(59).to_string(), false, false),
            (ago(60).to_string(), false, true),
            ("junk of somebody else".to_owned(), false, true),
        ] {
            let rule = Rule { again, ..rule };
            let standing = Standing::sort(vec![marked(worker("w", ""), &value)], &BTreeSet::new(), &rule);
            assert_eq!(standing.candidates.len(), usize::from(tried), "{value} {again}");
            let is_told = |it: &LeftOut| it.rests && it.why.starts_with("passed over: ");
            assert!(standing.left_out.iter().all(is_told), "{standing:?}");
        }
        // One that would be left out anyway does not rest.
        let drained = with(worker("w", ""), "/Spec/Availability", "drain");
        let standing = sort(vec![marked(drained, &format!("taken-back/{}", ago(1)))]);
        assert!(standing.left_out.iter().all(|it| !it.rests), "{standing:?}");
    }
}
