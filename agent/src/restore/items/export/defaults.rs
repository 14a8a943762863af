//! Fields and labels of a service that no export expresses, on purpose: the engine or the command line sets them by
//! itself.
//!
//! These tables are the only place where something is dropped without being reported.

use serde_json::Value;

/// Place in the spec, and the value with which it is dropped; `None` is any value.
type Default = (&'static str, Option<&'static str>);

const DROPPED: [Default; 8] = [
    // The name is the key, or an operand of the command.
    ("/Name", None),
    // Counts restarts that somebody forced; `docker stack deploy` keeps that of the living service.
    ("/TaskTemplate/ForceUpdate", None),
    // A fact that a registry told of the image, asked again at each deployment.
    ("/TaskTemplate/Placement/Platforms", None),
    // What a spec with a `ContainerSpec` is (moby `daemon/cluster/convert/service.go`).
    ("/TaskTemplate/Runtime", Some("container")),
    // The zero values of swarmkit's enumerations, which the API always returns.
    ("/TaskTemplate/ContainerSpec/Isolation", Some("default")),
    ("/EndpointSpec/Mode", Some("vip")),
    // The profiles that containers have without being asked for (moby `daemon/cluster/executor/container`).
    ("/TaskTemplate/ContainerSpec/Privileges/Seccomp/Mode", Some("default")),
    ("/TaskTemplate/ContainerSpec/Privileges/AppArmor/Mode", Some("default")),
];

/// Labels of a service that `docker stack deploy` sets, whatever the file says (docker/cli
/// `cli/compose/convert/service.go`), so a stack file does not have them; a script has.
pub const LABELS_OF_DEPLOY: [&str; 1] = [
    // How the stack file names the image, by which the next deployment knows whether the file has changed. It becomes
    // what the exported file says, which is the whole name: `busybox` becomes `busybox:latest@sha256:…`.
    "com.docker.stack.image",
];

/// Removes the fields of the table from the spec of a service.
pub fn drop_from(spec: &mut Value) {
    for (place, only) in DROPPED {
        let Some((parent, name)) = place.rsplit_once('/') else { continue };
        let parent = if parent.is_empty() { Some(&mut *spec) } else { spec.pointer_mut(parent) };
        let Some(fields) = parent.and_then(Value::as_object_mut) else { continue };
        if fields.get(name).is_some_and(|value| only.is_none_or(|only| value == only)) {
            fields.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_the_default_is_dropped() {
        let mut spec = json!({
            "Name": "web",
            "TaskTemplate": {
                "ContainerSpec": { "Isolation": "hyperv", "Privileges": { "Seccomp": { "Mode": "unconfined" } } },
                "ForceUpdate": 3,
                "Runtime": "container",
            },
            "EndpointSpec": { "Mode": "vip" },
        });
        drop_from(&mut spec);
        let kept = json!({
            "TaskTemplate": {
                "ContainerSpec": { "Isolation": "hyperv", "Privileges": { "Seccomp": { "Mode": "unconfined" } } },
            },
            "EndpointSpec": {},
        });
        assert_eq!(spec, kept);
    }
}
