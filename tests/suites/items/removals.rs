//! Somebody removes a stack, and hears of it while a backup still has it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, VAULT, agent, agent_json},
};

use crate::{engine, shop};

const HEARD: &str = "/run/heard";

#[tokio::test]
async fn a_removed_stack_is_told_and_the_told_command_brings_it_back() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", engine(), addr(11)))?;
    host.swarm_init()?;
    host.load_image()?;
    shop::write(&host)?;
    shop::deploy(&host)?;
    shop::wait(&host)?;
    site.set_up_manager(&host)?;
    site.write_identity(&host)?;
    site.configure(&host, &format!("{}\n[watch]\nremovals = true\n", site.config(VAULT)))?;
    let hook = "/etc/swarmdr/hooks.d/post-backup";
    host.write_file(hook, format!("#!/bin/sh\nenv | grep ^SWARMDR_HOOK_REMOVED | sort >{HEARD}\n"))?;
    host.sh(&format!("chmod 755 {hook}"))?;

    let first = backup(&host)?;
    ensure!(first["removed"].is_null() && host.read_file(HEARD)?.is_empty(), "{first:#}");
    let told = status(&host)?;
    ensure!(is_nothing(&told), "{told:#}");
    nothing_is_remembered_but_names(&host)?;
    shop::wait(&host)?;
    let before = shop::raw_specs(&host)?;
    shop::remove(&host)?;

    let told = status(&host)?;
    let command = command(&told["removed"]["undelete"])?;
    let id = first["id"].as_str().context("an id")?;
    ensure!(command == format!("swarmdr-agent undelete {id} --stack shop --secret tls.v2"), "{command}");
    let text = agent(&host, &["status"])?;
    ensure!(text.status.code() == Some(6) && text.stdout.contains(&command), "{text:?}");
    let difference = agent(&host, &["diff", id, "/var/lib/docker/swarm", "--identity", IDENTITY])?.stdout;
    ensure!(difference.contains(&command), "{difference}");
    a_stopped_engine_is_not_started(&host)?;

    host.sh(&format!("{command} --identity {IDENTITY}"))?;
    shop::same(&before, &shop::raw_specs(&host)?)?;
    ensure!(is_nothing(&status(&host)?), "it is back");
    told_by_the_next_backup(&host)
}

fn told_by_the_next_backup(host: &Host) -> Result<()> {
    shop::wait(host)?;
    let second = backup(host)?;
    ensure!(is_nothing(&second), "what is back is not removed: {second:#}");
    host.docker(&["service", "rm", "shop_api"])?;
    let third = backup(host)?;
    ensure!(third["removed"]["objects"][0]["name"] == "shop_api", "{third:#}");
    let heard = host.read_file(HEARD)?;
    let expected = format!(
        "SWARMDR_HOOK_REMOVED=service shop_api\nSWARMDR_HOOK_REMOVED_SINCE={}",
        second["id"].as_str().context("an id")?
    );
    ensure!(heard == expected, "{heard}");
    ensure!(is_nothing(&status(host)?), "the newest backup has all that lives");
    Ok(())
}

fn backup(host: &Host) -> Result<Value> {
    let made = agent_json(host, 0, &["backup"])?;
    host.wait_manager()?;
    Ok(made)
}

fn status(host: &Host) -> Result<Value> {
    let output = agent(host, &["status", "--json"])?;
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}

/// Whether a report names nothing that was removed.
fn is_nothing(report: &Value) -> bool {
    report["removed"]["objects"].as_array().is_none_or(Vec::is_empty)
}

fn command(words: &Value) -> Result<String> {
    let words: Option<Vec<&str>> = words.as_array().context("words")?.iter().map(Value::as_str).collect();
    Ok(words.context("texts")?.join(" "))
}

fn nothing_is_remembered_but_names(host: &Host) -> Result<()> {
    let file = "/var/lib/swarmdr/objects.json";
    let (mode, text) = (host.sh(&format!("stat -c %a {file}"))?, host.read_file(file)?);
    ensure!(mode == "600" && text.contains("tls.v2") && !text.contains("planted"), "{mode} {text}");
    Ok(())
}

/// A call on the socket would start it.
fn a_stopped_engine_is_not_started(host: &Host) -> Result<()> {
    host.sh("systemctl stop docker.service")?;
    ensure!(status(host)?["removed"].is_null(), "an engine that is stopped says nothing");
    let state = host.sh("systemctl is-active docker.service || true")?;
    ensure!(state == "inactive", "{state}");
    host.sh("systemctl start docker.service")?;
    host.wait_manager()
}
