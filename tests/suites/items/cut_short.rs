//! Runs that were killed, and other commands after them: what is at work stays as it is.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, agent_with_faults},
};

use crate::{engine, shop::raw_specs};

const OTHER: &str = "docker service create --detach --no-resolve-image --constraint node.labels.never==true";
const JOURNALS: &str = "ls /var/lib/swarmdr/undelete | grep -c json$ || true";

#[tokio::test]
async fn another_command_after_a_kill_harms_no_service() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", engine(), addr(11)))?;
    host.swarm_init()?;
    host.sh(&format!(
        "docker network create --driver overlay --subnet 10.78.0.0/24 back
         printf planted-one | docker secret create key - && printf planted-two | docker secret create lone -
         printf one | docker config create conf -
         {OTHER} --name web --network back --secret key --config conf --publish 8080:80 --env GOOD=1 lab/busybox:1
         {OTHER} --name api --network back lab/busybox:1"
    ))?;
    site.set_up_manager(&host)?;
    host.install(&agent_with_faults()?)?;
    site.write_identity(&host)?;
    let first = agent_json(&host, 0, &["backup"])?["id"].as_str().context("an id")?.to_owned();
    host.wait_manager()?;
    let whole = raw_specs(&host)?;
    a_wrong_name(&host)?;
    the_same_after_another_backup(&host, &first, &whole)?;
    a_replaced_service(&host)?;
    other_wishes(&host, &whole)?;
    a_replaced_secret(&host)
}

/// Runs `undelete`; returns the exit code and what it printed.
fn undelete(host: &Host, fault: &str, words: &str) -> Result<(Option<i32>, String)> {
    let command =
        format!("SWARMDRTEST_FAULT={fault} swarmdr-agent undelete --latest --identity {IDENTITY} {words} 2>&1");
    let output = host.run(&["sh", "-c", &command])?;
    println!("{words} ({fault}): {:?}\n{}", output.status, output.stdout);
    Ok((output.status.code(), output.stdout))
}

fn remove_all(host: &Host) -> Result<()> {
    host.sh("docker service rm web api; docker secret rm key lone; docker config rm conf
         for n in 1 2 3 4 5 6 7 8 9; do docker network rm back && break; sleep 1; done; true")?;
    Ok(())
}

fn killed(host: &Host, step: &str, words: &str) -> Result<Value> {
    let (code, _) = undelete(host, &format!("kill@undelete-{step}"), words)?;
    ensure!(code != Some(0), "it was not killed");
    raw_specs(host)
}

/// Everything runs, and then a name is mistyped.
fn a_wrong_name(host: &Host) -> Result<()> {
    remove_all(host)?;
    let left = killed(host, "made-service", "--service web --service api")?;
    ensure!(left.get("service api").is_some(), "{left:#}");
    let (code, told) = undelete(host, "", "--service wbe")?;
    ensure!(code == Some(5) && raw_specs(host)? == left, "exit {code:?}: {told}");
    Ok(())
}

/// The newest backup is another one by now, which has no `web`: nothing is removed.
fn the_same_after_another_backup(host: &Host, first: &str, whole: &Value) -> Result<()> {
    let left = raw_specs(host)?;
    agent_json(host, 0, &["backup"])?;
    host.wait_manager()?;
    let (code, told) = undelete(host, "", "--service web --service api")?;
    ensure!(code == Some(5) && raw_specs(host)? == left, "exit {code:?}: {told}");
    let same = format!("swarmdr-agent undelete {first} --identity {IDENTITY} --service web --service api");
    let output = host.run(&["sh", "-c", &same])?;
    let expected = without(whole, "secret lone");
    ensure!(raw_specs(host)? == expected, "{output:?}");
    ensure!(host.sh(JOURNALS)?.trim() == "0", "the journal stays");
    host.sh("printf planted-two | docker secret create lone -")?;
    agent_json(host, 0, &["backup"])?;
    host.wait_manager()
}

/// A service that was replaced keeps its spec, whatever is mistyped.
fn a_replaced_service(host: &Host) -> Result<()> {
    let before = raw_specs(host)?;
    host.sh(
        "docker service update --detach --no-resolve-image --env-rm GOOD --env-add BAD=1 web; docker service rm api",
    )?;
    let words = "--service web --service api --conflict replace";
    killed(host, "made-service", words)?;
    killed(host, "made-service", words)?;
    for other in ["--service wbe", "--secret lone --stopped"] {
        undelete(host, "", other)?;
        ensure!(raw_specs(host)? == before, "after {other}");
    }
    undelete(host, "", words)?;
    ensure!(raw_specs(host)? == before && host.sh(JOURNALS)?.trim() == "0", "it is finished");
    Ok(())
}

/// Another command that changes something removes what nothing uses, and no service.
fn other_wishes(host: &Host, whole: &Value) -> Result<()> {
    remove_all(host)?;
    killed(host, "made-config", "--service web")?;
    let (code, told) = undelete(host, "", "--secret lone")?;
    let left = raw_specs(host)?;
    ensure!(code == Some(6) && told.contains("secret `key` is removed again"), "exit {code:?}: {told}");
    ensure!(left.get("secret lone").is_some() && left.get("secret key").is_none(), "{left:#}");
    killed(host, "made-service", "--service api")?;
    let (code, told) = undelete(host, "", "--secret key")?;
    ensure!(code == Some(6) && told.contains("docker service rm api"), "exit {code:?}: {told}");
    undelete(host, "", "--service web")?;
    ensure!(raw_specs(host)? == *whole, "everything is there");
    Ok(())
}

/// The value of a replaced secret is the backup's, if the run fails later.
fn a_replaced_secret(host: &Host) -> Result<()> {
    let before = raw_specs(host)?;
    remove_all(host)?;
    host.sh(&format!(
        "printf other | docker secret create key -
         printf '#!/bin/sh\\n{OTHER} --name squatter --publish 8080:1 --replicas 0 lab/busybox:1\\n' >/root/squat
         chmod +x /root/squat"
    ))?;
    let fault = "run@undelete-noted-service SWARMDRTEST_RUN=/root/squat";
    let (code, told) = undelete(host, fault, "--service web --conflict replace")?;
    ensure!(code == Some(1) && told.contains("it has the value of the backup"), "exit {code:?}: {told}");
    host.sh("docker service rm squatter")?;
    undelete(host, "", "--service web --service api --secret lone --conflict replace")?;
    ensure!(raw_specs(host)? == before, "everything is there");
    Ok(())
}

fn without(specs: &Value, object: &str) -> Value {
    let mut specs = specs.clone();
    if let Some(objects) = specs.as_object_mut() {
        objects.remove(object);
    }
    specs
}
