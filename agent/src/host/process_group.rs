//! A program in a process group of its own, which ends with all of its children.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

/// A running program. Dropping it kills the whole group, so that no pipeline of a shell outlives a run that failed.
#[derive(Debug)]
pub struct ProcessGroup {
    child: Child,
    killer: Killer,
}

/// Kills a group, also from another thread while its owner waits for it. Does nothing once it has ended: its number may
/// belong to somebody else then.
#[derive(Debug, Clone)]
pub struct Killer(Arc<Mutex<Option<Pid>>>);

impl ProcessGroup {
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let group = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
        Ok(Self { child, killer: Killer(Arc::new(Mutex::new(Some(group)))) })
    }

    /// The pipes of the program.
    pub fn pipes(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Waits for the program itself. Children that it left behind are killed.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let group = *self.killer.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = group {
            // The number stays the group's own until the program is reaped.
            waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
            self.killer.kill();
            *self.killer.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.child.wait()
    }

    /// Kills the program and all of its children, and waits for it.
    pub fn kill(&mut self) {
        self.killer.kill();
        // It has no way to go on.
        let _ = self.wait();
    }
}

impl Killer {
    pub fn kill(&self) {
        if let Some(group) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // It may have ended by itself.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
