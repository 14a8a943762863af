//! What a restore that was killed left in clear is overwritten by the next run, whichever verb that is.

use std::fs::File;
use std::io::{self, Read, Seek};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::lab::{Engine, Host};
use swarmdr_tests::s3::Release;
use swarmdr_tests::scenario::{IDENTITY, Site, agent, agent_json, describe_swarm};

use super::{LIMIT, fresh, hangs, one_manager};

const UNLOCK_KEY: &str = "/root/unlock-key";
const RESTORE: [&str; 6] = ["restore", "--latest", "--identity", IDENTITY, "--unlock-key", UNLOCK_KEY];

#[tokio::test]
async fn keys_that_a_killed_restore_left_are_overwritten_by_the_next_run() -> Result<()> {
    let engine = Engine::E26_1;
    let site = Site::new(Release::V20).await?;
    let manager = one_manager(&site, engine)?;
    manager.docker(&["swarm", "update", "--autolock=true"])?;
    let key = manager.docker(&["swarm", "unlock-key", "-q"])?;
    agent_json(&manager, 0, &["backup"])?;
    let before = describe_swarm(&manager)?;
    manager.destroy()?;
    let host = fresh(&site, engine)?;
    host.write_file(UNLOCK_KEY, format!("{key}\n"))?;

    // Unpacked, and nothing of the host was changed: no journal names it.
    let unpacked = killed_at(&host, "staged", "/var/lib/docker/.swarmdr/restore-*/certificates/swarm-root-ca.crt")?;
    // Nothing to back up here; what lies in clear goes all the same.
    let refused = agent(&host, &["backup"])?;
    ensure!(refused.stderr.contains("left an unpacked state"), "{}", refused.stderr);
    is_cleared(unpacked)?;
    ensure!(host.sh("ls -A /var/lib/docker/.swarmdr 2>/dev/null || true")?.is_empty());

    // The engine has the open key, and locks its own; nobody is left who overwrites the old one.
    let open = killed_at(&host, "confirm-noted", "/var/lib/docker/.swarmdr/open-key")?;
    host.wait_manager()?;
    host.wait_for("the engine to lock its key", LIMIT, || {
        let key = host.sh("cat /var/lib/docker/swarm/certificates/swarm-node.key")?;
        Ok(key.contains("kek-version").then_some(()))
    })?;
    let mut clear = String::new();
    (&open).read_to_string(&mut clear)?;
    ensure!(clear.contains("PRIVATE KEY"), "the key was to lie open");
    let told = agent(&host, &["backup"])?;
    ensure!(told.stderr.contains("had left open was overwritten"), "{}", told.stderr);
    is_cleared(open)?;
    agent_json(&host, 0, &RESTORE)?;
    ensure!(describe_swarm(&host)? == before);
    Ok(())
}

/// Kills a restore at this point; the file that the pattern finds then, held open.
fn killed_at(host: &Host, point: &str, pattern: &str) -> Result<File> {
    let fault = format!("SWARMDRTEST_FAULT=hang@{point}");
    let mut running = host.spawn(&[&["env", &fault, "swarmdr-agent"], &RESTORE[..]].concat())?;
    hangs(&mut running)?;
    let path = host.sh(&format!("ls {pattern}"))?;
    let held = File::open(host.root()?.join(path.trim_start_matches('/'))).with_context(|| path.clone())?;
    running.signal("KILL")?;
    Ok(held)
}

/// Its blocks hold nothing any more.
fn is_cleared(mut held: File) -> Result<()> {
    held.rewind()?;
    let content = io::read_to_string(held)?;
    ensure!(!content.is_empty() && content.bytes().all(|byte| byte == 0), "it says {content:?}");
    Ok(())
}
