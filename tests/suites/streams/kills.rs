//! A run that is killed at any point: nothing is listed before the whole is, and the next run leaves nothing behind.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Output},
    scenario::{IDENTITY, agent},
};

use super::site::{DATA, Streams, require};

/// Failpoints of a run, and how many streams are visible if it is killed there.
const POINTS: [(&str, usize); 4] =
    [("stream-begun", 0), ("stream-read", 0), ("stream-sealed", 0), ("stream-stored", 1)];

#[tokio::test]
async fn a_kill_leaves_nothing_visible_or_the_whole() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 100).await?;
    let host = &streams.host;
    let mut visible = 0;
    for (point, more) in POINTS {
        let fault = format!("SWARMDRTEST_FAULT=kill@{point}");
        let killed = host.run(&["env", &fault, "swarmdr-agent", "put", "db", "--", "cat", DATA])?;
        require_killed(&killed, point)?;
        visible += more;
        ensure!(streams.stored().await?.len() == visible, "{point}: {:?}", streams.stored().await?);
    }
    // At moments that no failpoint names: after this many bytes.
    let moments = if full() { 50 } else { 4 };
    for moment in 0..moments {
        let bytes = 6_000_000 * moment;
        let script = format!("head -c {bytes} {DATA}; kill -9 $PPID; cat {DATA}");
        let killed = host.run(&["swarmdr-agent", "put", "db", "--", "sh", "-c", &script])?;
        require_killed(&killed, &bytes.to_string())?;
        ensure!(streams.stored().await?.len() == visible, "{bytes}: something is visible");
    }
    // The next run removes what the killed ones left.
    require(&agent(host, &["put", "db", "--", "cat", DATA])?, 0, &[])?;
    let unfinished = streams.site.owner.unfinished_uploads().await?;
    ensure!(unfinished.is_empty(), "something is left: {unfinished:?}");
    ensure!(streams.sum_of("db")? == streams.sum()?, "another stream came back");
    for version in streams.stored().await? {
        let lock = streams.site.owner.retention(&version.key, &version.id).await?;
        lock.with_context(|| format!("{} has no lock", version.key))?;
    }
    let got = agent(host, &["get", "db", "--latest", "--identity", IDENTITY, "--", "sh", "-c", "kill -9 $PPID; cat"])?;
    require_killed(&got, "get")
}

fn require_killed(run: &Output, at: &str) -> Result<()> {
    ensure!(run.status.code().is_none_or(|code| code == 137), "{at}: it was not killed: {run:?}");
    Ok(())
}
