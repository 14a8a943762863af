//! One run per host: a lock that ends with the process, however it ends.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::{exit::Exit, fault::Fault};

/// Held from here to the end of the run.
#[derive(Debug)]
pub struct HostLock {
    _file: Flock<File>,
}

impl HostLock {
    /// On the runtime filesystem: a lock means nothing after a reboot, and a refused run leaves no trace.
    pub fn default_path() -> PathBuf {
        "/run/swarmdr/agent.lock".into()
    }

    /// Of second engines: one at a time, beside whatever else the agent does.
    pub fn second_engine_path() -> PathBuf {
        "/run/swarmdr/second-engine.lock".into()
    }

    /// Does not wait: a second run says who holds the lock and exits 3.
    pub fn acquire(path: &Path) -> Result<Self> {
        let attempt = || -> Result<Flock<File>> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => Ok(locked),
                Err((held, nix::errno::Errno::EWOULDBLOCK)) => {
                    file = held;
                    let mut holder = String::new();
                    file.read_to_string(&mut holder)?;
                    Err(Fault::new(
                        Exit::NotOurTurn,
                        format!("another run of the agent is at work on this host (process {})", holder.trim()),
                    )
                    .into())
                }
                Err((_, errno)) => Err(std::io::Error::from(errno).into()),
            }
        };
        let mut file = attempt().with_context(|| format!("failed to take the lock {}", path.display()))?;
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Rendered;

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("sub/lock");
        let held = HostLock::acquire(&path).expect("is free");
        let error = HostLock::acquire(&path).expect_err("is held");
        let rendered = Rendered::of(&error);
        assert_eq!(rendered.exit, Exit::NotOurTurn);
        assert!(rendered.to_string().contains(&std::process::id().to_string()));
        drop(held);
        HostLock::acquire(&path).expect("is free again");
    }
}
