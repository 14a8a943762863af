//! A swarm that loses its leader while something is brought back.

use std::time::Duration;

use anyhow::{Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{HostSpec, Role, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, agent_with_faults},
};

use crate::engine;

/// A manager without a leader answers that a network of the swarm is not there. The undo does not take that for done.
#[tokio::test]
async fn an_undo_without_a_leader_forgets_no_network() -> Result<()> {
    if !full() {
        println!("LEFT OUT, runs with SWARMDR_TEST_FULL=1");
        return Ok(());
    }
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", engine(), addr(11)))?;
    host.swarm_init()?;
    host.sh("docker network create --driver overlay --subnet 10.78.0.0/24 back")?;
    host.create_secret("key", b"planted-one")?;
    site.set_up_manager(&host)?;
    site.write_identity(&host)?;
    agent_json(&host, 0, &["backup"])?;
    host.wait_manager()?;
    let m2 = site.lab.boot(HostSpec::new("m2", engine(), addr(12)))?;
    m2.join(&host, Role::Manager)?;
    let m3 = site.lab.boot(HostSpec::new("m3", engine(), addr(13)))?;
    m3.join(&host, Role::Manager)?;
    site.set_up_manager(&m2)?;
    m2.install(&agent_with_faults()?)?;
    site.write_identity(&m2)?;
    m2.sh("docker network rm back; docker secret rm key")?;
    let wishes = ["undelete", "--latest", "--identity", IDENTITY, "--network", "back", "--secret", "key"];
    let undelete = format!("swarmdr-agent {}", wishes.join(" "));
    m2.sh(&format!(
        "export SWARMDRTEST_GATE=/run/gate
         ( SWARMDRTEST_FAULT=gate@undelete-made-network {undelete} || echo exit $? ) >/run/out 2>&1 &
         for n in $(seq 300); do grep -q 'gate at' /run/out && break; sleep 0.1; done"
    ))?;
    for other in [&host, &m3] {
        other.sh("systemctl kill -s KILL docker.service; systemctl stop docker.socket docker.service; true")?;
    }
    m2.sh("touch /run/gate")?;
    let out = m2.wait_for("the run to end", Duration::from_secs(180), || {
        let out = m2.read_file("/run/out")?;
        Ok(out.lines().any(|line| line.starts_with("exit")).then_some(out))
    })?;
    println!("{out}");
    ensure!(out.contains("exit 1") && out.contains("network `back` is left as it is"), "{out}");
    let journal = m2.sh("cat /var/lib/swarmdr/undelete/*.json")?;
    ensure!(journal.contains("\"back\""), "{journal}");
    for other in [&host, &m3] {
        other.sh("systemctl start docker.socket docker.service")?;
    }
    m2.wait_manager()?;
    println!("{:#}", agent_json(&m2, 0, &wishes)?);
    let left = m2.sh("docker network ls -q --filter name=back; docker secret ls -q; ls /var/lib/swarmdr/undelete")?;
    ensure!(left.lines().count() == 2, "one network, one secret and no journal: {left}");
    Ok(())
}
