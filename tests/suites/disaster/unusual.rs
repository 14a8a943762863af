//! Unusual addresses and directories come back as they were.

use anyhow::{Context, Result};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, describe_swarm, fingerprint},
};

use super::{LIMIT, fill, generations, mount_of, text};

#[tokio::test]
async fn unusual_addresses_and_places_come_back_as_they_were() -> Result<()> {
    for engine in generations() {
        come_back(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

async fn come_back(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let unusual = "ip address add fd00:77::11/64 dev host0 nodad";
    let data_path = "ip address add 10.88.0.11/24 dev host0";
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.sh(&format!(
        "{unusual}; {data_path}
         docker swarm init --advertise-addr '[fd00:77::11]:2377' --listen-addr '[::]:2377' --data-path-addr 10.88.0.11"
    ))?;
    host.wait_manager()?;
    fill(&host)?;
    site.set_up_manager(&host)?;
    let sixth = agent_json(&host, 0, &["backup"])?;
    let sixth_before = describe_swarm(&host)?;
    // A second swarm, behind a translated address that the host does not have.
    host.sh("docker swarm leave --force
         docker swarm init --advertise-addr 203.0.113.7 --listen-addr 10.77.0.11:2377")?;
    host.wait_manager()?;
    fill(&host)?;
    let translated = agent_json(&host, 0, &["backup"])?;
    let translated_before = describe_swarm(&host)?;
    host.destroy()?;

    let host = site.lab.boot(HostSpec::new("fresh", engine, addr(15)).with(mount_of(engine)))?;
    site.set_up_restorer(&host)?;
    host.write_file("/etc/docker/daemon.json", r#"{"data-root": "/var/lib/elsewhere"}"#)?;
    host.sh("systemctl restart docker.service")?;
    let restore = ["restore", text(&sixth, "/id")?, "--identity", IDENTITY];
    let refused = agent_json(&host, 4, &restore)?;
    assert!(text(&refused, "/error")?.contains("has the address fd00:77::11"), "{refused:#}");
    host.sh(unusual)?;
    let refused = agent_json(&host, 4, &restore)?;
    assert!(text(&refused, "/error")?.contains("goes through 10.88.0.11"), "{refused:#}");
    host.sh(data_path)?;
    refused_before_the_engine_is_touched(&host, &restore)?;
    let report = agent_json(&host, 0, &restore)?;
    assert!(report["notes"].to_string().contains("/var/lib/elsewhere"), "{report:#}");
    assert_eq!(describe_swarm(&host)?, sixth_before);
    let state: Value = serde_json::from_str(&host.read_file("/var/lib/elsewhere/swarm/docker-state.json")?)?;
    assert_eq!((text(&state, "/DataPathAddr")?, text(&state, "/AdvertiseAddr")?), ("10.88.0.11", "[fd00:77::11]:2377"));
    host.sh("test ! -e /var/lib/docker/swarm/docker-state.json")?;

    let restore = ["restore", text(&translated, "/id")?, "--identity", IDENTITY, "--force"];
    let refused = agent_json(&host, 4, &restore)?;
    assert!(refused["to_do"].to_string().contains("--address-elsewhere"), "{refused:#}");
    host.sh("ip address del 10.88.0.11/24 dev host0; ip address del fd00:77::11/64 dev host0")?;
    agent_json(&host, 0, &[&restore[..], &["--address-elsewhere"]].concat())?;
    assert_eq!(describe_swarm(&host)?, translated_before);
    let listening = host.sh("ss -Hlnt 'sport = :2377'")?;
    assert!(listening.contains("10.77.0.15:2377"), "{listening}");
    Ok(())
}

/// Checks the refusals for a port that is taken and for mounts in the state directory, in a dry run and in a run.
fn refused_before_the_engine_is_touched(host: &Host, restore: &[&str]) -> Result<()> {
    let refuse = |expected: &str| -> Result<()> {
        let untouched = (fingerprint(host)?, host.sh("systemctl show --property=InvocationID docker.service")?);
        for args in [restore.to_vec(), [restore, &["--dry-run"]].concat()] {
            let refused = agent_json(host, 4, &args)?;
            assert!(text(&refused, "/error")?.contains(expected), "{refused:#}");
        }
        assert_eq!((fingerprint(host)?, host.sh("systemctl show --property=InvocationID docker.service")?), untouched);
        Ok(())
    };
    host.sh("systemd-run --quiet --unit=squatter systemd-socket-activate --listen=0.0.0.0:2377 cat")?;
    host.wait_for("the port to be taken", LIMIT, || {
        Ok(Some(host.sh("ss -Hlnt 'sport = :2377'")?).filter(|listening| !listening.is_empty()))
    })?;
    refuse("port 2377 of this host is taken by systemd-socket-")?;
    host.sh("systemctl stop squatter; mkdir -p /var/lib/elsewhere/swarm/inside /root/mounted")?;
    for place in ["/var/lib/elsewhere/swarm", "/var/lib/elsewhere/swarm/inside"] {
        host.sh(&format!("mount --bind /root/mounted {place}"))?;
        refuse(&format!("something is mounted at {place}, so"))?;
        host.sh(&format!("umount {place}"))?;
    }
    host.sh("rmdir /var/lib/elsewhere/swarm/inside").map(drop)
}
