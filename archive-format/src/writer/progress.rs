//! How far the packing is, and whether the caller wants it to go on.

use std::io::{self, Read};
use std::ops::ControlFlow;

use crate::error::{Error, Result};

/// How far the packing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes done in this phase.
    pub done: u64,
    /// Bytes to do in this phase.
    pub total: u64,
}

/// The passes of [`seal`](super::seal), in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Hashing the files and finding their holes.
    Scan,
    /// Compressing, encrypting and writing.
    Pack,
    /// Reading the archive back.
    Check,
}

/// Counts bytes and asks the caller whether to go on.
pub(super) struct Meter<'a> {
    state: Progress,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    pub(super) cancelled: bool,
}

impl<'a> Meter<'a> {
    pub(super) fn new(phase: Phase, total: u64, progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>) -> Self {
        Self { state: Progress { phase, done: 0, total }, progress, cancelled: false }
    }

    pub(super) fn add(&mut self, bytes: u64) -> Result<()> {
        self.state.done += bytes;
        self.cancelled |= (self.progress)(self.state).is_break();
        if self.cancelled { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Counts what is read through it.
pub(super) struct Metered<'a, 'b, R> {
    inner: R,
    pub(super) meter: &'a mut Meter<'b>,
}

impl<'a, 'b, R> Metered<'a, 'b, R> {
    pub(super) fn new(inner: R, meter: &'a mut Meter<'b>) -> Self {
        Self { inner, meter }
    }
}

impl<R: Read> Read for Metered<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.add(read as u64).map_err(io::Error::other)?;
        Ok(read)
    }
}
