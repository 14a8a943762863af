//! Options that are about the tasks: how many, where, with what, and how they are replaced.

use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use super::Translation;
use crate::restore::items::export::{
    rest::Rest,
    script::{network, pairs},
    units::{LARGEST_SIZE, cpus, duration},
};

/// Takes what the options can set.
pub fn all(rest: &mut Rest, task: &mut Rest, of: &mut Translation<'_>) {
    mode(rest, of);
    placement(task, of);
    resources(task, of);
    restart_policy(task, of);
    for (prefix, name) in [("update", "UpdateConfig"), ("rollback", "RollbackConfig")] {
        if rest.has(name) {
            update_config(prefix, rest.part(name), of);
        }
    }
    networks(task, of);
    endpoint(rest, of);
    let mut driver = task.part("LogDriver");
    of.command.option_some("log-driver", driver.text("Name"));
    of.command.options("log-opt", pairs(&mut driver, "Options"));
    of.left.rest(driver);
}

fn mode(rest: &mut Rest, of: &mut Translation<'_>) {
    let mut mode = rest.part("Mode");
    for (name, word) in [("Global", "global"), ("GlobalJob", "global-job"), ("ReplicatedJob", "replicated-job")] {
        of.command.options("mode", mode.has(name).then_some(word));
    }
    for (part, name, option) in [
        ("Replicated", "Replicas", "replicas"),
        ("ReplicatedJob", "TotalCompletions", "replicas"),
        ("ReplicatedJob", "MaxConcurrent", "max-concurrent"),
    ] {
        let mut inner = mode.part(part);
        of.command.option_some(option, inner.natural(name).map(|number| number.to_string()));
        mode.put(part, inner.into_fields());
    }
    of.left.rest(mode);
}

fn placement(task: &mut Rest, of: &mut Translation<'_>) {
    let mut placement = task.part("Placement");
    of.command.options("constraint", placement.texts("Constraints"));
    let mut refused = Vec::new();
    for preference in placement.list("Preferences") {
        match preference.pointer("/Spread/SpreadDescriptor").and_then(Value::as_str) {
            Some(descriptor) if !descriptor.is_empty() => {
                of.command.option("placement-pref", format!("spread={descriptor}"));
            }
            _ => refused.push(preference),
        }
    }
    placement.put("Preferences", refused);
    of.command.option_some("replicas-max-per-node", placement.natural("MaxReplicas").map(|most| most.to_string()));
    of.left.rest(placement);
}

fn resources(task: &mut Rest, of: &mut Translation<'_>) {
    let mut resources = task.part("Resources");
    for (prefix, name) in [("limit", "Limits"), ("reserve", "Reservations")] {
        let mut part = resources.part(name);
        of.command.option_some(&format!("{prefix}-cpu"), part.natural("NanoCPUs").map(cpus));
        match part.natural("MemoryBytes") {
            // go-units would round it.
            Some(bytes) if bytes > LARGEST_SIZE => part.put("MemoryBytes", bytes),
            bytes => of.command.option_some(&format!("{prefix}-memory"), bytes.map(|bytes| bytes.to_string())),
        }
        if name == "Limits" {
            of.command.option_some("limit-pids", part.integer("Pids").map(|pids| pids.to_string()));
        } else {
            generic_resources(&mut part, of);
        }
        of.left.rest(part);
    }
    of.left.rest(resources);
}

/// Takes resources that are counted; those with names have no option.
fn generic_resources(part: &mut Rest, of: &mut Translation<'_>) {
    let mut refused = Vec::new();
    for resource in part.list("GenericResources") {
        let discrete = &resource["DiscreteResourceSpec"];
        match (discrete["Kind"].as_str(), discrete["Value"].as_i64()) {
            (Some(kind), Some(value)) => of.command.option("generic-resource", format!("{kind}={value}")),
            _ => refused.push(resource),
        }
    }
    part.put("GenericResources", refused);
}

/// Takes the restart policy. One option makes the others the defaults of the command line, so all that the spec has are
/// given; a delay of 5 s, which the command line adds to one without, is what swarm takes for none.
fn restart_policy(task: &mut Rest, of: &mut Translation<'_>) {
    let mut policy = task.part("RestartPolicy");
    of.command.option_some("restart-condition", policy.text("Condition"));
    of.command.option_some("restart-delay", policy.integer("Delay").map(duration));
    of.command.option_some("restart-max-attempts", policy.natural("MaxAttempts").map(|most| most.to_string()));
    of.command.option_some("restart-window", policy.integer("Window").map(duration));
    of.left.rest(policy);
}

/// Takes a policy of updates. One option makes the others the defaults of the command line, so all are given.
fn update_config(prefix: &str, mut config: Rest, of: &mut Translation<'_>) {
    let ratio = config.any("MaxFailureRatio").unwrap_or_else(|| 0.into());
    let options = [
        ("parallelism", config.natural("Parallelism").map(|number| number.to_string())),
        ("delay", Some(duration(config.integer("Delay").unwrap_or_default()))),
        ("failure-action", config.text("FailureAction")),
        ("monitor", Some(duration(config.integer("Monitor").unwrap_or_default()))),
        ("max-failure-ratio", Some(ratio.to_string())),
        ("order", config.text("Order")),
    ];
    for (name, value) in options {
        of.command.option_some(&format!("{prefix}-{name}"), value);
    }
    of.left.rest(config);
}

fn networks(task: &mut Rest, of: &mut Translation<'_>) {
    let path = task.path("Networks");
    for value in task.list("Networks") {
        let id = value["Target"].as_str().unwrap_or_default();
        let Some(network) = of.index.get(ObjectKind::Network, id) else {
            of.left.because(&path, value, "the backup has no network with this id");
            continue;
        };
        let (option, rest) = network::attachment(&network.name, &value);
        of.command.option("network", option);
        for (field, value) in rest.into_leaves() {
            of.left.field(format!("{path}{field}"), value);
        }
    }
}

fn endpoint(rest: &mut Rest, of: &mut Translation<'_>) {
    let mut endpoint = rest.part("EndpointSpec");
    of.command.option_some("endpoint-mode", endpoint.text("Mode"));
    let path = endpoint.path("Ports");
    for port in endpoint.list("Ports") {
        let mut rest = Rest::of(format!("{path}[{}]", port["TargetPort"]), port);
        let parts = [
            ("published", rest.natural("PublishedPort").map(|port| port.to_string())),
            ("target", rest.natural("TargetPort").map(|port| port.to_string())),
            ("protocol", rest.text("Protocol")),
            ("mode", rest.text("PublishMode")),
        ];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        of.command.option("publish", parts.collect::<Vec<_>>().join(","));
        of.left.rest(rest);
    }
    of.left.rest(endpoint);
}
