//! Bytes that rot under a running engine, which does not notice: a backup must notice, and must not stop the engine.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Role, addr},
    s3::Release,
    scenario::{IDENTITY, Site},
};

use crate::{
    broken::{LIVE, text},
    overheard::Overheard,
};

/// Limit for a change of role: a node that becomes a manager, or stops being one, gets another certificate first.
const ROLE_LIMIT: Duration = Duration::from_secs(90);

/// Makes backups of an engine that writes all the time. In the copy that is made while it runs, the end of the log is
/// torn, which is no damage.
fn busy(host: &Host, heard: &mut Overheard) -> Result<()> {
    let write =
        "n=0; while :; do n=$((n+1)); head -c 200000 /dev/urandom | docker secret create busy-$n -; sleep 0.5; done";
    host.sh(&format!("systemd-run --quiet --unit=writer sh -c '{write}'"))?;
    for _ in 0..2 {
        let made = heard.say_json(host, 0, &["backup"])?;
        assert!(made["downtime"]["total_ms"].as_u64().is_some_and(|ms| ms > 0), "{made:#}");
        host.wait_manager()?;
    }
    host.sh("systemctl stop writer; docker secret ls -q --filter name=busy- | xargs docker secret rm > /dev/null")?;
    Ok(())
}

/// Damages the newest snapshot while the engine runs, which does not notice. When it starts, it renames that snapshot
/// and replays its log from the beginning, which works only while all of that log is there and under one data key:
/// after a rotation of that key it came up as no manager (26.1.5, with autolock switched on before). The next snapshot
/// repairs it.
pub fn broken_snapshot(host: &Host, heard: &mut Overheard) -> Result<String> {
    let snapshots = format!("{LIVE}/raft/snap-v3-encrypted");
    let newest = || host.sh(&format!("ls {snapshots} | tail -n 1"));
    let write = "for n in 1 2 3 4 5; do docker secret create s-$(date +%N) /etc/hostname >/dev/null; done";
    let another = |old: &str| {
        host.wait_for("a snapshot", Duration::from_secs(60), || {
            host.sh(write)?;
            Ok(Some(newest()?).filter(|name| name.ends_with(".snap") && name != old))
        })
    };
    host.docker(&["swarm", "update", "--snapshot-interval=20"])?;
    let broken = another("")?;
    host.sh(&rot(&format!("{snapshots}/{broken}"), 3000))?;
    let stored = left_alone(host, heard, &format!("raft/snap-v3-encrypted/{broken}, byte 0"))?;
    let attention = stored["attention"].to_string();
    assert!(attention.contains("docker swarm update --snapshot-interval"), "{attention}");
    another(&broken)?;
    heard.say_json(host, 0, &["backup"])?;
    host.wait_manager()?;
    Ok(text(&stored, "/id")?.to_owned())
}

/// Damages the log. The engine would not come back as a manager.
pub fn broken_log(host: &Host, heard: &mut Overheard) -> Result<String> {
    host.sh(&format!("for file in {LIVE}/raft/wal-v3-encrypted/*.wal; do {}; done", rot("$file", 2000)))?;
    let (human, _) = heard.say_both(host, 6, &["inspect", "--dir", LIVE])?;
    assert!(human.contains("NO: the raft log breaks"), "{human}");
    let stored = left_alone(host, heard, "raft/wal-v3-encrypted/")?;
    let attention = stored["attention"].to_string();
    assert!(attention.contains("docker node demote m1"), "{attention}");
    Ok(text(&stored, "/id")?.to_owned())
}

/// Backs up a manager whose disk is damaged at `place`. Checks that its engine is the same process before and after,
/// and works.
fn left_alone(host: &Host, heard: &mut Overheard, place: &str) -> Result<Value> {
    let run = "systemctl show --property=InvocationID,NRestarts,MainPID docker.service";
    let before = host.sh(run)?;
    let stored = heard.say_json(host, 6, &["backup"])?;
    assert_eq!(host.sh(run)?, before);
    host.docker(&["service", "ls"])?;
    let attention = stored["attention"].to_string();
    assert!(attention.contains("THE ENGINE WAS NOT STOPPED") && attention.contains(place), "{attention}");
    assert_eq!(stored["downtime"], Value::Null, "{stored:#}");
    let shown = heard.say_json(host, 6, &["inspect", text(&stored, "/id")?, "--identity", IDENTITY])?;
    assert_eq!((text(&shown, "/backup/snapshot_mode")?, text(&shown, "/proof")?), ("running", "unproven"));
    Ok(stored)
}

/// Follows the agent's advice: the swarm outlives its only manager's log, and that manager gets a new one.
#[tokio::test]
async fn a_manager_whose_log_is_damaged_gets_a_new_one_as_it_is_told() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    let other = site.lab.boot(HostSpec::new("m2", Engine::E26_1, addr(12)))?;
    let mut heard = Overheard::default();
    host.swarm_init()?;
    other.join(&host, Role::Worker)?;
    host.create_secret("db-password", b"kept")?;
    site.set_up_manager(&host)?;
    site.set_up_restorer(&host)?;
    busy(&host, &mut heard)?;
    broken_log(&host, &mut heard)?;

    let reachable = |node: &str| {
        let status = ["node", "inspect", "--format", "{{.ManagerStatus.Reachability}}", node];
        host.wait_for(&format!("{node} to be reachable"), ROLE_LIMIT, || {
            Ok(Some(other.docker(&status)?).filter(|status| status.trim() == "reachable"))
        })
    };
    host.wait_for("the promotion", ROLE_LIMIT, || Ok(host.docker(&["node", "promote", "m2"]).ok()))?;
    reachable("m2")?;
    host.wait_for("the demotion", ROLE_LIMIT, || Ok(host.docker(&["node", "demote", "m1"]).ok()))?;
    // A node that is promoted before that would be a manager, and then a worker after all.
    host.wait_for("the end of the demotion", ROLE_LIMIT, || {
        let status = other.docker(&["node", "inspect", "--format", "{{.ManagerStatus}}", "m1"])?;
        let certificate =
            format!("grep -v -e '-----' {LIVE}/certificates/swarm-node.crt | base64 -d | grep -c swarm-worker");
        Ok((status.trim() == "<nil>" && host.sh(&certificate)?.trim() != "0").then_some(()))
    })?;
    // A promotion is refused while the swarm itself is changing the node.
    host.wait_for("m1 to be promoted", ROLE_LIMIT, || other.docker(&["node", "promote", "m1"]).map(Some))?;
    reachable("m1")?;
    // Seen on 26.1.5: for some seconds it is a manager, a worker, and a manager again.
    let made = host.wait_for("a backup of the new log", ROLE_LIMIT, || {
        heard.say_json(&host, 0, &["backup", "--allow-quorum-loss"]).map(Some)
    })?;
    assert_eq!(made["counts"]["secrets"], 1, "{made:#}");
    Ok(())
}

/// Returns a script that changes one byte of a file in place.
fn rot(file: &str, at: u32) -> String {
    format!(
        "byte=$(od -An -tu1 -j{at} -N1 \"{file}\"); \
         printf \"\\\\$(printf %o $((byte ^ 1)))\" | dd of=\"{file}\" bs=1 seek={at} conv=notrunc status=none"
    )
}
