//! The main process of a second engine's unit: starts the engine on command, and exits when the run that made it is
//! gone.
//!
//! It runs inside the unit; systemd kills what it leaves running. It does not exit when the engine exits by itself: the
//! exit status and the log would go with the unit before the run has read them.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::AsFd,
        unix::{fs::DirBuilderExt, process::ExitStatusExt},
    },
    path::Path,
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver, process::Command};

use crate::host::files::whole_file;

/// The command to start the engine, written to the pipe when the state is in its place.
pub const BOOT: &[u8] = b"b";

/// The engine's log, in the directory of its socket.
pub const LOG: &str = "engine.log";

/// The file with the engine's exit status, once it has exited.
pub const ENDED: &str = "engine.ended";

/// Start of the text in [`ENDED`] if another process killed the engine.
pub const KILLED: &str = "killed by ";

/// Makes `state_dir`, waits for [`BOOT`], then runs `engine` until the pipe is closed.
pub async fn run(state_dir: &Path, run_dir: &Path, engine: &[String]) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).context("failed to make the directory")?;
    // Not tokio's own standard input: its blocking read would keep this process from ending.
    let lifeline = io::stdin().as_fd().try_clone_to_owned()?;
    let mut lifeline = Receiver::from_owned_fd(lifeline).context("the standard input is no pipe")?;
    let mut word = [0; BOOT.len()];
    if lifeline.read_exact(&mut word).await.is_err() {
        return Ok(());
    }
    fs::write(run_dir.join("daemon.json"), "{}\n").context("failed to write the engine's configuration")?;
    let log = File::create(run_dir.join(LOG)).context("failed to make the engine's log")?;
    let (program, arguments) = engine.split_first().context("no engine was named")?;
    let mut child = Command::new(program)
        .args(arguments)
        // Else it would notify systemd in the name of this unit.
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
            closed(&mut lifeline).await;
        }
        () = closed(&mut lifeline) => (),
    }
    Ok(())
}

/// The exit status in words. An engine that ends by itself exits with a code, also if it panics; out of memory, the
/// kernel sends SIGKILL.
fn describe(ended: ExitStatus) -> String {
    let from_outside = [Signal::SIGKILL, Signal::SIGTERM].map(|signal| Some(signal as i32));
    let by = if from_outside.contains(&ended.signal()) { KILLED } else { "" };
    format!("{by}{ended}")
}

/// Returns when the pipe is closed.
async fn closed(lifeline: &mut Receiver) {
    let mut rest = [0; 64];
    while lifeline.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_not_an_exit_of_the_engine_itself() {
        assert_eq!(describe(ExitStatus::from_raw(9)), "killed by signal: 9 (SIGKILL)");
        assert_eq!(describe(ExitStatus::from_raw(6)), "signal: 6 (SIGABRT)");
        assert_eq!(describe(ExitStatus::from_raw(2 << 8)), "exit status: 2");
    }
}
