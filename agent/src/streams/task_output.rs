//! A command in the container of a task, to which a stream is handed.

use std::{io, path::PathBuf};

use anyhow::{Context, Result, bail};
use swarmdr_archive::untrusted::shown;
use tokio::runtime::Handle;

use super::{
    output::{KILLED, NOT_STARTED},
    stopper::{Stopper, Target},
};
use crate::host::engine::exec_input::FedExec;

/// What becomes of a command that the engine does not let be killed: it sees an end once this process ends.
const NOT_KILLED: &str = "the command in the container could not be killed, and takes what it got for all there is: end it, and undo what it did";

/// A command in the container of a task of this host. It is started by the first byte that is released to it, or by the
/// proven end.
#[derive(Debug)]
pub struct Task {
    socket: PathBuf,
    container: String,
    words: Vec<String>,
    /// Drives the connection to the engine. This is used from a thread that is not one of the runtime's.
    runtime: Handle,
    running: Option<FedExec>,
    stopper: Stopper,
}

impl Task {
    /// Must be called within a runtime.
    pub fn new(socket: PathBuf, container: String, words: Vec<String>) -> Self {
        Self { socket, container, words, runtime: Handle::current(), running: None, stopper: Stopper::default() }
    }

    pub(super) fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    fn name(&self) -> String {
        shown(self.words.first().map_or("", String::as_str)).to_string()
    }

    fn running(&mut self) -> Result<&mut FedExec> {
        if self.running.is_none() {
            let start = || {
                let start = FedExec::start(&self.socket, &self.container, &self.words);
                let exec = self.runtime.block_on(start)?;
                let target = Target::Task(exec.made().clone(), self.runtime.clone());
                Ok::<_, anyhow::Error>((exec, target))
            };
            self.running = Some(self.stopper.started(start)?);
        }
        self.running.as_mut().context("it does not run")
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let runtime = self.runtime.clone();
        let running = self.running().map_err(io::Error::other)?;
        runtime.block_on(running.write_all(bytes))?;
        Ok(bytes.len())
    }

    /// Says that all of the stream was written, and waits for the command.
    pub(super) fn finish(mut self) -> Result<()> {
        let name = self.name();
        self.running().with_context(|| format!("the command `{name}` cannot be run in the container"))?;
        let running = self.running.take().context("the command does not run")?;
        match self.runtime.block_on(running.finish())? {
            (0, _) => Ok(()),
            (code, said) => {
                bail!("the command `{name}` got all of the stream, and ended with {code}: {}", shown(&said))
            }
        }
    }

    /// Kills the command while its input is still open.
    pub(super) fn cut_off(mut self) -> &'static str {
        let Some(running) = self.running.take() else { return NOT_STARTED };
        let killed = self.runtime.block_on(running.made().kill());
        match killed {
            Ok(()) => {
                // What it says may be why it took no more.
                if let Ok((code, said)) = self.runtime.block_on(running.finish())
                    && !said.is_empty()
                {
                    tracing::warn!("the command `{}` ended with {code}: {}", self.name(), shown(&said));
                }
                KILLED
            }
            Err(error) => {
                tracing::warn!("{error:#}");
                NOT_KILLED
            }
        }
    }
}
