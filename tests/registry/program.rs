//! The registry's program, out of its Debian package.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::tree::{cache, capture};

const PACKAGE: &str = "docker-registry";

/// Returns the path of `docker-registry`, and unpacks it into the cache first if it is missing.
///
/// The package is not installed: that would make a user, and start a registry on port 5000 of every address.
pub fn docker_registry() -> Result<PathBuf> {
    let cache = cache();
    fs::create_dir_all(&cache).with_context(|| format!("failed to create {}", cache.display()))?;
    let lock = cache.join(format!("{PACKAGE}.lock"));
    // Held until the end of this function: one process unpacks, the others wait.
    let _lock = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("failed to lock {}", lock.display()))?;
    let unpacked = cache.join(PACKAGE);
    if !unpacked.exists() {
        unpack(&cache, &unpacked)?;
    }
    Ok(unpacked.join("usr/bin/docker-registry"))
}

fn unpack(cache: &Path, target: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(cache).context("failed to make a directory in the cache")?;
    let (package, content) = (work.path().join("package"), work.path().join("content"));
    fs::create_dir(&package)?;
    let fetched = capture(Command::new("apt-get").args(["download", "--quiet", PACKAGE]).current_dir(&package));
    fetched.context("the lists of apt may be missing: apt-get update")?;
    let package = fs::read_dir(&package)?.next().context("apt-get has fetched no package")??.path();
    capture(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&content))?;
    fs::rename(&content, target).with_context(|| format!("failed to put {} in place", target.display()))
}
