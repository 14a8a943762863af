//! Services as `docker service create`: what docker/cli's `cli/command/service/opts.go` makes of it is the spec again.

mod container;
mod task;

use serde_json::Value;
use swarm_state::specs::Item;

use super::{NUL, has_nul, pairs};
use crate::restore::items::export::{command::Command, defaults, index::Index, left_out::LeftOut, rest::Rest};

/// The commands that create a service, and what they cannot set.
#[derive(Debug)]
pub struct Created {
    /// Variables that the command line would take from the shell, since they have no value in the spec.
    pub unset: Vec<String>,
    pub command: Option<Command>,
    pub left: LeftOut,
}

/// Returns how to create a service. `spec` is that of the item, with the image that is wanted.
pub fn create(item: &Item, mut spec: Value, index: &Index<'_>) -> Created {
    let mut left = LeftOut::of(item);
    let why = match spec["TaskTemplate"]["ContainerSpec"].is_object() {
        _ if has_nul(&spec) => Some(NUL),
        false => Some("it does not run containers, and the command line cannot create such a service"),
        true => None,
    };
    if let Some(why) = why {
        left.because("", Value::Null, why);
        return Created { unset: Vec::new(), command: None, left };
    }
    defaults::drop_from(&mut spec);
    let mut rest = Rest::of("", spec);
    let mut task = rest.part("TaskTemplate");
    let mut container = task.part("ContainerSpec");
    let mut command = Command::new("docker service create");
    // The script goes on with the next command and does not wait for tasks.
    command.flag("detach", true);
    command.flag("with-registry-auth", item.has_registry_auth);
    command.option("name", &item.name);
    command.options("label", pairs(&mut rest, "Labels"));
    let mut translation = Translation { index, command, left, unset: Vec::new() };
    task::all(&mut rest, &mut task, &mut translation);
    container::all(&mut container, &mut translation);
    let Translation { mut command, mut left, unset, .. } = translation;
    command.operand(container.text("Image").unwrap_or_default());
    container.texts("Args").into_iter().for_each(|word| command.operand(word));
    for part in [container, task, rest] {
        left.rest(part);
    }
    Created { unset, command: Some(command), left }
}

/// What the parts of a service have in common while they are translated.
#[derive(Debug)]
struct Translation<'t> {
    index: &'t Index<'t>,
    command: Command,
    left: LeftOut,
    unset: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swarm_state::inventory::ObjectKind;

    use super::*;

    fn created(spec: Value) -> Created {
        let named = |kind, id: &str, name: &str| Item::test(kind, id, name, json!({ "Name": name }));
        let items = [
            named(ObjectKind::Network, "n1", "net"),
            named(ObjectKind::Secret, "s1", "key"),
            named(ObjectKind::Config, "c1", "file"),
            named(ObjectKind::Config, "c2", "credentials"),
        ];
        let item = Item { has_registry_auth: true, ..Item::test(ObjectKind::Service, "w1", "web", spec.clone()) };
        create(&item, spec, &Index::of(&items))
    }

    fn least(change: impl FnOnce(&mut Value)) -> (Vec<String>, String) {
        let mut spec = json!({ "Name": "web", "TaskTemplate": { "ContainerSpec": { "Image": "web", "Init": false } } });
        change(&mut spec);
        let created = created(spec);
        let line = created.command.map(|command| command.line()).unwrap_or_default();
        (created.left.fields.iter().map(ToString::to_string).collect(), line)
    }

    fn with_every_option() -> Value {
        json!({
            "Name": "web",
            "Labels": { "a": "b" },
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "web:1", "Command": ["/bin/sh", "it's"], "Args": ["-c", ""], "Hostname": "h",
                    "Labels": { "c": "d" },
                    "Env": ["A=1", "A=2", "NOTHING"], "Dir": "/srv", "User": "1", "Groups": ["7"],
                    "Privileges": { "CredentialSpec": { "Config": "c2", "File": "", "Registry": "" } },
                    "Init": true, "StopSignal": "SIGQUIT", "TTY": true, "ReadOnly": true,
                    "Mounts": [{ "Type": "tmpfs", "Target": "/t" }], "StopGracePeriod": 1_000_000_000,
                    "Healthcheck": { "Test": ["CMD-SHELL", "true || exit 1"], "Interval": 1_000_000_000, "Retries": 4 },
                    "Hosts": ["10.0.0.1 db db2"],
                    "DNSConfig": { "Nameservers": ["10.0.0.2"], "Search": ["x"], "Options": ["ndots:2"] },
                    "Secrets": [{ "SecretID": "s1", "File": { "Name": "k", "UID": "1", "GID": "2", "Mode": 0o400 } }],
                    "Configs": [
                        { "ConfigID": "c1", "File": { "Name": "/f", "UID": "0", "GID": "0", "Mode": 0o444 } },
                        { "ConfigID": "c2", "Runtime": {} },
                    ],
                    "Isolation": "process", "Sysctls": { "s": "1" }, "CapabilityAdd": ["CAP_CHOWN"],
                    "Ulimits": [{ "Name": "nofile", "Soft": 1, "Hard": 2 }], "OomScoreAdj": -5,
                },
                "Resources": {
                    "Limits": { "NanoCPUs": 500_000_000, "MemoryBytes": 1024, "Pids": 7 },
                    "Reservations": { "GenericResources": [{ "DiscreteResourceSpec": { "Kind": "SSD", "Value": 3 } }] },
                },
                "RestartPolicy": { "Condition": "any", "MaxAttempts": 0 },
                "Placement": {
                    "Constraints": ["node.role!=worker"], "MaxReplicas": 2,
                    "Preferences": [{ "Spread": { "SpreadDescriptor": "node.labels.zone" } }],
                },
                "Networks": [{ "Target": "n1", "Aliases": ["w"] }],
                "LogDriver": { "Name": "json-file", "Options": { "max-size": "10m" } },
            },
            "Mode": { "ReplicatedJob": { "MaxConcurrent": 2, "TotalCompletions": 5 } },
            "UpdateConfig": {
                "Parallelism": 3, "FailureAction": "pause", "MaxFailureRatio": 0.3, "Order": "stop-first",
            },
            "EndpointSpec": { "Mode": "dnsrr", "Ports": [
                { "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host" },
            ] },
        })
    }

    #[test]
    fn everything_that_has_an_option_is_set_by_it() {
        let created = created(with_every_option());
        let expected = "docker service create --detach --with-registry-auth --name web --label 'a=b' \
            --mode replicated-job --replicas 5 --max-concurrent 2 --constraint 'node.role!=worker' \
            --placement-pref 'spread=node.labels.zone' --replicas-max-per-node 2 --limit-cpu 0.5 --limit-memory 1024 \
            --limit-pids 7 --generic-resource 'SSD=3' --restart-condition any --restart-max-attempts 0 \
            --update-parallelism 3 --update-delay 0s --update-failure-action pause --update-monitor 0s \
            --update-max-failure-ratio 0.3 --update-order stop-first --network 'name=net,alias=w' \
            --endpoint-mode dnsrr \
            --publish 'published=8080,target=80,protocol=tcp,mode=host' --log-driver json-file \
            --log-opt 'max-size=10m' \
            --entrypoint ''\\''/bin/sh'\\'' '\\''it'\\''\\'\\'''\\''s'\\''' --env 'A=2' --env NOTHING \
            --workdir /srv --user 1 --group 7 --init --tty --read-only --stop-signal SIGQUIT --stop-grace-period 1s \
            --container-label 'c=d' \
            --hostname h --isolation process --host 'db db2:10.0.0.1' --dns 10.0.0.2 --dns-search x \
            --dns-option ndots:2 --sysctl 's=1' --ulimit 'nofile=1:2' --oom-score-adj -5 --health-cmd 'true || exit 1' \
            --health-interval 1s --health-retries 4 --cap-add CAP_CHOWN --credential-spec config://credentials \
            --secret 'source=key,target=k,uid=1,gid=2,mode=0400' \
            --config 'source=file,target=/f,uid=0,gid=0,mode=0444' \
            --mount 'type=tmpfs,target=/t' web:1 -c ''";
        assert_eq!(created.command.expect("is a command").line(), expected);
        assert_eq!(created.unset, ["NOTHING"]);
        let left: Vec<String> = created.left.fields.iter().map(ToString::to_string).collect();
        assert_eq!(left, ["TaskTemplate.ContainerSpec.Env = [\"A=1\"]"]);
    }

    #[test]
    fn what_has_no_option_is_listed() {
        let (fields, line) = least(|spec| {
            let container = &mut spec["TaskTemplate"]["ContainerSpec"];
            container["Init"] = Value::Null;
            container["OpenStdin"] = json!(true);
            container["Privileges"] = json!({ "NoNewPrivileges": true });
            container["Healthcheck"] = json!({ "Test": ["CMD", "true"] });
            container["Later"] = json!(7);
            spec["EndpointSpec"] = json!({ "Ports": [{ "Name": "http", "TargetPort": 80 }] });
        });
        assert_eq!(line, "docker service create --detach --with-registry-auth --name web --publish 'target=80' web");
        let expected = [
            "EndpointSpec.Ports[80].Name = \"http\"",
            "TaskTemplate.ContainerSpec.Init  (it is not set, and `docker service create` sets it to false)",
            "TaskTemplate.ContainerSpec.Healthcheck.Test = [\"CMD\",\"true\"]",
            "TaskTemplate.ContainerSpec.Privileges.NoNewPrivileges = true",
            "TaskTemplate.ContainerSpec.Later = 7",
            "TaskTemplate.ContainerSpec.OpenStdin = true",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_service_without_a_command_is_listed_as_a_whole() {
        let (fields, line) = least(|spec| spec["Labels"] = json!({ "a": "b\0" }));
        assert_eq!((fields, line.as_str()), (vec![NUL.to_owned()], ""));
        let (fields, line) = least(|spec| spec["TaskTemplate"] = json!({ "Runtime": "plugin" }));
        assert!(fields[0].contains("does not run containers") && line.is_empty(), "{fields:?}");
    }
}
