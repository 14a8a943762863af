//! Services, as moby's `daemon/cluster/convert/service.go` converts them.

use prost::Message;
use serde_json::{Value, json};

use super::{
    container,
    json::{Object, driver, float, map, named, nanoseconds, number},
    messages::{
        EndpointSpec, GenericResource, GenericRuntimeSpec, NetworkAttachmentConfig, Placement, PluginSpec, PortConfig,
        ResourceRequirements, Resources, RestartPolicy, ServiceSpec, TaskSpec, UpdateConfig,
    },
};

/// Runtime of services that install plugins.
pub(super) const PLUGIN: &str = "plugin";

/// Returns the spec as `GET /services` does, without registry credentials.
pub(super) fn spec(spec: ServiceSpec) -> Value {
    let annotations = spec.annotations.clone().unwrap_or_default();
    let mode = mode(&spec);
    let mut task = spec.task.unwrap_or_default();
    // Engines before 17.06 stored the networks in the service spec, not in the task spec.
    if task.networks.is_empty() {
        task.networks = spec.networks;
    }
    Object::default()
        .text("Name", annotations.name)
        .set("Labels", map(annotations.labels))
        .set("TaskTemplate", task_template(task))
        .set("Mode", mode)
        .some("UpdateConfig", spec.update.map(update_config))
        .some("RollbackConfig", spec.rollback.map(update_config))
        .some("EndpointSpec", spec.endpoint.map(endpoint))
        .into()
}

fn mode(spec: &ServiceSpec) -> Value {
    if let Some(replicated) = spec.replicated {
        json!({ "Replicated": { "Replicas": replicated.replicas } })
    } else if spec.global.is_some() {
        json!({ "Global": {} })
    } else if let Some(job) = spec.replicated_job {
        let (concurrent, total) = (job.max_concurrent, job.total_completions);
        json!({ "ReplicatedJob": { "MaxConcurrent": concurrent, "TotalCompletions": total } })
    } else if spec.global_job.is_some() {
        json!({ "GlobalJob": {} })
    } else {
        json!({})
    }
}

fn task_template(task: TaskSpec) -> Value {
    let pids = task.container.as_ref().map_or(0, |container| container.pids_limit);
    let runtime = match (&task.container, &task.generic) {
        (Some(_), _) => "container".to_owned(),
        (None, Some(generic)) => generic.kind.clone(),
        (None, None) => String::new(),
    };
    let attachment = task.attachment.map(|attachment| json!({ "ContainerID": attachment.container_id }));
    Object::default()
        .some("ContainerSpec", task.container.map(container::spec))
        .some("PluginSpec", task.generic.and_then(plugin))
        .some("NetworkAttachmentSpec", attachment)
        .some("Resources", resources(task.resources, pids))
        .some("RestartPolicy", task.restart.map(restart_policy))
        .some("Placement", task.placement.map(placement))
        .list("Networks", task.networks.into_iter().map(network).collect())
        .some("LogDriver", task.log_driver.map(driver))
        .set("ForceUpdate", task.force_update)
        .text("Runtime", runtime)
        .into()
}

fn plugin(generic: GenericRuntimeSpec) -> Option<Value> {
    if generic.kind != PLUGIN {
        return None;
    }
    let plugin = PluginSpec::decode(generic.payload?.value.as_slice()).ok()?;
    let privileges = plugin.privileges.into_iter().map(|privilege| {
        let object = Object::default().text("name", privilege.name).text("description", privilege.description);
        object.texts("value", privilege.value).into()
    });
    let object = Object::default()
        .text("name", plugin.name)
        .text("remote", plugin.remote)
        .list("privileges", privileges.collect())
        .flag("disabled", plugin.disabled)
        .texts("env", plugin.env);
    Some(object.into())
}

/// `pids` is the limit of processes, which swarmkit stores in the container.
fn resources(resources: Option<ResourceRequirements>, pids: i64) -> Option<Value> {
    if resources.is_none() && pids == 0 {
        return None;
    }
    let resources = resources.unwrap_or_default();
    let limits = match (resources.limits, pids) {
        (None, 0) => None,
        (limits, pids) => Some(amounts(limits.unwrap_or_default()).number("Pids", pids)),
    };
    let object = Object::default()
        .some("Limits", limits)
        .some("Reservations", resources.reservations.map(amounts))
        .some("SwapBytes", resources.swap_bytes.map(|swap| swap.value))
        .some("MemorySwappiness", resources.memory_swappiness.map(|swappiness| swappiness.value));
    Some(object.into())
}

fn amounts(resources: Resources) -> Object {
    Object::default()
        .number("NanoCPUs", resources.nano_cpus)
        .number("MemoryBytes", resources.memory_bytes)
        .list("GenericResources", resources.generic.into_iter().map(generic_resource).collect())
}

fn generic_resource(resource: GenericResource) -> Value {
    let named = resource.named_resource_spec;
    let named = named.map(|named| Object::default().text("Kind", named.kind).text("Value", named.value));
    let discrete = resource.discrete_resource_spec;
    let discrete =
        discrete.map(|discrete| Object::default().text("Kind", discrete.kind).number("Value", discrete.value));
    Object::default().some("NamedResourceSpec", named).some("DiscreteResourceSpec", discrete).into()
}

fn restart_policy(policy: RestartPolicy) -> Value {
    Object::default()
        .set("Condition", named(policy.condition, &["none", "on-failure", "any"]))
        .some("Delay", policy.delay.map(nanoseconds))
        .set("MaxAttempts", policy.max_attempts)
        .some("Window", policy.window.map(nanoseconds))
        .into()
}

fn placement(placement: Placement) -> Value {
    let preferences = placement.preferences.into_iter().filter_map(|preference| preference.spread);
    let preferences = preferences.map(|spread| json!({ "Spread": { "SpreadDescriptor": spread.spread_descriptor } }));
    let platforms = placement
        .platforms
        .into_iter()
        .map(|platform| Object::default().text("Architecture", platform.architecture).text("OS", platform.os).into());
    Object::default()
        .texts("Constraints", placement.constraints)
        .list("Preferences", preferences.collect())
        .number("MaxReplicas", placement.max_replicas)
        .list("Platforms", platforms.collect())
        .into()
}

fn network(network: NetworkAttachmentConfig) -> Value {
    Object::default()
        .text("Target", network.target)
        .texts("Aliases", network.aliases)
        .map("DriverOpts", network.driver_attachment_opts)
        .into()
}

fn update_config(config: UpdateConfig) -> Value {
    Object::default()
        .set("Parallelism", number(config.parallelism.into()))
        .number("Delay", config.delay.map_or(0, nanoseconds))
        .set("FailureAction", named(config.failure_action, &["pause", "continue", "rollback"]))
        .number("Monitor", config.monitor.map_or(0, nanoseconds))
        .set("MaxFailureRatio", float(config.max_failure_ratio))
        .set("Order", named(config.order, &["stop-first", "start-first"]))
        .into()
}

fn endpoint(endpoint: EndpointSpec) -> Value {
    Object::default()
        .set("Mode", named(endpoint.mode, &["vip", "dnsrr"]))
        .list("Ports", endpoint.ports.into_iter().map(port).collect())
        .into()
}

fn port(port: PortConfig) -> Value {
    Object::default()
        .text("Name", port.name)
        .set("Protocol", named(port.protocol, &["tcp", "udp", "sctp"]))
        .number("TargetPort", port.target_port)
        .number("PublishedPort", port.published_port)
        .set("PublishMode", named(port.publish_mode, &["ingress", "host"]))
        .into()
}
