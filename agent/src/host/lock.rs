//! The lock that allows one run per host. It ends with the process, however the process ends.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
    sys::stat,
    unistd::Uid,
};

use crate::{
    host::{files::discard, wait},
    outcome::{
        exit::Exit,
        failure::{Failure, Rendered},
    },
};

/// The longest time that a run should take: a lock that is held for longer is held by a run that hangs.
const LONG: SignedDuration = SignedDuration::from_hours(2);
/// Pause between two attempts to take a lock that is waited for.
const POLL: Duration = Duration::from_millis(200);
/// Time from taking the lock until the file names the holder.
const WRITTEN_BY: Duration = Duration::from_millis(200);

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct HostLock {
    _file: Flock<File>,
}

impl HostLock {
    /// The path of the lock. It is on the runtime filesystem: a lock means nothing after a reboot, and a refused run
    /// leaves no trace.
    pub fn default_path() -> PathBuf {
        "/run/swarmdr/agent.lock".into()
    }

    /// The path of the lock of second engines: one at a time, alongside other runs of the agent.
    pub fn second_engine_path() -> PathBuf {
        "/run/swarmdr/second-engine.lock".into()
    }

    /// The path of the lock of what a standby keeps: one run keeps at a time, and no other run waits for it.
    pub fn standby_path() -> PathBuf {
        "/run/swarmdr/standby.lock".into()
    }

    /// Takes the lock without waiting. A second run names the holder and exits 3, or fails if the lock is held for
    /// long.
    pub fn acquire(path: &Path) -> Result<Self> {
        Self::acquire_as(path, Uid::effective(), Timestamp::now())
    }

    /// Takes the lock, and waits for it up to a limit. Then it fails, and names `what` is locked and the holder.
    pub async fn acquire_within(path: &Path, limit: Duration, what: &str) -> Result<Self> {
        let mut held = None;
        let taken = wait::poll(limit, POLL, async || match Self::acquire(path) {
            Err(error) if Rendered::of(&error).exit == Exit::NotOurTurn => {
                if held.is_none() {
                    tracing::info!("waiting up to {} s for {what}: {error:#}", limit.as_secs());
                }
                held = Some(error);
                None
            }
            done => Some(done),
        });
        match (taken.await, held) {
            (Some(taken), _) => taken,
            (None, held) => {
                let held = held.map_or_else(String::new, |held| format!("{held:#}"));
                let failure = Failure::failed(format!("{what} did not become free within {} s", limit.as_secs()))
                    .advice(
                        "see what that run does (`ps -fp`, `systemctl status`), end it if it hangs, and run this again",
                    );
                Err(failure.because(anyhow::anyhow!(held)).into())
            }
        }
    }

    /// Whether a run holds the lock, as the kernel lists it. Takes nothing, so no run is turned away meanwhile.
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = fs::metadata(path) else { return false };
        let id = format!("{:02x}:{:02x}:{}", stat::major(file.dev()), stat::minor(file.dev()), file.ino());
        let is_it = |line: &str| {
            let mut words = line.split_whitespace();
            words.any(|word| word == "FLOCK") && words.any(|word| word == id)
        };
        fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.lines().any(is_it))
    }

    fn acquire_as(path: &Path, user: Uid, now: Timestamp) -> Result<Self> {
        let attempt = || -> Result<Self> {
            if let Some(parent) = path.parent() {
                close_directory(parent, user)?;
            }
            match Flock::lock(open(path, user)?, FlockArg::LockExclusiveNonblock) {
                Ok(mut file) => {
                    file.set_len(0)?;
                    file.rewind()?;
                    write!(file, "{} {now:.0}", process::id())?;
                    Ok(Self { _file: file })
                }
                Err((mut held, Errno::EWOULDBLOCK)) => Err(Holder::settled(&mut held, now)?.refusal(now).into()),
                Err((_, errno)) => Err(io::Error::from(errno).into()),
            }
        };
        attempt().with_context(|| format!("failed to take the lock {}", path.display()))
    }
}

/// Makes the directory, or closes one that others can enter: a process that can open the file can hold the lock.
fn close_directory(path: &Path, user: Uid) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let directory =
        discard::open_directory(path).with_context(|| format!("failed to open the directory {}", path.display()))?;
    set_mode(&directory, path, user, 0o700)
}

/// Opens the file. Does not follow a link, and refuses a file that another user has put there.
fn open(path: &Path, user: Uid) -> Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags.bits());
    let file = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => return Err(planted(path, "a link").into()),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(planted(path, "not a file").into());
    }
    set_mode(&file, path, user, 0o600)?;
    Ok(file)
}

fn set_mode(file: &File, path: &Path, user: Uid, mode: u32) -> Result<()> {
    let metadata = file.metadata()?;
    if metadata.uid() != user.as_raw() && metadata.uid() != 0 {
        return Err(planted(path, &format!("of user {}", metadata.uid())).into());
    }
    if metadata.mode() & 0o7777 != mode {
        file.set_permissions(Permissions::from_mode(mode))
            .with_context(|| format!("failed to close {} to others", path.display()))?;
    }
    Ok(())
}

fn planted(path: &Path, what: &str) -> Failure {
    Failure::failed(format!("{} is {what}, so others decide who may run", path.display()))
        .advice(format!("find out who made {}, and remove it: the next run makes it again", path.display()))
}

/// The run that holds the lock, as far as the file names it.
struct Holder {
    process: Option<u32>,
    since: Timestamp,
}

impl Holder {
    /// Reads the holder, and reads it again if it seems late: right after the lock was taken, the file still names the
    /// run before.
    fn settled(file: &mut File, now: Timestamp) -> Result<Self> {
        let holder = Self::read(file)?;
        if !holder.is_late(now) {
            return Ok(holder);
        }
        thread::sleep(WRITTEN_BY);
        Self::read(file)
    }

    /// Reads the file. Earlier versions wrote the process only; then the file's own time counts.
    fn read(file: &mut File) -> Result<Self> {
        let mut text = String::new();
        file.rewind()?;
        file.take(256).read_to_string(&mut text)?;
        let mut words = text.split_whitespace();
        let process = words.next().and_then(|word| word.parse().ok());
        let since = match words.next().and_then(|word| word.parse().ok()) {
            Some(since) => since,
            None => Timestamp::try_from(file.metadata()?.modified()?)?,
        };
        Ok(Self { process, since })
    }

    fn is_late(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) > LONG
    }

    fn refusal(&self, now: Timestamp) -> Failure {
        let process = self.process.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        let what = format!("another run of the agent is active on this host (process {process})");
        if !self.is_late(now) {
            return Failure::new(Exit::NotOurTurn, what);
        }
        Failure::failed(format!("{what} since {:.0}, for longer than a run should take", self.since)).advice(format!(
            "see what it does with `ps -fp {process}` and `systemctl status {process}`, and end it if it hangs; if there \
             is no such process, `fuser -v` on the lock file names the one that holds it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").mode() & 0o7777
    }

    #[test]
    fn a_second_run_names_the_holder_of_the_lock() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("sub/lock");
        let held = HostLock::acquire(&path).expect("is free");
        let error = HostLock::acquire(&path).expect_err("is held");
        let rendered = Rendered::of(&error);
        assert_eq!(rendered.exit, Exit::NotOurTurn);
        assert!(rendered.to_string().contains(&process::id().to_string()));
        assert!(HostLock::is_held(&path) && !HostLock::is_held(&dir.path().join("sub")));
        drop(held);
        assert!(!HostLock::is_held(&path));
        HostLock::acquire(&path).expect("is free again");
    }

    #[tokio::test]
    async fn a_lock_is_waited_for_and_then_its_holder_is_named() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("lock");
        let held = HostLock::acquire(&path).expect("is free");
        let error = HostLock::acquire_within(&path, Duration::ZERO, "the second engine").await.expect_err("is held");
        let rendered = Rendered::of(&error);
        assert_eq!(rendered.exit, Exit::Failed, "it is no other site's claim");
        let text = rendered.to_string();
        assert!(text.contains("the second engine") && text.contains(&process::id().to_string()), "{text}");
        let waiting = HostLock::acquire_within(&path, Duration::from_secs(60), "the second engine");
        let release = async {
            tokio::time::sleep(POLL).await;
            drop(held);
        };
        let (taken, ()) = futures_util::join!(waiting, release);
        taken.expect("is free by then");
    }

    #[test]
    fn what_others_can_open_is_closed() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("sub/lock");
        drop(HostLock::acquire(&path).expect("is free"));
        assert_eq!([mode(path.parent().expect("has one")), mode(&path)], [0o700, 0o600]);
        fs::set_permissions(path.parent().expect("has one"), Permissions::from_mode(0o755)).expect("opens");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("opens");
        drop(HostLock::acquire(&path).expect("is free"));
        assert_eq!([mode(path.parent().expect("has one")), mode(&path)], [0o700, 0o600]);
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (path, victim) = (dir.path().join("sub/lock"), dir.path().join("victim"));
        fs::write(&victim, "precious").expect("writes");
        fs::create_dir(dir.path().join("sub")).expect("makes");
        symlink(&victim, &path).expect("links");
        let rendered = Rendered::of(&HostLock::acquire(&path).expect_err("is a link"));
        assert_eq!(rendered.exit, Exit::Failed);
        assert!(rendered.to_string().contains("is a link") && !rendered.advice.is_empty(), "{rendered}");
        assert_eq!(fs::read_to_string(&victim).expect("is kept"), "precious");
        symlink(dir.path().join("sub"), dir.path().join("other")).expect("links");
        HostLock::acquire(&dir.path().join("other/new")).expect_err("is in a linked directory");
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("sub/lock");
        let (metadata, sub) = (fs::metadata(dir.path()).expect("is there"), dir.path().join("sub"));
        fs::create_dir(&sub).expect("makes");
        // A directory of root is fine for any user.
        if metadata.uid() == 0 {
            chown(&sub, Some(12345), None).expect("gives away");
        }
        fs::set_permissions(&sub, Permissions::from_mode(0o755)).expect("opens");
        let error = HostLock::acquire_as(&path, Uid::from_raw(54321), Timestamp::now()).expect_err("is another's");
        let rendered = Rendered::of(&error);
        assert!(rendered.to_string().contains(&format!("{} is of user", sub.display())), "{rendered}");
        assert_eq!(mode(&sub), 0o755, "it is not touched");
    }

    #[test]
    fn a_lock_that_is_held_for_long_is_a_failure() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (path, now) = (dir.path().join("sub/lock"), Timestamp::now());
        let _held = HostLock::acquire_as(&path, Uid::effective(), now).expect("is free");
        let id = process::id();
        let cases = [
            (now + LONG, format!("{id} {now}"), Exit::NotOurTurn),
            (now + LONG + SignedDuration::from_mins(1), format!("{id} {now}"), Exit::Failed),
            (now, id.to_string(), Exit::NotOurTurn),
            (now + LONG + SignedDuration::from_mins(1), id.to_string(), Exit::Failed),
        ];
        for (at, content, exit) in cases {
            fs::write(&path, content).expect("writes");
            let error = HostLock::acquire_as(&path, Uid::effective(), at).expect_err("is held");
            let rendered = Rendered::of(&error);
            assert_eq!(rendered.exit, exit, "{rendered}");
            let advice = rendered.advice.join(" ");
            assert_eq!(advice.contains(&format!("systemctl status {id}")), exit == Exit::Failed, "{rendered}");
        }
    }
}
