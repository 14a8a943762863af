//! What second engines leave on the disk and in systemd when they do not end well.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::PREFIX;
use crate::{
    config::Config,
    host::{files::key_file, systemd::Systemd},
};

/// The directory of second engines' states.
pub fn home(config: &Config) -> PathBuf {
    config.state_dir.join("second")
}

/// The mark of a plaintext key in the state of a second engine, by which any later run finds and overwrites it, since
/// the unit removes its own directory.
pub fn mark(config: &Config) -> PathBuf {
    config.state_dir.join("second.open-key")
}

/// Stops and removes what earlier second engines left; the caller holds the lock, so none is in use.
pub async fn sweep(systemd: &Systemd, config: &Config) -> Result<()> {
    let left = systemd.names_like(&format!("{PREFIX}*.service")).await?;
    let names: Vec<&str> = left.iter().map(String::as_str).collect();
    systemd.stop_if_there(&names).await.context("failed to end a second engine that an earlier run left")?;
    remove(&home(config))?;
    key_file::sweep(&mark(config))?;
    Ok(())
}

pub fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
