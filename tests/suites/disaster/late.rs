//! A host that is still booting: the engine, the network and the address come while the restore waits.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, HostSpec, addr, wait_for},
    s3::Release,
    scenario::{Site, agent_json, describe_swarm},
};

use super::{LIMIT, RESTORE, generations, one_manager, text};

#[tokio::test]
async fn a_host_that_is_still_booting_is_waited_for() -> Result<()> {
    for engine in generations() {
        wait_for_all(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

async fn wait_for_all(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = one_manager(&site, engine)?;
    agent_json(&host, 0, &["backup"])?;
    let before = describe_swarm(&host)?;
    host.destroy()?;

    // No unit of the engine yet, no way to the vault, another address.
    let host = site.lab.boot(HostSpec::new("fresh", engine, addr(15)))?;
    site.set_up_restorer(&host)?;
    host.sh("systemctl stop docker.socket docker.service
         mkdir /root/units; mv $(systemctl show -P FragmentPath docker.service docker.socket) /root/units
         rm -f /etc/init.d/docker # of which systemd would make a unit of the same name
         systemctl daemon-reload; ip route add blackhole 10.77.0.1/32")?;
    let running = host.spawn(&[&["swarmdr-agent"], &RESTORE[..], &["--wait", "5m"]].concat())?;
    let waits_for = |what: &str| {
        wait_for(&format!("it to wait for: {what}"), LIMIT, || {
            let waiting = running.stderr()?.lines().any(|line| line.contains("waiting up to") && line.contains(what));
            ensure!(waiting, "it said: {}", running.stderr()?);
            Ok(Some(()))
        })
    };
    waits_for("systemd knows no unit docker.service")?;
    host.sh("mv /root/units/* /usr/lib/systemd/system; systemctl daemon-reload")?;
    waits_for("s3://vault/prod could not be searched")?;
    host.sh("ip route del blackhole 10.77.0.1/32")?;
    waits_for("no interface of this host has 10.77.0.11")?;
    host.sh("ip address add 10.77.0.11/24 dev host0")?;
    let ended = running.wait(LIMIT)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    println!("{}{}", ended.stderr, ended.stdout);
    let report = &ended.stdout;
    for line in ["Swarm ", "confirmed ", "spent ", "Next:", "docker swarm join-token manager", "swarmdr-agent backup"] {
        assert!(report.contains(line), "the report says nothing of `{line}`:\n{report}");
    }
    assert_eq!(describe_swarm(&host)?, before);
    // A wait that exceeds its limit is an error, which names what is missing.
    host.sh("systemctl stop docker.socket docker.service; ip address del 10.77.0.11/24 dev host0; rm -rf /var/lib/docker/swarm /var/lib/docker/.swarmdr")?;
    let refused = agent_json(&host, 4, &[&RESTORE[..], &["--wait-for-ip", "1s"]].concat())?;
    assert!(text(&refused, "/error")?.contains("this host has 10.77.0.15"), "{refused:#}");
    Ok(())
}
