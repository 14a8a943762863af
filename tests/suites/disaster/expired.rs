//! A backup whose node certificate has expired comes back, and its certificate is renewed; one whose certificate is not
//! valid yet is refused.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Host, HostSpec, Role, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, describe_swarm, fingerprint},
};

use super::{LIMIT, fresh, generations, one_manager, text};
use swarmdr_tests::own_ca::{self, OwnCa};

#[tokio::test]
async fn an_expired_certificate_is_renewed_without_being_told_to() -> Result<()> {
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let manager = one_manager(&site, *engine)?;
        let ca = OwnCa::make(&manager)?;
        ca.take_over(&manager, "--ca-key /root/ca.key")?;
        let before = Before { swarm: describe_swarm(&manager)?, ca: own_ca::config(&manager)? };
        ca.lay_certificate(&manager, "2 days", "90 days")?;
        let early = agent_json(&manager, 0, &["backup"])?;
        ca.lay_certificate(&manager, "2 days ago", "1 hour ago")?;
        let expired = agent_json(&manager, 0, &["backup"])?;
        manager.destroy()?;

        let host = fresh(&site, *engine)?;
        is_refused(&host, text(&early, "/id")?)?;
        let report = comes_back_renewed(&host, text(&expired, "/id")?, &ca, &before)
            .with_context(|| format!("engine {}", engine.version()))?;
        println!("{}: back with a new certificate, {}", engine.version(), report["phases"]);
        // Its CA signs for others, and the backed-up join token lets them in.
        let worker = site.lab.boot(HostSpec::new("w1", *engine, addr(12)))?;
        worker.join(&host, Role::Worker)?;
    }
    Ok(())
}

/// Descriptions of the swarm and its CA before the backup.
struct Before {
    swarm: Vec<String>,
    ca: String,
}

/// Checks that a host whose clock is behind is refused with that reason.
fn is_refused(host: &Host, id: &str) -> Result<()> {
    let untouched = fingerprint(host)?;
    let refused = agent_json(host, 4, &["restore", id, "--identity", IDENTITY])?;
    ensure!(text(&refused, "/error")?.contains("the clock of this host shows"), "{refused:#}");
    ensure!(refused["to_do"].to_string().contains("timedatectl"), "{refused:#}");
    ensure!(fingerprint(host)? == untouched);
    Ok(())
}

fn comes_back_renewed(host: &Host, id: &str, ca: &OwnCa, before: &Before) -> Result<Value> {
    let report = agent_json(host, 0, &["restore", id, "--identity", IDENTITY])?;
    ensure!(report["notes"].to_string().contains("the node certificate expired at"), "{report:#}");
    ensure!(describe_swarm(host)? == before.swarm, "{:#?}", describe_swarm(host)?);
    let certificate = "/var/lib/docker/swarm/certificates/swarm-node.crt";
    host.wait_for("a new certificate", LIMIT, || {
        host.sh(&format!("openssl x509 -in {certificate} -checkend 3600")).map(Some)
    })?;
    ensure!(host.docker(&["swarm", "ca"])?.trim() == ca.pem.trim(), "another root CA");
    let now = own_ca::config(host)?;
    ensure!(now == before.ca, "the CA's configuration is not what it was: {} {now}", before.ca);
    Ok(report)
}
