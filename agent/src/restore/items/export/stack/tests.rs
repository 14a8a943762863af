use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Value, json};
use swarm_state::inventory::ObjectKind::{Config, Network, Secret, Service};
use swarmdr_registry::ImageMap;

use super::*;
use crate::restore::items::{
    export::layout::Layout,
    selection::{STACK, Selection},
};

fn of_stack(mut spec: Value) -> Value {
    spec["Labels"][STACK] = "shop".into();
    spec
}

fn container() -> Value {
    json!({
        "Image": "web:1@sha256:00",
        "Labels": { STACK: "shop", "price": "5$" },
        "Command": ["sh", "-c"], "Args": ["echo $HOME"], "Hostname": "{{.Node.Hostname}}",
        "Env": ["A=1", "EMPTY=", "NOTHING"], "Dir": "/srv", "User": "1000", "Init": false, "TTY": true,
        "OpenStdin": true, "ReadOnly": true, "StopSignal": "SIGQUIT", "StopGracePeriod": 90_000_000_000_i64,
        "Healthcheck": {
            "Test": ["CMD", "true"], "Interval": 1_000_000_000, "Timeout": 500_000_000,
            "StartPeriod": 1, "StartInterval": 2_000_000_000, "Retries": 3,
        },
        "Hosts": ["10.0.0.1 db db.example", "fd00::1 six"],
        "DNSConfig": { "Nameservers": ["10.0.0.2"], "Search": ["example"] },
        "Mounts": [
            { "Type": "bind", "Source": "/srv", "Target": "/b", "BindOptions": { "Propagation": "rslave" } },
            {
                "Type": "volume", "Source": "shop_data", "Target": "/v", "ReadOnly": true,
                "VolumeOptions": {
                    "NoCopy": true, "Labels": { STACK: "shop", "x": "y" },
                    "DriverConfig": { "Name": "local", "Options": { "type": "nfs" } },
                },
            },
            { "Type": "volume", "Source": "shared", "Target": "/s", "VolumeOptions": {} },
            { "Type": "volume", "Target": "/anonymous" },
            { "Type": "tmpfs", "Target": "/t", "TmpfsOptions": { "SizeBytes": 65536 } },
        ],
        "Secrets": [{
            "SecretID": "s1", "SecretName": "shop_key",
            "File": { "Name": "key", "UID": "0", "GID": "0", "Mode": 0o400 },
        }],
        "Configs": [
            {
                "ConfigID": "c1", "ConfigName": "shop_conf.2",
                "File": { "Name": "/etc/conf", "UID": "0", "GID": "0", "Mode": 0o444 },
            },
            { "ConfigID": "c2", "ConfigName": "credentials", "Runtime": {} },
        ],
        "Privileges": { "CredentialSpec": { "Config": "c2", "File": "", "Registry": "" } },
        "Isolation": "default", "Sysctls": { "net.core.somaxconn": "1024" },
        "CapabilityAdd": ["CAP_NET_ADMIN"], "CapabilityDrop": ["ALL"],
        "Ulimits": [{ "Name": "nofile", "Soft": 1024, "Hard": 2048 }],
    })
}

/// A service with what a stack file can hold, as `docker stack deploy` made it.
fn web() -> Value {
    json!({
        "Name": "shop_web",
        "Labels": { "a": "b", STACK: "shop", "com.docker.stack.image": "web:1" },
        "TaskTemplate": {
            "ContainerSpec": container(),
            "Resources": {
                "Limits": { "NanoCPUs": 1_500_000_000, "MemoryBytes": 1_073_741_824, "Pids": 100 },
                "Reservations": { "GenericResources": [{ "DiscreteResourceSpec": { "Kind": "SSD", "Value": 3 } }] },
            },
            "RestartPolicy": { "Condition": "on-failure", "Delay": 7_000_000_000_i64, "MaxAttempts": 0, "Window": 0 },
            "Placement": {
                "Constraints": ["node.role==worker"], "MaxReplicas": 2, "Platforms": [{ "OS": "linux" }],
                "Preferences": [{ "Spread": { "SpreadDescriptor": "node.labels.zone" } }],
            },
            "Networks": [
                { "Target": "n1", "Aliases": ["shop", "web"] },
                { "Target": "n2", "Aliases": ["web"], "DriverOpts": { "x": "y" } },
                { "Target": "n3" },
            ],
            "LogDriver": { "Name": "json-file", "Options": { "max-size": "10m" } },
            "ForceUpdate": 4, "Runtime": "container",
        },
        "Mode": { "Replicated": { "Replicas": 2 } },
        "UpdateConfig": {
            "Parallelism": 0, "Delay": 5_000_000_001_i64, "FailureAction": "rollback", "MaxFailureRatio": 0.3,
            "Order": "start-first",
        },
        "EndpointSpec": { "Mode": "vip", "Ports": [
            { "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress" },
            { "Protocol": "udp", "TargetPort": 53, "PublishMode": "host" },
        ] },
    })
}

const WEB: &str = r#"version: "3.13"
services:
  "web":
    image: "web:1@sha256:00"
    entrypoint:
      - "sh"
      - "-c"
    command:
      - "echo $$HOME"
    environment:
      "A": "1"
      "EMPTY": ""
      "NOTHING": null
    working_dir: "/srv"
    user: "1000"
    init: false
    tty: true
    stdin_open: true
    stop_signal: "SIGQUIT"
    stop_grace_period: "1m30s"
    healthcheck:
      test:
        - "CMD"
        - "true"
      interval: "1s"
      timeout: "0.5s"
      start_period: "0.000000001s"
      start_interval: "2s"
      retries: 3
    hostname: "{{.Node.Hostname}}"
    read_only: true
    labels:
      "price": "5$$"
    extra_hosts:
      - "db db.example:10.0.0.1"
      - "six:fd00::1"
    dns:
      - "10.0.0.2"
    dns_search:
      - "example"
    sysctls:
      "net.core.somaxconn": "1024"
    ulimits:
      "nofile":
        soft: 1024
        hard: 2048
    cap_add:
      - "CAP_NET_ADMIN"
    cap_drop:
      - "ALL"
    credential_spec:
      config: "credentials"
    secrets:
      - source: "key"
        target: "key"
        uid: "0"
        gid: "0"
        mode: 256 # 0400
    configs:
      - source: "conf.2"
        target: "/etc/conf"
        uid: "0"
        gid: "0"
        mode: 292 # 0444
    volumes:
      - type: "bind"
        source: "/srv"
        target: "/b"
        bind:
          propagation: "rslave"
      - type: "volume"
        volume:
          nocopy: true
        source: "data"
        target: "/v"
        read_only: true
      - type: "volume"
        source: "shared"
        target: "/s"
      - type: "volume"
        target: "/anonymous"
      - type: "tmpfs"
        target: "/t"
        tmpfs:
          size: 65536
    networks:
      "default":
        aliases:
          - "shop"
      "other_net":
        driver_opts:
          "x": "y"
      "host": null
    ports:
      - target: 80
        published: 8080
        protocol: "tcp"
        mode: "ingress"
      - target: 53
        protocol: "udp"
        mode: "host"
    logging:
      driver: "json-file"
      options:
        "max-size": "10m"
    deploy:
      replicas: 2
      labels:
        "a": "b"
      placement:
        constraints:
          - "node.role==worker"
        preferences:
          - spread: "node.labels.zone"
        max_replicas_per_node: 2
      resources:
        limits:
          cpus: "1.5"
          memory: "1073741824"
          pids: 100
        reservations:
          generic_resources:
            - discrete_resource_spec:
                kind: "SSD"
                value: 3
      restart_policy:
        condition: "on-failure"
        delay: "7s"
        window: "0s"
      update_config:
        parallelism: 0
        delay: "5.000000001s"
        failure_action: "rollback"
        max_failure_ratio: 0.3
        order: "start-first"
networks:
  "default":
    name: "shop_default"
    driver: "overlay"
    driver_opts:
      "encrypted": ""
    attachable: true
    ipam:
      driver: "default"
      config:
        - subnet: "10.9.0.0/16"
  "host":
    external: true
    name: "host"
  "other_net":
    external: true
    name: "other_net"
volumes:
  "data":
    name: "shop_data"
    driver: "local"
    driver_opts:
      "type": "nfs"
    labels:
      "x": "y"
  "shared":
    external: true
    name: "shared"
secrets:
  "key":
    external: true
    name: "shop_key"
configs:
  "conf.2":
    name: "shop_conf.2"
    file: "./configs/conf.2"
    template_driver: "golang"
    labels:
      "l": "m"
  "credentials":
    external: true
    name: "credentials"
"#;

fn items(web: Value) -> Vec<Item> {
    let item = |kind, id: &str, spec: Value| {
        let name = spec["Name"].as_str().expect("has a name").to_owned();
        Item::test(kind, id, &name, spec)
    };
    let network = json!({
        "Name": "shop_default", "Driver": "overlay", "Scope": "swarm", "Attachable": true,
        "Options": { "encrypted": "" },
        "IPAM": { "Driver": "default", "Config": [{ "Subnet": "10.9.0.0/16" }] },
    });
    let config = json!({ "Name": "shop_conf.2", "Labels": { "l": "m" }, "Templating": { "Name": "golang" } });
    vec![
        item(Service, "w1", web),
        item(Network, "n1", of_stack(network)),
        item(Network, "n2", json!({ "Name": "other_net" })),
        Item { is_predefined: true, ..item(Network, "n3", json!({ "Name": "host" })) },
        item(Secret, "s1", of_stack(json!({ "Name": "shop_key" }))),
        item(Config, "c1", of_stack(config)),
        item(Config, "c2", json!({ "Name": "credentials" })),
    ]
}

fn planned(items: &[Item], options: &Options) -> Folder {
    let index = Index::of(items);
    let layout = Layout::of(items, &Selection::default(), &index).expect("is laid out");
    plan(&layout.stacks[0], "shop", &index, options, "Made by a test.")
}

fn file<'a>(folder: &'a Folder, name: &str) -> &'a str {
    let file = folder.planned.texts.iter().find(|file| file.path.join("/") == name);
    &file.unwrap_or_else(|| panic!("there is no {name}")).text
}

fn without_comment(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
}

/// Returns what is left out of a service that is [`web`] but for this change.
fn left(change: impl FnOnce(&mut Value)) -> (Vec<String>, String) {
    let mut web = web();
    change(&mut web);
    let folder = planned(&items(web), &Options::default());
    let left = folder.planned.left_out.first();
    let fields = left.into_iter().flat_map(|left| &left.fields).map(ToString::to_string);
    (fields.collect(), left.and_then(|left| left.command.as_ref()).map(Command::line).unwrap_or_default())
}

#[test]
fn everything_that_a_stack_file_holds_is_in_it() {
    let folder = planned(&items(web()), &Options::default());
    let text = file(&folder, "shop/stack.yml");
    assert_eq!(without_comment(text), WEB);
    Yaml::load_from_str(text).expect("is YAML");
    assert!(folder.planned.left_out.is_empty(), "{:?}", folder.planned.left_out);
    let comment: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
    let expected = [
        "# Made by a test.",
        "# First run secrets.sh.",
        "# These have to be there: config `credentials`, network `other_net`, secret `shop_key`.",
        "# Deploy with: env -u EMPTY -u NOTHING docker stack deploy --compose-file stack.yml shop",
        "# Without `env -u`, variables of your shell would replace those that are empty here.",
    ];
    assert_eq!(comment, expected);
    let script = file(&folder, "shop/secrets.sh");
    assert!(script.contains("docker secret create \\\n    --label 'com.docker.stack.namespace=shop'"), "{script}");
    let values: Vec<String> = folder.planned.values.iter().map(|value| value.path.join("/")).collect();
    assert_eq!(values, ["shop/configs/conf.2"]);
}

#[test]
fn values_of_secrets_are_files_if_they_are_wanted() {
    let options = Options { with_secrets: true, ..Options::default() };
    let folder = planned(&items(web()), &options);
    assert!(file(&folder, "shop/stack.yml").contains("name: \"shop_key\"\n    file: \"./secrets/key\"\n"));
    assert!(folder.planned.values.iter().any(|value| value.path.join("/") == "shop/secrets/key"));
    assert!(!folder.planned.texts.iter().any(|file| file.path.join("/") == "shop/secrets.sh"));
}

#[test]
fn the_version_is_the_lowest_that_holds_what_is_used() {
    let version = |change: fn(&mut Value)| {
        let mut least = json!({
            "Name": "shop_web", "TaskTemplate": { "ContainerSpec": { "Image": "web" }, "Networks": [
                { "Target": "n1", "Aliases": ["web"] },
            ] },
        });
        change(&mut least);
        planned(&items(of_stack(least)), &Options::default()).version
    };
    assert_eq!(version(|_| ()), "3.8");
    assert_eq!(version(|spec| spec["TaskTemplate"]["Resources"] = json!({ "Limits": { "Pids": 1 } })), "3.9");
    assert_eq!(version(|spec| spec["Mode"] = json!({ "GlobalJob": {} })), "3.10");
    assert_eq!(
        version(|spec| spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"] = json!({ "StartInterval": 1 })),
        "3.12"
    );
    assert_eq!(version(|spec| spec["TaskTemplate"]["Networks"][0]["DriverOpts"] = json!({ "x": "y" })), "3.13");
}

#[test]
fn what_a_stack_file_cannot_hold_is_listed_with_the_command_that_sets_it() {
    let (fields, command) = left(|web| {
        let container = &mut web["TaskTemplate"]["ContainerSpec"];
        container["Groups"] = json!(["audio"]);
        container["OomScoreAdj"] = json!(-500);
        container["DNSConfig"]["Options"] = json!(["ndots:2"]);
        container["Privileges"]["NoNewPrivileges"] = json!(true);
        container["Privileges"]["Seccomp"] = json!({ "Mode": "unconfined" });
        container["Privileges"]["AppArmor"] = json!({ "Mode": "default" });
        container["Mounts"] = json!([{
            "Type": "bind", "Source": "/s", "Target": "/t", "BindOptions": { "NonRecursive": true },
        }]);
    });
    let expected = [
        "TaskTemplate.ContainerSpec.DNSConfig.Options = [\"ndots:2\"]",
        "TaskTemplate.ContainerSpec.Privileges.NoNewPrivileges = true",
        "TaskTemplate.ContainerSpec.Privileges.Seccomp.Mode = \"unconfined\"",
        "TaskTemplate.ContainerSpec.Mounts[/t].BindOptions.NonRecursive = true",
        "TaskTemplate.ContainerSpec.Groups = [\"audio\"]",
        "TaskTemplate.ContainerSpec.OomScoreAdj = -500",
    ];
    assert_eq!(fields, expected);
    let line = "docker service update --dns-option-add ndots:2 \
        --mount-add 'type=bind,source=/s,target=/t,bind-nonrecursive=true' --group-add audio \
        --oom-score-adj -500 shop_web";
    assert_eq!(command, line);
}

#[test]
fn a_field_that_nobody_knows_is_listed() {
    for place in ["", "/TaskTemplate", "/TaskTemplate/ContainerSpec", "/EndpointSpec", "/Mode", "/UpdateConfig"] {
        let (fields, _) = left(|web| web.pointer_mut(place).expect("is there")["Later"] = json!({ "Field": 7 }));
        let path = place.trim_start_matches('/').replace('/', ".");
        let path = if path.is_empty() { path } else { path + "." };
        assert_eq!(fields, [format!("{path}Later.Field = 7")]);
    }
    for (place, path) in [
        ("/TaskTemplate/ContainerSpec/Mounts/0", "TaskTemplate.ContainerSpec.Mounts[/b].Later"),
        ("/TaskTemplate/ContainerSpec/Secrets/0/File", "TaskTemplate.ContainerSpec.Secrets[shop_key].File.Later"),
        ("/TaskTemplate/Networks/0", "TaskTemplate.Networks[shop_default].Later"),
        ("/EndpointSpec/Ports/0", "EndpointSpec.Ports[80].Later"),
    ] {
        let (fields, _) = left(|web| web.pointer_mut(place).expect("is there")["Later"] = json!(7));
        assert_eq!(fields, [format!("{path} = 7")]);
    }
}

#[test]
fn what_deploying_would_add_is_listed() {
    let (fields, command) = left(|web| web["TaskTemplate"]["Networks"] = json!([]));
    assert!(fields[0].contains("attaches it to shop_default"), "{fields:?}");
    assert_eq!(command, "docker service update --network-rm shop_default shop_web");
    let (fields, command) = left(|web| web["TaskTemplate"]["Networks"] = json!([{ "Target": "n2", "Aliases": ["x"] }]));
    assert_eq!(fields.len(), 1, "{fields:?}");
    let line = "docker service update --network-rm other_net --network-add 'name=other_net,alias=x' shop_web";
    assert_eq!(command, line);
    let (fields, _) = left(|web| {
        web["Mode"] = json!({ "ReplicatedJob": { "MaxConcurrent": 2, "TotalCompletions": 5 } });
    });
    assert!(fields[0].starts_with("Mode.ReplicatedJob.MaxConcurrent = 2"), "{fields:?}");
}

#[test]
fn repetitions_and_what_the_schema_refuses_are_listed() {
    let (fields, _) = left(|web| {
        web["TaskTemplate"]["ContainerSpec"]["Env"] = json!(["A=1", "=x", "A=2"]);
        web["TaskTemplate"]["ContainerSpec"]["Ulimits"] = json!([{ "Name": "A", "Soft": 1, "Hard": 1 }]);
        web["Labels"][""] = json!("x");
        web["TaskTemplate"]["Networks"][1]["Target"] = json!("gone");
    });
    let expected = [
        "TaskTemplate.ContainerSpec.Ulimits = [{\"Hard\":1,\"Name\":\"A\",\"Soft\":1}]",
        "TaskTemplate.Networks = {\"Aliases\":[\"web\"],\"DriverOpts\":{\"x\":\"y\"},\"Target\":\"gone\"}  \
            (the backup has no network with this id)",
        "TaskTemplate.ContainerSpec.Env = [\"A=1\",\"=x\"]",
        "Labels = \"x\"",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn networks_that_a_stack_file_cannot_hold_are_made_by_a_script() {
    let mut items = items(web());
    items[1].spec["IPAM"]["Config"][0]["Gateway"] = json!("10.9.0.9");
    let unused = of_stack(json!({ "Name": "shop_unused", "Driver": "overlay", "Scope": "swarm" }));
    items.push(Item::test(Network, "n4", "shop_unused", unused));
    let folder = planned(&items, &Options::default());
    let stack = file(&folder, "shop/stack.yml");
    assert!(stack.contains("\"default\":\n    external: true\n    name: \"shop_default\"\n"), "{stack}");
    assert!(stack.contains("# First run networks.sh."), "{stack}");
    let script = file(&folder, "shop/networks.sh");
    assert!(script.contains("--gateway 10.9.0.9"), "{script}");
    assert!(script.contains("--label 'com.docker.stack.namespace=shop'"), "it stays one of the stack: {script}");
    assert!(script.contains("shop_unused"), "{script}");
}

#[test]
fn volumes_are_defined_once_and_another_definition_is_listed() {
    let (fields, command) = left(|web| {
        let mounts = &mut web["TaskTemplate"]["ContainerSpec"]["Mounts"];
        let mut second = mounts[1].clone();
        second["Target"] = json!("/v2");
        second["VolumeOptions"]["Labels"]["x"] = json!("z");
        mounts.as_array_mut().expect("is a list").push(second);
    });
    assert_eq!(fields.len(), 1, "{fields:?}");
    assert!(fields[0].contains("in another way"), "{fields:?}");
    assert!(command.contains("volume-label=x=z"), "{command}");
}

#[test]
fn images_are_mapped() {
    let images = ImageMap::new(vec!["web=registry.new/web".parse().expect("is a rule")]);
    let folder = planned(&items(web()), &Options { images, ..Options::default() });
    assert!(file(&folder, "shop/stack.yml").contains("image: \"registry.new/web:1@sha256:00\""));
}

/// Each service is looked at once and each reference is found without a search, so twice as many services are twice as
/// much text and not more work for each.
#[test]
fn a_thousand_services_are_as_much_work_each_as_one() {
    let many = |number: usize| {
        let mut items = items(web());
        items.extend((0..number).map(|at| {
            let mut spec = web();
            let name = format!("shop_web{at}");
            spec["Name"] = name.clone().into();
            Item::test(Service, &format!("id{at}"), &name, spec)
        }));
        let folder = planned(&items, &Options::default());
        let document = Yaml::load_from_str(file(&folder, "shop/stack.yml")).expect("is YAML");
        let services = document[0]["services"].as_mapping().expect("is a mapping").len();
        let networks = document[0]["networks"].as_mapping().expect("is a mapping").len();
        (services, networks, folder.planned.texts.len())
    };
    // The key of one of them is not its alias, which is listed in one more file.
    assert_eq!(many(1), (2, 3, 3));
    assert_eq!(many(1000), (1001, 3, 3));
}
