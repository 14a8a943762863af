//! A restore that is killed after it has claimed the swarm and before it has placed anything: the site that works is
//! superseded until somebody ends that claim.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::{Host, addr},
    s3::Release,
    scenario::{CONFIG, IDENTITY, Site, agent, agent_json, text},
};

use super::{OLD, RESTORE, engines, manager, restorer};

/// A run that finds no backup, so it does not go on.
const FINDS_NONE: [&str; 6] = ["restore", "--latest", "--before", "2001-01-01T00:00:00Z", "--identity", IDENTITY];

/// Kills a restore at this point, which leaves the claim of this epoch behind.
fn kill(host: &Host, point: &str, epoch: u32) -> Result<()> {
    let fault = format!("SWARMDRTEST_FAULT=kill@{point}");
    let ended = host.run(&[&["env", &fault, "swarmdr-agent"][..], &RESTORE].concat())?;
    let is_killed = ended.stderr.contains(&format!("fault: kill at {point}"));
    ensure!(is_killed && ended.status.code() != Some(0), "{point}: {}", ended.stderr);
    ensure!(newest(host)? == format!("{epoch} holds"), "{point}: {}", newest(host)?);
    ensure!(host.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "inactive", "{point}: it was placed");
    Ok(())
}

/// The newest claim, and what it is worth.
fn newest(host: &Host) -> Result<String> {
    let listed = agent_json(host, 0, &["list", "--claims", "--identity", IDENTITY])?;
    let claim = &listed["claims"][0];
    Ok(format!("{} {}", claim["epoch"], text(claim, "/state")?))
}

#[tokio::test]
async fn a_run_that_is_killed_between_its_claim_and_its_change_leaves_no_site_superseded_for_good() -> Result<()> {
    let engine = engines()[0];
    let site = Site::new(Release::V20).await?;
    let (old, new) = (manager(&site, engine)?, restorer(&site, engine, "r1", 21)?);
    let key = agent_json(&new, 0, &["keygen", "--promoter", "--identity", IDENTITY])?;
    let promoters = format!("[standby]\npromoters = [\"{}\"]\n", text(&key, "/public")?);
    for host in [&old, &new] {
        let config = host.read_file(CONFIG)?;
        site.configure(host, &format!("{config}\n{promoters}"))?;
    }
    agent_json(&old, 0, &["backup"])?;
    // It has the swarm's own address, so nothing but its claim meets the old site.
    new.sh(&format!("ip address add {}/32 dev lo", addr(OLD)))?;

    // Before the journal, and with it: a run that does not go on ends the claim.
    for (epoch, point) in [(1, "claimed"), (2, "stop-noted")] {
        kill(&new, point, epoch)?;
        agent_json(&old, 4, &["backup"])?;
        let status = agent(&new, &["status", "--json"])?.stdout;
        ensure!(status.contains(&format!("swarmdr-agent step-down --claim {epoch} --cluster ")), "{point}: {status}");
        agent_json(&new, 5, &FINDS_NONE)?;
        ensure!(newest(&new)? == format!("{epoch} undone"), "{point}: {}", newest(&new)?);
        agent_json(&old, 0, &["backup"])?;
        let status = agent(&new, &["status", "--json"])?.stdout;
        ensure!(!status.contains("left_claim"), "{point}: {status}");
    }

    // The vault is away: each run tells, and a later one ends it.
    kill(&new, "claimed", 3)?;
    let (config, line) = (new.read_file(CONFIG)?, "swarmdr-agent step-down --claim 3 --cluster ");
    site.configure(&new, &config.replace(&site.rgw.endpoint(), "http://127.0.0.1:9"))?;
    for words in [&FINDS_NONE[..], &["backup"], &["status"]] {
        let told = agent(&new, &[words, &["--json"]].concat())?;
        ensure!(told.status.code() != Some(0) && told.stdout.contains(line), "{words:?}: {}", told.stdout);
    }
    site.configure(&new, &config)?;
    // Without a promoter's key at hand a backup tells, as on a manager that had an identity for one restore.
    let told = agent(&new, &["backup", "--json"])?;
    ensure!(told.stdout.contains(line) && told.stdout.contains("no promoter's key"), "{}", told.stdout);
    agent_json(&old, 4, &["backup"])?;
    agent_json(&new, 5, &FINDS_NONE)?;
    agent_json(&old, 0, &["backup"])?;

    // By hand, from the line that was told.
    kill(&new, "claimed", 4)?;
    agent_json(&new, 0, &["step-down", "--claim", "4", "--identity", IDENTITY])?;
    let status = agent(&new, &["status", "--json"])?.stdout;
    ensure!(!status.contains("left_claim"), "{status}");

    // The same command again goes on with its claim.
    kill(&new, "claimed", 5)?;
    old.destroy()?;
    let done = agent_json(&new, 0, &RESTORE)?;
    ensure!(done["claim"]["epoch"] == 5, "{done:#}");
    ensure!(newest(&new)? == "5 holds", "{}", newest(&new)?);
    Ok(())
}
