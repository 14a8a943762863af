//! Every kind of backup boots in a drill.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, HostSpec, Role, addr},
    own_ca::OwnCa,
    s3::Release,
    scenario::{IDENTITY, Site, agent_json},
};

use super::{manager, nothing_is_left, text};

const UNLOCK_KEY: &str = "/root/unlock-key";

/// One manager and three, plain and autolocked, cold and freeze, and an expired certificate, one after the other on the
/// same hosts. By default on the oldest and the newest engine; the test of production uses the one between.
#[tokio::test]
async fn every_kind_of_backup_boots() -> Result<()> {
    let engines: &[Engine] = if full() { &Engine::ALL } else { &[Engine::E20_10, Engine::E28_5] };
    let mut table = Vec::new();
    for engine in engines {
        let rows = kinds(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
        table.extend(rows.into_iter().map(|row| format!("{:10} {row}", engine.version())));
    }
    println!("\n{}\n", table.join("\n"));
    Ok(())
}

async fn kinds(engine: Engine) -> Result<Vec<String>> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, engine)?;
    let mut table = Vec::new();
    both_modes(&host, "one manager, plain", &[], &mut table)?;
    let ca = OwnCa::make(&host)?;
    ca.take_over(&host, "--ca-key /root/ca.key")?;

    let others = site.lab.boot_all([2, 3].map(|n| HostSpec::new(&format!("m{n}"), engine, addr(10 + n))))?;
    for other in &others {
        other.join(&host, Role::Manager)?;
    }
    both_modes(&host, "three managers, plain", &[], &mut table)?;

    host.docker(&["swarm", "update", "--autolock=true"])?;
    let key = host.docker(&["swarm", "unlock-key", "-q"])?;
    host.write_file(UNLOCK_KEY, format!("{key}\n"))?;
    let with_key = ["--unlock-key", UNLOCK_KEY];
    both_modes(&host, "three managers, autolocked", &with_key, &mut table)?;
    let refused = agent_json(&host, 4, &["drill", "--latest", "--identity", IDENTITY])?;
    ensure!(refused.to_string().contains("unlock key was not given"), "{refused:#}");
    wrong_keys_say_nothing_of_the_backup(&host)?;
    for other in &others {
        let id = other.docker(&["info", "--format", "{{.Swarm.NodeID}}"])?;
        // A demotion is refused while the swarm itself changes the node ("update out of sequence").
        host.wait_for("the demotion", super::LIMIT, || Ok(host.docker(&["node", "demote", &id]).ok()))?;
    }
    both_modes(&host, "one manager, autolocked", &with_key, &mut table)?;
    host.docker(&["swarm", "update", "--autolock=false"])?;
    host.wait_for("the key to be open", super::LIMIT, || {
        let key = host.read_file("/var/lib/docker/swarm/certificates/swarm-node.key")?;
        Ok(key.contains("BEGIN PRIVATE KEY").then_some(()))
    })?;

    ca.lay_certificate(&host, "2 days ago", "1 hour ago")?;
    let made = agent_json(&host, 0, &["backup"])?;
    table.push(boots(&host, "one manager, expired certificate", "cold", text(&made, "/id")?, &[])?);
    nothing_is_left(&host)?;
    Ok(table)
}

/// Checks that neither a wrong unlock key nor a wrong identity counts as a failed drill, for which `status` would be
/// red.
fn wrong_keys_say_nothing_of_the_backup(host: &Host) -> Result<()> {
    let receipts = || host.sh("swarmdr-agent list --json | grep -c '\"proven\": false' || true");
    host.write_file("/root/wrong-key", "SWMKEY-1-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc")?;
    let wrong = ["drill", "--latest", "--identity", IDENTITY, "--unlock-key", "/root/wrong-key"];
    let refused = agent_json(host, 4, &wrong)?;
    ensure!(refused.to_string().contains("does not open this backup"), "{refused:#}");
    let made = Command::new("age-keygen").output().context("failed to run age-keygen")?;
    host.write_file("/root/stranger.txt", made.stdout)?;
    let stranger = ["drill", "--latest", "--identity", "/root/stranger.txt", "--unlock-key", UNLOCK_KEY];
    let failed = agent_json(host, 1, &stranger)?;
    ensure!(failed.to_string().contains("none of the given identities"), "{failed:#}");
    ensure!(receipts()? == "0", "a failed drill was written down");
    nothing_is_left(host)
}

fn both_modes(host: &Host, name: &str, more: &[&str], table: &mut Vec<String>) -> Result<()> {
    for mode in ["cold", "freeze"] {
        let setting = format!("SWARMDR_BACKUP__MODE={mode}");
        let words = ["env", &setting, "SWARMDR_BACKUP__ALLOW_QUORUM_LOSS=true", "swarmdr-agent", "backup", "--json"];
        let output = host.run(&words)?;
        ensure!(output.status.success(), "{name}, {mode}: {output:?}");
        let made: serde_json::Value = serde_json::from_str(&output.stdout)?;
        table.push(boots(host, name, mode, text(&made, "/id")?, more)?);
        host.wait_manager()?;
    }
    Ok(())
}

fn boots(host: &Host, name: &str, mode: &str, id: &str, more: &[&str]) -> Result<String> {
    let report = agent_json(host, 0, &[&["drill", id, "--identity", IDENTITY], more].concat())
        .with_context(|| format!("{name}, {mode}"))?;
    ensure!(report["outcome"] == "proven" && report["items"] == "proven", "{report:#}");
    nothing_is_left(host)?;
    Ok(format!(
        "{name:36} {mode:8} {:>8.2} s in all {:>8} ms to a swarm {:>6} MiB",
        report["seconds"].as_f64().unwrap_or_default(),
        report["booted_ms"],
        report["peak_memory"].as_u64().unwrap_or(0) >> 20
    ))
}
