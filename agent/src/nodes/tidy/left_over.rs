//! Nodes that an interrupted run left drained although they have come back.

use anyhow::Result;
use serde_json::Value;

use super::plan::LABEL;
use crate::host::engine::{Engine, listing, view::Node};

/// What makes such nodes active again.
pub const REMEDY: &str = "run `swarmdr-agent node tidy` on the leader, which makes them active again";

/// Returns the names of such nodes, as the engine of a manager lists them.
pub async fn left_over(engine: &Engine) -> Result<Vec<String>> {
    let listed = Value::Array(engine.objects().await?.nodes().await?);
    Ok(named(&listing::nodes(&listed)))
}

/// Returns the names of nodes that are ready, and drained by `node tidy` and not by an operator.
pub fn named(nodes: &[Node]) -> Vec<String> {
    let is_left = |node: &&Node| node.is_ready() && node.availability == "drain" && node.labels.contains_key(LABEL);
    let name = |node: &Node| match node.hostname.as_str() {
        "" => node.id.clone(),
        hostname => format!("{hostname} ({})", node.id),
    };
    nodes.iter().filter(is_left).map(name).collect()
}

/// What is wrong with them, in words.
pub fn told(names: &[String]) -> String {
    format!("ready, and still drained by a `node tidy` that was ended before it was done: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_node_with_the_drain_of_tidy_is_left_over() {
        let node = |id: &str, state: &str, availability: &str, label: bool| Node {
            id: id.to_owned(),
            state: state.to_owned(),
            availability: availability.to_owned(),
            labels: label.then(|| (LABEL.to_owned(), "x".to_owned())).into_iter().collect(),
            ..Node::default()
        };
        let nodes = [
            node("left", "ready", "drain", true),
            node("down", "down", "drain", true),
            node("operators", "ready", "drain", false),
            node("active", "ready", "active", true),
            Node { hostname: "w1".to_owned(), ..node("named", "ready", "drain", true) },
        ];
        assert_eq!(named(&nodes), ["left", "w1 (named)"]);
        assert!(told(&named(&nodes)).ends_with(": left, w1 (named)"));
    }
}
