//! A stolen signing key is replaced on three managers and on a host that restores, by the steps that the command
//! prints.

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::SecretKey;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Role, addr},
    s3::Release,
    scenario::{CONFIG, IDENTITY, Site, agent, agent_json, describe_swarm},
};
use tokio::time::{Duration, sleep};

use super::forge::{self, MadeUp};

const KEYS: [&str; 2] = ["/var/lib/swarmdr/keys/signing.key", "/var/lib/swarmdr/keys/signing.pub"];

/// Returns the setting `trusted_keys` that `keygen --rotate` prints.
fn lines_to_write(printed: &str) -> Result<String> {
    let block = printed.split_once("trusted_keys = [").and_then(|(_, rest)| rest.split_once("\n   ]"));
    let (lines, _) = block.with_context(|| format!("no lines to write in {printed}"))?;
    Ok(format!("trusted_keys = [{lines}\n]\n"))
}

/// Writes the setting in the place of the present one.
fn write_lines(host: &Host, lines: &str) -> Result<()> {
    let config = host.read_file(CONFIG)?;
    let (old, rest): (Vec<&str>, Vec<&str>) = config.lines().partition(|line| line.starts_with("trusted_keys"));
    ensure!(old.len() == 1, "{config}");
    host.write_file(CONFIG, format!("{lines}{}\n", rest.join("\n")))
}

#[tokio::test]
async fn a_stolen_key_is_replaced_on_three_managers_and_where_it_is_restored() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let spec = |n: u8| HostSpec::new(&format!("m{n}"), Engine::E26_1, addr(10 + n));
    let managers = site.lab.boot_all([spec(1), spec(2), spec(3)])?;
    managers[0].swarm_init()?;
    managers[0].create_secret("db-password", b"correct horse battery staple")?;
    for other in &managers[1..] {
        other.join(&managers[0], Role::Manager)?;
    }
    for manager in &managers {
        site.set_up_manager(manager)?;
    }
    // This host takes the place of the last manager once that is gone.
    let restorer = site.lab.boot(HostSpec::new("spare", Engine::E26_1, addr(20)))?;
    site.set_up_restorer(&restorer)?;
    let first = agent_json(&managers[0], 0, &["backup"])?;
    sleep(Duration::from_secs(2)).await;
    let break_in = Timestamp::now();
    sleep(Duration::from_secs(2)).await;

    let rotated = agent(&managers[0], &["keygen", "--rotate", "--until", &break_in.to_string()])?;
    ensure!(rotated.status.success(), "{rotated:?}");
    let lines = lines_to_write(&rotated.stdout)?;
    ensure!(agent(&managers[0], &["backup"])?.status.code() == Some(2), "it signs with a key that nobody trusts yet");
    for host in [&restorer, &managers[0]] {
        write_lines(host, &lines)?;
    }
    for other in &managers[1..] {
        write_lines(other, &lines)?;
        for path in KEYS {
            other.write_file(path, managers[0].read_file(path)? + "\n")?;
            other.sh(&format!("chmod 600 {path}"))?;
        }
    }
    let mut newest = String::new();
    for manager in &managers {
        let made = agent_json(manager, 0, &["backup"])?;
        newest = made["id"].as_str().context("an id")?.to_owned();
        agent_json(manager, 0, &["list"])?;
    }

    thief_signs_on(&site, first["cluster_id"].as_str().context("a cluster")?).await?;
    for host in managers.iter().chain([&restorer]) {
        let listed = agent_json(host, 6, &["list"])?;
        ensure!(listed["backups"][0]["id"] == newest.as_str(), "{}: {listed:#}", host.name());
        let told = listed["findings"].to_string().matches("is trusted for what was stored before").count();
        ensure!(told == 2, "{}: {listed:#}", host.name());
    }
    let before = describe_swarm(&managers[0])?;
    for manager in managers {
        manager.destroy()?;
    }
    restored(&restorer, &newest, &before)?;
    let earlier = ["verify", "--latest", "--before", &break_in.to_string(), "--identity", IDENTITY];
    let verified = agent(&restorer, &earlier)?;
    ensure!(first["id"].as_str().is_some_and(|id| verified.stdout.contains(id)), "{verified:?}");
    println!("replaced on three managers; {newest} was restored, and what the old key signed later counts for nothing");
    Ok(())
}

/// Stores backups that a thief signs with the old key, one dated ten minutes ago and one dated a minute from now.
pub async fn thief_signs_on(site: &Site, cluster: &str) -> Result<()> {
    let key = SecretKey::from_minisign_str(site.signing_key())?;
    let writer = site.owner.by(&site.writer)?;
    for minutes in [-10, 1] {
        let created_at = Timestamp::now() + SignedDuration::from_mins(minutes);
        let made_up = MadeUp { cluster, created_at, previous: None, key: &key, recipient: &site.recipient };
        let (forged, _) = forge::archive(&made_up)?;
        writer.put(&format!("prod/{}", forged.key), &forged.bytes).await.context("failed to put")?;
    }
    Ok(())
}

/// Restores the newest backup at the address of the manager that made it.
fn restored(host: &Host, newest: &str, before: &[String]) -> Result<()> {
    host.sh("ip address add 10.77.0.13/24 dev host0")?;
    let restored = agent_json(host, 6, &["restore", "--latest", "--identity", IDENTITY])?;
    ensure!(restored["id"] == newest, "{restored:#}");
    // The other managers are gone.
    let lasting = |lines: &[String]| lines.iter().filter(|line| !line.starts_with("node")).cloned().collect::<Vec<_>>();
    let now = describe_swarm(host)?;
    ensure!(lasting(&now) == lasting(before), "{before:#?} became {now:#?}");
    Ok(())
}
