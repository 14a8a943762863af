//! Where the bytes of a stream come from: a program, a command in a container, or standard input.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use swarmdr_archive::untrusted::shown;
use tokio::sync::mpsc;

use crate::host::{
    engine::exec::Exec,
    process_group::{Killer, ProcessGroup, require_success},
};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// Number of pieces that wait for the one who compresses them.
const WAITING: usize = 4;

/// What a stream is to be read from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A program of this host, with the variables that its environment gets in addition.
    Program { words: Vec<String>, environment: Vec<(&'static str, String)> },
    /// A command in a container that runs on this host.
    Container { socket: PathBuf, container: String, words: Vec<String> },
    /// What another program writes to our standard input.
    Standard,
}

/// Bytes that come, and what they come from.
#[derive(Debug)]
pub struct Input {
    /// The bytes, and an error in their place if they do not arrive whole.
    pub pieces: mpsc::Receiver<Result<Bytes>>,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Program { group: ProcessGroup, name: String },
    Container { exec: Exec, name: String },
    Standard,
}

impl Source {
    /// Starts what is to be read.
    pub async fn open(self) -> Result<Input> {
        match self {
            Self::Program { words, environment } => Input::of_program(&words, environment),
            Self::Container { socket, container, words } => Input::of_container(&socket, &container, &words).await,
            Self::Standard => Ok(Input::standard()),
        }
    }
}

impl Input {
    /// Starts a program, without a shell and without input. What it writes to standard error goes to ours.
    fn of_program(words: &[String], environment: Vec<(&'static str, String)>) -> Result<Self> {
        let (group, stdout) = ProcessGroup::reading(words, environment)?;
        let name = words.first().cloned().unwrap_or_default();
        Ok(Self { pieces: read_apart(stdout), origin: Origin::Program { group, name } })
    }

    /// Starts a command in a container that runs on this host, without a shell and without input.
    async fn of_container(socket: &Path, container: &str, words: &[String]) -> Result<Self> {
        let name = words.first().context("the command is empty")?.clone();
        let (exec, pieces) = Exec::start(socket, container, words).await?;
        Ok(Self { pieces, origin: Origin::Container { exec, name } })
    }

    /// Reads what another program writes to our standard input. Its exit status is not known.
    fn standard() -> Self {
        Self { pieces: read_apart(io::stdin()), origin: Origin::Standard }
    }

    /// Returns the exit status once the bytes have ended; `None` if there is no command to have one. A command that failed
    /// is an error: what it wrote may be half of what there is.
    pub async fn ended(self) -> Result<Option<i32>> {
        match self.origin {
            Origin::Standard => Ok(None),
            Origin::Program { mut group, name } => {
                let ended = tokio::task::spawn_blocking(move || group.wait());
                let status = ended.await?.context("the command could not be waited for")?;
                require_success(&name, status)?;
                Ok(status.code())
            }
            Origin::Container { exec, name } => match exec.ended().await? {
                (0, _) => Ok(Some(0)),
                (code, said) if said.is_empty() => {
                    bail!("the command `{}` ended with {code}, and says nothing", shown(&name))
                }
                (code, said) => bail!("the command `{}` ended with {code}: {}", shown(&name), shown(&said)),
            },
        }
    }

    /// Ends the command, so that nothing of a run that failed goes on.
    pub async fn abandon(self) {
        drop(self.pieces);
        match self.origin {
            Origin::Program { mut group, .. } => group.kill(),
            Origin::Container { exec, name } => {
                if let Err(error) = exec.made().kill().await {
                    tracing::warn!("the command `{}` in the container may go on: {error:#}", shown(&name));
                }
            }
            Origin::Standard => {}
        }
    }

    /// Returns what ends the command while [`Self::ended`] waits; `None` if it is not a program of this host.
    pub fn killer(&self) -> Option<Killer> {
        match &self.origin {
            Origin::Program { group, .. } => Some(group.killer()),
            Origin::Container { .. } | Origin::Standard => None,
        }
    }
}

/// Reads in a thread of its own, which does not keep this process from ending while it waits.
fn read_apart(mut input: impl Read + Send + 'static) -> mpsc::Receiver<Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(WAITING);
    thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let piece = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(&buffer[..read])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(anyhow::Error::from(error).context("failed to read what the command writes")),
            };
            let is_over = piece.is_err();
            if sender.blocking_send(piece).is_err() || is_over {
                return;
            }
        }
    });
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Vec<String> {
        ["sh", "-c", text].map(str::to_owned).to_vec()
    }

    async fn all(input: &mut Input) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = input.pieces.recv().await {
            all.extend_from_slice(&piece.expect("arrives"));
        }
        all
    }

    #[tokio::test]
    async fn a_program_is_read_to_its_end_and_its_status_is_seen() {
        let mut input = Input::of_program(&script("head -c 3000000 /dev/zero"), Vec::new()).expect("starts");
        assert_eq!(all(&mut input).await.len(), 3_000_000);
        assert_eq!(input.ended().await.expect("succeeds"), Some(0));
        for (bad, said) in [("echo half; exit 7", "status: 7"), ("echo half; kill -9 $$", "signal: 9")] {
            let mut input = Input::of_program(&script(bad), Vec::new()).expect("starts");
            assert_eq!(all(&mut input).await, b"half\n");
            let error = input.ended().await.expect_err("fails");
            assert!(error.to_string().contains(said), "{error:#}");
        }
        let error = Input::of_program(&["/no/such/program".to_owned()], Vec::new()).expect_err("is not there");
        assert!(error.to_string().contains("`/no/such/program` cannot be run"), "{error:#}");
    }

    #[tokio::test]
    async fn a_run_that_fails_ends_the_program_and_its_children() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let pids = dir.path().join("pids");
        let text = format!("sleep 1000 & echo $! > {0}; echo $$ >> {0}; yes", pids.display());
        let mut input = Input::of_program(&script(&text), Vec::new()).expect("starts");
        input.pieces.recv().await.expect("writes").expect("is read");
        input.abandon().await;
        for pid in std::fs::read_to_string(&pids).expect("were written").lines() {
            // A child dies on its own, and whoever adopted it reaps it.
            let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
            loop {
                let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                if status.is_empty() || status.contains(") Z ") {
                    break;
                }
                assert!(std::time::Instant::now() < until, "{pid} goes on: {status}");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}
