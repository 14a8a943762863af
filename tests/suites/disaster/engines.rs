//! Engines that cannot take the state over are refused before anything is touched.

use anyhow::Result;
use swarmdr_tests::{
    lab::{Engine, HostSpec, addr},
    s3::Release,
    scenario::{Site, agent_json, describe_swarm, fingerprint},
};

use super::{RESTORE, full, one_manager, text};

#[tokio::test]
async fn an_older_engine_and_one_with_live_restore_are_refused() -> Result<()> {
    if !full() {
        println!("LEFT OUT, runs with SWARMDR_TEST_FULL=1");
        return Ok(());
    }
    let site = Site::new(Release::V20).await?;
    let host = one_manager(&site, Engine::E26_1)?;
    agent_json(&host, 0, &["backup"])?;
    let before = describe_swarm(&host)?;
    host.destroy()?;

    let older = site.lab.boot(HostSpec::new("older", Engine::E20_10, addr(11)))?;
    site.set_up_restorer(&older)?;
    let untouched = fingerprint(&older)?;
    let refused = agent_json(&older, 4, &RESTORE)?;
    assert!(text(&refused, "/error")?.contains("is older than the engine 26.1"), "{refused:#}");
    assert_eq!(fingerprint(&older)?, untouched);
    older.destroy()?;

    let newer = site.lab.boot(HostSpec::new("newer", Engine::E28_5, addr(11)))?;
    site.set_up_restorer(&newer)?;
    newer.write_file("/etc/docker/daemon.json", r#"{"live-restore": true}"#)?;
    newer.sh("systemctl restart docker.service")?;
    let untouched = fingerprint(&newer)?;
    let refused = agent_json(&newer, 4, &RESTORE)?;
    assert!(text(&refused, "/error")?.contains("`live-restore`"), "{refused:#}");
    assert_eq!(fingerprint(&newer)?, untouched);
    newer.sh("rm /etc/docker/daemon.json; systemctl restart docker.service")?;
    let report = agent_json(&newer, 0, &RESTORE)?;
    assert!(report["notes"].to_string().contains("the state was written by engine 26.1"), "{report:#}");
    assert_eq!(describe_swarm(&newer)?, before);
    Ok(())
}
