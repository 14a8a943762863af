//! A command in a container that runs, and what it writes.
//!
//! The engine sends standard output and standard error in frames of one connection: a byte that tells which, three zeros,
//! the length as four bytes, most significant first, then that many bytes (moby `api/types/container`, `stdcopy`).

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{Method, body::Incoming};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getpgid},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use super::raw_call::{self, call, get};
use crate::host::{tail::Tail, wait};

/// Length of what precedes each frame.
const FRAME_HEADER: usize = 8;

/// Bytes of standard error that are kept for a message: the last ones.
const SAID: usize = 4096;

/// Number of pieces of output that wait for whoever reads them.
const WAITING: usize = 16;

/// Time from the end of the output until the engine knows that the command has ended.
const SETTLES: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// A command in a container, as the engine knows it.
#[derive(Debug, Clone)]
pub struct Made {
    socket: PathBuf,
    /// Id of the container.
    container: String,
    id: String,
}

/// A command that runs in a container.
#[derive(Debug)]
pub struct Exec {
    made: Made,
    /// The last of its standard error.
    said: JoinHandle<Vec<u8>>,
}

/// The two outputs of a command, taken apart.
#[derive(Debug)]
pub(super) struct Frames {
    unread: BytesMut,
    /// The stream of the frame that has begun, and how many bytes of it are to come.
    current: Option<(u8, usize)>,
    /// The last of standard error.
    said: Tail,
}

impl Default for Frames {
    fn default() -> Self {
        Self { unread: BytesMut::new(), current: None, said: Tail::new(SAID) }
    }
}

impl Frames {
    /// Takes in what came, and returns what of it is standard output.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<Vec<Bytes>> {
        self.unread.extend_from_slice(data);
        let mut output = Vec::new();
        loop {
            let (stream, left) = match self.current {
                Some(current) => current,
                None if self.unread.len() < FRAME_HEADER => return Ok(output),
                None => self.header()?,
            };
            if left > 0 && self.unread.is_empty() {
                self.current = Some((stream, left));
                return Ok(output);
            }
            let piece = self.unread.split_to(left.min(self.unread.len())).freeze();
            self.current = (left > piece.len()).then(|| (stream, left - piece.len()));
            match stream {
                1 if !piece.is_empty() => output.push(piece),
                1 => {}
                _ => self.said.push(&piece),
            }
        }
    }

    fn header(&mut self) -> Result<(u8, usize)> {
        let stream = self.unread[0];
        ensure!(
            matches!(stream, 1 | 2) && self.unread[1..4] == [0; 3],
            "the engine sends what is no frame of an output"
        );
        self.unread.advance(4);
        Ok((stream, usize::try_from(self.unread.get_u32())?))
    }

    /// Fails if the connection ended within a frame.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        ensure!(self.current.is_none() && self.unread.is_empty(), "the engine's connection ended within the output");
        Ok(self.said.into_bytes())
    }
}

/// Passes standard output on as it comes. Returns the last of standard error.
async fn pass_on(body: &mut Incoming, sender: &mpsc::Sender<Result<Bytes>>) -> Result<Vec<u8>> {
    let mut frames = Frames::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the engine's connection broke within the output")?;
        for piece in frame.data_ref().map_or_else(|| Ok(Vec::new()), |data| frames.push(data))? {
            if sender.send(Ok(piece)).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }
    frames.finish()
}

impl Made {
    /// Makes a command that does not run yet.
    pub(super) async fn make(socket: &Path, container: &str, words: &[String], takes_input: bool) -> Result<Self> {
        let wanted = json!({ "AttachStdin": takes_input, "AttachStdout": true, "AttachStderr": true, "Cmd": words });
        let path = format!("/containers/{container}/exec");
        let body = Bytes::from(serde_json::to_vec(&wanted)?);
        let made = raw_call::in_time(call(socket, Method::POST, &path, body)).await;
        let made = made.context("the engine makes no command in the container")?;
        let made: Value = serde_json::from_slice(&made).context("the engine's answer is no JSON")?;
        let id = made["Id"].as_str().context("the engine gives the command no id")?.to_owned();
        Ok(Self { socket: socket.to_owned(), container: container.to_owned(), id })
    }

    pub(super) fn start_path(&self) -> String {
        format!("/exec/{}/start", self.id)
    }

    pub(super) fn start_body() -> Bytes {
        Bytes::from_static(br#"{"Detach":false,"Tty":false}"#)
    }

    /// Ends the command, if it still runs, with everything of its process group. The engine has no call for that, but it
    /// tells the number of the process on its host.
    pub async fn kill(&self) -> Result<()> {
        let seen = self.inspect().await?;
        if seen["Running"] != true {
            return Ok(());
        }
        let pid = seen["Pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
        let pid = pid.context("the engine does not tell the number of the command's process")?;
        end(Pid::from_raw(pid), &self.container).context("the command in the container could not be ended")
    }

    async fn inspect(&self) -> Result<Value> {
        get(&self.socket, &format!("/exec/{}/json", self.id)).await.context("failed to look at the command")
    }
}

impl Exec {
    /// `said` ends with the command's output, and returns the last of its standard error.
    pub(super) fn new(made: Made, said: JoinHandle<Vec<u8>>) -> Self {
        Self { made, said }
    }

    pub fn made(&self) -> &Made {
        &self.made
    }

    /// Starts a command in a container, without a shell and without input. Its output comes through the channel, with the
    /// error as the last item if it does not arrive whole. Returns once the engine has started it.
    ///
    /// An engine does not end a command whose output nobody reads any more: [`Made::kill`] does.
    pub async fn start(
        socket: &Path,
        container: &str,
        words: &[String],
    ) -> Result<(Self, mpsc::Receiver<Result<Bytes>>)> {
        let made = Made::make(socket, container, words, false).await?;
        let path = made.start_path();
        let start = raw_call::open_with(socket, Method::POST, &path, Made::start_body());
        let opened = raw_call::in_time(start).await;
        let (mut body, connection) = opened.context("the engine does not start the command in the container")?;
        let (sender, output) = mpsc::channel(WAITING);
        let said = tokio::spawn(async move {
            let said = pass_on(&mut body, &sender).await;
            connection.abort();
            match said {
                Ok(said) => said,
                Err(error) => {
                    // If nobody reads any more, nobody has to know.
                    let _ = sender.send(Err(error)).await;
                    Vec::new()
                }
            }
        });
        Ok((Self::new(made, said), output))
    }

    /// Returns the exit status and the last of what it wrote to standard error, once the output has ended. A command that
    /// closed its output and goes on is ended, and that is an error: nobody would see how it ends. Engine 26.1 keeps the
    /// output open for it, so there the time limit of the caller comes first.
    pub async fn ended(mut self) -> Result<(i32, String)> {
        let said = (&mut self.said).await.unwrap_or_default();
        let seen = wait::poll(SETTLES, POLL, async || match self.made.inspect().await {
            Ok(seen) if seen["Running"] == true => None,
            seen => Some(seen),
        });
        let Some(seen) = seen.await.transpose()? else {
            let closed = "the command closed its output and went on";
            return match self.made.kill().await {
                Ok(()) => Err(anyhow!("{closed}, so it was ended")),
                Err(error) => Err(error.context(format!("{closed}, and could not be ended"))),
            };
        };
        let code = seen["ExitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
        let code = code.context("the engine does not tell the exit status of the command")?;
        Ok((code, String::from_utf8_lossy(&said).trim().to_owned()))
    }
}

/// Kills a process of a container, and its group if it leads one, as each command does that an engine starts. Refuses to
/// if the process is not seen to be in the container: the engine may count the processes of another host, or the number
/// may belong to somebody else by now.
fn end(pid: Pid, container: &str) -> Result<()> {
    let groups = match fs::read_to_string(format!("/proc/{pid}/cgroup")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        groups => groups.with_context(|| format!("whose process {pid} is cannot be read"))?,
    };
    ensure!(groups.contains(container), "the process {pid} of this host is not in the container {container}");
    let killed = match getpgid(Some(pid)) {
        Ok(group) if group == pid => killpg(group, Signal::SIGKILL),
        _ => kill(pid, Signal::SIGKILL),
    };
    match killed {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("failed to kill the process {pid}: {errno}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).expect("is short").to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, data].concat()
    }

    #[test]
    fn outputs_are_taken_apart_wherever_the_pieces_end() {
        let sent =
            [frame(1, b"one"), frame(2, b"warned"), frame(1, b""), frame(1, b"two"), frame(2, b" twice")].concat();
        for size in 1..=sent.len() {
            let mut frames = Frames::default();
            let pieces = sent.chunks(size).flat_map(|chunk| frames.push(chunk).expect("are frames"));
            let output: Vec<u8> = pieces.flatten().collect();
            assert_eq!(output, b"onetwo", "{size}");
            assert_eq!(frames.finish().expect("is whole"), b"warned twice");
        }
    }

    #[test]
    fn an_output_that_was_cut_is_an_error() {
        let sent = frame(1, b"one");
        for cut in 1..sent.len() {
            let mut frames = Frames::default();
            frames.push(&sent[..cut]).expect("begins as a frame");
            frames.finish().expect_err("is cut");
        }
        Frames::default().push(b"HTTP/1.1 500").expect_err("is no frame");
        let mut frames = Frames::default();
        frames.push(&frame(2, &[b'x'; 3 * SAID])).expect("is a frame");
        assert_eq!(frames.finish().expect("is whole").len(), SAID);
    }

    #[test]
    fn only_a_process_of_the_container_is_ended_and_its_group_with_it() {
        use std::{
            io::{BufRead, BufReader},
            os::unix::process::CommandExt,
            process::{Command, Stdio},
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & echo $!; wait"]).stdout(Stdio::piped()).process_group(0);
        let mut shell = shell.spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("is a pipe")).read_line(&mut line).expect("writes");
        let child = line.trim();
        let pid = Pid::from_raw(i32::try_from(shell.id()).expect("is a number"));
        let error = end(pid, "0123456789abcdef").expect_err("is no process of such a container");
        assert!(error.to_string().contains("is not in the container"), "{error:#}");
        assert_eq!(shell.try_wait().expect("is ours"), None, "it still runs");
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("is readable");
        let own = groups.trim_end().lines().last().expect("has a group").to_owned();
        end(pid, &own).expect("is ended");
        shell.wait().expect("has ended");
        let is_gone = || match fs::read_to_string(format!("/proc/{child}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while !is_gone() {
            assert!(std::time::Instant::now() < until, "its child lives on");
            std::thread::sleep(POLL);
        }
        end(pid, &own).expect("one that is gone is no failure");
    }
}
