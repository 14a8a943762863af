//! The main process of a second engine's unit: starts the engine when told to, and ends when its maker is gone.
//!
//! It runs inside of the unit. What it leaves running when it ends is systemd's to kill. An engine that ends by itself
//! does not end it: how it ended and what it wrote would go with the unit, before the maker has read them.

use std::{
    fs::{self, DirBuilder, File},
    os::{fd::AsFd, unix::fs::DirBuilderExt, unix::process::ExitStatusExt},
    path::Path,
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver, process::Command};

use crate::whole_file;

/// What the maker writes when the state is in its place.
pub const BOOT: &[u8] = b"b";

/// What the engine writes, beside its socket.
pub const LOG: &str = "engine.log";

/// How the engine ended, once it has.
pub const ENDED: &str = "engine.ended";

/// What [`ENDED`] begins with where somebody else ended it.
pub const KILLED: &str = "killed by ";

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
        ended = child.wait() => {
            whole_file::replace(&run_dir.join(ENDED), describe(ended?).as_bytes(), 0o600)
                .context("failed to write how the engine ended")?;
            closed(&mut leash).await;
        }
        () = closed(&mut leash) => (),
    }
    Ok(())
}

/// An engine ends itself with an exit code, also where it panics. The kernel that is out of memory sends SIGKILL.
fn describe(ended: ExitStatus) -> String {
    let from_outside = [Signal::SIGKILL, Signal::SIGTERM].map(|signal| Some(signal as i32));
    let by = if from_outside.contains(&ended.signal()) { KILLED } else { "" };
    format!("{by}{ended}")
}

async fn closed(leash: &mut Receiver) {
    let mut rest = [0; 64];
    while leash.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_from_outside_is_told_from_the_engines_own() {
        assert_eq!(describe(ExitStatus::from_raw(9)), "killed by signal: 9 (SIGKILL)");
        assert_eq!(describe(ExitStatus::from_raw(6)), "signal: 6 (SIGABRT)");
        assert_eq!(describe(ExitStatus::from_raw(2 << 8)), "exit status: 2");
    }
}
