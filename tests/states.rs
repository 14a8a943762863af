//! States that an engine of its own writes, without a host around it.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_trees::Engine;

/// A state directory. It is removed when dropped.
#[derive(Debug)]
pub struct MadeState {
    directory: tempfile::TempDir,
}

impl MadeState {
    /// Makes the state of a swarm with these services, given as bodies of the request that creates them. Services without
    /// replicas give the engine nothing else to do.
    pub fn with_services(engine: Engine, bodies: &[Value]) -> Result<Self> {
        let mut file = tempfile::NamedTempFile::new()?;
        bodies.iter().try_for_each(|body| writeln!(file, "{body}"))?;
        let directory = tempfile::tempdir_in("/var/tmp")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/swarm/make");
        let mut command = Command::new(script);
        command.arg(engine.tree()?).arg(directory.path()).arg("random").env("BODIES", file.path());
        let done = command.status().context("the state cannot be made")?;
        ensure!(done.success(), "the state cannot be made");
        Ok(Self { directory })
    }

    /// Directory for what a test makes of it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("random/state")
    }
}
