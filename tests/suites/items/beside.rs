//! Runs beside each other, and tasks that wait for a node that is gone.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json},
};

use crate::{engine, shop};

const PINNED: &str = "docker service create --detach --no-resolve-image --name pinned \
    --constraint node.hostname==no-such-host lab/busybox:1";

#[tokio::test]
async fn of_two_runs_at_once_one_makes_everything() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", engine(), addr(11)))?;
    host.swarm_init()?;
    host.load_image()?;
    shop::write(&host)?;
    shop::deploy(&host)?;
    host.sh(PINNED)?;
    shop::wait(&host)?;
    site.set_up_manager(&host)?;
    site.write_identity(&host)?;
    agent_json(&host, 0, &["backup"])?;
    shop::wait(&host)?;
    let before = shop::raw_specs(&host)?;
    for _ in 0..if full() { 5 } else { 1 } {
        shop::remove(&host)?;
        at_once(&host)?;
        shop::same(&before, &shop::raw_specs(&host)?)?;
    }
    a_node_that_is_gone_is_named(&host)?;
    shop::same(&before, &shop::raw_specs(&host)?)
}

/// The other one finds the host's lock taken, or everything there.
fn at_once(host: &Host) -> Result<()> {
    let run = format!("swarmdr-agent undelete --latest --stack shop --identity {IDENTITY}");
    let script = format!(
        "for n in 1 2 3; do {{ code=0; {run} >/run/out-$n 2>&1 || code=$?; echo $code >/run/code-$n; }} & done; wait; \
         cat /run/code-1 /run/code-2 /run/code-3"
    );
    let codes = host.sh(&script)?;
    let mut codes: Vec<&str> = codes.lines().collect();
    codes.sort_unstable();
    let outputs = host.sh("cat /run/out-1 /run/out-2 /run/out-3")?;
    ensure!(codes.first() == Some(&"0") && codes.iter().all(|code| matches!(*code, "0" | "3")), "{codes:?}: {outputs}");
    ensure!(outputs.matches("Brought back.").count() == 1, "{outputs}");
    Ok(())
}

fn a_node_that_is_gone_is_named(host: &Host) -> Result<()> {
    host.docker(&["service", "rm", "pinned"])?;
    let back = agent_json(host, 6, &["undelete", "--latest", "--service", "pinned", "--identity", IDENTITY])?;
    let attention = back["attention"][0].as_str().context("is told")?;
    ensure!(attention.contains("node.hostname==no-such-host"), "{attention}");
    Ok(())
}
