//! A restore that is repeated changes nothing, and does not roll the swarm back unless `--force` is given.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host},
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, describe_swarm, fingerprint},
};

use super::{RESTORE, fresh, generations, one_manager, text};

#[tokio::test]
async fn a_restore_that_is_repeated_changes_nothing_and_rolls_nothing_back() -> Result<()> {
    for engine in generations() {
        repeat(*engine).await.with_context(|| format!("engine {}", engine.version()))?;
    }
    Ok(())
}

async fn repeat(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = one_manager(&site, engine)?;
    let oldest = agent_json(&host, 0, &["backup"])?;
    host.create_secret("second", b"2")?;
    let newest = agent_json(&host, 0, &["backup"])?;
    let before = describe_swarm(&host)?;
    host.destroy()?;

    let mut host = fresh(&site, engine)?;
    hooks_are_told(&host, text(&newest, "/id")?)?;
    host.create_secret("a-day-of-work", b"3")?;
    let after = describe_swarm(&host)?;
    assert_ne!(after, before);
    let same = ["restore", text(&newest, "/id")?, "--identity", IDENTITY];
    let older = ["restore", text(&oldest, "/id")?, "--identity", IDENTITY];
    // User-data runs again at a reboot, whichever way it names the backup.
    host.reboot()?;
    host.wait_manager()?;
    for again in [&RESTORE[..], &same[..]] {
        let report = agent_json(&host, 0, again)?;
        assert_eq!(text(&report, "/result")?, "already-there");
    }
    let refused = agent_json(&host, 4, &older)?;
    assert!(text(&refused, "/error")?.contains("has moved on since"), "{refused:#}");
    assert!(refused["to_do"].to_string().contains("--force"), "{refused:#}");
    assert_eq!(describe_swarm(&host)?, after);
    // No hook is run if nothing is done, except the one for failures.
    assert_eq!(host.sh("cat /run/hooks")?, "failed-restore refused");

    // The newest backup is now one that the restored swarm made itself.
    site.set_up_manager(&host)?;
    let own = agent_json(&host, 0, &["backup"])?;
    assert_ne!(text(&own, "/id")?, text(&newest, "/id")?);
    let report = agent_json(&host, 0, &RESTORE)?;
    assert_eq!((text(&report, "/result")?, text(&report, "/id")?), ("already-there", text(&own, "/id")?));
    assert_eq!(describe_swarm(&host)?, after);

    // With `--force` it goes back, and the day of work is kept aside.
    let forced = agent_json(&host, 0, &[&older[..], &["--force"]].concat())?;
    assert!(!describe_swarm(&host)?.iter().any(|line| line.contains("a-day-of-work")));
    host.sh(&format!("test -s {}/docker-state.json", text(&forced, "/aside")?))?;
    // Then the newest backup is older than that restore: a plain run does not undo what was forced.
    let refused = agent_json(&host, 4, &RESTORE)?;
    assert!(text(&refused, "/error")?.contains("was restored from backup"), "{refused:#}");
    Ok(())
}

/// Checks that a failing pre-restore hook keeps the restore from touching anything, and that every hook gets the id of
/// the backup.
fn hooks_are_told(host: &Host, newest: &str) -> Result<()> {
    const HOOKS: &str = "/etc/swarmdr/hooks.d";
    let note = "echo $SWARMDR_HOOK_NAME $SWARMDR_HOOK_BACKUP_ID $SWARMDR_HOOK_RESULT >> /run/hooks";
    host.sh(&format!("mkdir -p {HOOKS}"))?;
    for (hook, end) in [("pre", "exit 7"), ("post", ""), ("failed", "")] {
        host.write_file(&format!("{HOOKS}/{hook}-restore"), format!("#!/bin/sh\n{note}\n{end}\n"))?;
    }
    host.sh(&format!("chmod 755 {HOOKS}/*"))?;
    let untouched = fingerprint(host)?;
    let refused = agent_json(host, 1, &RESTORE)?;
    ensure!(text(&refused, "/error")?.contains("a pre-restore hook failed, so nothing was touched"), "{refused:#}");
    ensure!(fingerprint(host)? == untouched);
    host.sh(&format!("sed -i 's/exit 7//' {HOOKS}/pre-restore"))?;
    agent_json(host, 0, &RESTORE)?;
    let told = host.sh("cat /run/hooks; rm /run/hooks")?;
    let expected = [("pre", ""), ("failed", " failed"), ("pre", ""), ("post", " done")]
        .map(|(hook, result)| format!("{hook}-restore {newest}{result}"));
    ensure!(told.lines().eq(expected), "{told}");
    Ok(())
}
