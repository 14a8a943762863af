//! Groups of processes that end together, at one write.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{read, wait_for};

/// Far above the 0.1 s that ending a whole host takes.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Where cgroup v2 is mounted on this machine.
pub fn hierarchy() -> Result<PathBuf> {
    let mounts = read(Path::new("/proc/self/mounts"))?;
    parse_hierarchy(&mounts).context(
        "no cgroup v2 hierarchy is mounted, and hosts need one: \
         mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
    )
}

fn parse_hierarchy(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| at.into())
    })
}

/// A cgroup v2 directory that this process made.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    pub fn create(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("failed to create the cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first process that systemd has put into the group of its own PID 1, as seen from outside.
    pub fn init(&self) -> Result<Option<u32>> {
        match fs::read_to_string(self.init_scope().join("cgroup.procs")) {
            Ok(pids) => Ok(pids.lines().next().map(str::parse).transpose()?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("failed to look for a host's PID 1"),
        }
    }

    /// Where nspawn puts what it boots, and systemd itself.
    pub fn init_scope(&self) -> PathBuf {
        self.path.join("payload/init.scope")
    }

    /// Kills every process in the group and below it at once, and removes the group.
    pub fn end(self) -> Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
            .with_context(|| format!("failed to kill the cgroup {}", self.path.display()))?;
        wait_for("the killed processes to be gone", END_LIMIT, || {
            let events = read(&self.path.join("cgroup.events"))?;
            Ok(events.contains("populated 0").then_some(()))
        })?;
        remove(&self.path).with_context(|| format!("failed to remove the cgroup {}", self.path.display()))
    }
}

/// Children first: the kernel removes only leaves, and only their directories.
fn remove(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_v2_is_found_beside_v1_and_alone() {
        let mixed = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                     cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = parse_hierarchy(mixed);
        assert_eq!(found, Some("/sys/fs/cgroup/unified".into()));
        let alone = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert_eq!(parse_hierarchy(alone), Some("/sys/fs/cgroup".into()));
        assert_eq!(parse_hierarchy("proc /proc proc rw 0 0\n"), None);
    }
}
