//! A stack with everything that stacks have, as its owner would write it.

use std::{collections::BTreeSet, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use swarmdr_tests::lab::{Engine, Host};

pub const DIR: &str = "/root/shop";
pub const STACK: &str = "shop";
/// Value of the rotated secret, which a container must be able to read.
pub const TLS_KEY: &str = "planted-tls-key";

/// Tasks of services with virtual IPs do not start without IPVS, which these hosts lack: those services wait for a label
/// that no node has.
const STACK_FILE: &str = r#"
version: "3.8"
x-never: &never {constraints: ["node.labels.never == true"]}
services:
  web:
    image: lab/busybox:1
    command: ["sleep", "1000000"]
    init: true
    hostname: "{{.Service.Name}}"
    environment: ["A=1", "EMPTY=", "DOLLAR=$$HOME"]
    labels: {"on.container": ""}
    networks: {front: {aliases: [www]}, back: {}}
    secrets: [{source: tls, target: /run/tls, uid: "7", gid: "8", mode: 0400}, plain]
    configs: [{source: site, target: /etc/site.conf, mode: 0444}]
    healthcheck: {test: ["CMD", "true"], interval: 3s, timeout: 2s, retries: 4, start_period: 1s}
    volumes: ["data:/data:nocopy", {type: tmpfs, target: /scratch, tmpfs: {size: 65536}}]
    stop_grace_period: 1s
    stop_signal: SIGTERM
    ulimits: {nofile: {soft: 1024, hard: 2048}}
    dns: [10.0.0.2]
    extra_hosts: ["db.example:10.0.0.3"]
    cap_add: [NET_ADMIN]
    read_only: true
    deploy:
      endpoint_mode: dnsrr
      replicas: 2
      labels: {tier: front, "traefik.enable": ""}
      update_config: {parallelism: 1, delay: 1s, failure_action: rollback, monitor: 2s, max_failure_ratio: 0.3, order: start-first}
      rollback_config: {parallelism: 2, delay: 500ms, failure_action: continue, order: stop-first}
      restart_policy: {condition: any, delay: 200ms, max_attempts: 5, window: 10s}
      placement: {constraints: ["node.role == manager"], preferences: [{spread: node.labels.zone}], max_replicas_per_node: 4}
  api:
    image: lab/busybox:1
    ports: ["8080:80", {target: 81, published: 8081, protocol: udp, mode: host}]
    networks: [back]
    logging: {driver: json-file, options: {max-size: 10m}}
    deploy:
      resources: {limits: {cpus: "0.5", memory: 64M}, reservations: {memory: 8M}}
      placement: *never
  once:
    image: lab/busybox:1
    command: ["true"]
    networks: [hostnet]
    deploy: {mode: replicated-job, replicas: 2, restart_policy: {condition: none}}
  everywhere:
    image: lab/busybox:1
    networks: [back]
    deploy: {mode: global, placement: *never}
networks:
  front: {driver: overlay, attachable: true, labels: {zone: a}}
  back: {driver: overlay, driver_opts: {com.docker.network.driver.mtu: "1400"}, ipam: {config: [{subnet: 10.77.0.0/24}]}}
  hostnet: {external: true, name: host}
secrets:
  tls: {external: true, name: tls.v2}
  plain: {file: ./plain.secret}
configs:
  site: {file: ./site.conf, template_driver: golang}
volumes:
  data: {labels: {of: shop}}
"#;

/// Returns the file without the job for a client that knows none in stack files.
fn stack_file(engine: Engine) -> String {
    match (engine, STACK_FILE.split_once("  once:\n"), STACK_FILE.split_once("  everywhere:\n")) {
        (Engine::E20_10, Some((before, _)), Some((_, after))) => format!("{before}  everywhere:\n{after}"),
        _ => STACK_FILE.to_owned(),
    }
}

/// Writes the files of the stack, and creates what it calls external: the second version of a rotated secret.
pub fn write(host: &Host) -> Result<()> {
    host.sh(&format!("mkdir -p {DIR}"))?;
    host.write_file(&format!("{DIR}/stack.yml"), stack_file(host.engine()))?;
    host.write_file(&format!("{DIR}/plain.secret"), "planted-plain")?;
    host.write_file(&format!("{DIR}/site.conf"), "server {{.Service.Name}} $1")?;
    host.create_secret("tls.v1", b"planted-old-key")?;
    host.create_secret("tls.v2", TLS_KEY.as_bytes())?;
    host.sh("docker secret rm tls.v1")?;
    Ok(())
}

pub fn deploy(host: &Host) -> Result<()> {
    host.sh(&format!("cd {DIR} && docker stack deploy --resolve-image=never -c stack.yml {STACK}"))?;
    Ok(())
}

/// Waits until what can run runs.
pub fn wait(host: &Host) -> Result<()> {
    host.wait_containers("shop_web", 2)
}

/// Removes the stack and the rotated secret, and waits until nothing of them is left.
pub fn remove(host: &Host) -> Result<()> {
    host.docker(&["stack", "rm", STACK])?;
    host.wait_for("the stack to be gone", Duration::from_secs(90), || {
        let left = host.sh("docker network ls -q --filter label=com.docker.stack.namespace=shop
             docker service ls -q --filter label=com.docker.stack.namespace=shop
             docker ps -q --filter label=com.docker.stack.namespace=shop")?;
        Ok(left.is_empty().then_some(()))
    })?;
    host.wait_for("the secret to be free", Duration::from_secs(60), || {
        Ok(host.docker(&["secret", "rm", "tls.v2"]).ok())
    })?;
    Ok(())
}

/// Checks that a container of the stack reads the secret and the config that was made of its template.
pub fn is_read(host: &Host) -> Result<()> {
    let inside = |file: &str| -> Result<String> {
        let first = "docker ps -q --filter label=com.docker.swarm.service.name=shop_web | head -n 1";
        host.sh(&format!("docker exec $({first}) cat {file}"))
    };
    let read = (inside("/run/tls")?, inside("/run/secrets/plain")?, inside("/etc/site.conf")?);
    let expected = (TLS_KEY.to_owned(), "planted-plain".to_owned(), "server shop_web $1".to_owned());
    ensure!(read == expected, "{read:?}");
    Ok(())
}

/// Returns the ids of all tasks of the stack that are to run.
pub fn tasks(host: &Host) -> Result<Vec<String>> {
    let list = "docker stack ps --filter desired-state=running --no-trunc -q shop | sort";
    Ok(host.sh(list)?.lines().map(str::to_owned).collect())
}

/// Returns everything of the swarm that a user wrote, as the Engine API shows it, with names in place of ids.
pub fn raw_specs(host: &Host) -> Result<Value> {
    let list = |path: &str| list(host, path);
    let networks = list("/networks?filters=%7B%22scope%22%3A%5B%22swarm%22%5D%7D")?;
    let names: Vec<(String, String)> = networks
        .iter()
        .filter_map(|it| Some((it["Id"].as_str()?.to_owned(), it["Name"].as_str()?.to_owned())))
        .collect();
    let mut all = Map::new();
    for network in networks {
        let asked = network["Name"] == "shop_back";
        // Subnets that nobody asked for are those of the day.
        let subnets = if asked { network["IPAM"]["Config"].clone() } else { Value::Null };
        let spec = json!({
            "Driver": network["Driver"], "Attachable": network["Attachable"], "Internal": network["Internal"],
            "Labels": network["Labels"], "Mtu": network["Options"]["com.docker.network.driver.mtu"], "Subnets": subnets,
        });
        all.insert(format!("network {}", text(&network["Name"])?), spec);
    }
    for (kind, path) in [("service", "/services"), ("secret", "/secrets"), ("config", "/configs")] {
        for object in list(path)? {
            let mut spec = object["Spec"].clone();
            if kind == "service" {
                name_references(host, &mut spec, &names)?;
            }
            all.insert(format!("{kind} {}", text(&spec["Name"])?), without_nothing(spec));
        }
    }
    Ok(Value::Object(all))
}

/// Removes what some versions write for "nothing" and others leave out.
fn without_nothing(value: Value) -> Value {
    let is_nothing = |name: &str, value: &Value| value.is_null() || name == "NoNewPrivileges" && *value == false;
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(name, value)| (name, without_nothing(value)));
            Value::Object(kept.filter(|(name, value)| !is_nothing(name, value)).collect())
        }
        Value::Array(values) => values.into_iter().map(without_nothing).collect(),
        other => other,
    }
}

/// Returns the engine's own answer.
fn list(host: &Host, path: &str) -> Result<Vec<Value>> {
    let socket = host.root()?.join("run/docker.sock");
    let answer = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--unix-socket"])
        .arg(socket)
        .arg(format!("http://docker{path}"))
        .output()?;
    ensure!(answer.status.success(), "GET {path}: {}", String::from_utf8_lossy(&answer.stderr));
    let list: Value = serde_json::from_slice(&answer.stdout)?;
    Ok(list.as_array().cloned().unwrap_or_default())
}

/// Replaces the ids of networks by their names, and removes those of secrets and configs, which are named as well.
fn name_references(host: &Host, spec: &mut Value, networks: &[(String, String)]) -> Result<()> {
    for network in spec["TaskTemplate"]["Networks"].as_array_mut().into_iter().flatten() {
        let id = text(&network["Target"])?;
        network["Target"] = match networks.iter().find(|(listed, _)| listed == id) {
            Some((_, name)) => name.as_str().into(),
            // Swarm's copies of the engine's own networks are not listed.
            None => host.docker(&["network", "inspect", "--format", "{{.Name}}", id])?.into(),
        };
    }
    for (list, id) in [("Secrets", "SecretID"), ("Configs", "ConfigID")] {
        for reference in spec["TaskTemplate"]["ContainerSpec"][list].as_array_mut().into_iter().flatten() {
            if let Some(fields) = reference.as_object_mut() {
                fields.remove(id);
            }
        }
    }
    Ok(())
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("has a name")
}

/// Checks that two results of [`raw_specs`] are equal; the error names the objects that are not.
pub fn same(before: &Value, after: &Value) -> Result<()> {
    let (a, b) = (before.as_object().context("specs")?, after.as_object().context("specs")?);
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        let (a, b) = (a.get(name), b.get(name));
        ensure!(a == b, "{name}:\nbefore {a:?}\nafter  {b:?}");
    }
    Ok(())
}
