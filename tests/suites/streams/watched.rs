//! A stream beside the backups: hooks, a dead man's switch, the journal, `status`, metrics, `prune` and renewed locks.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host},
    s3::{Mode, Retention},
    scenario::{VAULT, agent, agent_json, journal_entry, number},
    switch::Switch,
};

use super::site::{DATA, Streams, require};

const HOOKS: &str = "/etc/swarmdr/hooks.d";
const UNIT: &str = "swarmdr-streams.service";
const METRICS: &str = "/var/lib/prometheus/swarmdr.prom";

/// Message id of the entry for a stream that was not stored, as in the shipped catalog.
const NOT_STORED: &str = "d47f0b92e6a84c31b58e1d3c7a96f204";

/// Time for what a test waits for.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_stream_is_watched_and_kept_like_a_backup() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 1).await?;
    let (site, host) = (&streams.site, &streams.host);
    let switch = Switch::listen(&site.lab)?;
    host.sh(&format!("mkdir -p /var/lib/prometheus {HOOKS}"))?;
    let note = "env | grep ^SWARMDR_HOOK_ | sort >> /var/lib/swarmdr/told; echo >> /var/lib/swarmdr/told";
    for name in ["pre-put", "post-put", "failed-put"] {
        host.write_file(&format!("{HOOKS}/{name}"), format!("#!/bin/sh\n{note}\n"))?;
        host.sh(&format!("chmod 755 {HOOKS}/{name}"))?;
    }
    // The owner can end these locks early, which no test waits a day for.
    let config = |lines: &str| {
        let vault = site.config(VAULT).replace("COMPLIANCE", "GOVERNANCE");
        let watch = "[watch]\ntextfile_dir = \"/var/lib/prometheus\"\n";
        format!(
            "{vault}\n{watch}\n[[stream]]\nname = \"db\"\ncron = \"* * * * *\"\nping_url = \"{}\"\n{lines}\n",
            switch.url
        )
    };
    let good = config(&format!("command = [\"cat\", \"{DATA}\"]\nmax_age = \"1h\""));
    site.configure(host, &good)?;
    let empty = agent_json(host, 5, &["status"])?;
    ensure!(empty["reasons"].to_string().contains("no stream db that verifies is in any vault"), "{empty:#}");

    let doctor = agent(host, &["doctor"])?.stdout;
    ensure!(doctor.contains("swarmdr-streams.timer is not installed"), "{doctor}");

    a_stored_one_is_told(host, &switch)?;
    site.configure(host, &config("command = [\"false\"]\nmax_age = \"1h\""))?;
    a_failure_is_told_and_paused(host, &switch)?;
    site.configure(host, &config(&format!("command = [\"cat\", \"{DATA}\"]\nmax_age = 1")))?;
    a_late_one_is_critical(host)?;
    site.configure(host, &good)?;
    the_oldest_goes_once_its_lock_has_ended(&streams).await
}

fn a_stored_one_is_told(host: &Host, switch: &Switch) -> Result<()> {
    by_the_unit(host)?;
    let told = host.read_file("/var/lib/swarmdr/told")?;
    let blocks: Vec<&str> = told.split("\n\n").collect();
    let [before, after] = blocks.as_slice() else { anyhow::bail!("there are not two hooks: {told}") };
    ensure!(before.contains("NAME=pre-put") && before.contains("STREAM=db"), "{told}");
    for line in ["NAME=post-put", "STREAM=db", "RESULT=done", "SIZE=1048576", "VAULTS=s3://vault/prod", "STREAM_ID="] {
        ensure!(after.contains(line), "{line}: {told}");
    }
    assert_eq!(switch.take(), ["/4711/start", "/4711"]);
    let page = host.read_file(METRICS)?;
    for line in [
        "swarmdr_stream_stale{stream=\"db\"} 0",
        "swarmdr_stream_too_small{stream=\"db\"} 0",
        "swarmdr_newest_stream_plain_size_bytes{vault=\"s3://vault/prod\",stream=\"db\"} 1048576",
        "swarmdr_stream_last_run_exit_code{stream=\"db\"} 0",
        "swarmdr_runs_total{verb=\"put\",result=\"done\"} 1",
    ] {
        ensure!(page.lines().any(|it| it == line), "`{line}` is not in:\n{page}");
    }
    // Nothing is due before the next minute, or this run stores another one: both are no failure.
    ensure!(matches!(agent(host, &["put", "--due"])?.status.code(), Some(0 | 3)));
    switch.take();
    Ok(())
}

/// Runs the shipped unit, which has to be allowed to write the metrics.
fn by_the_unit(host: &Host) -> Result<()> {
    let unit = include_str!("../../../systemd/swarmdr-streams.service");
    host.write_file(&format!("/etc/systemd/system/{UNIT}"), unit)?;
    let drop_in = "[Service]\nReadWritePaths=/var/lib/prometheus\n";
    host.write_file(&format!("/etc/systemd/system/{UNIT}.d/metrics.conf"), drop_in)?;
    host.sh(&format!("systemctl daemon-reload; systemctl start {UNIT}"))
        .with_context(|| host.journal(UNIT, 40).unwrap_or_default())?;
    Ok(())
}

fn a_failure_is_told_and_paused(host: &Host, switch: &Switch) -> Result<()> {
    host.sh("rm /var/lib/swarmdr/told")?;
    let run = host.run(&["systemd-run", "--wait", "--quiet", "--unit=by-hand", "swarmdr-agent", "put", "db"])?;
    ensure!(!run.status.success(), "{}{}", run.stdout, run.stderr);
    let told = host.read_file("/var/lib/swarmdr/told")?;
    ensure!(told.contains("NAME=failed-put") && told.contains("RESULT=failed"), "{told}");
    assert_eq!(switch.take(), ["/4711/start", "/4711/fail"]);
    let entry = journal_entry(host, NOT_STORED)?;
    ensure!(entry["STREAM"] == "db" && entry["VERB"] == "put" && entry["RESULT"] == "failed", "{entry:#}");
    let status = agent(host, &["status"])?;
    require(&status, 5, &["the last run of the stream db on this host", "stream   db: "])?;
    // A run that does nothing refreshes metrics that are old.
    host.sh(&format!("touch -d '1 hour ago' {METRICS}"))?;
    require(&agent(host, &["put", "--due"])?, 3, &["is tried again after 15 minutes"])?;
    host.sh(&format!("test -n \"$(find {METRICS} -mmin -10)\""))?;
    assert_eq!(switch.take(), [""; 0], "what was not tried is not told");
    Ok(())
}

fn a_late_one_is_critical(host: &Host) -> Result<()> {
    host.wait_for("the stream to be late", LIMIT, || {
        let status = agent(host, &["status", "--nagios"])?;
        Ok((status.status.code() == Some(2) && status.stdout.contains("SWARMDR CRITICAL")).then_some(()))
    })?;
    let late = agent_json(host, 5, &["status"])?;
    ensure!(late["streams"][0]["stale"] == true, "{late:#}");
    ensure!(late["reasons"].to_string().contains("the newest stream db is too old"), "{late:#}");
    ensure!(agent(host, &["status", "--prometheus"])?.stdout.contains("swarmdr_stream_stale{stream=\"db\"} 1"));
    Ok(())
}

async fn the_oldest_goes_once_its_lock_has_ended(streams: &Streams) -> Result<()> {
    let (site, host) = (&streams.site, &streams.host);
    for text in ["one", "two", "three"] {
        require(&agent(host, &["put", "kept", "--", "echo", text])?, 0, &[])?;
        // Within a second, ids do not sort by time.
        host.sh("was=$(date +%s); while [ $(date +%s) = $was ]; do sleep 0.1; done")?;
    }
    let all: Vec<_> = streams.stored().await?.into_iter().filter(|it| it.key.contains("/kept/")).collect();
    let [oldest, locked, newest] = all.as_slice() else { anyhow::bail!("there are not three: {all:?}") };
    site.write_credentials_of(host, site.rgw.owner())?;
    let prune = ["prune", "--keep-last", "1", "--delete-versions"];
    let none = agent_json(host, 0, &prune)?;
    ensure!(number(&none, "/removed_streams")? == 0 && none.to_string().contains("locked until"), "{none:#}");
    for version in [oldest, newest] {
        let ends = Retention::new(Mode::Governance, Duration::from_secs(2));
        site.owner.set_retention(&version.key, &version.id, ends, true).await?;
    }
    let plan = agent_json(host, 0, &[&prune[..], &["--dry-run"]].concat())?;
    ensure!(number(&plan, "/removed_streams")? == 0, "{plan:#}");
    host.wait_for("the lock to end and the oldest to go", LIMIT, || {
        Ok((number(&agent_json(host, 0, &prune)?, "/removed_streams")? == 1).then_some(()))
    })?;
    let left: Vec<_> = streams.stored().await?.into_iter().filter(|it| it.key.contains("/kept/")).collect();
    ensure!(left == [locked.clone(), newest.clone()], "{left:?}");

    // The newest one of each name is locked again by whoever makes the next backup.
    site.write_credentials(host)?;
    agent_json(host, 0, &["backup"])?;
    let held = site.owner.retention(&newest.key, &newest.id).await?.context("it has no lock")?;
    ensure!(held.until > SystemTime::now() + Duration::from_secs(12 * 3600), "it was not renewed: {held:?}");
    Ok(())
}
