//! A lost majority is recovered on the manager that is left.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Role, addr},
    s3::Release,
    scenario::{Site, agent, agent_json, agent_with_faults, describe_swarm, journal_entry},
};

use super::{LIMIT, generations, hangs, text, three_managers};

/// The entries of a recovery, as the catalog that is shipped names them.
const QUORUM_RECOVERED: &str = "4ed9af910f644e57b0df20d1accd2f7e";
const QUORUM_NOT_RECOVERED: &str = "db18dc6ac17945c0a98000689ba70320";

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

        // One of the others is up again and answers, so it would lose its state.
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
        // The recovery is interrupted in the middle, as a restore may be.
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
        // The state from before is kept aside, and its backup is in the vault.
        survivor.sh(&format!("test -s {}/docker-state.json", text(&report, "/aside")?))?;
        let listed = agent_json(&survivor, 0, &["list"])?;
        let kept = listed["backups"].to_string();
        assert!(kept.contains(text(&report, "/backup/id")?), "{kept}");
        let again = agent_json(&survivor, 0, &["recover-quorum"])?;
        assert_eq!(text(&again, "/result")?, "nothing-to-recover");
        // The run that did nothing left no entry after that of the one that did.
        is_told(&survivor, &report["backup"]["id"])?;
        // Managers can join the recovered one.
        let fourth = site.lab.boot(HostSpec::new("m4", *engine, addr(14)))?;
        fourth.join(&survivor, Role::Manager)?;
    }
    Ok(())
}

/// A router translates the manager's address to it, and its overlay traffic has an address of its own.
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

/// The manager's address comes late, and the host has another one: the cluster is not formed where no node would reach
/// it.
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
    note_hooks(&survivor)?;
    let there = "ls -A /var/lib/docker; systemctl show --property=InvocationID docker.service";
    let untouched = survivor.sh(there)?;
    let refused = agent_json(&survivor, 4, &["recover-quorum"])?;
    assert!(text(&refused, "/error")?.contains("this manager is at 10.77.0.11"), "{refused:#}");
    assert_eq!(survivor.sh(there)?, untouched);
    let entry = journal_entry(&survivor, QUORUM_NOT_RECOVERED)?;
    assert_eq!((&entry["RESULT"], &entry["ERROR"]), (&Value::from("refused"), &refused["error"]));
    let mut running = survivor.spawn(&["swarmdr-agent", "recover-quorum"])?;
    survivor.wait_for("it to wait for the address", LIMIT, || {
        ensure!(running.finished()?.is_none(), "it ended: {}", running.stderr()?);
        Ok(running.stderr()?.contains("no interface of this host has 10.77.0.11").then_some(()))
    })?;
    survivor.sh("ip address add 10.77.0.11/24 dev host0")?;
    let ended = running.wait(LIMIT)?;
    ensure!(ended.status.code() == Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(describe_swarm(&survivor)?, before);
    let id = text(&journal_entry(&survivor, QUORUM_RECOVERED)?, "/BACKUP_ID")?.to_owned();
    let told = survivor.sh("cat /run/hooks")?;
    let expected = format!("failed-recover-quorum refused\npre-recover-quorum {id}\npost-recover-quorum {id} done");
    assert_eq!(told.trim(), expected);
    Ok(())
}

fn is_told(host: &Host, backup: &Value) -> Result<()> {
    let entry = journal_entry(host, QUORUM_RECOVERED)?;
    assert_eq!((&entry["VERB"], &entry["BACKUP_ID"]), (&Value::from("recover-quorum"), backup));
    let page = agent(host, &["status", "--prometheus"])?.stdout;
    ensure!(page.contains("swarmdr_last_success_timestamp_seconds{verb=\"recover-quorum\"}"), "{page}");
    Ok(())
}

fn note_hooks(host: &Host) -> Result<()> {
    let note = "echo $SWARMDR_HOOK_NAME $SWARMDR_HOOK_BACKUP_ID $SWARMDR_HOOK_RESULT >> /run/hooks";
    host.sh("mkdir -p /etc/swarmdr/hooks.d")?;
    for moment in ["pre", "post", "failed"] {
        let path = format!("/etc/swarmdr/hooks.d/{moment}-recover-quorum");
        host.write_file(&path, format!("#!/bin/sh\n{note}\n"))?;
        host.sh(&format!("chmod 755 {path}"))?;
    }
    Ok(())
}

fn leaderless(host: &Host) -> Result<()> {
    host.wait_for("the leader to be gone", LIMIT, || {
        Ok(host.docker(&["info", "--format", "{{.Swarm.Error}}"])?.contains("leader").then_some(()))
    })
}
