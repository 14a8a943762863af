//! Parts that the cases share: hosts with the agent on them, their configuration, and what a join says.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Background, Engine, Host, HostSpec, Lab, Output, addr},
    packages,
    scenario::{CONFIG, agent, agent_with_faults},
};

/// Last part of the address of the manager, of one that no host has, and of the lab's own end of the network.
pub const MANAGER: u8 = 11;
pub const NOBODY: u8 = 99;
pub const SILENT: u8 = 1;

/// File that a joining host reads its token from.
pub const TOKEN: &str = "/etc/swarmdr/worker-token";

/// File that the manager publishes the token to.
pub const PUBLISHED: &str = "/root/published";

pub const LIMIT: Duration = Duration::from_secs(240);

pub const JOIN: [&str; 2] = ["node", "join"];

/// Boots hosts with the agent on them; each has the last part of its address.
pub fn boot<const N: usize>(lab: &Lab, engine: Engine, hosts: [(&str, u8); N]) -> Result<[Host; N]> {
    let hosts = lab.boot_all(hosts.map(|(name, last)| HostSpec::new(name, engine, addr(last))))?;
    let program = agent_with_faults()?;
    for host in &hosts {
        host.install(&program)?;
        host.wait_engine()?;
    }
    Ok(hosts)
}

/// Makes a host a manager that publishes its token to [`PUBLISHED`].
pub fn manage(host: &Host) -> Result<()> {
    host.swarm_init()?;
    host.write_file(CONFIG, format!("[join]\npublish_command = [\"sh\", \"-c\", \"umask 77; cat > {PUBLISHED}\"]\n"))
}

/// Configures a host to join through these managers, with the token in [`TOKEN`].
pub fn configure(host: &Host, managers: &[u8]) -> Result<()> {
    let managers: Vec<String> = managers.iter().map(|last| format!("{:?}", addr(*last).to_string())).collect();
    host.write_file(CONFIG, format!("[join]\nmanagers = [{}]\ntoken_file = {TOKEN:?}\n", managers.join(", ")))
}

/// Returns the token of workers or managers.
pub fn token(manager: &Host, role: &str) -> Result<String> {
    manager.docker(&["swarm", "join-token", "--quiet", role])
}

/// Returns a token of the right form that names another root CA.
pub fn of_another_ca(token: &str) -> String {
    let (head, tail) = token.split_at("SWMTKN-1-".len() + 10);
    let other = if tail.starts_with('0') { '1' } else { '0' };
    format!("{head}{other}{}", &tail[1..])
}

/// Starts a join that is given some minutes.
pub fn start(host: &Host) -> Result<Background> {
    host.spawn(&["swarmdr-agent", "node", "join", "--wait", "4m", "--json"])
}

/// Waits until a join has said this.
pub fn said(host: &Host, join: &mut Background, text: &str) -> Result<()> {
    let what = format!("{} to say `{text}`", host.name());
    host.wait_for(&what, LIMIT, || {
        let stderr = join.stderr()?;
        ensure!(join.finished()?.is_none(), "it has ended: {stderr}");
        Ok(stderr.contains(text).then_some(()))
    })
}

/// Returns the report of a join that has ended with this exit code.
pub fn report(output: &Output, exit: i32) -> Result<Value> {
    ensure!(output.status.code() == Some(exit), "not {exit}: {output:?}");
    serde_json::from_str(&output.stdout).with_context(|| format!("no JSON: {output:?}"))
}

/// Joins, and returns the report.
pub fn join(host: &Host, exit: i32, more: &[&str]) -> Result<Value> {
    let output = agent(host, &[&JOIN[..], more, &["--json"]].concat())?;
    report(&output, exit).with_context(|| host.name().to_owned())
}

/// Runs a join that a fault ends.
pub fn faulty(host: &Host, fault: &str, more: &[&str]) -> Result<Output> {
    let fault = format!("SWARMDRTEST_FAULT={fault}");
    host.run(&[&["env", &fault, "swarmdr-agent"], &JOIN[..], more].concat())
}

/// Returns the nodes that the manager lists, as `name role state`, sorted.
pub fn nodes(manager: &Host) -> Result<Vec<String>> {
    let listed = manager.docker(&["node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}} {{.Status}}"])?;
    let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// Waits until a host is a ready worker.
pub fn wait_worker(manager: &Host, host: &Host) -> Result<()> {
    let wanted = format!("{}  Ready", host.name());
    manager
        .wait_for(&format!("{wanted} among the nodes"), LIMIT, || Ok(nodes(manager)?.contains(&wanted).then_some(())))
}

/// The unit of a boot.
pub const UNIT: &str = "swarmdr-join.service";

/// Puts the unit of a boot on a host.
pub fn install_unit(host: &Host) -> Result<()> {
    let unit = fs::read_to_string(packages::checkout().join("systemd").join(UNIT))?;
    host.write_file(&format!("/etc/systemd/system/{UNIT}"), unit)?;
    host.sh("systemctl daemon-reload").map(drop)
}

/// Runs the unit, and returns what it says.
pub fn run_unit(host: &Host) -> Result<String> {
    let output = host.run(&["systemctl", "start", UNIT])?;
    let journal = host.journal(UNIT, 20)?;
    ensure!(output.status.success(), "{}{journal}", output.stderr);
    Ok(journal)
}

/// Makes a worker leave, and its manager forget it.
pub fn leave(manager: &Host, host: &Host) -> Result<()> {
    host.docker(&["swarm", "leave"])?;
    manager.docker(&["node", "rm", "--force", host.name()]).map(drop)
}

/// Checks that no token is in a journal or in what a run said.
pub fn no_token_in(host: &Host, outputs: &[&Output]) -> Result<()> {
    let journal = host.sh("journalctl --no-pager")?;
    for text in outputs.iter().flat_map(|output| [&output.stdout, &output.stderr]).chain([&journal]) {
        ensure!(!text.contains("SWMTKN-1"), "a token is shown on {}: {text}", host.name());
    }
    Ok(())
}
