//! Removal of a lab, whatever ends it: drop, panic, SIGKILL of the test process.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use crate::tree::capture;

const SCRIPT: &str = include_str!("reap.sh");

/// A lab's directory and the lock in it, whose release ends the lab.
#[derive(Debug)]
pub struct Reaper {
    dir: PathBuf,
    cgroups: PathBuf,
    lock: Option<File>,
    watcher: Child,
}

impl Reaper {
    /// Removes labs without an owner, then makes a directory for a new one and starts the process that watches its
    /// lock.
    pub fn start(labs: &Path, cgroups: &Path) -> Result<Self> {
        fs::create_dir_all(labs).with_context(|| format!("failed to create {}", labs.display()))?;
        // Between making a directory and locking it, the new lab looks like an abandoned one.
        let gate = lock(&labs.join("lock"))?;
        for entry in fs::read_dir(labs)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                capture(&mut script("try", &entry.path(), cgroups))?;
            }
        }
        let dir = tempfile::Builder::new()
            .prefix(&format!("lab-{}-", std::process::id()))
            .tempdir_in(labs)
            .context("failed to create a lab's directory")?
            .keep();
        let lock = lock(&dir.join("lock"))?;
        drop(gate);
        let watcher = script("wait", &dir, cgroups)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("failed to start the lab's reaper")?;
        Ok(Self { dir, cgroups: cgroups.to_owned(), lock: Some(lock), watcher })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn pid(&self) -> u32 {
        self.watcher.id()
    }

    /// Path that the lab's cgroup must have for the reaper to find it.
    pub fn cgroup(&self) -> PathBuf {
        let name = self.dir.file_name().expect("a directory below the labs");
        self.cgroups.join(format!("swarmdr-{}", name.to_string_lossy()))
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.lock.take());
        match self.watcher.wait() {
            Ok(status) if status.success() => {}
            other => eprintln!("the reaper of {} failed: {other:?}", self.dir.display()),
        }
    }
}

fn lock(path: &Path) -> Result<File> {
    File::create(path)
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("failed to lock {}", path.display()))
}

fn script(mode: &str, dir: &Path, cgroups: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-uc", SCRIPT, "reap"]).arg(mode).arg(dir).arg(cgroups);
    command
}
