//! A backup as stack files: the clients of all engines take them, and make the same of them.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json},
};

use crate::{engine, manager, shop};

const OUT: &str = "/root/out";

#[tokio::test]
async fn an_export_is_deployed_by_each_client_and_exported_again() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let old = manager(&site, engine())?;
    let before = shop::raw_specs(&old)?;
    let report = export(&old, "--latest")?;
    println!("{report:#}");
    println!("{}", old.sh(&format!("cd {OUT}; find . -type f | sort; cat shop/stack.yml _alone/secrets.sh"))?);
    nothing_is_shown(&old, &report)?;
    is_closed(&old)?;
    is_not_overwritten(&old)?;
    let newer: &[Engine] = if full() { &[Engine::E26_1, Engine::E28_5] } else { &[Engine::E28_5] };
    for engine in newer.iter().copied() {
        let new = site.lab.boot(HostSpec::new("other", engine, addr(12)))?;
        deployed(&site, &old, &new, &before).with_context(|| format!("{engine:?}"))?;
        new.destroy()?;
    }
    // Its client knows no jobs, and refuses the file before it has made anything.
    let oldest = site.lab.boot(HostSpec::new("oldest", Engine::E20_10, addr(13)))?;
    copy(&old, &oldest)?;
    oldest.swarm_init()?;
    let refused = oldest.run(&["sh", "-c", &format!("cd {OUT}/shop && docker stack deploy -c stack.yml shop")])?;
    ensure!(!refused.status.success() && oldest.docker(&["network", "ls", "-q", "--filter=name=shop"])?.is_empty());
    old.sh("docker service rm shop_once")?;
    let id = agent_json(&old, 0, &["backup"])?["id"].as_str().context("an id")?.to_owned();
    shop::wait(&old)?;
    let before = shop::raw_specs(&old)?;
    old.sh(&format!("rm -r {OUT}"))?;
    export(&old, &id)?;
    deployed(&site, &old, &oldest, &before).context("20.10")
}

fn export(host: &Host, backup: &str) -> Result<Value> {
    agent_json(
        host,
        0,
        &["export", backup, "--to", OUT, "--stack", shop::STACK, "--with-secrets", "--identity", IDENTITY],
    )
}

/// The rotated secret belongs to no stack, so it is made by a script of its own.
fn deploy() -> String {
    format!(
        "cd {OUT}/_alone && sh secrets.sh && cd ../{0} && docker stack deploy --resolve-image=never -c stack.yml {0}",
        shop::STACK
    )
}

fn copy(from: &Host, to: &Host) -> Result<()> {
    let of = |host: &Host| -> Result<_> { Ok(host.root()?.join(OUT.trim_start_matches('/'))) };
    let (from, to) = (of(from)?, of(to)?);
    if to.exists() {
        std::fs::remove_dir_all(&to)?;
    }
    let copied = Command::new("cp").arg("-a").args([from.as_path(), to.as_path()]).status()?;
    ensure!(copied.success(), "the export cannot be copied");
    Ok(())
}

fn deployed(site: &Site, old: &Host, new: &Host, before: &Value) -> Result<()> {
    if new.docker(&["node", "ls"]).is_err() {
        new.swarm_init()?;
    }
    new.load_image()?;
    copy(old, new)?;
    new.sh(&deploy())?;
    shop::wait(new)?;
    shop::is_read(new)?;
    shop::same(before, &shop::raw_specs(new)?)?;
    site.set_up_manager(new)?;
    site.write_identity(new)?;
    let id = agent_json(new, 0, &["backup"])?["id"].as_str().context("an id")?.to_owned();
    let again =
        ["export", &id, "--to", "/root/again", "--stack", shop::STACK, "--with-secrets", "--identity", IDENTITY];
    agent_json(new, 0, &again)?;
    let differences = new.run(&["diff", "-r", OUT, "/root/again"])?;
    ensure!(differences.status.success(), "{}", differences.stdout);
    Ok(())
}

/// The values are in files of their own, which nobody else may read, and in nothing else.
fn is_closed(host: &Host) -> Result<()> {
    let open = host.sh(&format!("find {OUT} -perm /077"))?;
    ensure!(open.is_empty(), "others may read {open}");
    let values = host.sh(&format!("grep -rlE 'planted-(plain|tls-key)' {OUT} | sort"))?;
    let outside: Vec<&str> = values.lines().filter(|file| !file.contains("/secrets/")).collect();
    ensure!(outside.is_empty() && values.lines().count() == 2, "{values}");
    host.sh("mkdir -m 755 /root/open")?;
    let words = ["export", "--latest", "--to", "/root/open", "--with-secrets", "--identity", IDENTITY];
    let refused = agent(host, &words)?;
    ensure!(refused.status.code() == Some(4), "{refused:?}");
    ensure!(host.sh("ls -A /root/open")?.is_empty());
    Ok(())
}

fn is_not_overwritten(host: &Host) -> Result<()> {
    let before = host.sh(&format!("find {OUT} -type f -exec sha256sum {{}} + | sort"))?;
    let refused = agent(host, &["export", "--latest", "--to", OUT, "--identity", IDENTITY])?;
    ensure!(refused.status.code() == Some(4), "{refused:?}");
    ensure!(host.sh(&format!("find {OUT} -type f -exec sha256sum {{}} + | sort"))? == before);
    ensure!(host.sh("ls -A /root | grep swarmdr-export || true")?.is_empty(), "something is left beside it");
    Ok(())
}

fn nothing_is_shown(host: &Host, report: &Value) -> Result<()> {
    let journal = host.sh("journalctl --no-pager -q | grep -c planted || true")?;
    ensure!(journal == "0" && !report.to_string().contains("planted"), "{journal}: {report}");
    Ok(())
}
