//! A command in a container that takes input.
//!
//! The engine gives its connection up to the command: what is written to it is the command's standard input, and the end of
//! what is written is the end of that (moby `api/server/router/container/exec.go`). It takes an end of the connection for
//! the end of the input too, so a command that must not see an end has to be killed before the connection is closed.

use std::{io, path::Path};

use anyhow::{Context, Result};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::{
    exec::{Exec, Frames, Made},
    raw_call,
};

/// Bytes of output that are read at once.
const PIECE: usize = 16 << 10;

/// A command that runs in a container, and its input.
#[derive(Debug)]
pub struct FedExec {
    exec: Exec,
    input: WriteHalf<TokioIo<Upgraded>>,
}

impl FedExec {
    /// Starts a command in a container, without a shell. What it writes to standard output is dropped. Returns once the
    /// engine has started it.
    pub async fn start(socket: &Path, container: &str, words: &[String]) -> Result<Self> {
        let made = Made::make(socket, container, words, true).await?;
        let path = made.start_path();
        let start = raw_call::upgrade(socket, &path, Made::start_body());
        let upgraded = raw_call::in_time(start).await;
        let upgraded = upgraded.context("the engine does not start the command in the container")?;
        let (output, input) = tokio::io::split(TokioIo::new(upgraded));
        let said = tokio::spawn(async move { read_all(output).await.unwrap_or_default() });
        Ok(Self { exec: Exec::new(made, said), input })
    }

    pub fn made(&self) -> &Made {
        self.exec.made()
    }

    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.write_all(bytes).await
    }

    /// Ends the input. Returns the exit status of the command and the last of what it wrote to standard error, once it has
    /// ended.
    pub async fn finish(mut self) -> Result<(i32, String)> {
        // One that has ended without reading all of it has closed the connection.
        let _ = self.input.shutdown().await;
        // Not dropped before the command has ended: the output comes by the same connection.
        let ended = self.exec.ended().await;
        drop(self.input);
        ended
    }
}

/// Reads the output to its end. Returns the last of standard error.
async fn read_all(mut output: ReadHalf<TokioIo<Upgraded>>) -> Result<Vec<u8>> {
    let mut frames = Frames::default();
    let mut buffer = vec![0; PIECE];
    loop {
        let read = output.read(&mut buffer).await?;
        if read == 0 {
            return frames.finish();
        }
        frames.push(&buffer[..read])?;
    }
}
