//! Swarms that no client expects: an engine's lists of them differ from its log, or cannot be read by a client.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, IMAGE, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, describe_swarm},
};

use super::{LIMIT, RESTORE, fill, fresh, generations, text};

#[tokio::test]
async fn what_engines_tell_badly_is_backed_up_rehearsed_and_restored() -> Result<()> {
    for engine in generations() {
        come_back(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

async fn come_back(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    odd_swarm(&host)?;
    site.set_up_manager(&host)?;
    site.set_up_restorer(&host)?;
    let made = agent_json(&host, 0, &["backup"])?;
    let counts = (made["counts"]["services"].as_u64(), made["counts"]["networks"].as_u64());
    assert_eq!(counts, (Some(2), Some(10)), "{made:#}");
    let rehearsed = agent_json(&host, 0, &["drill", text(&made, "/id")?, "--identity", IDENTITY])?;
    assert_eq!(rehearsed["outcome"], "proven", "{rehearsed:#}");
    junk_of_every_type(&host)?;
    let (before, odd) = (describe_swarm(&host)?, listed(&host)?);
    host.destroy()?;

    let host = fresh(&site, engine)?;
    agent_json(&host, 0, &RESTORE)?;
    assert_eq!(describe_swarm(&host)?, before);
    assert_eq!(listed(&host)?, odd);
    Ok(())
}

/// Makes a swarm with networks that were never allocated because their subnets overlap or the pool is exhausted, one
/// network with IPv6, a service that installs a plugin, and numbers too large for signed integers.
fn odd_swarm(host: &Host) -> Result<()> {
    // Without this option an engine accepts no plugin services.
    host.write_file("/etc/docker/daemon.json", r#"{"experimental": true}"#)?;
    host.sh("systemctl restart docker.service")?;
    host.wait_engine()?;
    let addr = host.addr();
    // The pool has four subnets, of which ingress takes one.
    host.sh(&format!(
        "docker swarm init --advertise-addr {addr} --listen-addr {addr}:2377 \
             --default-addr-pool 10.20.0.0/26 --default-addr-pool-mask-length 28 >/dev/null"
    ))?;
    host.wait_manager()?;
    fill(host)?;
    host.sh(&format!(
        "for n in 1 2 3 4; do docker network create -d overlay pool-$n >/dev/null; done
         for n in 1 2; do docker network create -d overlay --subnet 10.30.0.0/24 overlaps-$n >/dev/null; done
         docker network create -d overlay --ipv6 --subnet fd00:30::/64 --subnet 10.31.0.0/24 six >/dev/null
         docker network create -d overlay --subnet 10.32.0.77/24 host-bits >/dev/null || \
             docker network create -d overlay --subnet 10.32.0.0/24 host-bits >/dev/null
         docker service create --detach --no-resolve-image --name endless --replicas 0 --network six \
             --restart-max-attempts 18446744073709551615 --update-parallelism 9223372036854775808 {IMAGE} >/dev/null
         docker swarm update --snapshot-interval 9223372036854775808 >/dev/null"
    ))?;
    let service = r#"{"Name": "plugged", "Mode": {"Global": {}},
        "TaskTemplate": {"Runtime": "plugin", "Placement": {"Constraints": ["node.labels.plugs==in"]},
            "PluginSpec": {"name": "plugged", "remote": "lab/none:1", "disabled": true}}}"#;
    post(host, "/services/create", service)?;
    // Seen: 28.5 cannot allocate the IPv6 network either ("cannot find address pool").
    let expected = if host.engine() == Engine::E28_5 { "4" } else { "3" };
    let not_allocated = "docker network ls --filter scope=swarm --format '{{.Name}}:{{.Driver}}' | grep -c ':$'";
    host.wait_for("the networks that can be allocated", LIMIT, || {
        Ok((host.sh(not_allocated).unwrap_or_default() == expected).then_some(()))
    })?;
    ensure!(host.docker(&["service", "ls", "--quiet"])?.lines().count() == 1, "the plugin service is listed");
    Ok(())
}

/// Puts files into the state directory that no engine wrote: each is kept or excluded, and reported if it is excluded.
/// A file that an engine needs and no archive can hold is refused before the engine is touched; a dry run says the
/// same.
fn junk_of_every_type(host: &Host) -> Result<()> {
    let state = "/var/lib/docker/swarm";
    host.sh(&format!(
        "cd {state}; mkfifo pipe; mknod device c 1 3; ln -s /etc link; ln docker-state.json hard-link
         touch \"$(printf 'latin-\\351')\"; truncate -s 9G raft/sparse"
    ))?;
    let planned = agent_json(host, 0, &["backup", "--dry-run"])?;
    let made = agent_json(host, 6, &["backup"])?;
    for junk in ["pipe", "device", "link", "latin-\\xe9", "raft/sparse"] {
        let told = |list: &serde_json::Value| {
            let lines = list.as_array().into_iter().flatten().filter_map(|line| line.as_str());
            lines
                .filter(|line| line.starts_with(&format!("{junk} in the state directory is not in the backup")))
                .count()
        };
        ensure!((told(&planned["notes"]), told(&made["attention"])) == (1, 1), "{junk}: {planned:#} {made:#}");
    }
    ensure!(made["attention"].as_array().map(Vec::len) == Some(5), "{made:#}");
    host.wait_manager()?;

    let (needed, elsewhere) = (format!("{state}/certificates/swarm-root-ca.crt"), "/root/swarm-root-ca.crt");
    host.sh(&format!("mv {needed} {elsewhere}; ln -s {elsewhere} {needed}"))?;
    let run = "systemctl show --property=InvocationID docker.service";
    let before = host.sh(run)?;
    for args in [&["backup"][..], &["backup", "--dry-run"]] {
        let refused = agent_json(host, 4, args)?;
        ensure!(text(&refused, "/error")?.contains("swarm-root-ca.crt cannot be backed up"), "{refused:#}");
    }
    ensure!(host.sh(run)? == before, "the engine was touched");
    host.sh(&format!("mv {elsewhere} {needed}")).map(drop)
}

/// Lists what `describe_swarm` does not: the networks by id, what the engine says about them, and the odd services.
fn listed(host: &Host) -> Result<String> {
    host.sh("docker network ls --no-trunc --filter scope=swarm --format '{{.ID}} {{.Name}} {{.Driver}}' | sort
         docker network ls -q --filter scope=swarm | xargs docker network inspect \
             --format '{{.Name}} {{.Driver}} {{.EnableIPv6}} {{range .IPAM.Config}}{{.Subnet}} {{end}}' | sort
         docker service inspect --format '{{.Spec.Name}} {{json .Spec.TaskTemplate}}' endless plugged")
}

/// Sends a request that the docker client cannot make.
fn post(host: &Host, path: &str, body: &str) -> Result<()> {
    let mut socket = UnixStream::connect(host.root()?.join("run/docker.sock"))?;
    write!(
        socket,
        "POST {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    ensure!(answer.lines().next().is_some_and(|line| line.contains("201")), "{answer}");
    Ok(())
}
