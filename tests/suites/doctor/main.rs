//! `doctor` on a real manager: green on a healthy one, and red at each broken link of the chain.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_archive::Identities;
use swarmdr_tests::{
    campaign::generations,
    lab::{Engine, Host, HostSpec, addr},
    s3::{Identity, Lock, Release, Version},
    scenario::{IDENTITY, Site, agent, agent_json},
};

const UNITS: [(&str, &str); 2] = [
    ("swarmdr-backup.service", include_str!("../../../systemd/swarmdr-backup.service")),
    ("swarmdr-backup.timer", include_str!("../../../systemd/swarmdr-backup.timer")),
];

const SCHEDULE: &str = "\n[schedule]\ncron = \"30 3 * * *\"\ntimezone = \"UTC\"\n";

/// Runs `doctor` and compares the checks named here with their levels and texts. No other check may fail.
fn diagnosis(host: &Host, exit: i32, wanted: &[(&str, &str, &str)]) -> Result<Value> {
    let report = agent_json(host, exit, &["doctor"])?;
    let checks = report["checks"].as_array().context("there are checks")?;
    for (name, level, said) in wanted {
        let found = checks.iter().find(|check| check["name"] == *name);
        let found = found.with_context(|| format!("there is no check {name} in {report:#}"))?;
        ensure!(found["level"] == *level, "{name} is not {level}: {found:#}");
        ensure!(found["found"].to_string().contains(said), "{name} does not say `{said}`: {found:#}");
        ensure!(*level == "ok" || found["fix"].is_string(), "{name} has no fix: {found:#}");
    }
    let bad = checks.iter().filter(|check| check["level"] == "fail");
    for check in bad {
        ensure!(wanted.iter().any(|(name, ..)| check["name"] == *name), "not expected: {check:#}");
    }
    Ok(report)
}

fn credentials(host: &Host, identity: &Identity) -> Result<()> {
    let Identity { access_key, secret_key, .. } = identity;
    let text = format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
    host.write_file("/etc/swarmdr/credentials", text)
}

#[tokio::test]
async fn doctor_proves_each_link_of_the_chain() -> Result<()> {
    for engine in generations() {
        each_link(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

async fn each_link(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    host.create_secret("one", b"x")?;
    site.set_up_manager(&host)?;
    let good = site.config("s3://vault/prod") + SCHEDULE;

    // Before anything was done.
    site.configure(&host, &good)?;
    diagnosis(
        &host,
        1,
        &[("backup.fresh", "fail", "no vault has a backup"), ("timer.enabled", "warn", "not installed")],
    )?;

    for (name, text) in UNITS {
        host.write_file(&format!("/etc/systemd/system/{name}"), text)?;
    }
    host.sh("systemctl daemon-reload")?;
    agent_json(&host, 0, &["backup"])?;
    diagnosis(&host, 1, &[("timer.enabled", "fail", "disabled")])?;
    host.sh("systemctl enable --now swarmdr-backup.timer")?;
    let human = agent(&host, &["doctor"])?;
    println!("{}", human.stdout);
    let healthy = diagnosis(
        &host,
        0,
        &[
            ("vault.ready", "ok", "Object Lock"),
            ("vault.mode", "ok", "COMPLIANCE"),
            ("vault.clock", "ok", "apart"),
            ("vault.lock", "ok", "COMPLIANCE"),
            ("vault.delete", "ok", "cannot delete"),
            ("vault.bypass", "ok", "cannot delete"),
            ("vault.shorten", "ok", "cannot shorten"),
            ("vault.shorten-bypass", "ok", "cannot shorten"),
            ("vault.hide", "ok", "cannot place"),
            ("vault.newest", "ok", "verifies"),
            ("vault.history", "ok", "is consistent"),
            ("vault.rollback", "ok", "the vaults still have"),
            ("keys.signing", "ok", "RW"),
            ("keys.pinned", "ok", "own among them"),
            ("keys.recipients", "ok", "1 age recipient"),
            ("keys.identity", "ok", "none here"),
            ("engine.version", "ok", engine.version()),
            ("systemd.version", "ok", &engine.systemd().to_string()),
            ("engine.freeze", "ok", "could be frozen"),
            ("claims.race", "ok", "of 16 creates at the same time"),
            ("claims.promoters", "ok", "no promoter is named"),
            ("swarm.address", "ok", "10.77.0.11"),
            ("host.space", "ok", "free"),
            ("timer.enabled", "ok", "enabled"),
            ("timer.last-run", "ok", "swarmdr-backup.service"),
            ("backup.fresh", "ok", "hours old"),
        ],
    )?;
    println!("{}: {} checks on a healthy manager", engine.version(), healthy["checks"].as_array().map_or(0, Vec::len));
    // All runs share one probe, with the one version that could be put on top of it, and `list` does not report it.
    let mut probes = site.owner.versions("prod/doctor/").await?;
    // What sixteen creates at once left: all of one race.
    let of_race = |version: &Version| version.key.starts_with("prod/doctor/race/");
    let races: BTreeSet<String> =
        probes.iter().filter(|version| of_race(version)).map(|version| version.key.clone()).collect();
    ensure!(races.len() == 1, "{races:?}");
    probes.retain(|version| !of_race(version));
    ensure!(probes.len() == 2, "{probes:?}");
    agent_json(&host, 0, &["list"])?;

    // A vault without the newest backup, which this host stored.
    site.rgw.create_bucket("emptied", Lock::On).await?;
    site.configure(&host, &good.replace("s3://vault/prod", "s3://emptied"))?;
    diagnosis(&host, 1, &[("vault.rollback", "fail", "was taken away"), ("backup.fresh", "fail", "no vault has")])?;
    site.configure(&host, &good)?;

    keys(&site, &host, &good)?;
    roles(&site, &host, &good).await?;
    autolock(&site, &host, &good)?;

    // A vault or an engine that cannot be reached fails its own checks and no others.
    site.configure(&host, &good.replace(":7480", ":7481"))?;
    diagnosis(
        &host,
        1,
        &[("vault.ready", "fail", "failed to"), ("backup.fresh", "fail", ""), ("swarm.manager", "ok", "")],
    )?;
    site.configure(&host, &good)?;
    host.sh("systemctl stop docker.socket docker.service")?;
    diagnosis(&host, 1, &[("engine.answers", "fail", "no Docker engine"), ("vault.delete", "ok", "cannot delete")])?;
    Ok(())
}

fn keys(site: &Site, host: &Host, good: &str) -> Result<()> {
    let stranger = "RWSweysbNpqxcwcogR2I7HnfAYmqQytDIXVrC5MDxVad/kdjNMzqCkz3";
    site.configure(host, &good.replace(&site.public_key, stranger))?;
    // A backup that a restore would not trust does not count here either, but it is not reported as taken away.
    diagnosis(
        host,
        1,
        &[
            ("keys.pinned", "fail", "is not among trusted_keys"),
            ("vault.newest", "fail", "not trusted here"),
            ("vault.rollback", "ok", "the vaults still have"),
            ("backup.fresh", "fail", "no vault has"),
        ],
    )?;
    site.configure(host, &good.replace("recipients = [\"age1", "recipients = [\"age1q"))?;
    diagnosis(host, 1, &[("keys.recipients", "fail", "age1q")])?;
    site.configure(host, good)?;
    host.sh("chmod 644 /var/lib/swarmdr/keys/signing.key")?;
    diagnosis(host, 1, &[("keys.signing", "fail", "mode 644")])?;
    host.sh("chmod 600 /var/lib/swarmdr/keys/signing.key")?;
    // The operator's identity on a manager: it opens the archives, and that is the problem.
    site.set_up_restorer(host)?;
    site.configure(host, &format!("identity_command = [\"cat\", \"{IDENTITY}\"]\n{good}"))?;
    diagnosis(host, 6, &[("keys.identity", "warn", "so can anyone who breaks into it")])?;
    site.configure(host, &format!("identity_command = [\"false\"]\n{good}"))?;
    diagnosis(host, 1, &[("keys.identity", "fail", "gives no identity")])?;
    host.sh(&format!("rm {IDENTITY}"))?;
    site.configure(host, good)
}

/// Checks that credentials with more rights than to put and to lock are reported.
async fn roles(site: &Site, host: &Host, good: &str) -> Result<()> {
    credentials(host, site.rgw.owner())?;
    diagnosis(host, 6, &[("vault.delete", "ok", "cannot delete"), ("vault.hide", "warn", "finds them nevertheless")])?;
    // The delete marker that this run has put hides nothing of importance.
    site.rgw.create_bucket("governed", Lock::On).await?;
    site.configure(host, &good.replace("s3://vault/prod", "s3://governed").replace("COMPLIANCE", "GOVERNANCE"))?;
    let report = diagnosis(
        host,
        1,
        &[
            ("vault.mode", "warn", "GOVERNANCE"),
            ("vault.delete", "ok", "cannot delete"),
            ("vault.bypass", "fail", "can delete a locked version"),
            ("vault.lock", "fail", ""),
            ("vault.shorten-bypass", "ok", ""),
            ("backup.fresh", "fail", ""),
            ("vault.rollback", "fail", ""),
        ],
    )?;
    ensure!(report["checks"].to_string().contains("s3:BypassGovernanceRetention"), "{report:#}");
    // The same bucket with the credentials of the writer.
    credentials(host, &site.writer)?;
    diagnosis(
        host,
        1,
        &[
            ("vault.bypass", "ok", "cannot delete"),
            ("vault.mode", "warn", ""),
            ("backup.fresh", "fail", ""),
            ("vault.rollback", "fail", ""),
        ],
    )?;
    site.rgw.create_bucket("plain", Lock::VersionsOnly).await?;
    site.configure(host, &good.replace("s3://vault/prod", "s3://plain"))?;
    diagnosis(host, 1, &[("vault.ready", "fail", "no Object Lock"), ("backup.fresh", "fail", "")])?;
    credentials(host, &site.rgw.user("stranger")?)?;
    site.configure(host, good)?;
    diagnosis(host, 1, &[("vault.ready", "fail", "not allowed"), ("backup.fresh", "fail", "")])?;
    credentials(host, &site.writer)
}

fn autolock(site: &Site, host: &Host, good: &str) -> Result<()> {
    const KEY: &str = "/root/unlock-key";
    host.docker(&["swarm", "update", "--autolock=true"])?;
    diagnosis(host, 6, &[("swarm.unlock-key", "warn", "not in any backup")])?;
    let key = host.docker(&["swarm", "unlock-key", "-q"])?;
    host.write_file(KEY, &key)?;
    site.configure(host, &format!("{good}\n[restore]\nunlock_key_file = \"{KEY}\"\n"))?;
    let report = diagnosis(host, 0, &[("swarm.unlock-key", "ok", "is its key")])?;
    ensure!(!report.to_string().contains(key.trim_start_matches("SWMKEY-1-")), "the key is in the report");
    host.docker(&["swarm", "unlock-key", "--rotate", "-q"])?;
    diagnosis(host, 1, &[("swarm.unlock-key", "fail", "not the one of this swarm")])?;
    host.docker(&["swarm", "update", "--autolock=false"])?;
    site.configure(host, good)
}

/// Each of several recipients can open the archives, and no other identity can, however the identity is given; the
/// manager that makes them has none.
#[tokio::test]
async fn archives_open_for_their_recipients_only() -> Result<()> {
    const SECOND: &str = "/root/second.txt";
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    host.swarm_init()?;
    host.create_secret("one", b"x")?;
    site.set_up_manager(&host)?;
    let second = Identities::generate();
    let good = site.config("s3://vault/prod");
    let two = good.replace("recipients = [", &format!("recipients = [\"{}\", ", second.recipients()[0]));
    site.configure(&host, &two)?;
    let backup = agent_json(&host, 0, &["backup"])?;
    ensure!(backup["recipients"].as_array().map(Vec::len) == Some(2), "{backup:#}");
    let depth = |exit: i32, args: &[&str]| -> Result<String> {
        let report = agent_json(&host, exit, &[&["verify", "--latest"], args].concat())?;
        Ok(report["results"][0]["verdict"].as_str().context("there is a verdict")?.to_owned())
    };
    ensure!(depth(0, &[])? == "stored", "the manager cannot open it");
    host.write_file(SECOND, second.to_file_string().as_str())?;
    host.sh(&format!("chmod 600 {SECOND}"))?;
    site.set_up_restorer(&host)?;
    site.configure(&host, &two)?;
    for identity in [IDENTITY, SECOND] {
        ensure!(depth(0, &["--identity", identity])? == "proven", "{identity}");
    }
    host.write_file("/root/stranger.txt", Identities::generate().to_file_string().as_str())?;
    ensure!(depth(1, &["--identity", "/root/stranger.txt"])? == "bad", "a stranger opens it");
    ensure!(
        depth(0, &["--identity", "/root/stranger.txt", "--identity", SECOND])? == "proven",
        "one of two does not do"
    );

    site.configure(&host, &format!("identity_file = \"{SECOND}\"\n{two}"))?;
    ensure!(depth(0, &[])? == "proven", "from the configured file");
    site.configure(&host, &format!("identity_command = [\"cat\", \"{SECOND}\"]\n{two}"))?;
    ensure!(depth(0, &[])? == "proven", "from a command");
    site.configure(&host, &two)?;
    let credential = format!("LoadCredential=swarmdr.identity:{SECOND}");
    let verified = host.run(&[
        "systemd-run",
        "--wait",
        "--pipe",
        "--quiet",
        "-p",
        &credential,
        "swarmdr-agent",
        "verify",
        "--latest",
        "--json",
    ])?;
    ensure!(
        verified.stdout.contains("\"proven\""),
        "from a systemd credential: {}{}",
        verified.stdout,
        verified.stderr
    );

    // Archives are in clear only if the configuration says so.
    let clear = two.lines().filter(|line| !line.starts_with("recipients")).collect::<Vec<_>>().join("\n");
    site.configure(&host, &clear)?;
    ensure!(agent(&host, &["backup"])?.status.code() == Some(2), "an S3 vault without recipients was accepted");
    site.configure(&host, &format!("encryption = \"none\"\n{clear}"))?;
    agent_json(&host, 0, &["backup"])?;
    ensure!(depth(0, &[])? == "proven", "what is in clear needs no identity");
    Ok(())
}
