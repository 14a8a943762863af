//! A second engine beside the first: rehearsed restores, and what production notices of them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::lab::{Engine, Host, HostSpec, addr};
use swarmdr_tests::s3::Release;
use swarmdr_tests::scenario::{IDENTITY, Site, agent, agent_json, populate};

const DRILL: [&str; 4] = ["drill", "--latest", "--identity", IDENTITY];

/// A manager that has made a backup, and that can open it.
fn manager(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    populate(&host)?;
    site.set_up_manager(&host)?;
    site.set_up_restorer(&host)?;
    Ok(host)
}

#[tokio::test]
async fn a_backup_boots_beside_its_own_manager() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, Engine::E26_1)?;
    let backup = agent_json(&host, 0, &["backup"])?;
    let report = agent_json(&host, 0, &DRILL)?;
    println!("{report:#}");
    ensure!(report["outcome"] == "proven", "{report:#}");
    ensure!(report["backup"] == backup["id"], "{report:#}");
    Ok(())
}
