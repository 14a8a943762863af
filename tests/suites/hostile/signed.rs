//! Attackers with the managers' own signing key, and the backups that they store after a break-in.

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use swarmdr_archive::{Digest, SecretKey};
use swarmdr_tests::{
    lab::{Engine, HostSpec, addr},
    s3::{Bucket, Release},
    scenario::{CONFIG, Site, agent_json},
};
use tokio::time::{Duration, sleep};

use super::{
    acts::Scene,
    agent::LocalAgent,
    forge::{self, Genuine, MadeUp},
    rotated::thief_signs_on,
};

const CLUSTER: &str = "madeupmadeupmadeupmadeup1";

/// Sequence number of a backup, and digest of its manifest, for the next one.
type Link = (u64, Digest);

fn signed(site: &Site, made: Timestamp, previous: Option<Link>) -> Result<(Genuine, Link)> {
    let key = SecretKey::from_minisign_str(site.signing_key()).context("the site's key is a minisign key")?;
    forge::archive(&MadeUp { cluster: CLUSTER, created_at: made, previous, key: &key, recipient: &site.recipient })
}

/// Makes backups that are dated within the last hour, so that they are stored about when they were made.
fn history(site: &Site) -> Result<(Vec<Genuine>, Vec<Link>)> {
    let (mut genuine, mut links): (Vec<Genuine>, Vec<Link>) = (Vec::new(), Vec::new());
    for minutes in [50, 40, 30] {
        let made = Timestamp::now() - SignedDuration::from_mins(minutes);
        let (backup, link) = signed(site, made, links.last().copied())?;
        genuine.push(backup);
        links.push(link);
    }
    Ok((genuine, links))
}

/// Backups that are stored after the break-in, signed as genuine ones are.
struct Lie {
    name: &'static str,
    /// Times of its backups, in minutes from the break-in.
    made: fn() -> Vec<i64>,
    /// Sequence number that they claim; `None` for the next.
    number: Option<u64>,
    /// Whether `--latest` takes the newest genuine backup even without `--before`.
    loses_everywhere: bool,
    said: &'static str,
}

const LIES: [Lie; 5] = [
    Lie {
        name: "one from just before the break-in",
        made: || vec![-1],
        number: None,
        loses_everywhere: false,
        said: "",
    },
    Lie {
        name: "one from next year",
        made: || vec![300 * 24 * 60],
        number: None,
        loses_everywhere: true,
        said: "is ignored",
    },
    Lie {
        name: "the highest number there is",
        made: || vec![0],
        number: Some(u64::MAX),
        loses_everywhere: false,
        said: "",
    },
    Lie {
        name: "60 from every day of the last two months, late",
        made: || (1..=60).map(|day| -day * 24 * 60).collect(),
        number: Some(2),
        loses_everywhere: true,
        said: "",
    },
    Lie {
        name: "60 from every day of the next two months",
        made: || (1..=60).map(|day| day * 24 * 60).collect(),
        number: None,
        loses_everywhere: true,
        said: "is ignored",
    },
];

async fn tell(site: &Site, writer: &Bucket, lie: &Lie, newest: Link, break_in: Timestamp) -> Result<()> {
    let previous = lie.number.map_or(newest, |number| (number - 1, newest.1));
    for minutes in (lie.made)() {
        let previous = if lie.number == Some(2) { None } else { Some(previous) };
        let (forged, _) = signed(site, break_in + SignedDuration::from_mins(minutes), previous)?;
        writer.put(&format!("prod/{}", forged.key), &forged.bytes).await.context("failed to put")?;
    }
    Ok(())
}

fn report(stdout: &str) -> Result<Value> {
    serde_json::from_str(stdout).with_context(|| format!("no JSON: {stdout}"))
}

#[tokio::test]
async fn with_the_signing_key_nobody_changes_what_was_before() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let agent = LocalAgent::new(&site)?;
    for (number, lie) in LIES.iter().enumerate() {
        let (genuine, links) = history(&site)?;
        let bucket = format!("signed-{number}");
        let Scene { writer, .. } = super::scene(&site, &bucket, &genuine, 3).await?;
        // Servers report whole seconds.
        sleep(Duration::from_secs(2)).await;
        let break_in = Timestamp::now();
        sleep(Duration::from_secs(2)).await;
        tell(&site, &writer, lie, links[2], break_in).await.with_context(|| lie.name.to_owned())?;
        told_apart(&site, &agent, &bucket, lie, &genuine, break_in).with_context(|| lie.name.to_owned())?;
        println!("{:52} loses before it{}", lie.name, if lie.loses_everywhere { ", and after it" } else { "" });
    }
    Ok(())
}

fn told_apart(
    site: &Site,
    agent: &LocalAgent,
    bucket: &str,
    lie: &Lie,
    genuine: &[Genuine],
    break_in: Timestamp,
) -> Result<()> {
    let (url, newest, before) = (format!("s3://{bucket}/prod"), genuine[2].id(), break_in.to_string());
    let run = |args: &[&str]| agent.run(site, &url, args);
    let listed = run(&["list", "--before", &before])?;
    let rows = report(&listed.stdout)?["backups"].clone();
    ensure!(listed.exit == 0 && rows.as_array().map(Vec::len) == Some(3) && rows[0]["id"] == newest, "{listed:?}");
    for verb in ["verify", "inspect"] {
        let ran = run(&[verb, "--latest", "--before", &before])?;
        ensure!(ran.exit == 0 && ran.stdout.contains(&newest), "{ran:?}");
    }
    // A backup that was stored late, or is dated in the future, does not displace a genuine one from a retention
    // policy.
    let pruned = report(&run(&["prune", "--dry-run", "--keep-daily", "9", "--keep-last", "3"])?.stdout)?;
    let fates = pruned["plans"][0]["backups"].as_array().context("a plan")?.clone();
    if lie.loses_everywhere {
        for backup in genuine {
            let fate = fates.iter().find(|fate| fate["id"] == backup.id()).context("is planned for")?;
            ensure!(fate["act"] == "keep", "{fate:#}");
        }
        let ran = run(&["verify", "--latest"])?;
        ensure!(ran.stdout.contains(&newest) && ran.stdout.contains(lie.said), "{ran:?}");
        // Nor does it make the newest backup look younger than it is, for a range or for monitoring.
        let young = run(&["list", "--max-age", "20m"])?;
        ensure!(young.exit == 5, "{young:?}");
        let status = report(&run(&["status"])?.stdout)?;
        ensure!(status["vaults"][0]["newest"]["id"] == newest, "{status:#}");
        let metrics = agent.plain(site, &url, &["status", "--prometheus"])?;
        let made = genuine[2].created_at().parse::<Timestamp>()?.as_second().to_string();
        let age = metrics.stdout.lines().find(|it| it.starts_with("swarmdr_newest_backup_timestamp_seconds{"));
        ensure!(age.is_some_and(|line| line.contains(&made)), "{age:?} should say {made}");
    }
    Ok(())
}

/// A backup that was made two hours ago and is sent now is genuine, is reported as late, and is not among those that
/// `--before` takes.
#[tokio::test]
async fn a_late_spool_is_told_and_accuses_nobody() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let agent = LocalAgent::new(&site)?;
    let (genuine, links) = history(&site)?;
    let Scene { writer, .. } = super::scene(&site, "late", &genuine, 3).await?;
    sleep(Duration::from_secs(2)).await;
    let then = Timestamp::now().to_string();
    sleep(Duration::from_secs(2)).await;
    let (late, _) = signed(&site, Timestamp::now() - SignedDuration::from_hours(2), Some(links[0]))?;
    writer.put(&format!("prod/{}", late.key), &late.bytes).await.context("failed to put")?;
    let run = |args: &[&str]| agent.run(&site, "s3://late/prod", args);
    let listed = run(&["list"])?;
    let found = report(&listed.stdout)?;
    let rows = found["backups"].as_array().context("rows")?;
    ensure!(rows.len() == 4 && rows[0]["id"] == genuine[2].id() && rows[0]["late"] == false, "{listed:?}");
    ensure!(rows.iter().any(|row| row["id"] == late.id() && row["late"] == true), "{listed:?}");
    let accused = ["in no vault", "does not follow"].iter().any(|it| found["findings"].to_string().contains(it));
    ensure!(!accused, "{found:#}");
    let ran = run(&["verify", "--latest"])?;
    ensure!(ran.exit == 0 && ran.stdout.contains(&genuine[2].id()), "{ran:?}");
    let before = run(&["list", "--before", &then])?;
    ensure!(report(&before.stdout)?["backups"].as_array().map(Vec::len) == Some(3), "{before:?}");
    Ok(())
}

/// Replaces a stolen key as the guide says, on a manager and on a host that restores.
#[tokio::test]
async fn a_stolen_key_is_replaced() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let mut agent = LocalAgent::new(&site)?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    host.swarm_init()?;
    site.set_up_manager(&host)?;
    let first = agent_json(&host, 0, &["backup"])?;
    sleep(Duration::from_secs(2)).await;
    let until = Timestamp::now().to_string();
    let rotated = agent_json(&host, 0, &["keygen", "--rotate", "--until", &until])?;
    let started = host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?;
    let refused = agent_json(&host, 2, &["backup"])?;
    ensure!(refused["error"].to_string().contains("is not among trusted_keys"), "{refused:#}");
    ensure!(host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")? == started, "was stopped");

    let [new, old] = [&rotated["public"], &rotated["ended"]].map(|key| key.as_str().unwrap_or_default().to_owned());
    ensure!(old == site.public_key, "{rotated:#}");
    agent.trusted_keys = format!("[\"{new}\", {{ key = \"{old}\", until = \"{until}\" }}]");
    let config = host.read_file(CONFIG)?;
    let trusting = config.replace(&format!("[\"{}\"]", site.public_key), &agent.trusted_keys);
    ensure!(trusting != config, "{config}");
    site.configure(&host, &trusting)?;
    let second = agent_json(&host, 0, &["backup"])?;
    let listed = agent_json(&host, 0, &["list"])?;
    ensure!(listed["backups"].as_array().map(Vec::len) == Some(2), "the old history is not usable: {listed:#}");
    ensure!(listed["backups"][0]["id"] == second["id"] && listed["backups"][0]["sequence"] == 2, "{listed:#}");

    let cluster = first["cluster_id"].as_str().or(listed["backups"][0]["cluster_id"].as_str()).context("a cluster")?;
    thief_signs_on(&site, cluster).await?;
    let listed = agent_json(&host, 6, &["list"])?;
    ensure!(listed["backups"][0]["id"] == second["id"], "{listed:#}");
    let told = listed["findings"].to_string().matches("is trusted for what was stored before").count();
    ensure!(told == 2, "{listed:#}");
    // The same on the host that would restore.
    let ran = agent.run(&site, "s3://vault/prod", &["verify", "--latest", "--identity", &agent.identity])?;
    ensure!(second["id"].as_str().is_some_and(|id| ran.stdout.contains(id)), "{ran:?}");
    let before = ["verify", "--latest", "--before", &until, "--identity", &agent.identity];
    let ran = agent.run(&site, "s3://vault/prod", &before)?;
    ensure!(first["id"].as_str().is_some_and(|id| ran.stdout.contains(id)), "{ran:?}");
    Ok(())
}
