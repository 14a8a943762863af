//! Small real state directories, made by `tests/fixtures/swarm/make-all`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarm_state::{self, Error, Examined, UnlockKey};
use tempfile::TempDir;

pub const ENGINES: [&str; 3] = ["20.10.24", "26.1.5", "28.5.2"];
/// Value that `scenario.sh` puts into every secret, config and environment.
pub const PLANTED: &str = "planted-never-to-be-shown";

/// A state directory, and the Engine API's answers about it.
#[derive(Debug)]
pub struct Fixture {
    dir: PathBuf,
    /// Keeps the directory of an unpacked fixture.
    _unpacked: Option<TempDir>,
    pub unlock_key: Option<UnlockKey>,
}

impl Fixture {
    pub fn unpack(engine: &str, kind: &str) -> Result<Self> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/swarm");
        let archive = fixtures.join(engine).join(format!("{kind}.tar.zst"));
        let dir = tempfile::tempdir()?;
        let unpacked = Command::new("tar").arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(dir.path()).status()?;
        ensure!(unpacked.success(), "tar cannot unpack {}", archive.display());
        let fixture = Self::at(dir.path().to_owned())?;
        Ok(Self { _unpacked: Some(dir), ..fixture })
    }

    /// Uses a directory that `make` filled.
    pub fn at(dir: PathBuf) -> Result<Self> {
        let key = dir.join("unlock-key");
        let unlock_key = if key.exists() { Some(fs::read_to_string(key)?.parse()?) } else { None };
        Ok(Self { dir, _unpacked: None, unlock_key })
    }

    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub fn api(&self) -> Result<Value> {
        let path = self.dir.join("api.json");
        serde_json::from_reader(File::open(&path)?).with_context(|| format!("{}", path.display()))
    }

    pub fn examine(&self) -> Result<Examined, Error> {
        swarm_state::examine(&self.state(), self.unlock_key.as_ref())
    }

    /// Returns the paths of the files below a directory of the state, sorted, relative to the state.
    pub fn files(&self, below: &str) -> Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.state().join(below))? {
            files.push(format!("{below}/{}", entry?.file_name().to_string_lossy()));
        }
        files.sort();
        Ok(files)
    }
}
