//! Platforms that a service's image has to run on.

use std::collections::BTreeSet;

use serde_json::Value;
use swarm_state::Inventory;
use swarmdr_registry::Platform;

/// Returns the platforms of the nodes that are recorded.
pub fn of_nodes(inventory: &Inventory) -> BTreeSet<Platform> {
    let nodes = inventory.nodes.iter().filter_map(|node| node.platform.as_deref());
    nodes.filter_map(|platform| platform.parse().ok()).collect()
}

/// Returns what a service wants: the platforms of its placement, since Docker's client writes all there that the image has
/// (`docker/cli`, `service create`), as far as the swarm has such nodes; else those of the nodes that its constraints admit.
pub fn of_service(spec: &Value, nodes: &BTreeSet<Platform>) -> BTreeSet<Platform> {
    let constraints = spec.pointer("/TaskTemplate/Placement/Constraints").and_then(Value::as_array);
    let constraints: Vec<&str> = constraints.into_iter().flatten().filter_map(Value::as_str).collect();
    let admitted: BTreeSet<Platform> =
        nodes.iter().filter(|node| constraints.iter().all(|it| admits(it, node))).cloned().collect();
    // If none is admitted, the service waits for nodes that are not known.
    let nodes = if admitted.is_empty() { nodes } else { &admitted };
    let placed = spec.pointer("/TaskTemplate/Placement/Platforms").and_then(Value::as_array);
    let part = |platform: &Value, name: &str| platform[name].as_str().unwrap_or_default().to_owned();
    let placed: BTreeSet<Platform> = placed
        .into_iter()
        .flatten()
        .map(|it| Platform::new(&part(it, "OS"), &part(it, "Architecture"), ""))
        .filter(|platform| !platform.is_unknown())
        .collect();
    if placed.is_empty() {
        return nodes.clone();
    }
    let usable: BTreeSet<Platform> =
        nodes.iter().filter(|node| placed.iter().any(|placed| placed.takes(node))).cloned().collect();
    if usable.is_empty() { placed } else { usable }
}

/// Whether a constraint admits a node, as far as it is about its platform (swarmkit `manager/constraint/constraint.go`).
fn admits(constraint: &str, node: &Platform) -> bool {
    let (key, value, is_equal) = match (constraint.split_once("!="), constraint.split_once("==")) {
        (Some((key, value)), _) => (key.trim(), value.trim(), false),
        (None, Some((key, value))) => (key.trim(), value.trim(), true),
        (None, None) => return true,
    };
    let wanted = match key.to_lowercase().as_str() {
        "node.platform.arch" => Platform::new("", value, ""),
        "node.platform.os" => Platform::new(value, "", ""),
        _ => return true,
    };
    node.is_of(&wanted) == is_equal
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn platforms(of: &[&str]) -> BTreeSet<Platform> {
        of.iter().map(|text| text.parse().expect("is one")).collect()
    }

    #[test]
    fn placement_counts_as_far_as_there_are_such_nodes() {
        let placed = |platforms: Value| json!({ "TaskTemplate": { "Placement": { "Platforms": platforms } } });
        let constrained = |all: &[&str]| json!({ "TaskTemplate": { "Placement": { "Constraints": all } } });
        let both = json!([{"OS": "linux", "Architecture": "amd64"}, {"OS": "linux", "Architecture": "arm64"}]);
        for (spec, nodes, expected) in [
            (json!({}), &["linux/x86_64"][..], &["linux/amd64"][..]),
            (placed(both.clone()), &["linux/x86_64"], &["linux/amd64"]),
            (placed(both.clone()), &["linux/x86_64", "linux/aarch64"], &["linux/amd64", "linux/arm64"]),
            (placed(both.clone()), &[], &["linux/amd64", "linux/arm64"]),
            (placed(json!([{"OS": "linux", "Architecture": "s390x"}])), &["linux/x86_64"], &["linux/s390x"]),
            (placed(json!([{}])), &["linux/x86_64"], &["linux/amd64"]),
            (json!({}), &[], &[]),
            (constrained(&["node.platform.arch==x86_64"]), &["linux/x86_64", "linux/aarch64"], &["linux/amd64"]),
            (constrained(&["node.platform.arch != aarch64"]), &["linux/x86_64", "linux/aarch64"], &["linux/amd64"]),
            (constrained(&["node.platform.os==windows"]), &["linux/x86_64"], &["linux/amd64"]),
            (constrained(&["node.role==manager", "?"]), &["linux/x86_64"], &["linux/amd64"]),
        ] {
            assert_eq!(of_service(&spec, &platforms(nodes)), platforms(expected), "{spec} {nodes:?}");
        }
    }
}
