//! Vaults in the hands of an attacker: with the writer's own credentials, on a real gateway with real locks.
//!
//! Each attack has a bucket of its own with the same three genuine backups in it. Afterwards `list` and `restore` must
//! find the newest of them, and report what was done. Attacks that need more rights than the writer's are the owner's,
//! and are marked so in the table.

mod acts;
mod agent;
mod attacks;
mod clocks;
mod forge;
mod rotated;
mod signed;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::{self, generations},
    lab::{Engine, Host, HostSpec, Service, addr},
    s3::{Lock, Mode, Release, Retention},
    scenario::{IDENTITY, Site, agent_json, describe_swarm},
};

use acts::Scene;
use agent::{LocalAgent, Ran};
use attacks::{ATTACKS, Attack};
use forge::Genuine;

/// Makes three backups of a manager with a small swarm. Returns them, oldest first, and the description of the swarm.
async fn backups(site: &Site, engine: Engine) -> Result<(Vec<Genuine>, Vec<String>)> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    host.load_image()?;
    host.create_service(&Service { name: "web", replicas: 1, ..Service::default() })?;
    site.set_up_manager(&host)?;
    let mut genuine = Vec::new();
    for secret in ["first", "second", "third"] {
        host.create_secret(secret, b"x")?;
        let report = agent_json(&host, 0, &["backup"])?;
        let key = report.pointer("/kept/0/key").and_then(Value::as_str).context("the backup was kept")?.to_owned();
        let bytes = site.owner.get(&format!("prod/{key}"), None).await?;
        genuine.push(Genuine { key, bytes });
    }
    let swarm = describe_swarm(&host)?;
    host.destroy()?;
    Ok((genuine, swarm))
}

/// Puts the genuine backups into a new bucket as their manager does.
async fn scene<'a>(site: &'a Site, bucket: &str, genuine: &'a [Genuine], stored: usize) -> Result<Scene<'a>> {
    let owner = site.rgw.create_bucket(bucket, Lock::On).await?;
    let writer = owner.by(&site.writer)?;
    let lock = Retention::new(Mode::Compliance, std::time::Duration::from_secs(24 * 3600));
    let mut versions = Vec::new();
    for backup in &genuine[..stored] {
        versions.push(writer.put_locked(&format!("prod/{}", backup.key), &backup.bytes, lock).await?);
    }
    Ok(Scene { site, owner, writer, genuine, versions, lock })
}

#[tokio::test]
async fn the_genuine_backup_wins_over_every_attack_of_the_writer() -> Result<()> {
    for engine in generations() {
        every_attack(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

async fn every_attack(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let (genuine, swarm) = backups(&site, engine).await?;
    let fresh = site.lab.boot(HostSpec::new("fresh", engine, addr(11)))?;
    fresh.load_image()?;
    site.set_up_restorer(&fresh)?;
    let agent = LocalAgent::new(&site)?;

    println!("{:52} {:7} {:>4} {:>7} {:>8} {:>9}  said", "attack", "by", "list", "restore", "requests", "memory");
    let mut failed = Vec::new();
    for (number, attack) in ATTACKS.iter().enumerate() {
        let bucket = format!("attack-{number:02}");
        let line = one(&site, &agent, &fresh, &bucket, attack, &genuine).await;
        match line {
            Ok(line) => println!("{line}"),
            Err(error) => {
                println!("{:52} FAILED: {error:#}", attack.name);
                failed.push(attack.name);
            }
        }
    }
    ensure!(failed.is_empty(), "{} of {} attacks: {failed:?}", failed.len(), ATTACKS.len());

    // All attacks at once: the swarm is restored anyway.
    let scene = scene(&site, "all-at-once", &genuine, 3).await?;
    for attack in ATTACKS.iter().filter(|attack| attack.stored == 3) {
        (attack.act)(&scene).await.with_context(|| format!("failed to attack: {}", attack.name))?;
    }
    site.configure(&fresh, &site.config("s3://all-at-once/prod"))?;
    let cluster = genuine[0].cluster();
    let restored = agent_json(&fresh, 6, &["restore", "--latest", "--identity", IDENTITY, "--cluster", &cluster])?;
    assert_eq!(restored["id"], genuine[2].id());
    assert_eq!(describe_swarm(&fresh)?, swarm);
    println!(
        "{}, all at once: restored {}, {} findings",
        engine.version(),
        genuine[2].id(),
        count(&restored, "/findings")
    );
    Ok(())
}

/// Attacks a bucket of its own, examines it from this machine through a counting proxy, and plans a restore on a real
/// host.
async fn one(
    site: &Site,
    agent: &LocalAgent,
    fresh: &Host,
    bucket: &str,
    attack: &Attack,
    genuine: &[Genuine],
) -> Result<String> {
    let scene = scene(site, bucket, genuine, attack.stored).await?;
    (attack.act)(&scene).await?;
    let cluster = genuine[0].cluster();
    let among: &[&str] = if attack.needs_cluster { &["--cluster", &cluster] } else { &[] };
    let url = format!("s3://{bucket}/prod");

    if attack.needs_cluster {
        let unclear = agent.run(site, &url, &["verify", "--latest"])?;
        ensure!(unclear.exit == 2 && unclear.stderr.contains("name it with --cluster"), "{unclear:?}");
    }
    let listed = agent.run(site, &url, &[&["list"], among].concat())?;
    ensure!(listed.exit == attack.list_exit, "list exits {}, not {}: {listed:?}", listed.exit, attack.list_exit);
    let report: Value = serde_json::from_str(&listed.stdout)?;
    let newest = genuine[attack.expected].id();
    if attack.lies_in_payload {
        // Only a command that reads all of it sees that; `list` reads heads.
        let verified = agent.run(site, &url, &[&["verify", "--latest"], among].concat())?;
        ensure!(verified.exit == 1 && verified.stdout.contains("digest"), "{verified:?}");
    } else {
        ensure!(report["backups"][0]["id"] == newest, "list does not begin with {newest}: {report:#}");
        let verified =
            agent.run(site, &url, &[&["verify", "--latest", "--identity", &agent.identity], among].concat())?;
        ensure!(verified.exit == attack.exit && verified.stdout.contains(&newest), "{verified:?}");
    }

    site.configure(fresh, &site.config(&url))?;
    let dry_run = ["restore", "--latest", "--dry-run", "--identity", IDENTITY];
    let planned = agent_json(fresh, attack.exit, &[&dry_run[..], among].concat())?;
    ensure!(planned["id"] == newest, "the restore takes {} instead of {newest}", planned["id"]);
    let said = format!("{} {}", report["findings"], planned["notes"]);
    ensure!(said.contains(attack.said), "`{}` is not said: {said}", attack.said);
    Ok(line(attack, &listed, &planned))
}

fn line(attack: &Attack, listed: &Ran, planned: &Value) -> String {
    let notes = planned["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let said = notes.filter(|note| !attack.said.is_empty() && note.contains(attack.said)).map(without_names).next();
    format!(
        "{:52} {:7} {:>4} {:>7} {:>8} {:>7}kB  {}",
        attack.name,
        if attack.by_owner { "owner" } else { "writer" },
        listed.exit,
        attack.exit,
        listed.requests,
        listed.peak_memory / 1024,
        said.unwrap_or_default()
    )
}

/// Returns the message about an object without its vault, key and version, cut to the rest of a line.
fn without_names(note: &str) -> String {
    let about = note.split_once(") ").filter(|(names, _)| names.contains("(version "));
    let said = about.map_or_else(|| note.split_once(": ").map_or(note, |(_, said)| said), |(_, said)| said);
    said.chars().take(80).collect()
}

fn count(report: &Value, pointer: &str) -> usize {
    report.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len)
}

/// Cost of reading a vault after a flood. The unit tests of the catalog put a million keys into a vault in memory: a
/// gateway would take most of an hour to store them.
#[tokio::test]
async fn floods_cost_bounded_memory_and_requests() -> Result<()> {
    let (junk, forged) = if campaign::full() { (100_000, 20_000) } else { (3_000, 1_500) };
    let site = Site::new(Release::V20).await?;
    let genuine = forge::made_up(&site, 3)?;
    let agent = LocalAgent::new(&site)?;
    let clean = scene(&site, "clean", &genuine, 3).await?;
    let floods = [("junk-keys", "junk in the minute of the newest backup", junk), ("forged", "forged, newer", forged)];
    println!("{:44} {:>9} {:>8} {:>8} {:>10} {:>8}", "vault", "objects", "exit", "requests", "memory", "time");
    let look = |bucket: &str, what: &str, objects: usize, exit: i32| -> Result<Ran> {
        let begun = Instant::now();
        let ran = agent.run(&site, &format!("s3://{bucket}/prod"), &["verify", "--latest"])?;
        println!(
            "{what:44} {objects:>9} {:>8} {:>8} {:>8}kB {:>7.1?}",
            ran.exit,
            ran.requests,
            ran.peak_memory / 1024,
            begun.elapsed()
        );
        ensure!(ran.exit == exit && ran.stdout.contains(&genuine[2].id()), "{ran:?}");
        Ok(ran)
    };
    let base = look("clean", "clean", clean.versions.len(), 0)?;
    for (bucket, what, objects) in floods {
        let scene = scene(&site, bucket, &genuine, 3).await?;
        match bucket {
            "junk-keys" => acts::junk_in_one_minute(&scene, objects).await?,
            _ => acts::forged_newer(&scene, objects).await?,
        }
        let ran = look(bucket, what, objects, 6)?;
        // Pages of a thousand keys, the keys around a crowded minute, and all the heads that may turn out bad; most of
        // them twice.
        let bound = 3 * objects / 1000 + 2 * 20 * 15 + 2 * 3 * 1024 + 200;
        ensure!(ran.requests < bound, "{} requests, more than {bound}", ran.requests);
        ensure!(ran.peak_memory < base.peak_memory + (24 << 20), "{} bytes of memory", ran.peak_memory);
    }
    Ok(())
}

/// With two vaults, the newest backup of both is taken, and one vault provides what the other cannot.
#[tokio::test]
async fn several_vaults_stand_in_for_each_other() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let genuine = forge::made_up(&site, 3)?;
    let agent = LocalAgent::new(&site)?;
    scene(&site, "behind", &genuine, 2).await?;
    scene(&site, "whole", &genuine, 3).await?;
    let lying = scene(&site, "lying", &genuine, 2).await?;
    acts::another_payload(&lying).await?;
    let urls = |names: [&str; 2]| names.map(|name| format!("s3://{name}/prod"));

    let ran = agent.run_with(&site, &urls(["behind", "whole"]), &["list"])?;
    ensure!(ran.exit == 0, "one vault behind is no alarm: {ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout)?;
    ensure!(count(&report, "/backups") == 5 && report["backups"][0]["id"] == genuine[2].id(), "{report:#}");
    let ran = agent.run_with(&site, &urls(["behind", "whole"]), &["verify", "--latest"])?;
    ensure!(ran.exit == 0 && ran.stdout.contains(&genuine[2].id()), "{ran:?}");

    let ran = agent.run_with(&site, &urls(["no-such-bucket", "whole"]), &["verify", "--latest"])?;
    ensure!(ran.exit == 5 && ran.stderr.contains("the newest backup is not known"), "{ran:?}");
    let ran = agent.run_with(&site, &urls(["no-such-bucket", "whole"]), &["verify", "--latest", "--any-vault"])?;
    ensure!(ran.exit == 6 && ran.stdout.contains(&genuine[2].id()), "{ran:?}");
    ensure!(ran.stdout.contains("no such bucket"), "{ran:?}");

    // The first vault is asked first, and one of its payloads does not match what was signed, which `restore` would
    // see.
    let ran = agent.run_with(&site, &urls(["lying", "whole"]), &["verify"])?;
    ensure!(ran.exit == 1 && ran.stdout.matches("\"good\": true").count() == 5, "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn time_and_age_narrow_the_choice() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let genuine = forge::made_up(&site, 3)?;
    let agent = LocalAgent::new(&site)?;
    let two = scene(&site, "vault2", &genuine, 2).await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let before = jiff::Timestamp::now().to_string();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    two.writer.put_locked(&format!("prod/{}", genuine[2].key), &genuine[2].bytes, two.lock).await?;
    let run = |args: &[&str]| agent.run(&site, "s3://vault2/prod", args);
    let ran = run(&["verify", "--latest", "--before", &before])?;
    ensure!(ran.exit == 0 && ran.stdout.contains(&genuine[1].id()), "{ran:?}");
    let ran = run(&["list", "--before", &before])?;
    ensure!(count(&serde_json::from_str(&ran.stdout)?, "/backups") == 2, "{ran:?}");
    // The time in a name is only a claim: a backup that was stored later than a time is not from before it.
    let ran = run(&["verify", "--latest", "--before", &genuine[2].created_at()])?;
    ensure!(ran.exit == 5 && ran.stderr.contains("name its id"), "{ran:?}");
    // The backups were made three, two and one hours ago.
    let ran = run(&["verify", "--latest", "--max-age", "2h"])?;
    ensure!(ran.exit == 0 && ran.stdout.contains(&genuine[2].id()), "{ran:?}");
    let ran = run(&["list", "--max-age", "130m"])?;
    ensure!(ran.exit == 0 && count(&serde_json::from_str(&ran.stdout)?, "/backups") == 2, "{ran:?}");
    let ran = run(&["verify", "--latest", "--max-age", "30m"])?;
    ensure!(ran.exit == 5 && ran.stderr.contains(&format!("the newest is {}", genuine[2].id())), "{ran:?}");
    let ran = run(&["list", "--max-age", "30m"])?;
    ensure!(ran.exit == 5, "{ran:?}");
    Ok(())
}
