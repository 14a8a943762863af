//! A majority that is lost is recovered on the manager that is left.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::lab::{Engine, Host, HostSpec, Role, addr};
use swarmdr_tests::s3::Release;
use swarmdr_tests::scenario::{Site, agent, agent_json, agent_with_faults, describe_swarm};

use super::{LIMIT, generations, hangs, text, three_managers};

#[tokio::test]
async fn a_majority_that_is_lost_is_recovered_on_the_manager_that_is_left() -> Result<()> {
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let hosts = three_managers(&site, *engine)?;
        let before = describe_swarm(&hosts[0])?;
        let works = agent_json(&hosts[0], 0, &["recover-quorum"])?;
        assert_eq!(text(&works, "/result")?, "nothing-to-recover");
        let [mut survivor, mut second, third] = hosts;
        site.configure(&survivor, &(site.config("s3://vault/prod") + "\n[restore]\nprune_grace = 3\n"))?;
        third.destroy()?;
        second.kill()?;
        leaderless(&survivor)?;

        // One of the others is up again and only cut off from the third: it answers, so it would lose its state.
        second.boot()?;
        second.wait_engine()?;
        survivor.wait_for("the second manager to answer", LIMIT, || {
            let refused = agent(&survivor, &["recover-quorum"])?;
            // With two of three there is a leader again, sooner or later; before that it is refused.
            Ok(matches!(refused.status.code(), Some(0 | 4)).then_some(()))
        })?;
        second.destroy()?;
        leaderless(&survivor)?;

        let planned = agent_json(&survivor, 0, &["recover-quorum", "--dry-run"])?;
        assert_eq!(planned["without"].as_array().map(Vec::len), Some(2), "{planned:#}");
        // Cut in the middle, as a restore may be.
        let words = ["env", "SWARMDRTEST_FAULT=hang@start-noted", "swarmdr-agent", "recover-quorum"];
        survivor.install(&agent_with_faults()?)?;
        let mut running = survivor.spawn(&words)?;
        hangs(&mut running)?;
        survivor.kill()?;
        drop(running);
        survivor.boot()?;
        survivor.wait_engine()?;
        let report = agent_json(&survivor, 0, &["recover-quorum", "--prune-dead"])?;
        println!("{}: recovered in {}", engine.version(), report["phases"]);
        assert_eq!(describe_swarm(&survivor)?, before);
        assert!(!report["backup"]["kept"].as_array().context("a list")?.is_empty(), "{report:#}");
        let removed = report["dead_nodes"].as_array().into_iter().flatten().filter(|node| node["removed"] == true);
        assert_eq!(removed.count(), 2, "{report:#}");
        assert_eq!(survivor.docker(&["node", "ls", "-q"])?.lines().count(), 1);
        // The state from before is aside, and the backup of it in the vault, where it verifies.
        survivor.sh(&format!("test -s {}/docker-state.json", text(&report, "/aside")?))?;
        let listed = agent_json(&survivor, 0, &["list"])?;
        let kept = listed["backups"].to_string();
        assert!(kept.contains(text(&report, "/backup/id")?), "{kept}");
        let again = agent_json(&survivor, 0, &["recover-quorum"])?;
        assert_eq!(text(&again, "/result")?, "nothing-to-recover");
        // The recovered manager takes new ones.
        let fourth = site.lab.boot(HostSpec::new("m4", *engine, addr(14)))?;
        fourth.join(&survivor, Role::Manager)?;
    }
    Ok(())
}

/// Its address is translated to it by somebody else, and its overlay traffic has an address of its own.
#[tokio::test]
async fn a_manager_behind_a_translated_address_is_recovered() -> Result<()> {
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let spec = |n: u8| HostSpec::new(&format!("m{n}"), *engine, addr(10 + n));
        let [survivor, second] = site.lab.boot_all([spec(1), spec(2)])?;
        survivor.sh(
            "ip address add 10.88.0.11/24 dev host0
             iptables -t nat -A PREROUTING -d 203.0.113.7 -j DNAT --to-destination 10.77.0.11
             docker swarm init --advertise-addr 203.0.113.7 --listen-addr 10.77.0.11:2377 --data-path-addr 10.88.0.11",
        )?;
        survivor.wait_manager()?;
        super::fill(&survivor)?;
        let before = describe_swarm(&survivor)?;
        second.sh("ip route add 203.0.113.7/32 via 10.77.0.11")?;
        let token = survivor.docker(&["swarm", "join-token", "-q", "manager"])?;
        second.docker(&["swarm", "join", "--token", &token, "203.0.113.7:2377"])?;
        site.set_up_manager(&survivor)?;
        second.destroy()?;
        leaderless(&survivor)?;
        let planned = agent_json(&survivor, 0, &["recover-quorum", "--dry-run"])?;
        assert_eq!(planned["raft_addr"], "203.0.113.7:2377", "{planned:#}");
        let report = agent_json(&survivor, 0, &["recover-quorum"])?;
        assert_eq!(describe_swarm(&survivor)?, before);
        assert_eq!(report["init"]["data_path_addr"], "10.88.0.11", "{report:#}");
        assert_eq!(report["init"]["listen_addr"], "10.77.0.11:2377", "{report:#}");
        println!("{}: recovered behind a translated address", engine.version());
    }
    Ok(())
}

/// Its own address comes late, and it has another one: the cluster is not formed where nobody would reach it.
#[tokio::test]
async fn a_manager_whose_address_is_late_is_not_taken_for_one_behind_a_router() -> Result<()> {
    let engine = Engine::E26_1;
    let site = Site::new(Release::V20).await?;
    let [survivor, second] =
        site.lab.boot_all([HostSpec::new("m1", engine, addr(15)), HostSpec::new("m2", engine, addr(12))])?;
    survivor.sh("ip address add 10.77.0.11/24 dev host0; docker swarm init --advertise-addr 10.77.0.11")?;
    survivor.wait_manager()?;
    super::fill(&survivor)?;
    let before = describe_swarm(&survivor)?;
    let token = survivor.docker(&["swarm", "join-token", "-q", "manager"])?;
    second.docker(&["swarm", "join", "--token", &token, "10.77.0.11:2377"])?;
    site.set_up_manager(&survivor)?;
    second.destroy()?;
    leaderless(&survivor)?;
    survivor.sh("ip address del 10.77.0.11/24 dev host0")?;
    let there = "ls -A /var/lib/docker; systemctl show --property=InvocationID docker.service";
    let untouched = survivor.sh(there)?;
    let refused = agent_json(&survivor, 4, &["recover-quorum"])?;
    assert!(text(&refused, "/error")?.contains("this manager is at 10.77.0.11"), "{refused:#}");
    assert_eq!(survivor.sh(there)?, untouched);
    let mut running = survivor.spawn(&["swarmdr-agent", "recover-quorum"])?;
    survivor.wait_for("it to wait for the address", LIMIT, || {
        ensure!(running.finished()?.is_none(), "it ended: {}", running.stderr()?);
        Ok(running.stderr()?.contains("no interface of this host has 10.77.0.11").then_some(()))
    })?;
    survivor.sh("ip address add 10.77.0.11/24 dev host0")?;
    let ended = running.wait(LIMIT)?;
    ensure!(ended.status.code() == Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(describe_swarm(&survivor)?, before);
    Ok(())
}

fn leaderless(host: &Host) -> Result<()> {
    host.wait_for("the leader to be gone", LIMIT, || {
        Ok(host.docker(&["info", "--format", "{{.Swarm.Error}}"])?.contains("leader").then_some(()))
    })
}
