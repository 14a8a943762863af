//! What is lost when a site is destroyed at a random moment: beside schedules, with the same settings as in the documents.

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use swarmdr_tests::{
    campaign::{full, seed},
    lab::{Engine, Host},
    scenario::{IDENTITY, Site, agent_json},
};

use super::site::{UNIT, boot, newest_secrets, set_up, site, wait_for_backups};

/// As the documents give it.
const SETTINGS: &str = "[schedule]\ncron = \"0 0 1 1 *\"\non_change = { after = \"5s\", at_most_every = \"30s\" }\n";

/// Seconds between two changes, at most: some come soon after another, and some do not.
const GAP: f64 = 40.0;

/// A change that the engine acknowledged.
struct Written {
    name: String,
    at: Instant,
}

#[tokio::test]
async fn a_site_that_is_destroyed_loses_seconds() -> Result<()> {
    let rounds = if full() { 50 } else { 2 };
    let mut random = Rng::with_seed(seed(1));
    let site = site().await?;
    let mut lost = Vec::new();
    let mut host = boot(&site.lab, Engine::E26_1, 11)?;
    host.swarm_init()?;
    set_up(&site, &host, SETTINGS)?;
    host.sh(&format!("systemctl start {UNIT}"))?;
    wait_for_backups(&host, 1)?;
    for round in 0..rounds {
        let written = write_until_the_end(&host, round, &mut random)?;
        let end = Instant::now();
        host.destroy()?;
        host = restored(&site)?;
        let there: BTreeSet<String> =
            host.docker(&["secret", "ls", "--format", "{{.Name}}"])?.lines().map(String::from).collect();
        let oldest = written.iter().filter(|write| !there.contains(&write.name)).map(|write| end - write.at).max();
        println!(
            "site {round}: {} changes, the oldest lost one was {:.1} s old",
            written.len(),
            oldest.unwrap_or_default().as_secs_f64()
        );
        lost.push(oldest.unwrap_or_default());
        host.sh(&format!("systemctl start {UNIT}"))?;
        // The restored swarm is backed up before the next round, as it would be in life.
        host.wait_for("a backup of what came back", super::site::LIMIT, || {
            Ok((newest_secrets(&host)? == there).then_some(()))
        })?;
    }
    lost.sort();
    let (median, most) = (lost[lost.len() / 2], *lost.last().context("there were rounds")?);
    println!("\n| age of the oldest lost change, {rounds} sites | median | most |\n|---|---:|---:|");
    println!(
        "| on_change, after 5 s, at most every 30 s | {:.1} s | {:.1} s |",
        median.as_secs_f64(),
        most.as_secs_f64()
    );
    for (name, period) in [("hourly", 3600.0), ("nightly", 86400.0)] {
        println!("| {name}, of the same moments, computed | {:.0} s | {:.0} s |", period / 2.0, period);
    }
    ensure!(most < Duration::from_secs(90), "more was lost than a backup each half minute can lose: {lost:?}");
    Ok(())
}

/// Changes the swarm at random moments, until a random moment.
fn write_until_the_end(host: &Host, round: usize, random: &mut Rng) -> Result<Vec<Written>> {
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(20.0 + 60.0 * random.f64());
    let mut written = Vec::new();
    loop {
        let name = format!("r{round}-{}", written.len());
        host.create_secret(&name, b"x")?;
        written.push(Written { name, at: Instant::now() });
        let next = Instant::now() + Duration::from_secs_f64(0.5 + GAP * random.f64());
        sleep(next.min(end).saturating_duration_since(Instant::now()));
        if next >= end {
            return Ok(written);
        }
    }
}

/// Brings the swarm back on a fresh host with the same address.
fn restored(site: &Site) -> Result<Host> {
    let host = boot(&site.lab, Engine::E26_1, 11)?;
    set_up(site, &host, SETTINGS)?;
    // The host before is gone for good, and its claim with it.
    agent_json(&host, 0, &["restore", "--latest", "--fenced", "--identity", IDENTITY])?;
    host.wait_manager()?;
    Ok(host)
}
