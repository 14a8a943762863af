//! The section `deploy` of a service.

use serde_json::Value;

use super::translation::Translation;
use crate::restore::items::export::{
    rest::Rest,
    units::{LARGEST_SIZE, cpus, duration},
    yaml::{Map, Node},
};

/// Version of the format that has `pids`; earlier ones refuse it.
const WITH_PIDS: u64 = 9;

/// Version of the format that came to the command line with jobs. The schema takes any mode, so 20.10 would create the
/// networks, secrets and configs of a file with an earlier version, and then fail.
const WITH_JOBS: u64 = 10;

/// Takes mode, policies, resources and placement. `labels` are those of the service.
pub fn section(
    labels: Map,
    rest: &mut Rest,
    task: &mut Rest,
    endpoint: &mut Rest,
    of: &mut Translation<'_, '_>,
) -> Map {
    let mut map = Map::default();
    mode(rest, &mut map, of);
    map.set_filled("labels", labels);
    map.set_some("endpoint_mode", endpoint.text("Mode"));
    map.set_filled("placement", placement(task, of));
    map.set_filled("resources", resources(task, of));
    map.set_filled("restart_policy", restart_policy(task, of));
    for (key, name) in [("update_config", "UpdateConfig"), ("rollback_config", "RollbackConfig")] {
        map.set_filled(key, update_config(rest.part(name), of));
    }
    map
}

/// Takes the mode. `replicas` sets both numbers of a job, and `docker service update` has no option that sets one of
/// them (docker/cli `cli/command/service/update.go` reads `--max-concurrent` nowhere, and `--replicas` for services
/// that are no jobs).
fn mode(rest: &mut Rest, map: &mut Map, of: &mut Translation<'_, '_>) {
    let mut mode = rest.part("Mode");
    for (name, word) in [("Global", "global"), ("GlobalJob", "global-job")] {
        if mode.has(name) {
            map.set("mode", word);
        }
    }
    if mode.has("GlobalJob") || mode.has("ReplicatedJob") {
        of.document.need(WITH_JOBS);
    }
    if mode.has("Replicated") {
        let mut replicated = mode.part("Replicated");
        map.set_some("replicas", replicated.natural("Replicas"));
        of.left.rest(replicated);
    }
    if mode.has("ReplicatedJob") {
        let mut job = mode.part("ReplicatedJob");
        map.set("mode", "replicated-job");
        let (total, concurrent) = (job.natural("TotalCompletions"), job.natural("MaxConcurrent"));
        map.set_some("replicas", total);
        if let Some(concurrent) = concurrent.filter(|_| concurrent != total) {
            let why =
                "a stack file sets it to the number of completions, and no option of `docker service update` sets it";
            of.left.because(job.path("MaxConcurrent"), concurrent, why);
        }
        of.left.rest(job);
    }
    of.left.rest(mode);
}

fn placement(task: &mut Rest, of: &mut Translation<'_, '_>) -> Map {
    let mut placement = task.part("Placement");
    let mut map = Map::default();
    map.set_filled("constraints", placement.texts("Constraints"));
    let mut refused = Vec::new();
    let mut preferences: Vec<Node> = Vec::new();
    for preference in placement.list("Preferences") {
        match preference.pointer("/Spread/SpreadDescriptor").and_then(Value::as_str) {
            Some(descriptor) => {
                let mut spread = Map::default();
                spread.set("spread", descriptor);
                preferences.push(spread.into());
            }
            None => refused.push(preference),
        }
    }
    placement.put("Preferences", refused);
    map.set_filled("preferences", preferences);
    map.set_some("max_replicas_per_node", placement.natural("MaxReplicas"));
    of.left.rest(placement);
    map
}

fn resources(task: &mut Rest, of: &mut Translation<'_, '_>) -> Map {
    let mut resources = task.part("Resources");
    let mut map = Map::default();
    let mut limits = resources.part("Limits");
    let mut limited = amounts(&mut limits);
    if let Some(pids) = limits.integer("Pids") {
        of.document.need(WITH_PIDS);
        limited.set("pids", pids);
    }
    map.set_filled("limits", limited);
    of.left.rest(limits);
    let mut reservations = resources.part("Reservations");
    let mut reserved = amounts(&mut reservations);
    reserved.set_filled("generic_resources", generic_resources(&mut reservations));
    map.set_filled("reservations", reserved);
    of.left.rest(reservations);
    of.left.rest(resources);
    map
}

/// Takes processors and memory, which are texts there. A size that go-units would round stays.
fn amounts(part: &mut Rest) -> Map {
    let mut map = Map::default();
    map.set_some("cpus", part.natural("NanoCPUs").map(cpus));
    match part.natural("MemoryBytes") {
        Some(bytes) if bytes > LARGEST_SIZE => part.put("MemoryBytes", bytes),
        bytes => map.set_some("memory", bytes.map(|bytes| bytes.to_string())),
    }
    map
}

/// Takes resources that are counted; those with names have no place there.
fn generic_resources(part: &mut Rest) -> Vec<Node> {
    let mut held = Vec::new();
    let mut refused = Vec::new();
    for resource in part.list("GenericResources") {
        let discrete = &resource["DiscreteResourceSpec"];
        match (discrete["Kind"].as_str(), discrete["Value"].as_i64().unwrap_or_default()) {
            (Some(kind), value) => {
                let (mut outer, mut inner) = (Map::default(), Map::default());
                inner.set("kind", kind);
                inner.set("value", value);
                outer.set("discrete_resource_spec", inner);
                held.push(outer.into());
            }
            (None, _) => refused.push(resource),
        }
    }
    part.put("GenericResources", refused);
    held
}

fn restart_policy(task: &mut Rest, of: &mut Translation<'_, '_>) -> Map {
    let mut policy = task.part("RestartPolicy");
    let mut map = Map::default();
    map.set_some("condition", policy.text("Condition"));
    map.set_some("delay", policy.integer("Delay").map(duration));
    // Without it the engine stores 0 as well.
    map.set_some("max_attempts", policy.natural("MaxAttempts").filter(|attempts| *attempts > 0));
    map.set_some("window", policy.integer("Window").map(duration));
    of.left.rest(policy);
    map
}

fn update_config(mut config: Rest, of: &mut Translation<'_, '_>) -> Map {
    let mut map = Map::default();
    // 1 without it, and 0 is all at once.
    map.set_some("parallelism", config.natural("Parallelism"));
    map.set_some("delay", config.integer("Delay").map(duration));
    map.set_some("failure_action", config.text("FailureAction"));
    map.set_some("monitor", config.integer("Monitor").map(duration));
    if let Some(Value::Number(ratio)) = config.any("MaxFailureRatio").filter(|ratio| ratio.as_f64() != Some(0.0)) {
        map.set("max_failure_ratio", ratio);
    }
    map.set_some("order", config.text("Order"));
    of.left.rest(config);
    map
}
