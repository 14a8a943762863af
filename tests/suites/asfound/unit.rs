//! The agent stops or freezes a unit only if the engine runs in it.

use anyhow::{Result, ensure};
use swarmdr_tests::lab::{Engine, Host, Lab, Service};

use super::{
    host::{configure, invocations, json, manager, run},
    on_each_engine,
};

const OTHER: &str = "other.dockerd.service";

#[test]
fn an_engine_under_another_unit_is_left_alone_and_named() -> Result<()> {
    on_each_engine(on)
}

fn on(engine: Engine) -> Result<()> {
    let lab = Lab::new()?;
    let host = manager(&lab, engine, 21)?;
    in_the_sandbox(&host)?;
    // `docker.service` still exists: first inactive, then masked.
    host.sh("systemctl disable --now docker.socket docker.service")?;
    under_another_unit(&host, "/var/lib/docker")?;
    host.wait_manager()?;
    refused(&host, "(which is inactive)")?;
    host.sh("systemctl mask docker.service docker.socket")?;
    refused(&host, "(which is masked)")?;
    works_where_it_is_named(&host)?;
    host.sh("systemctl unmask docker.service docker.socket")?;
    with_its_own_data_root(&host)
}

/// Runs backups in the sandbox of the agent's unit, which may not trace other processes and sees none of their open
/// files.
fn in_the_sandbox(host: &Host) -> Result<()> {
    let unit = include_str!("../../../systemd/swarmdr-backup.service");
    host.write_file("/etc/systemd/system/swarmdr-backup.service", unit)?;
    for mode in ["cold", "freeze"] {
        configure(host, &format!("mode = \"{mode}\"\n\n[schedule]\ncron = \"* * * * *\"\n"))?;
        host.sh("systemctl daemon-reload; rm -rf /var/lib/swarmdr/*")?;
        let started = host.run(&["systemctl", "start", "swarmdr-backup.service"])?;
        let log = host.sh("journalctl -u swarmdr-backup.service --no-pager | tail -n 30")?;
        ensure!(started.status.success(), "{log}");
        let stored = host.sh("find /var/lib/swarmdr/vault -name '*.swarmdr' | wc -l")?;
        ensure!(stored == "1", "{mode}: {stored} are stored: {log}");
        host.wait_manager()?;
    }
    configure(host, "")
}

fn under_another_unit(host: &Host, data_root: &str) -> Result<()> {
    let unit = format!(
        "[Unit]\nAfter=containerd.service\n[Service]\nType=notify\nDelegate=yes\nKillMode=process\n\
         ExecStart=/usr/sbin/dockerd -H unix:///run/docker.sock --data-root {data_root}\n"
    );
    host.write_file(&format!("/etc/systemd/system/{OTHER}"), unit)?;
    host.sh(&format!("systemctl daemon-reload; systemctl restart {OTHER}")).map(drop)
}

fn refused(host: &Host, state: &str) -> Result<()> {
    let there = host.sh(&format!("systemctl show --property=InvocationID,MainPID {OTHER}"))?;
    for (mode, args) in [
        ("cold", &["backup"][..]),
        ("cold", &["backup", "--dry-run"]),
        ("freeze", &["backup"]),
        ("cold", &["restore", "--latest", "--force"]),
    ] {
        let output = run(host, mode, "", args, 4)?;
        for part in [OTHER, state, "nothing was touched", "service = \"other.dockerd.service\""] {
            ensure!(output.stderr.contains(part), "`{part}` is not in {}", output.stderr);
        }
    }
    let doctor = host.run(&["swarmdr-agent", "doctor"])?;
    ensure!(doctor.stdout.contains("FAIL  engine.unit"), "{doctor:?}");
    ensure!(host.sh(&format!("systemctl show --property=InvocationID,MainPID {OTHER}"))? == there, "it was touched");
    ensure!(host.sh("systemctl is-active docker.service || true")? == "inactive", "docker.service was started");
    ensure!(host.sh("ls -d /var/lib/docker/.swarmdr 2>/dev/null || true")?.is_empty(), "something was staged");
    Ok(())
}

fn works_where_it_is_named(host: &Host) -> Result<()> {
    configure(host, &format!("\n[engine]\nservice = \"{OTHER}\"\nsocket_unit = \"\"\n"))?;
    for mode in ["cold", "freeze"] {
        let before = invocations_of(host)?;
        let report = json(&run(host, mode, "", &["backup", "--json"], 0)?)?;
        ensure!(report["units"] == serde_json::json!([OTHER]), "{}", report["units"]);
        ensure!((invocations_of(host)? == before) == (mode == "freeze"), "{mode}: stopped is what is not frozen");
    }
    ensure!(host.sh("systemctl is-active docker.service || true")? == "inactive", "docker.service was started");
    host.wait_containers("web", 1)?;
    configure(host, "")
}

/// An engine with a swarm in its own data root; the swarm in /var/lib/docker is another one, which no engine runs.
fn with_its_own_data_root(host: &Host) -> Result<()> {
    under_another_unit(host, "/srv/docker")?;
    host.wait_engine()?;
    host.swarm_init()?;
    host.load_image()?;
    host.create_service(&Service { name: "web", replicas: 1, ..Service::default() })?;
    host.wait_containers("web", 1)?;
    let stored = "find /var/lib/swarmdr/vault -name '*.swarmdr' | wc -l";
    let before = host.sh(stored)?;
    refused(host, "(which is inactive)")?;
    ensure!(host.sh(stored)? == before, "something was stored");
    works_where_it_is_named(host)?;
    ensure!(invocations(host)?.contains("docker.service"), "it is there still");
    Ok(())
}

fn invocations_of(host: &Host) -> Result<String> {
    host.sh(&format!("systemctl show --property=InvocationID {OTHER}"))
}
