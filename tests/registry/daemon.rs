//! A server that cannot outlive this process.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::SocketAddrV4,
    path::Path,
    process::{Child, ChildStdin, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::place::Place;
use crate::lab::wait_for;

/// Limit for a server to listen.
const LIMIT: Duration = Duration::from_secs(60);

/// Ends the server when a line comes, or when the pipe is closed, however that comes about. If no line came, nobody is
/// left to remove the directory of the log.
const SUPERVISOR: &str = r#"
"$@" </dev/null >>"$0" 2>&1 &
server=$!
echo $server
read -r _ && abandoned= || abandoned=${0%/*}
kill -KILL $server
wait
[ -z "$abandoned" ] || rm -rf "$abandoned"
"#;

/// A running server, which ends when dropped, and when this process ends.
#[derive(Debug)]
pub(super) struct Daemon {
    shell: Child,
    pipe: Option<ChildStdin>,
    server: u32,
}

impl Daemon {
    /// Starts a server and waits until it listens. Its output is added to `log`, in a directory that is removed if this
    /// process is killed.
    pub fn start(place: &Place, words: &[&Path], log: &Path, address: SocketAddrV4) -> Result<Self> {
        let mut command = place.command("sh");
        command.args(["-c", SUPERVISOR]).arg(log).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().context("failed to start a shell")?;
        let (pipe, output) = (shell.stdin.take(), shell.stdout.take().expect("it is piped"));
        let mut daemon = Self { shell, pipe, server: 0 };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        daemon.server = line.trim().parse().with_context(|| format!("the shell printed {line:?}, not a PID"))?;
        let printed = || fs::read_to_string(log).unwrap_or_default();
        let listens = wait_for(&format!("a server on {address}"), LIMIT, || {
            // No other try helps a server that has ended.
            Ok(if daemon.is_alive() { place.listens(address)?.then_some(true) } else { Some(false) })
        });
        ensure!(listens.with_context(printed)?, "the server on {address} has ended: {}", printed());
        Ok(daemon)
    }

    /// A zombie is dead: the shell reaps it only at the end.
    fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // If the shell is gone, so is the server.
        let _ = self.pipe.take().map(|mut pipe| pipe.write_all(b"\n"));
        let _ = self.shell.wait();
    }
}
