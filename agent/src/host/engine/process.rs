//! The process that answers on the engine's socket, and whether it has ended since.
//!
//! The peer of the connection does not help: on a socket that systemd listens on it is systemd (`SO_PEERCRED` is the
//! process that called `listen`). So the client asks the kernel for the process that *sends* each part of the reply
//! (`SO_PASSCRED`, unix(7)): that is the engine, with socket activation and without, and asking needs no privilege.

use std::{
    fs,
    io::{self, IoSliceMut, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, connect,
            recvmsg, setsockopt, socket, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};

/// Time limit of the call, long enough for an engine that is busy starting containers.
const LIMIT: Duration = Duration::from_secs(30);

/// The cheapest call of the engine (moby `api/server/router/system`).
const PING: &[u8] = b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n";

/// The fields after the program's name in `/proc/PID/stat` for a process's state and its start.
const STATE: usize = 0;
const STARTED: usize = 19;

/// Clock ticks of a second in `/proc/PID/stat`: `USER_HZ`, which is 100 on every architecture that engines run on
/// (proc(5)).
const TICKS: u64 = 100;

/// A process, identified so that a later one with the same number is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineProcess {
    pub pid: u32,
    /// Clock ticks since the boot.
    started: u64,
}

impl EngineProcess {
    /// Finds the process by a call on the socket. A call on a socket that is activated starts the engine behind it.
    pub async fn answering(socket: &Path) -> Result<Self> {
        let path = socket.to_owned();
        let asked =
            tokio::task::spawn_blocking(move || ask(&path, LIMIT)).await.context("the question ended unexpectedly")?;
        let pid = asked.with_context(|| format!("failed to find out who answers on {}", socket.display()))?;
        Self::of(pid)
    }

    /// The process that has this number now.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = read_stat(pid)?.with_context(|| format!("there is no process {pid}"))?;
        Ok(Self { pid, started: stat.started })
    }

    /// Time since the process was started.
    pub fn age(&self) -> Result<Duration> {
        let uptime = fs::read_to_string("/proc/uptime").context("failed to read /proc/uptime")?;
        let seconds = uptime.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
        let now = Duration::try_from_secs_f64(seconds.context("/proc/uptime holds no number")?)?;
        Ok(now.saturating_sub(Duration::from_millis(self.started.saturating_mul(1000 / TICKS))))
    }

    pub fn has_ended(&self) -> Result<bool> {
        Ok(read_stat(self.pid)?.is_none_or(|stat| stat.is_dead || stat.started != self.started))
    }
}

/// Connects within `limit`. Connecting waits too, if the queue of the socket is full: the limit for writing counts for
/// that as well, if it is set before (socket(7), `SO_SNDTIMEO`).
fn dial(path: &Path, limit: Duration) -> Result<UnixStream> {
    let end: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let limit = TimeVal::milliseconds(i64::try_from(limit.as_millis())?);
    setsockopt(&end, sockopt::SendTimeout, &limit)?;
    setsockopt(&end, sockopt::ReceiveTimeout, &limit)?;
    connect(end.as_raw_fd(), &UnixAddr::new(path)?).map_err(|errno| match errno {
        Errno::EAGAIN => anyhow!("nothing accepts the connection"),
        errno => errno.into(),
    })?;
    Ok(end.into())
}

fn ask(socket: &Path, limit: Duration) -> Result<u32> {
    let mut stream = dial(socket, limit)?;
    setsockopt(&stream, sockopt::PassCred, &true)?;
    stream.write_all(PING)?;
    let mut answer = [0; 16];
    let mut parts = [IoSliceMut::new(&mut answer)];
    let mut space = cmsg_space!(UnixCredentials);
    let got = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
    let sender = got.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(sender) => u32::try_from(sender.pid()).ok(),
        _ => None,
    });
    match sender {
        _ if got.bytes == 0 => bail!("it closed the connection without an answer"),
        // 0 is a process of another PID namespace, which has no number here.
        None | Some(0) => bail!("the kernel does not name the process that answers"),
        Some(pid) => Ok(pid),
    }
}

struct Stat {
    started: u64,
    /// Whether it has ended, and its parent has not collected its status.
    is_dead: bool,
}

/// Reads `/proc/PID/stat`; `None` if there is no such process.
fn read_stat(pid: u32) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(parse_stat(&text).with_context(|| format!("{path} says `{}`", text.trim_end()))?)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read {path}")),
    }
}

/// True for a process that does not exist; ESRCH means that it ended while its file was open.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Parses the file. The program's name is in parentheses, and may itself contain spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat { started: words.get(STARTED)?.parse().ok()?, is_dead: matches!(*words.get(STATE)?, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        os::unix::net::UnixListener,
        process::{self, Command},
        thread,
        time::Instant,
    };

    use nix::sys::socket::{Backlog, bind, listen};

    use super::*;

    #[tokio::test]
    async fn the_process_that_writes_the_reply_is_found_even_if_another_one_listens() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("socket");
        // This process listens, as systemd does for the engine; another one answers.
        let listener = UnixListener::bind(&path).expect("binds");
        let serve = thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("accepts");
            let mut request = [0; 16];
            client.read_exact(&mut request).expect("reads");
            let mut child = Command::new("sh")
                .args(["-c", "echo HTTP/1.0 200 OK; exec sleep 100"])
                .stdout(OwnedFd::from(client))
                .spawn()
                .expect("starts");
            let pid = child.id();
            (pid, move || {
                child.kill().expect("is there");
                child.wait().expect("ends")
            })
        });
        let found = EngineProcess::answering(&path).await.expect("is answered");
        let (pid, mut end) = serve.join().expect("serves");
        assert_eq!(found.pid, pid);
        assert!(!found.has_ended().expect("looks"));
        end();
        assert!(found.has_ended().expect("looks"));
    }

    #[tokio::test]
    async fn a_missing_socket_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let error = EngineProcess::answering(&dir.path().join("none")).await.expect_err("nothing answers");
        assert!(error.to_string().contains("none"), "{error}");
    }

    #[test]
    fn a_socket_that_no_process_serves_is_an_error_in_time() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("socket");
        let end = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).expect("makes");
        bind(end.as_raw_fd(), &UnixAddr::new(&path).expect("a name")).expect("binds");
        listen(&end, Backlog::new(1).expect("is small")).expect("listens");
        let limit = Duration::from_millis(50);
        // The first ones wait to be taken; then there is no room to wait.
        let waiting: Vec<_> = (0..2).map(|_| dial(&path, limit).expect("waits in line")).collect();
        let begun = Instant::now();
        let error = ask(&path, limit).expect_err("there is no room");
        assert!(error.to_string().contains("nothing accepts"), "{error:#}");
        assert!(begun.elapsed() < Duration::from_secs(10) && waiting.len() == 2);
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let own = EngineProcess::of(process::id()).expect("is there");
        assert!(!own.has_ended().expect("looks"));
        assert!(EngineProcess { started: own.started + 1, ..own }.has_ended().expect("looks"));
        assert!(EngineProcess::of(u32::MAX).is_err());
    }

    #[test]
    fn a_name_with_parentheses_is_skipped() {
        let text = "17 (a) S (b) Z 1 17 17 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let stat = parse_stat(text).expect("parses");
        assert!(stat.is_dead && stat.started == 4242);
        assert!(parse_stat("17 (a) S 1").is_none() && parse_stat("").is_none());
    }
}
