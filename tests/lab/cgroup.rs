//! Groups of processes that are killed together, by one write.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use super::{read, wait_for};

/// Limit for killing a whole host, far above the 0.1 s that it takes.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Returns the mount point of cgroup v2 on this machine.
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

/// A cgroup v2 directory that this process created.
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

    /// Returns the first process in the group into which systemd moves its own PID 1, numbered as outside the host;
    /// `None` before there is one.
    pub fn init(&self) -> Result<Option<u32>> {
        match fs::read_to_string(self.init_scope().join("cgroup.procs")) {
            Ok(pids) => Ok(pids.lines().next().map(str::parse).transpose()?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("failed to look for a host's PID 1"),
        }
    }

    /// The cgroup of the host's PID 1: nspawn boots it in `payload`, and systemd moves itself into `init.scope`.
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

/// Removes a group, its children first: the kernel removes only leaves. The files in a group go with its directory.
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
