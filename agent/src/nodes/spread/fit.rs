//! Which nodes may have tasks of a service (swarmkit `manager/scheduler/filter.go`, `manager/constraint/constraint.go`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::service::{Constraint, Wishes};
use crate::nodes::{label::Label, roster::Listed};

/// What tasks have reserved of each node, by its id.
pub type Reserved = BTreeMap<String, (u64, u64)>;

/// Adds up the reservations of the tasks that are to run.
pub fn reserved<'a>(tasks: impl Iterator<Item = &'a Value>) -> Reserved {
    let mut sums = Reserved::new();
    for task in tasks {
        let Some(node) = task["NodeID"].as_str().filter(|node| !node.is_empty()) else { continue };
        let of = &task["Spec"]["Resources"]["Reservations"];
        let sum = sums.entry(node.to_owned()).or_default();
        sum.0 += of["NanoCPUs"].as_u64().unwrap_or_default();
        sum.1 += of["MemoryBytes"].as_u64().unwrap_or_default();
    }
    sums
}

/// Returns whether a node may have a task, or why that is not known. `has_one` is true for a node that has one already,
/// so that there is room.
pub fn fits(listed: &Listed, wishes: &Wishes, reserved: &Reserved, has_one: bool) -> Result<bool, String> {
    let node = &listed.node;
    if !node.is_ready() || node.availability != "active" {
        return Ok(false);
    }
    for constraint in &wishes.constraints {
        if !is_met(constraint, listed)? {
            return Ok(false);
        }
    }
    Ok(is_of_platform(listed, &wishes.platforms) && (has_one || has_room(listed, wishes, reserved)))
}

fn is_met(constraint: &Constraint, listed: &Listed) -> Result<bool, String> {
    let Constraint { key, is_equal, value } = constraint;
    let (os, architecture) = platform(listed);
    // Keys are compared without their case, and so are values (`constraint.go`, `Match`).
    let lower = key.to_lowercase();
    let own = match lower.as_str() {
        "node.id" => listed.id(),
        "node.hostname" => &listed.node.hostname,
        "node.role" => &listed.node.role,
        "node.platform.os" => os,
        "node.platform.arch" => architecture,
        // Addresses and networks.
        "node.ip" => return Err(format!("its constraint on `{key}` is not judged here")),
        _ => match key.parse::<Label>() {
            Ok(label) => label.of(listed),
            Err(_) => return Err(format!("its constraint on `{key}` is not understood")),
        },
    };
    Ok(own.eq_ignore_ascii_case(value) == *is_equal)
}

fn platform(listed: &Listed) -> (&str, &str) {
    listed.node.platform.as_deref().and_then(|platform| platform.split_once('/')).unwrap_or_default()
}

fn is_of_platform(listed: &Listed, wanted: &[(String, String)]) -> bool {
    let (os, architecture) = platform(listed);
    let same = |wanted: &str, own: &str| wanted.is_empty() || normal(wanted) == normal(own);
    wanted.is_empty() || wanted.iter().any(|(system, kind)| same(system, os) && same(kind, architecture))
}

/// Names that mean the same processor (`filter.go`, `normalizeArch`).
fn normal(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn has_room(listed: &Listed, wishes: &Wishes, reserved: &Reserved) -> bool {
    let of = &listed.raw["Description"]["Resources"];
    let total = |field: &str| of[field].as_u64().unwrap_or(u64::MAX);
    let (cpus, memory) = reserved.get(listed.id()).copied().unwrap_or_default();
    let left = |total: u64, used: u64, wanted: u64| wanted == 0 || total.saturating_sub(used) >= wanted;
    left(total("NanoCPUs"), cpus, wishes.cpus) && left(total("MemoryBytes"), memory, wishes.memory)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node() -> Listed {
        Listed::of(json!({
            "ID": "n1",
            "Spec": { "Role": "worker", "Availability": "active", "Labels": { "zone": "a" } },
            "Description": {
                "Hostname": "h1", "Platform": { "OS": "linux", "Architecture": "x86_64" },
                "Engine": { "Labels": { "disk": "ssd" } },
                "Resources": { "NanoCPUs": 2_000_000_000_u64, "MemoryBytes": 1000 },
            },
            "Status": { "State": "ready" },
        }))
        .expect("is a node")
    }

    fn wishes(template: Value) -> Wishes {
        Wishes::of(&json!({ "TaskTemplate": template })).expect("is judged")
    }

    #[test]
    fn constraints_and_platforms_decide() {
        for (placement, expected) in [
            (json!({}), Ok(true)),
            (json!({ "Constraints": ["node.labels.zone==A", "engine.labels.disk==ssd"] }), Ok(true)),
            (json!({ "Constraints": ["node.labels.zone!=a"] }), Ok(false)),
            (json!({ "Constraints": ["node.labels.none!=a"] }), Ok(true)),
            (json!({ "Constraints": ["node.role==manager"] }), Ok(false)),
            (json!({ "Constraints": ["node.hostname==h1", "node.id==n1", "node.platform.os==linux"] }), Ok(true)),
            (json!({ "Constraints": ["node.ip==10.0.0.1"] }), Err(())),
            (json!({ "Constraints": ["weather==fine"] }), Err(())),
            (json!({ "Platforms": [{ "OS": "linux", "Architecture": "arm64" }] }), Ok(false)),
            (json!({ "Platforms": [{ "OS": "linux", "Architecture": "amd64" }] }), Ok(true)),
        ] {
            let wishes = wishes(json!({ "Placement": placement }));
            let judged = fits(&node(), &wishes, &Reserved::new(), false).map_err(drop);
            assert_eq!(judged, expected, "{placement}");
        }
    }

    #[test]
    fn a_node_without_room_gets_no_more() {
        let wishes = wishes(json!({ "Resources": { "Reservations": { "MemoryBytes": 400 } } }));
        let task = |memory: u64| json!({ "NodeID": "n1", "Spec": { "Resources": { "Reservations": { "MemoryBytes": memory } } } });
        for (used, has_one, expected) in [(600, false, true), (700, false, false), (700, true, true)] {
            let reserved = reserved([task(used)].iter());
            assert_eq!(fits(&node(), &wishes, &reserved, has_one), Ok(expected), "{used} {has_one}");
        }
    }

    #[test]
    fn only_nodes_that_take_tasks_are_meant() {
        for (path, value) in
            [("/Status/State", "down"), ("/Spec/Availability", "drain"), ("/Spec/Availability", "pause")]
        {
            let mut raw = node().raw;
            *raw.pointer_mut(path).expect("is there") = value.into();
            let listed = Listed::of(raw).expect("is a node");
            assert_eq!(fits(&listed, &wishes(json!({})), &Reserved::new(), true), Ok(false), "{value}");
        }
    }
}
