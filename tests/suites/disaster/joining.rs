//! A host whose join to a swarm never ended: it has nothing to back up or to recover, and a restore replaces the join
//! only with `--force`.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, addr},
    s3::Release,
    scenario::{Site, agent_json, describe_swarm, fingerprint},
};

use super::{LIMIT, RESTORE, fill, generations, text};

const STATE: &str = "/var/lib/docker/swarm/docker-state.json";

#[tokio::test]
async fn a_join_that_never_ends_is_no_swarm_and_gives_way_if_told_to() -> Result<()> {
    for engine in generations() {
        give_way(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

/// Makes a manager leave the state of one that was cut off before it could record that it has joined. No restore would
/// accept that state.
fn flagged(manager: &Host) -> Result<()> {
    let flag = |value: bool| format!("/bin/sed -i s/JoinInProgress\\\":[a-z]*/JoinInProgress\\\":{value}/ {STATE}");
    let unit = format!("[Service]\nExecStartPre={}\nExecStopPost={}\n", flag(false), flag(true));
    manager.write_file("/etc/systemd/system/docker.service.d/flag.conf", unit)?;
    manager.sh("systemctl daemon-reload")?;
    let refused = agent_json(manager, 4, &["backup"])?;
    ensure!(text(&refused, "/error")?.contains("still joining its swarm; nothing was stored"), "{refused:#}");
    manager.wait_manager()
}

async fn give_way(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let specs = [HostSpec::new("m1", engine, addr(11)), HostSpec::new("fresh", engine, addr(12))];
    let [manager, host] = site.lab.boot_all(specs)?;
    site.set_up_manager(&manager)?;
    site.set_up_manager(&host)?;
    site.set_up_restorer(&host)?;
    manager.swarm_init()?;
    // No host answers at the address that is asked.
    let token = manager.docker(&["swarm", "join-token", "-q", "manager"])?;
    host.sh("ip neigh add 10.77.0.99 lladdr 02:00:00:00:00:63 dev host0")?;
    let join = host.spawn(&["docker", "swarm", "join", "--token", &token, "10.77.0.99:2377"])?;
    fill(&manager)?;
    agent_json(&manager, 0, &["backup"])?;
    let before = describe_swarm(&manager)?;
    flagged(&manager)?;
    manager.destroy()?;
    host.sh("ip address add 10.77.0.11/24 dev host0")?;
    let join = join.wait(LIMIT)?;
    ensure!(join.stderr.contains("will continue in the background"), "{join:?}");
    let state = host.read_file(STATE)?;
    ensure!(state.contains(r#""JoinInProgress":true"#), "{state}");

    let untouched = fingerprint(&host)?;
    for (verb, said) in [
        (&["backup"][..], "this node is still joining its swarm"),
        (&["recover-quorum"], "this host is still joining a swarm"),
        (&RESTORE, "this host is joining a swarm; a restore would replace it"),
    ] {
        let refused = agent_json(&host, 4, verb)?;
        ensure!(text(&refused, "/error")?.contains(said), "{refused:#}");
    }
    ensure!(fingerprint(&host)? == untouched);
    let report = agent_json(&host, 0, &[&RESTORE[..], &["--force"]].concat())?;
    ensure!(describe_swarm(&host)? == before);
    ensure!(host.read_file(&format!("{}/docker-state.json", text(&report, "/aside")?))? == state);
    println!("{}: back over a join that never ended", engine.version());
    Ok(())
}
