//! The nodes of a site that was superseded are drained only once it is certain that the claim stays.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::Host,
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, text},
};

use super::{engines, manager};

/// Vaults whose times the owner of the host can set.
const VAULT: &str = "/srv/vault";
const AWAY: &str = "/srv/away";

fn availability(host: &Host) -> Result<String> {
    host.docker(&["node", "inspect", "self", "--format", "{{.Spec.Availability}}"])
}

/// Makes a claim of another site: this host forgets that it made it.
fn claim(host: &Host) -> Result<()> {
    let words = ["claim", "--latest", "--identity", IDENTITY, "--address", "10.99.0.9:2377", "--begun-ago", "20"];
    let report = agent_json(host, 0, &words)?;
    ensure!(report["epoch"] == 1, "{report:#}");
    host.sh("rm /var/lib/swarmdr/claim.json").map(drop)
}

#[tokio::test]
async fn nodes_are_drained_once_the_claim_is_old_and_every_vault_was_read() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let old = manager(&site, engines()[0])?;
    site.write_identity(&old)?;
    let key = agent_json(&old, 0, &["keygen", "--promoter", "--identity", IDENTITY])?;
    let config = |vaults: &[&str]| -> Result<String> {
        let vaults: String =
            vaults.iter().map(|dir| format!("[[vault]]\nurl = \"file://{dir}\"\nrequired = false\n")).collect();
        let (recipient, trusted, promoter) = (&site.recipient, &site.public_key, text(&key, "/public")?);
        Ok(format!(
            "recipients = [\"{recipient}\"]\ntrusted_keys = [\"{trusted}\"]\n{vaults}\
             [standby]\npromoters = [\"{promoter}\"]\non_superseded = \"drain\"\n"
        ))
    };
    old.sh(&format!("install -d -m 700 {VAULT}"))?;
    site.configure(&old, &config(&[VAULT])?)?;
    agent_json(&old, 0, &["backup"])?;
    claim(&old)?;

    // Its restore may still be undone.
    agent_json(&old, 4, &["backup"])?;
    ensure!(availability(&old)? == "active", "drained for a fresh claim");
    // A vault that is away may have its release.
    old.sh(&format!("find {VAULT}/claims -type f -exec touch -d '-20 minutes' {{}} +"))?;
    site.configure(&old, &config(&[VAULT, AWAY])?)?;
    agent_json(&old, 4, &["backup"])?;
    ensure!(availability(&old)? == "active", "drained while a vault was not read");
    let status = agent_json(&old, 1, &["status"])?;
    ensure!(status.to_string().contains("whether another site has this swarm is not known"), "{status:#}");
    old.sh(&format!("install -d -m 700 {AWAY}"))?;
    agent_json(&old, 4, &["backup"])?;
    ensure!(availability(&old)? == "drain", "the node is {}", availability(&old)?);
    // Who makes it active again is not overruled.
    old.docker(&["node", "update", "--availability", "active", "m1"])?;
    agent_json(&old, 4, &["backup"])?;
    ensure!(availability(&old)? == "active", "drained a second time");
    Ok(())
}
