//! A manager whose clock is wrong for one backup, and right again afterwards. There is no attacker, and no attack is
//! reported.

use std::fs;

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Output, addr},
    s3::{FAKETIME, Release},
    scenario::{IDENTITY, Site, agent, agent_json},
};

const STARTED: &str = "systemctl show -p ActiveEnterTimestampMonotonic docker.service";

const DIRECTORY: &str = "/var/lib/swarmdr/vault";

async fn manager(site: &Site) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.swarm_init()?;
    site.set_up_manager(&host)?;
    site.write_identity(&host)?;
    let library = fs::read(FAKETIME).with_context(|| format!("{FAKETIME}: install libfaketime"))?;
    host.write_file("/root/faketime.so", library)?;
    Ok(host)
}

/// Runs the agent with a clock that is off by `offset`.
fn off_by(host: &Host, offset: &str, args: &[&str]) -> Result<Output> {
    let offset = format!("FAKETIME={offset}");
    let faked = ["env", "LD_PRELOAD=/root/faketime.so", &offset, "FAKETIME_DONT_FAKE_MONOTONIC=1", "swarmdr-agent"];
    host.run(&[&faked[..], args].concat())
}

fn id(report: &Value) -> Result<String> {
    Ok(report["id"].as_str().with_context(|| format!("no id in {report:#}"))?.to_owned())
}

/// A server's clock shows that the manager's is wrong, before the engine is touched.
#[tokio::test]
async fn a_server_tells_a_manager_that_its_clock_is_wrong() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site).await?;
    agent_json(&host, 0, &["backup"])?;
    let started = host.sh(STARTED)?;
    let refused = off_by(&host, "+300d", &["backup"])?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(refused.stderr.contains("ahead of that of s3://vault/prod"), "{}", refused.stderr);
    ensure!(host.sh(STARTED)? == started, "the engine was stopped: {}", refused.stderr);

    // The clock is two days behind, and locks last one day: by that clock a lock would be over already.
    let behind = off_by(&host, "-2d", &["backup", "--json"])?;
    ensure!(behind.status.code() == Some(6), "{behind:?}");
    let behind: Value = serde_json::from_str(&behind.stdout)?;
    ensure!(behind["attention"].to_string().contains("min behind that of"), "{behind:#}");
    let until: Timestamp = behind["kept"][0]["lock"]["until"].as_str().context("a lock")?.parse()?;
    ensure!(until > Timestamp::now() + SignedDuration::from_hours(23), "locked until {until}: {behind:#}");
    let second = id(&agent_json(&host, 0, &["backup"])?)?;
    newest_is(&host, &second)
}

/// A vault in a directory, where no server shows that the clock is wrong: each backup is judged by the time of its
/// file.
#[tokio::test]
async fn a_backup_of_a_wrong_clock_is_never_the_newest() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site).await?;
    host.sh(&format!("install -d -m 700 {DIRECTORY}"))?;
    let (head, _) = site
        .config("s3://vault/prod")
        .split_once("[[vault]]")
        .map(|(head, tail)| (head.to_owned(), tail.to_owned()))
        .context("a vault")?;
    site.configure(&host, &format!("{head}[[vault]]\nurl = \"file://{DIRECTORY}\"\n"))?;
    for offset in ["+300d", "-2d"] {
        let right = id(&agent_json(&host, 0, &["backup"])?)?;
        host.create_secret(&format!("made-after-{}", &offset[1..]), b"x")?;
        let wrong = off_by(&host, offset, &["backup", "--json"])?;
        ensure!(matches!(wrong.status.code(), Some(0 | 6)), "{offset}: {wrong:?}");
        let wrong = id(&serde_json::from_str(&wrong.stdout)?)?;
        if offset.starts_with('+') {
            // Its name has a time in the future.
            let listed = agent_json(&host, 6, &["list"])?;
            ensure!(listed["findings"].to_string().contains("is ignored"), "{listed:#}");
            newest_is(&host, &right)?;
        }
        // The clock is right again, and the backup that was made since is the newest.
        let again = id(&agent_json(&host, 0, &["backup"])?)?;
        newest_is(&host, &again)?;
        let status = agent(&host, &["status"])?;
        ensure!(!status.stdout.contains("taken away") && !status.stdout.contains("forged"), "{status:?}");
        println!("{offset}: {wrong} is not what a restore takes, {again} is");
    }
    Ok(())
}

/// A lock that each `verify` renews if less than half of it is left. The gateway and the agent still run, but no backup
/// is made.
#[tokio::test]
async fn a_vault_without_a_backup_for_a_hundred_days_still_restores() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site).await?;
    site.configure(&host, &site.config("s3://vault/prod").replace("days = 1 ", "days = 30 "))?;
    let only = agent_json(&host, 0, &["backup"])?;
    let made = id(&only)?;
    let until = |report: &Value| -> Result<Timestamp> {
        let lock = report["backups"][0]["lock"]["until"].as_str();
        Ok(lock.with_context(|| format!("no lock in {report:#}"))?.parse()?)
    };
    let mut locked = until(&agent_json(&host, 0, &["list"])?)?;
    for day in [20, 40, 60, 80, 100] {
        let offset = format!("+{day}d");
        site.rgw.restart_gateway_at(&offset)?;
        let proven = off_by(&host, &offset, &["verify", "--latest", "--identity", IDENTITY, "--json"])?;
        ensure!(proven.status.code() == Some(0) && proven.stdout.contains(&made), "day {day}: {proven:?}");
        let listed = off_by(&host, &offset, &["list", "--json"])?;
        let now = until(&serde_json::from_str(&listed.stdout)?)?;
        println!("day {day}: was locked until {locked}, and is until {now}");
        ensure!(now > locked && now > Timestamp::now() + SignedDuration::from_hours(24 * (day + 15)), "{listed:?}");
        locked = now;
    }
    let planned = off_by(&host, "+100d", &["restore", "--latest", "--identity", IDENTITY, "--dry-run", "--force"])?;
    ensure!(planned.status.success() && planned.stdout.contains(&made), "{planned:?}");
    Ok(())
}

/// Checks that `verify`, `inspect`, `restore` and `status` take this backup for the newest.
fn newest_is(host: &Host, newest: &str) -> Result<()> {
    for args in [
        &["verify", "--latest", "--identity", IDENTITY][..],
        &["inspect", "--latest", "--identity", IDENTITY, "--json"],
        &["restore", "--latest", "--identity", IDENTITY, "--dry-run", "--force", "--json"],
    ] {
        let ran = agent(host, args)?;
        ensure!(ran.stdout.contains(newest), "{args:?} takes another one than {newest}: {ran:?}");
    }
    let status = agent(host, &["status", "--json"])?;
    let status: Value = serde_json::from_str(&status.stdout)?;
    ensure!(status["vaults"][0]["newest"]["id"] == newest, "{status:#}");
    Ok(())
}
