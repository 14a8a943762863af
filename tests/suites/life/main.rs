//! Signs of life on a real object store: who leaves one, how many stay, and that a swarm is not brought back elsewhere
//! while its site shows them.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::{
    DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, addr},
    packages::checkout,
    s3::{Bucket, Release, Version},
    scenario::{IDENTITY, Site, VAULT, agent, agent_json, describe_swarm, number, populate, text},
};

const RESTORE: [&str; 5] = ["restore", "--latest", "--readdress", "--identity", IDENTITY];

/// Signs every half a minute, so that they are fresh for 150 s.
const STANDBY: &str = "[standby]\nsign_of_life = \"30s\"\nsite = \"old\"\n";

/// Makes the next run leave a sign, as if the last one were old.
const FORGET: &str = r#"sed -i -E 's/"at": *("[^"]*"|null)/"at": null/' /var/lib/swarmdr/life.json"#;

const LIMIT: Duration = Duration::from_secs(90);

/// A manager with a backup, on whose bucket a default retention of a month applies.
async fn manager(site: &Site) -> Result<Host> {
    lock_by_default(&site.owner).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.swarm_init()?;
    populate(&host)?;
    site.set_up_manager(&host)?;
    site.configure(&host, &format!("{}\n{STANDBY}", site.config(VAULT)))?;
    agent_json(&host, 0, &["backup"])?;
    Ok(host)
}

async fn lock_by_default(bucket: &Bucket) -> Result<()> {
    let retention = DefaultRetention::builder().mode(ObjectLockRetentionMode::Compliance).days(30).build();
    let rule = ObjectLockRule::builder().default_retention(retention).build();
    let config = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).rule(rule).build();
    let put = bucket.client.put_object_lock_configuration().bucket(&bucket.name).object_lock_configuration(config);
    put.send().await.context("failed to set the bucket's default retention").map(drop)
}

/// Returns the versions of the signs, newest first. Over a connection of its own: the gateway is started again.
async fn signs(site: &Site) -> Result<Vec<Version>> {
    Ok(site.owner.by(site.rgw.owner())?.versions("prod/life/").await?)
}

/// Boots a host elsewhere, which cannot reach the manager, nor be reached by it.
fn elsewhere(site: &Site, manager: &Host) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m2", Engine::E26_1, addr(12)))?;
    site.set_up_restorer(&host)?;
    host.load_image()?;
    manager.sh(&format!("iptables -I INPUT -s {0} -j DROP; iptables -I OUTPUT -d {0} -j DROP", addr(12)))?;
    Ok(host)
}

#[tokio::test]
async fn a_site_that_reaches_the_vault_is_not_taken_over_until_it_is_silent() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let old = manager(&site).await?;
    let new = elsewhere(&site, &old)?;
    agent_json(&old, 0, &["life"])?;

    // The other host can probe nobody: only the vault knows.
    let refused = agent_json(&new, 4, &RESTORE)?;
    let why = text(&refused, "/error")?;
    ensure!(why.contains("another site of this swarm is alive: site old"), "{refused:#}");
    ensure!(refused["to_do"].to_string().contains("--wait"), "{refused:#}");
    // What a thief of the manager's credentials puts on top hides nothing.
    let key = signs(&site).await?.first().context("there is no sign")?.key.clone();
    site.owner.by(&site.writer)?.put(&key, b"junk").await?;
    agent_json(&new, 4, &RESTORE)?;
    agent_json(&new, 4, &[&RESTORE[..], &["--wait", "2s"]].concat())?;
    ensure!(new.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "inactive", "it was touched");
    let vouched = agent_json(&new, 0, &[&RESTORE[..], &["--fenced", "--dry-run"]].concat())?;
    ensure!(vouched["id"].is_string(), "{vouched:#}");

    // Anybody who may read sees it, and that something lies on top.
    let alive = agent_json(&new, 6, &["life", "--look"])?;
    assert_eq!((&alive["alive"], text(&alive, "/signs/0/site")?), (&Value::Bool(true), "old"), "{alive:#}");
    // A backup that holds the lock of the host delays no sign.
    old.sh(FORGET)?;
    let holder = old.spawn(&["flock", "/run/swarmdr/agent.lock", "sleep", "600"])?;
    old.wait_for("the lock to be held", LIMIT, || {
        Ok((!old.run(&["flock", "--nonblock", "/run/swarmdr/agent.lock", "true"])?.status.success()).then_some(()))
    })?;
    agent_json(&old, 0, &["life"])?;
    holder.signal("KILL")?;

    // By the vault's clock the site is silent for ten minutes.
    site.rgw.restart_gateway_at("+10m")?;
    let silent = agent_json(&new, 5, &["life", "--look"])?;
    assert_eq!(silent["alive"], false, "{silent:#}");
    let before = describe_swarm(&old)?;
    let restored = agent(&new, &[&RESTORE[..], &["--json"]].concat())?;
    ensure!(matches!(restored.status.code(), Some(0 | 6)), "{}{}", restored.stdout, restored.stderr);
    let lasting = |all: Vec<String>| -> Vec<String> { all.into_iter().filter(|it| !it.starts_with("node ")).collect() };
    assert_eq!(lasting(describe_swarm(&new)?), lasting(before));
    Ok(())
}

#[tokio::test]
async fn signs_are_versions_of_one_key_and_prune_removes_the_old_ones() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let old = manager(&site).await?;
    let first = agent_json(&old, 0, &["life"])?;
    assert_eq!((first["due"].as_bool(), first["left"].as_array().map(Vec::len)), (Some(true), Some(1)), "{first:#}");
    let again = agent_json(&old, 0, &["life"])?;
    assert_eq!(again["due"], false, "{again:#}");
    ensure!(agent(&old, &["life"])?.stdout.is_empty(), "a sign that is not due is reported");
    for _ in 0..5 {
        old.sh(FORGET)?;
        agent_json(&old, 0, &["life"])?;
    }
    let versions = signs(&site).await?;
    let size = versions.first().and_then(|version| version.size).context("there is no sign")?;
    println!("{} versions of {} with {size} bytes each", versions.len(), versions[0].key);
    ensure!(versions.len() == 6 && size <= 4096, "{versions:?}");
    ensure!(versions.iter().all(|version| version.key == versions[0].key), "{versions:?}");
    // The default retention of the bucket would keep each version for a month.
    let lock = site.owner.retention(&versions[0].key, &versions[0].id).await?;
    let soon = SystemTime::now() + Duration::from_secs(2 * 3600);
    ensure!(lock.is_none_or(|lock| lock.until < soon), "{lock:?}");

    let status = agent_json(&old, 0, &["status"])?;
    assert_eq!(
        (status["sign_of_life"]["every"].as_u64(), &status["sign_of_life"]["late"]),
        (Some(30), &Value::Bool(false))
    );
    old.sh(FORGET)?;
    let late = agent_json(&old, 6, &["status"])?;
    ensure!(late["reasons"].to_string().contains("left no sign of life yet"), "{late:#}");

    // Whoever may delete removes what is old by the vault's clock, and no backup.
    site.write_credentials_of(&old, site.rgw.owner())?;
    let prune = ["prune", "--keep-last", "1", "--delete-versions"];
    let young = agent_json(&old, 0, &prune)?;
    assert_eq!(number(&young, "/signs_of_life/0/removed")?, 0, "{young:#}");
    site.rgw.restart_gateway_at("+13h")?;
    let plan = agent_json(&old, 0, &[&prune[..], &["--dry-run"]].concat())?;
    assert_eq!(
        (number(&plan, "/signs_of_life/0/old")?, number(&plan, "/signs_of_life/0/removed")?),
        (3, 0),
        "{plan:#}"
    );
    let pruned = agent_json(&old, 0, &prune)?;
    assert_eq!((number(&pruned, "/signs_of_life/0/removed")?, number(&pruned, "/removed")?), (3, 0), "{pruned:#}");
    site.rgw.kill_gateway()?;
    site.rgw.restart_gateway()?;
    assert_eq!(signs(&site).await?, versions[..3]);
    Ok(())
}

#[tokio::test]
async fn only_a_manager_that_sees_a_leader_shows_life() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let old = manager(&site).await?;
    // The unit, hardened as it is shipped, with its timer.
    for unit in ["swarmdr-life.service", "swarmdr-life.timer"] {
        let shipped = std::fs::read(checkout().join("systemd").join(unit))?;
        old.write_file(&format!("/etc/systemd/system/{unit}"), shipped)?;
    }
    old.sh("systemctl daemon-reload; systemctl start swarmdr-life.timer")?;
    old.wait_for("the timer to leave a second sign", LIMIT, || {
        let left = old.sh("journalctl --no-pager -o cat -u swarmdr-life.service | grep -c 'was left in' || true")?;
        Ok((left.parse::<u32>().unwrap_or(0) >= 2).then_some(()))
    })
    .with_context(|| old.journal("swarmdr-life.service", 40).unwrap_or_default())?;
    assert_eq!(old.sh("systemctl show -p ExecMainStatus --value swarmdr-life.service")?, "0");
    old.sh("systemctl stop swarmdr-life.timer swarmdr-life.service")?;

    // A stopped engine is not started by a question.
    old.sh("systemctl stop docker.service")?;
    agent_json(&old, 3, &["life"])?;
    ensure!(old.run(&["systemctl", "is-active", "docker.service"])?.stdout.trim() != "active", "it was started");
    old.sh("systemctl start docker.service")?;
    old.wait_manager()?;

    // No vault takes the sign.
    site.rgw.kill_gateway()?;
    old.sh(FORGET)?;
    let failed = agent_json(&old, 1, &["life"])?;
    ensure!(text(&failed, "/error")?.contains("no vault took the sign of life"), "{failed:#}");
    site.rgw.restart_gateway()?;
    // One of two does.
    let two = format!("{}\n[[vault]]\nurl = \"file:///srv/vault\"\n\n{STANDBY}", site.config(VAULT));
    site.configure(&old, &two)?;
    let half = agent_json(&old, 6, &["life"])?;
    ensure!(half["attention"].to_string().contains("file:///srv/vault"), "{half:#}");
    old.sh(&format!("install -d -m 700 /srv/vault; {FORGET}"))?;
    for _ in 0..2 {
        agent_json(&old, 0, &["life"])?;
        old.sh(FORGET)?;
    }
    assert_eq!(old.sh("find /srv/vault -type f | wc -l")?, "1", "a directory keeps one sign of a node");

    site.configure(&old, &site.config(VAULT))?;
    let usage = agent_json(&old, 2, &["life"])?;
    ensure!(usage["to_do"].to_string().contains("standby.sign_of_life"), "{usage:#}");
    site.configure(&old, &format!("{}\n{STANDBY}", site.config(VAULT)))?;
    old.docker(&["swarm", "leave", "--force"])?;
    agent_json(&old, 3, &["life"]).map(drop)
}
