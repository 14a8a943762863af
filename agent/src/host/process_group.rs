//! A program in a process group of its own, which ends with all of its children.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use swarmdr_archive::untrusted::shown;

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

    /// Starts a program, without a shell and without input, whose output is read. What it writes to standard error goes to
    /// ours. `environment`: variables that it gets in addition.
    pub fn reading(words: &[String], environment: Vec<(&'static str, String)>) -> Result<(Self, ChildStdout)> {
        let (program, arguments) = words.split_first().context("the command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut group =
            Self::spawn(&mut command).with_context(|| format!("the command `{}` cannot be run", shown(program)))?;
        let stdout = group.child.stdout.take().context("the command has no standard output")?;
        Ok((group, stdout))
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

/// Fails if the program of this name failed.
pub fn require_success(program: &str, status: ExitStatus) -> Result<()> {
    match status.success() {
        true => Ok(()),
        false => bail!("the command `{}` ended with {status}", shown(program)),
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
