//! The writer of the original, and what it may change during a pass.

use std::io;

use anyhow::Result;

/// Whether a process writes to the original meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Files may vanish, grow and shrink at any time; what is copied is flushed, so that the disk is idle again when
    /// the writer is stopped.
    Running,
    /// Nothing may change: a file that vanishes is an error. The writer waits, so changes are only read, and
    /// [`Mirror::apply`](super::Mirror::apply) must follow.
    Still,
}

/// Turns the error of a file that vanished or shrank into `None` while the writer runs: the next pass takes it up.
pub fn tolerate<T>(writer: Writer, result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if writer == Writer::Running && is_change(&error) => {
            tracing::debug!("changed while it was copied: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_change(error: &anyhow::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof];
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|cause| kinds.contains(&cause.kind())))
}
