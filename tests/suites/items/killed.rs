//! Runs that end in the middle: nothing half stays, and the next run brings everything back.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::{full, generations},
    lab::{Engine, Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json, agent_with_faults},
};

use crate::{engine, manager, shop};

const KINDS: [&str; 4] = ["network", "secret", "config", "service"];

/// Every step of a run, by the name of its failpoint.
fn steps() -> Vec<String> {
    let mut steps: Vec<String> = ["planned", "begun", "complete", "finished"].map(str::to_owned).into();
    for step in ["noted", "created", "made"] {
        steps.extend(KINDS.map(|kind| format!("{step}-{kind}")));
    }
    match full() {
        true => steps,
        // Each sort of step, each with another kind of object.
        false => steps.into_iter().skip(4).step_by(5).collect(),
    }
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_nothing_half() -> Result<()> {
    for engine in generations() {
        on(*engine).await.with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

async fn on(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    host.load_image()?;
    shop::write(&host)?;
    shop::deploy(&host)?;
    shop::wait(&host)?;
    site.set_up_manager(&host)?;
    host.install(&agent_with_faults()?)?;
    site.write_identity(&host)?;
    agent_json(&host, 0, &["backup"])?;
    shop::wait(&host)?;
    let before = shop::raw_specs(&host)?;
    shop::remove(&host)?;
    let empty = shop::raw_specs(&host)?;
    for step in steps() {
        for signal in ["kill", "term"] {
            ended(&host, &step, signal, &before, &empty).with_context(|| format!("{signal} at {step}"))?;
        }
    }
    refused_halfway(&host, &before, &empty)
}

/// What lies in clear where nobody looks is removed by the next verb that reads states.
#[tokio::test]
async fn an_export_that_is_killed_leaves_nothing_in_clear() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, engine())?;
    host.install(&agent_with_faults()?)?;
    host.sh("mkdir -p /srv/out /srv/out/.swarmdr-export-mine && echo precious > /srv/out/.swarmdr-export-mine/file")?;
    let to = format!("--to /srv/out/all --with-secrets --identity {IDENTITY}");
    for step in ["noted", "writing", "written", "placed"] {
        let run = format!("SWARMDRTEST_FAULT=kill@export-{step} swarmdr-agent export --latest {to}");
        let cut = host.run(&["sh", "-c", &run])?;
        ensure!(!cut.status.success(), "it was not ended: {cut:?}");
        let left = host.sh("ls -A /srv/out")?;
        ensure!(left.contains(".swarmdr-export-mine"), "{left}");
        ensure!((step == "placed") == left.lines().any(|name| name == "all"), "at {step}: {left}");
        agent_json(&host, 0, &["backup"])?;
        let kept = host.sh("rm -rf /srv/out/all; ls -A /srv/out; ls -A /var/lib/swarmdr/scratch")?;
        ensure!(kept.trim() == ".swarmdr-export-mine", "killed at {step}: {kept}");
        println!("{} kill  at export-{step:<9} left {}", host.engine().version(), left.replace('\n', " "));
    }
    ensure!(host.sh("cat /srv/out/.swarmdr-export-mine/file")?.trim() == "precious");
    Ok(())
}

fn undelete(fault: &str) -> String {
    format!("SWARMDRTEST_FAULT={fault} swarmdr-agent undelete --latest --stack {} --identity {IDENTITY}", shop::STACK)
}

fn ended(host: &Host, step: &str, signal: &str, before: &Value, empty: &Value) -> Result<()> {
    let cut = host.run(&["sh", "-c", &undelete(&format!("{signal}@undelete-{step}"))])?;
    // A run that is told to end when everything is back ends well.
    let is_over = signal == "term" && matches!(step, "finished" | "complete");
    ensure!(is_over || !cut.status.success(), "it was not ended: {cut:?}");
    let left = shop::raw_specs(host)?;
    if signal == "term" && !is_over {
        ensure!(left == *empty, "a run that is told to end undoes what it did: {left:#}\n{cut:?}");
    }
    let output = agent(host, &["undelete", "--latest", "--stack", shop::STACK, "--identity", IDENTITY])?;
    let code = output.status.code();
    ensure!(matches!(code, Some(0 | 6)), "the next run: {output:?}");
    let now = shop::raw_specs(host)?;
    ensure!(now == *before, "before {before:#}\nnow {now:#}\n{output:?}");
    println!(
        "{} {signal:<5} at {step:<16} left {:>2} objects; the next run exited {code:?}",
        host.engine().version(),
        count(&left, empty)
    );
    shop::remove(host)
}

fn count(left: &Value, empty: &Value) -> usize {
    let number = |specs: &Value| specs.as_object().map_or(0, |objects| objects.len());
    number(left) - number(empty)
}

/// The last object cannot be made: everything before it is removed again.
fn refused_halfway(host: &Host, before: &Value, empty: &Value) -> Result<()> {
    // While the run waits before the first service, somebody takes the port of one of them.
    let run = undelete("gate@undelete-noted-service");
    let squat =
        "docker service create --detach --no-resolve-image --name squatter --publish 8080:1 --replicas 0 lab/busybox:1";
    let script = format!(
        "export SWARMDRTEST_GATE=/run/gate; rm -f /run/gate; {{ code=0; {run} >/run/out 2>&1 || code=$?; echo $code >/run/code; }} & \
         for n in $(seq 300); do grep -q 'gate at' /run/out 2>/dev/null && break; sleep 0.1; done; \
         {squat} >/dev/null; touch /run/gate; wait; cat /run/code; docker service rm squatter >/dev/null"
    );
    let code = host.sh(&script)?;
    let (out, left) = (host.read_file("/run/out")?, shop::raw_specs(host)?);
    ensure!(matches!(code.lines().next(), Some("1" | "4")), "exit {code}: {out}");
    ensure!(left == *empty, "something is left: {left:#}\n{out}");
    ensure!(out.contains("8080"), "{out}");
    agent(host, &["undelete", "--latest", "--stack", shop::STACK, "--identity", IDENTITY])?;
    shop::same(before, &shop::raw_specs(host)?)
}
