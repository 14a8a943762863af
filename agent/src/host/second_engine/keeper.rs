//! The main process of a second engine's unit: starts the engine when told to, and ends when its maker is gone.
//!
//! It runs inside of the unit. What it leaves running when it ends is systemd's to kill.

use std::{
    fs::{self, DirBuilder, File},
    os::{fd::AsFd, unix::fs::DirBuilderExt},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver, process::Command};

/// What the maker writes when the state is in its place.
pub const BOOT: &[u8] = b"b";

/// What the engine writes, beside its socket.
pub const LOG: &str = "engine.log";

/// Makes `state_dir`, waits for [`BOOT`], then runs `engine` until it or the maker ends.
pub async fn run(state_dir: &Path, run_dir: &Path, engine: &[String]) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).context("failed to make the directory")?;
    // Not tokio's own standard input: its blocking read would keep this process from ending.
    let leash = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut leash = Receiver::from_owned_fd(leash).context("the standard input is no pipe")?;
    let mut word = [0; BOOT.len()];
    if leash.read_exact(&mut word).await.is_err() {
        return Ok(());
    }
    fs::write(run_dir.join("daemon.json"), "{}\n").context("failed to write the engine's configuration")?;
    let log = File::create(run_dir.join(LOG)).context("failed to make the engine's log")?;
    let (program, arguments) = engine.split_first().context("no engine was named")?;
    let mut child = Command::new(program)
        .args(arguments)
        // It would tell systemd that it is ready, in the name of this unit.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("failed to start {program}"))?;
    tokio::select! {
        ended = child.wait() => bail!("the engine ended: {}", ended?),
        () = closed(leash) => Ok(()),
    }
}

async fn closed(mut leash: Receiver) {
    let mut rest = [0; 64];
    while leash.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}
