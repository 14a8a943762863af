//! A stream whose command fails, or does not end, or whose vault goes away: nothing of it is visible, and nothing goes on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use swarmdr_tests::{lab::Engine, scenario::agent};

use super::site::{DATA, Streams, require};

/// Time for what a failed run began to be gone.
const GONE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_command_that_fails_leaves_nothing() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 100).await?;
    let host = &streams.host;
    let many = format!("for n in 1 2 3; do cat {DATA}; done; exit 7");
    require(&agent(host, &["put", "db", "--", "sh", "-c", &many])?, 1, &["exit status: 7", "nothing of it"])?;
    let killed = format!("cat {DATA}; kill -9 $$");
    require(&agent(host, &["put", "db", "--", "sh", "-c", &killed])?, 1, &["signal: 9"])?;
    let endless = ["put", "db", "--timeout", "3s", "--", "sh", "-c", "echo $$ > /run/pid; sleep 1000 & wait"];
    require(&agent(host, &endless)?, 1, &["did not end within 3 s", "--timeout"])?;
    host.wait_for("the command to be gone", GONE, || Ok(host.sh("! test -e /proc/$(cat /run/pid)").ok()))?;
    require(&agent(host, &["put", "db", "--", "/no/such/program"])?, 1, &["/no/such/program", "cannot be run"])?;
    let tail = ["put", "db", "--expect-tail", "complete", "--", "echo", "half"];
    require(&agent(host, &tail)?, 1, &["does not end with `complete`"])?;
    require(&agent(host, &["put", "Bad/Name", "--", "true"])?, 2, &[])?;
    require(&agent(host, &["put", "db"])?, 2, &["no stream `db`"])?;
    ensure!(streams.stored().await?.is_empty(), "something is visible: {:?}", streams.stored().await?);
    let unfinished = streams.site.owner.unfinished_uploads().await?;
    ensure!(unfinished.is_empty(), "something is left: {unfinished:?}");
    Ok(())
}

#[tokio::test]
async fn a_signal_ends_the_command_and_leaves_nothing() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 100).await?;
    let host = &streams.host;
    let script = format!("echo $$ > /run/pid; cat {DATA}; touch /run/half; sleep 1000");
    let run = host.spawn(&["swarmdr-agent", "put", "db", "--", "sh", "-c", &script])?;
    host.wait_for("half of the stream", GONE, || Ok(host.sh("test -e /run/half").ok()))?;
    run.signal("TERM")?;
    require(&run.wait(GONE)?, 1, &["interrupted"])?;
    host.wait_for("the command to be gone", GONE, || Ok(host.sh("! test -e /proc/$(cat /run/pid)").ok()))?;
    ensure!(streams.stored().await?.is_empty(), "something is visible");

    // The one that waits for its input, and the one whose receiver takes nothing.
    let fed = host.spawn(&["sh", "-c", "sleep 1000 | swarmdr-agent put db --stdin; exit $?"])?;
    host.wait_for("the agent", GONE, || {
        Ok(host.sh("pgrep -f 'put db --stdin' | tail -1").ok().filter(|it| !it.is_empty()))
    })?;
    host.sh("pkill -TERM -f '^swarmdr-agent put db --stdin'")?;
    host.wait_for("the agent to be gone", GONE, || Ok(host.sh("! pgrep -f '^swarmdr-agent put db --stdin'").ok()))?;
    drop(fed);
    require(&agent(host, &["put", "db", "--", "cat", DATA])?, 0, &[])?;
    let stuck = host.spawn(&[
        "swarmdr-agent",
        "get",
        "db",
        "--latest",
        "--identity",
        swarmdr_tests::scenario::IDENTITY,
        "--",
        "sh",
        "-c",
        "touch /run/stuck; sleep 1001",
    ])?;
    host.wait_for("the receiver", GONE, || Ok(host.sh("test -e /run/stuck").ok()))?;
    stuck.signal("INT")?;
    require(&stuck.wait(GONE)?, 1, &["interrupted"])?;
    host.sh("! pgrep -f '[s]leep 1001'")?;
    Ok(())
}

#[tokio::test]
async fn a_vault_that_goes_away_in_the_middle_is_named() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 100).await?;
    let host = &streams.host;
    let script = format!("cat {DATA}; touch /run/half; while test ! -e /run/go; do sleep 0.1; done; cat {DATA}");
    let run = host.spawn(&["swarmdr-agent", "put", "db", "--patience", "10s", "--", "sh", "-c", &script])?;
    host.wait_for("half of the stream", GONE, || Ok(host.sh("test -e /run/half").ok()))?;
    streams.site.rgw.kill_gateway()?;
    host.sh("touch /run/go")?;
    require(&run.wait(Duration::from_secs(1200))?, 1, &["s3://vault/prod", "was not stored"])?;
    streams.site.rgw.restart_gateway()?;
    let until = Instant::now() + GONE;
    let stored = loop {
        match streams.stored().await {
            // The first request may go out on a connection from before.
            Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(200)).await,
            stored => break stored?,
        }
    };
    ensure!(stored.is_empty(), "something is visible: {stored:?}");
    require(&agent(host, &["put", "db", "--", "cat", DATA])?, 0, &[])?;
    ensure!(streams.sum_of("db")? == streams.sum()?, "another stream came back");
    Ok(())
}
