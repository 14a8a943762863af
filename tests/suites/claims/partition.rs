//! A site that is cut off works on, and another one takes its swarm over.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::Host,
    s3::Release,
    scenario::{CONFIG, IDENTITY, Site, agent, agent_json, describe_swarm, text},
};

use super::{READDRESS, drop_labels, engines, labels, manager, restorer};

const HOOK: &str = "/etc/swarmdr/hooks.d/superseded";

/// Adds to the configuration of a host.
fn configure(site: &Site, host: &Host, more: &str) -> Result<()> {
    let config = host.read_file(CONFIG)?;
    site.configure(host, &format!("{config}\n{more}"))
}

#[tokio::test]
async fn the_old_site_learns_that_it_was_superseded_and_loses_nothing() -> Result<()> {
    let engine = engines()[0];
    let site = Site::new(Release::V20).await?;
    let old = manager(&site, engine)?;
    let new = restorer(&site, engine, "r1", 21)?;
    let key = agent_json(&new, 0, &["keygen", "--promoter", "--identity", IDENTITY])?;
    let standby = format!("[standby]\npromoters = [\"{}\"]\nsite = ", text(&key, "/public")?);
    configure(&site, &old, &format!("{standby}\"fra1\"\n"))?;
    configure(&site, &new, &format!("{standby}\"dub1\"\n"))?;
    let script = "#!/bin/sh\necho \"$SWARMDR_HOOK_NAME $SWARMDR_HOOK_SITE $SWARMDR_HOOK_EPOCH\" >>/root/told\n";
    old.sh("mkdir -p /etc/swarmdr/hooks.d")?;
    old.write_file(HOOK, script)?;
    old.sh(&format!("chmod 755 {HOOK}"))?;
    agent_json(&old, 0, &["backup"])?;

    // The network parts. The old site cannot reach the vault, and is not reached; it works on.
    old.cut()?;
    let report = agent_json(&new, 0, &READDRESS)?;
    ensure!(report["claim"]["epoch"] == 1, "{report:#}");
    old.create_secret("made-in-the-partition", b"x")?;
    let before = describe_swarm(&old)?;
    // A vault that cannot be read is no claim: the backup fails for the vault, not because of a site that is unknown.
    let away = agent(&old, &["backup", "--json"])?;
    ensure!(away.status.code() != Some(4) && !away.stdout.contains("another site"), "{}", away.stdout);
    ensure!(old.sh("cat /root/told 2>/dev/null || true")?.is_empty(), "the hook was called");

    old.heal()?;
    for _ in 0..2 {
        let refused = agent_json(&old, 4, &["backup"])?;
        let told = refused.to_string();
        ensure!(told.contains("dub1 claimed this swarm at") && told.contains("step-down"), "{refused:#}");
    }
    ensure!(agent(&old, &["backup", "--if-due"])?.status.code() == Some(4), "the timer's run says nothing");
    ensure!(old.read_file("/root/told")?.trim() == "superseded dub1 1", "the hook: {}", old.read_file("/root/told")?);
    let status = agent_json(&old, 1, &["status"])?;
    ensure!(status["level"] == "critical" && status["claims"]["standing"] == "superseded", "{status:#}");
    let nagios = agent(&old, &["status", "--nagios"])?;
    ensure!(nagios.status.code() == Some(1 + 1) && nagios.stdout.contains("taken over"), "{}", nagios.stdout);
    let page = agent(&old, &["status", "--prometheus"])?.stdout;
    ensure!(page.contains("\nswarmdr_superseded 1\n"), "{page}");
    ensure!(describe_swarm(&old)? == before, "the old site was changed");

    // The new one makes backups, and is not superseded by its own claim, though it forgets that it made it.
    new.write_file("/var/lib/swarmdr/keys/signing.key", site.signing_key())?;
    new.sh("chmod 600 /var/lib/swarmdr/keys/signing.key; rm /var/lib/swarmdr/claim.json")?;
    ensure!(labels(&new)?["swarmdr.claim"] == report["claim"]["id"], "{:#}", labels(&new)?);
    agent_json(&new, 0, &["backup"])?;
    let status = agent_json(&new, 0, &["status"])?;
    ensure!(status["claims"]["standing"] == "own", "{status:#}");
    // Its backups carry the claim: who restores one knows that it must be in some vault.
    let seen = agent_json(&new, 0, &["inspect", "--latest", "--identity", IDENTITY])?;
    ensure!(seen["inventory"]["cluster"]["labels"]["swarmdr.claim"] == report["claim"]["id"], "{seen:#}");
    // A program replaces the labels of the swarm: it knows its claim all the same, and carries it again.
    drop_labels(&new)?;
    ensure!(labels(&new)?.get("swarmdr.claim").is_none(), "{:#}", labels(&new)?);
    agent_json(&new, 0, &["backup"])?;
    ensure!(labels(&new)?["swarmdr.claim"] == report["claim"]["id"], "{:#}", labels(&new)?);
    // And if it forgot all of it, what its restore noted is enough.
    drop_labels(&new)?;
    new.sh("rm /var/lib/swarmdr/claims.json")?;
    let record = serde_json::json!({
        "version": 1, "cluster_id": status["claims"]["claim"]["cluster_id"], "epoch": 1, "claim_id": report["claim"]["id"],
    });
    new.write_file("/var/lib/swarmdr/claim.json", record.to_string())?;
    agent_json(&new, 0, &["backup"])?;
    ensure!(labels(&new)?["swarmdr.claim"] == report["claim"]["id"], "{:#}", labels(&new)?);

    // Nodes are drained only if the claim is older than any restore that may still be undone.
    let config = old.read_file(CONFIG)?.replace("[standby]\n", "[standby]\non_superseded = \"drain\"\n");
    site.configure(&old, &config)?;
    let availability = || old.docker(&["node", "inspect", "self", "--format", "{{.Spec.Availability}}"]);
    agent_json(&old, 4, &["backup"])?;
    ensure!(availability()? == "active", "the node is {}", availability()?);
    ensure!(old.read_file("/root/told")?.lines().count() == 1, "the hook was called again");
    Ok(())
}
