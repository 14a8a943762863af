//! Whether tasks are as evenly placed as the scheduler would place them.

use std::collections::BTreeMap;

use crate::nodes::{label::Label, roster::Listed};

/// Whether tasks are as evenly placed as the scheduler places them: first over the values of each preference, in their
/// order, and among the nodes with the same values over nodes (swarmkit `manager/scheduler/decision_tree.go`).
pub fn is_even(nodes: &[(&Listed, u64)], preferences: &[Label], most: u64) -> bool {
    let Some((label, others)) = preferences.split_first() else {
        return is_level(nodes.iter().map(|(_, number)| (*number, capacity(1, most))));
    };
    let mut groups: BTreeMap<&str, Vec<(&Listed, u64)>> = BTreeMap::new();
    for (listed, number) in nodes {
        groups.entry(label.of(listed)).or_default().push((*listed, *number));
    }
    let sums =
        groups.values().map(|group| (group.iter().map(|(_, number)| number).sum(), capacity(group.len() as u64, most)));
    is_level(sums) && groups.values().all(|group| is_even(group, others, most))
}

fn capacity(nodes: u64, most: u64) -> u64 {
    if most == 0 { u64::MAX } else { nodes.saturating_mul(most) }
}

/// Whether none has two fewer than another, but those that are full.
fn is_level(counted: impl Iterator<Item = (u64, u64)> + Clone) -> bool {
    let most = counted.clone().map(|(number, _)| number).max().unwrap_or_default();
    counted.into_iter().all(|(number, capacity)| number + 1 >= most || number >= capacity)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(id: &str, zone: &str) -> Listed {
        Listed::of(json!({ "ID": id, "Spec": { "Labels": { "zone": zone } } })).expect("is a node")
    }

    #[test]
    fn preferences_come_before_nodes() {
        let nodes = [node("a", "x"), node("b", "x"), node("c", "x"), node("d", "y")];
        let zone = ["node.labels.zone".parse().expect("is a label")];
        for (placed, most, expected) in [
            ([1, 1, 0, 2], 0, true),
            ([1, 1, 1, 1], 0, false),
            ([2, 0, 0, 2], 0, false),
            // The only node of the second zone is full.
            ([1, 1, 1, 1], 1, true),
        ] {
            let placed: Vec<(&Listed, u64)> = nodes.iter().zip(placed).collect();
            assert_eq!(is_even(&placed, &zone, most), expected, "{placed:?}");
            assert_eq!(is_even(&placed, &[], 0), placed.iter().all(|(_, number)| *number == 1));
        }
    }
}
