//! An autolocked swarm of three managers comes back locked, and its key is in clear no longer than it must be.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::Host,
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, describe_swarm, fingerprint},
};

use super::{fresh, generations, hangs, reset, text, three_managers};

/// Lists the files of the engine's data root that hold a private key in clear, by its armour.
const CLEAR_KEYS: &str =
    "grep -rlE -e '-----BEGIN (EC )?PRIVATE KEY-----' /var/lib/docker/swarm* /var/lib/docker/.swarmdr || true";

const STATE_KEY: &str = "/var/lib/docker/swarm/certificates/swarm-node.key";

const UNLOCK_KEY: &str = "/root/unlock-key";

#[tokio::test]
async fn a_locked_swarm_of_three_comes_back_locked() -> Result<()> {
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let hosts = three_managers(&site, *engine)?;
        let manager = &hosts[0];
        manager.docker(&["swarm", "update", "--autolock=true"])?;
        let key = manager.docker(&["swarm", "unlock-key", "-q"])?;
        let before = describe_swarm(manager)?;
        let locked = agent_json(manager, 0, &["backup"])?;
        ensure!(locked["autolock"] == Value::Bool(true), "{locked:#}");
        for host in hosts {
            host.destroy()?;
        }
        comes_back_locked(&mut fresh(&site, *engine)?, text(&locked, "/id")?, &key, &before)
            .with_context(|| format!("engine {}", engine.version()))?;
        println!("{}: locked, cut twice, and back", engine.version());
    }
    Ok(())
}

fn comes_back_locked(host: &mut Host, id: &str, key: &str, before: &[String]) -> Result<()> {
    let restore = ["restore", id, "--identity", IDENTITY];
    let with_key = [&restore[..], &["--unlock-key", UNLOCK_KEY]].concat();
    // Without the unlock key, and with another one, nothing is touched.
    let untouched = fingerprint(host)?;
    let refused = agent_json(host, 4, &restore)?;
    ensure!(text(&refused, "/error")?.contains("its unlock key was not given"), "{refused:#}");
    ensure!(fingerprint(host)? == untouched);
    host.write_file(UNLOCK_KEY, "SWMKEY-1-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc")?;
    let untouched = fingerprint(host)?;
    let refused = agent_json(host, 4, &with_key)?;
    ensure!(refused.to_string().contains("does not open this backup"), "{refused:#}");
    ensure!(fingerprint(host)? == untouched);

    // Interrupted while the key is in clear, over another swarm of the host. The next run encrypts the key in the state
    // that it moves away.
    host.write_file(UNLOCK_KEY, format!("{key}\n"))?;
    reset(host, true)?;
    let old = describe_swarm(host)?;
    for point in ["hang@init-noted", "hang@confirm"] {
        let fault = format!("SWARMDRTEST_FAULT={point}");
        let forced = [&["env", &fault, "swarmdr-agent"], &with_key[..], &["--force"]].concat();
        let mut running = host.spawn(&forced)?;
        hangs(&mut running)?;
        host.kill()?;
        drop(running);
        host.boot()?;
        host.wait_engine()?;
        if point == "hang@init-noted" {
            let open = host.sh(CLEAR_KEYS)?;
            ensure!(open.lines().any(|path| path == STATE_KEY), "the key was to lie open at this point: {open}");
            // A fault makes this run fail, so it puts the old swarm back.
            let failing = [&["env", "SWARMDRTEST_FAULT=panic@start-noted", "swarmdr-agent"], &with_key[..]].concat();
            let failed = host.run(&failing)?;
            ensure!(failed.stderr.contains("what was there before is back"), "{}", failed.stderr);
            host.wait_manager()?;
            ensure!(describe_swarm(host)? == old);
            let open = host.sh(CLEAR_KEYS)?;
            // The old swarm is not autolocked: its own key is in clear as ever.
            ensure!(open == STATE_KEY, "open keys: {open}");
        }
    }
    // The engine had locked the key again, so it waits for the unlock key; the next run forms the swarm once more.
    let report = agent_json(host, 0, &with_key)?;
    ensure!(report["autolocked"] == Value::Bool(true) && text(&report, "/result")? == "done", "{report:#}");
    ensure!(describe_swarm(host)? == before);
    let open = host.sh(CLEAR_KEYS)?;
    let aside = text(&report, "/aside")?;
    ensure!(open == format!("{aside}/certificates/swarm-node.key"), "open keys: {open}; aside {aside}");
    ensure!(host.docker(&["swarm", "unlock-key", "-q"])? == key, "the key is another one");

    // After a restart it is locked like any autolocked manager, and user-data unlocks it, with a systemd credential.
    host.reboot()?;
    host.wait_engine()?;
    ensure!(host.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "locked");
    let words = [
        &["systemd-run", "--wait", "--pipe", "--quiet", "-p", "LoadCredential=swarmdr.unlock-key:/root/unlock-key"],
        &["swarmdr-agent"][..],
        &restore[..],
        &["--json"],
    ];
    let output = host.run(&words.concat())?;
    ensure!(output.status.success() && !output.stdout.contains(key), "{}{}", output.stdout, output.stderr);
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(text(&report, "/result")? == "already-there" && report["unlocked"] == Value::Bool(true), "{report:#}");
    ensure!(describe_swarm(host)? == before);
    ensure!(!host.journal("*", 100_000)?.contains(key.trim_start_matches("SWMKEY-1-")), "the journal holds the key");
    Ok(())
}
