//! A manager with every kind of unit and container that can depend on an engine, and a picture of what runs on it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Background, Engine, Host, HostSpec, IMAGE, Lab, Output, Service, addr},
    scenario::agent_with_faults,
};

pub const LIMIT: Duration = Duration::from_secs(240);

/// How many looks at a host have to see the same before it is at rest.
const LOOKS: usize = 40;

/// Seconds until the failsafe brings back what was stopped.
pub const MAX_PAUSE: u64 = 12;

pub const CONFIG: &str = "/etc/swarmdr/agent.toml";

/// Units with each of the four kinds of dependency on the engine, a chain of two, a timer, and one that is not active.
const UNITS: [(&str, &str); 7] = [
    ("app-requires.service", "Requires=docker.service"),
    ("app-binds.service", "BindsTo=docker.service\nAfter=docker.service"),
    ("app-part.service", "PartOf=docker.service"),
    ("app-requisite.service", "Requisite=docker.service\nAfter=docker.service"),
    ("app-chain.service", "Requires=app-requires.service\nAfter=app-requires.service"),
    ("app-tick.timer", "PartOf=app-chain.service"),
    ("app-off.service", "Requires=docker.service\nAfter=docker.service"),
];

/// Boots the only manager of a swarm, with one service and the agent.
pub fn manager(lab: &Lab, engine: Engine, last: u8) -> Result<Host> {
    let host = lab.boot(HostSpec::new(&format!("m{last}"), engine, addr(last)))?;
    host.swarm_init()?;
    host.load_image()?;
    host.create_service(&Service { name: "web", replicas: 1, ..Service::default() })?;
    host.wait_containers("web", 1)?;
    host.install(&agent_with_faults()?)?;
    configure(&host, "")?;
    Ok(host)
}

pub fn configure(host: &Host, more: &str) -> Result<()> {
    host.write_file(CONFIG, format!("[backup]\nmax_pause = {MAX_PAUSE}\n{more}"))
}

/// Puts units and containers on the host, and takes the socket out of use: disabled, and required by nothing.
pub fn furnish(host: &Host) -> Result<()> {
    for (name, dependency) in UNITS {
        let body = match name.ends_with(".timer") {
            true => "[Timer]\nOnActiveSec=1d\nUnit=app-off.service\n",
            false => "[Service]\nExecStart=/bin/sleep infinity\n",
        };
        host.write_file(&format!("/etc/systemd/system/{name}"), format!("[Unit]\n{dependency}\n\n{body}"))?;
    }
    host.sh(r#"
        unit=$(systemctl show --property=FragmentPath --value docker.service)
        sed -e '/^Requires=docker.socket/d' -e 's|-H fd://|-H unix:///run/docker.sock|' "$unit" >/etc/systemd/system/docker.service
        systemctl disable docker.socket
        systemctl daemon-reload
        systemctl stop docker.socket docker.service
        systemctl start docker.service
    "#)?;
    host.wait_manager()?;
    host.create_overlay("wide")?;
    host.sh(&format!(
        "docker run -d --init --name plain {IMAGE} sleep 1000000
         docker run -d --init --name again --restart always {IMAGE} sleep 1000000
         docker run -d --init --name far --network wide {IMAGE} sleep 1000000
         docker run -d --init --name resting {IMAGE} sleep 1000000
         docker run -d --init --name over {IMAGE} true
         docker pause resting
         systemctl start app-requires app-binds app-part app-requisite app-chain app-tick.timer"
    ))?;
    ensure!(host.sh("systemctl is-active docker.socket || true")? == "inactive", "the socket is off");
    host.wait_containers("web", 1)
}

/// Returns one line for each active unit and each running container; a task is named by its service.
pub fn picture(host: &Host) -> Result<String> {
    host.sh(r#"
        systemctl list-units --plain --no-legend --state=active --type=service,socket,timer,target,path | cut -d' ' -f1 |
            grep -v -e '^swarmdr-' -e '^run-' | sort
        docker ps --format '{{.Label "com.docker.swarm.service.name"}} {{if not (.Label "com.docker.swarm.service.name")}}{{.Names}}{{end}} {{.State}}' | sort
    "#)
}

/// Returns the picture once it stays the same: after a start of the engine, its tasks come one after the other.
pub fn picture_at_rest(host: &Host) -> Result<String> {
    host.wait_containers("web", 1)?;
    let mut last = String::new();
    let mut same = 0;
    host.wait_for("what runs to stay the same", LIMIT, || {
        let now = picture(host)?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        Ok((same == LOOKS).then_some(()))
    })?;
    Ok(last)
}

/// Waits until the same units are active and the same containers run as before.
pub fn wait_for_picture(host: &Host, before: &str) -> Result<()> {
    let mut now = String::new();
    let waited = host.wait_for("the host to be as it was", LIMIT, || {
        now = picture(host)?;
        Ok((now == before).then_some(()))
    });
    let only = |one: &str, other: &str| {
        let lines: Vec<&str> = one.lines().filter(|line| !other.lines().any(|there| there == *line)).collect();
        lines.join(", ")
    };
    waited.with_context(|| {
        format!("gone: [{}]; new: [{}]; before:\n{before}\n\nnow:\n{now}", only(before, &now), only(&now, before))
    })
}

/// Returns the properties that change with each start, of the engine's unit and of the units that depend on it.
pub fn invocations(host: &Host) -> Result<String> {
    host.sh("systemctl show --property=Id,InvocationID,MainPID docker.service 'app-*'")
}

/// Runs the agent to its end. Fails if the exit code is not the expected one.
pub fn run(host: &Host, mode: &str, fault: &str, args: &[&str], expected: i32) -> Result<Output> {
    let (mode, fault) = (format!("SWARMDR_BACKUP__MODE={mode}"), format!("SWARMDRTEST_FAULT={fault}"));
    let output = host.run(&[&["env", &mode, &fault, "swarmdr-agent"], args].concat())?;
    ensure!(output.status.code() == Some(expected), "{args:?} did not end with {expected}: {output:?}");
    Ok(output)
}

pub fn json(output: &Output) -> Result<Value> {
    serde_json::from_str(&output.stdout).with_context(|| format!("no JSON: {output:?}"))
}

/// Starts a cold backup that hangs, or is killed, at a failpoint.
pub fn spawn(host: &Host, fault: &str) -> Result<Background> {
    host.spawn(&["env", &format!("SWARMDRTEST_FAULT={fault}"), "swarmdr-agent", "backup"])
}

pub fn drop_in(host: &Host, unit: &str, line: &str) -> Result<()> {
    host.write_file(&format!("/etc/systemd/system/{unit}.d/test.conf"), format!("[Service]\n{line}\n"))?;
    host.sh("systemctl daemon-reload").map(drop)
}
