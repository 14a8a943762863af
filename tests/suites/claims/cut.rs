//! A restore that is cut short, undone or refused, and what becomes of its claim.

use anyhow::{Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Host, addr},
    s3::Release,
    scenario::{CONFIG, IDENTITY, Site, agent_json, text},
};

use super::{OLD, RESTORE, engines, labels, manager, restorer};

/// Runs a restore with a fault, and returns its exit code.
fn with_fault(host: &Host, fault: &str) -> Result<Option<i32>> {
    let fault = format!("SWARMDRTEST_FAULT={fault}");
    Ok(host.run(&[&["env", &fault, "swarmdr-agent"][..], &RESTORE].concat())?.status.code())
}

/// The states of all claims, newest first.
fn states(host: &Host) -> Result<Vec<String>> {
    let listed = agent_json(host, 0, &["list", "--claims", "--identity", IDENTITY])?;
    let claims = listed["claims"].as_array().into_iter().flatten();
    Ok(claims.map(|claim| format!("{} {}", claim["epoch"], claim["state"].as_str().unwrap_or_default())).collect())
}

fn epoch(report: &Value) -> &Value {
    &report["claim"]["epoch"]
}

#[tokio::test]
async fn a_killed_run_goes_on_with_its_claim_and_one_that_is_undone_gives_it_up() -> Result<()> {
    let engine = engines()[0];
    let site = Site::new(Release::V20).await?;
    let old = manager(&site, engine)?;
    agent_json(&old, 0, &["backup"])?;
    old.destroy()?;
    let host = restorer(&site, engine, "r1", OLD)?;
    // Undone by a failure after the engine was stopped.
    ensure!(with_fault(&host, "panic@init-noted")? == Some(1), "the restore did not fail");
    ensure!(states(&host)? == ["1 undone"], "{:?}", states(&host)?);
    // A vault that could show another site is away: claims are in use by now.
    let (config, away) = (host.read_file(CONFIG)?, "[[vault]]\nurl = \"file:///srv/away\"\n");
    site.configure(&host, &format!("{config}\n{away}"))?;
    let any = [&RESTORE[..], &["--any-vault"]].concat();
    let refused = agent_json(&host, 4, &any)?;
    ensure!(text(&refused, "/error")?.contains("or has claimed it, is not known"), "{refused:#}");
    ensure!(refused.to_string().contains("file:///srv/away"), "{refused:#}");
    site.configure(&host, &format!("{config}\n{away}required = false\n"))?;
    agent_json(&host, 6, &[&any[..], &["--dry-run"]].concat())?;
    site.configure(&host, &config)?;
    // Interrupted by a person while it claims: nobody has to wait for that.
    ensure!(with_fault(&host, "term@claim-put")?.is_some(), "it was killed");
    ensure!(states(&host)? == ["2 undone", "1 undone"], "{:?}", states(&host)?);
    // Killed at four points: before the claim is put, after it, after the host was changed, and before the label.
    for (point, expected) in [("claim-noted", 2), ("claim-put", 3), ("place-noted", 3)] {
        ensure!(with_fault(&host, &format!("kill@{point}"))? != Some(0), "{point}: it was not killed");
        ensure!(states(&host)?.len() == expected, "{point}: {:?}", states(&host)?);
    }
    // What the run before had placed is put back, so its claim is given up.
    ensure!(with_fault(&host, "kill@label")? != Some(0), "it was not killed");
    ensure!(states(&host)?[..2] == ["4 holds", "3 undone"], "{:?}", states(&host)?);
    ensure!(labels(&host)?["swarmdr.claim"].is_null(), "{:#}", labels(&host)?);
    // The swarm is back; all that is owed is its label.
    agent_json(&host, 0, &RESTORE)?;
    let listed = agent_json(&host, 0, &["list", "--claims", "--identity", IDENTITY])?;
    ensure!(labels(&host)?["swarmdr.claim"] == listed["claims"][0]["claim_id"], "{:#}", labels(&host)?);
    ensure!(states(&host)?.len() == 4, "{:?}", states(&host)?);
    Ok(())
}

/// Nobody ends the claim of a restore that may be going on, but its own host, once.
#[tokio::test]
async fn the_claim_of_a_killed_restore_is_ended_where_it_was_made() -> Result<()> {
    let engine = engines()[0];
    let site = Site::new(Release::V20).await?;
    let old = manager(&site, engine)?;
    agent_json(&old, 0, &["backup"])?;
    old.destroy()?;
    let (killed, other) = (restorer(&site, engine, "r1", OLD)?, restorer(&site, engine, "r2", 22)?);
    ensure!(with_fault(&killed, "kill@claim-put")? != Some(0), "it was not killed");
    let end = ["step-down", "--claim", "1", "--identity", IDENTITY];
    let refused = agent_json(&other, 4, &end)?;
    ensure!(text(&refused, "/error")?.contains("may be restoring the swarm at this moment"), "{refused:#}");
    ensure!(states(&other)? == ["1 holds"], "{:?}", states(&other)?);
    agent_json(&killed, 0, &end)?;
    ensure!(states(&other)? == ["1 undone"], "{:?}", states(&other)?);
    agent_json(&killed, 4, &end)?;
    // Nobody waits for it by now.
    killed.destroy()?;
    other.sh(&format!("ip address add {}/32 dev lo", addr(OLD)))?;
    let restored = agent_json(&other, 0, &RESTORE)?;
    ensure!(epoch(&restored) == 2, "{restored:#}");
    Ok(())
}

/// Credentials that only read, as an older policy gives them; and a rehearsal.
#[tokio::test]
async fn who_may_not_write_claims_restores_and_is_told_unless_claims_were_asked_for() -> Result<()> {
    let engine = engines()[0];
    let site = Site::new(Release::V20).await?;
    let old = manager(&site, engine)?;
    agent_json(&old, 0, &["backup"])?;
    old.destroy()?;
    let host = restorer(&site, engine, "r1", OLD)?;
    site.write_credentials_of(&host, &site.rgw.reader()?)?;
    let config = host.read_file(swarmdr_tests::scenario::CONFIG)?;
    let key = agent_json(&host, 0, &["keygen", "--promoter", "--identity", IDENTITY])?;
    let promoters = format!("[standby]\npromoters = [\"{}\"]\n", text(&key, "/public")?);
    site.configure(&host, &format!("{config}\n{promoters}"))?;
    let refused = agent_json(&host, 1, &RESTORE)?;
    ensure!(refused["to_do"].to_string().contains("--without-claim"), "{refused:#}");
    ensure!(refused["to_do"].to_string().contains("policy-restore.json"), "{refused:#}");
    ensure!(host.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "inactive", "it was restored");
    site.configure(&host, &config)?;
    let done = agent_json(&host, 6, &RESTORE)?;
    ensure!(epoch(&done).is_null() && done["attention"].to_string().contains("no claim was made"), "{done:#}");
    // The operator decides for a rehearsal, and nothing is told.
    let rehearsed = agent_json(&host, 0, &[&RESTORE[..], &["--force", "--without-claim"]].concat())?;
    ensure!(epoch(&rehearsed).is_null(), "{rehearsed:#}");
    Ok(())
}
