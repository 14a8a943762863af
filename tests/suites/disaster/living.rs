//! Living managers forbid a restore, and the reason for that.

use std::time::Instant;

use anyhow::{Context, Result};
use swarmdr_tests::{
    s3::Release,
    scenario::{Site, agent_json, describe_swarm, fingerprint},
};

use super::{LIMIT, RESTORE, fresh, generations, reset, text, three_managers};

#[tokio::test]
async fn living_managers_forbid_a_restore_since_it_would_make_them_delete_their_state() -> Result<()> {
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let hosts = three_managers(&site, *engine)?;
        let before = describe_swarm(&hosts[0])?;
        agent_json(&hosts[0], 0, &["backup"])?;
        let [first, second, third] = hosts;
        first.destroy()?;
        let host = fresh(&site, *engine)?;
        let untouched = fingerprint(&host)?;
        let refused = agent_json(&host, 4, &RESTORE)?;
        for living in ["10.77.0.12:2377 (m2)", "10.77.0.13:2377 (m3)"] {
            assert!(text(&refused, "/error")?.contains(living), "{refused:#}");
        }
        let ways = refused["to_do"].as_array().context("a list")?;
        assert_eq!(ways.len(), 3, "{refused:#}");
        for (way, words) in ways.iter().zip(["join", "--fenced", "copy"]) {
            assert!(way.to_string().contains(words), "{way}");
        }
        assert_eq!(fingerprint(&host)?, untouched);

        // The reason. No operator should do this: everything that came into the living swarm since the backup is lost.
        // Within twenty seconds the two have deleted their logs, and on 26.1 they then join the restored one as new
        // members.
        second.create_secret("since-the-backup", b"x")?;
        let log = "stat -c %i /var/lib/docker/swarm/raft/wal-v3-encrypted/0000000000000000-0000000000000000.wal";
        let before_logs = [second.sh(log)?, third.sh(log)?];
        agent_json(&host, 0, &[&RESTORE[..], &["--fenced"]].concat())?;
        assert_eq!(describe_swarm(&host)?, before);
        let since = Instant::now();
        for (living, its_log) in [&second, &third].into_iter().zip(before_logs) {
            living.wait_for("its raft log to be deleted", LIMIT, || {
                Ok((living.run(&["sh", "-c", log])?.stdout.trim() != its_log).then_some(()))
            })?;
        }
        println!(
            "{}: both living managers had deleted their raft log {:.0?} after the restore",
            engine.version(),
            since.elapsed()
        );
        for living in [&second, &third] {
            let secrets = living.run(&["docker", "secret", "ls"])?.stdout;
            assert!(!secrets.contains("since-the-backup"), "{secrets}");
        }
        second.destroy()?;
        third.destroy()?;
        reset(&host, false)?;
        let report = agent_json(&host, 0, &RESTORE)?;

        // The command that is printed for each dead node works as it is, and a demotion would not.
        let dead = report["dead_nodes"].as_array().context("a list")?;
        assert_eq!(dead.len(), 2, "{report:#}");
        assert!(host.docker(&["node", "demote", "m2"]).is_err(), "then the advice should name it");
        for node in dead {
            host.sh(text(node, "/remove_with")?)?;
        }
        assert_eq!(host.docker(&["node", "ls", "-q"])?.lines().count(), 1);
    }
    Ok(())
}
