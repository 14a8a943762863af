//! Progress of the packing, and cancellation by the caller.

use std::{
    io::{self, Read},
    ops::ControlFlow,
};

use crate::error::{Error, Result};

/// Progress of the packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Current pass.
    pub phase: Phase,
    /// Number of bytes done in this pass.
    pub done: u64,
    /// Number of bytes to do in this pass.
    pub total: u64,
}

/// Pass of [`seal`](super::seal), in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The files are hashed and their holes are found.
    Scan,
    /// The payload is compressed, encrypted and written.
    Pack,
    /// The archive is read back.
    Check,
}

/// Counts bytes and asks the caller whether to continue.
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

/// Reader that counts the bytes read through it.
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
