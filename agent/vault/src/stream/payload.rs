//! The bytes of a stream on their way from the one who produces them to a vault.

use std::io;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::sync::mpsc;

/// The most bytes of one piece in the queue.
const PIECE: usize = 128 * 1024;

/// The most pieces in the queue. Together they are a megabyte.
const PIECES: usize = 8;

/// The end of a stream: what comes before its payload, and what comes behind.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    pub head: Bytes,
    pub tail: Bytes,
}

/// The put of the stream has failed or was dropped. [`put_stream`](super::put_stream()) returns the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the stream is no longer stored")]
pub struct Closed;

#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    End(Ending),
}

/// Makes the two ends of a stream. The queue between them holds a megabyte; then the sender waits.
pub fn payload() -> (PayloadSender, Payload) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (PayloadSender { sender }, Payload { receiver })
}

/// Receives a stream, for [`put_stream`](super::put_stream()).
#[derive(Debug)]
pub struct Payload {
    receiver: mpsc::Receiver<Piece>,
}

impl Payload {
    /// Returns the next piece; `None` if the sender was dropped before the end.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        self.receiver.recv().await
    }
}

/// Sends a stream. If this is dropped before [`finish`](Self::finish), nothing is stored.
#[derive(Debug)]
pub struct PayloadSender {
    sender: mpsc::Sender<Piece>,
}

impl PayloadSender {
    /// Sends bytes behind those sent before, and waits while the vault is slower.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Closed> {
        let mut bytes = bytes.into();
        while !bytes.is_empty() {
            let piece = bytes.split_to(PIECE.min(bytes.len()));
            self.sender.send(Piece::Bytes(piece)).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// Ends the stream: it is complete.
    pub async fn finish(self, ending: Ending) -> Result<(), Closed> {
        self.sender.send(Piece::End(ending)).await.map_err(|_| Closed)
    }

    /// Returns a writer for a thread that may block.
    pub fn into_writer(self) -> PayloadWriter {
        PayloadWriter { sender: self.sender, buffer: BytesMut::new() }
    }
}

/// Sends a stream from a thread that may block; it panics where async code runs. If this is dropped before
/// [`finish`](Self::finish), nothing is stored. A put that failed is a [`io::ErrorKind::BrokenPipe`].
#[derive(Debug)]
pub struct PayloadWriter {
    sender: mpsc::Sender<Piece>,
    buffer: BytesMut,
}

impl PayloadWriter {
    /// Sends what is left, and ends the stream: it is complete.
    pub fn finish(mut self, ending: Ending) -> io::Result<()> {
        io::Write::flush(&mut self)?;
        self.pass_on(Piece::End(ending))
    }

    fn pass_on(&self, piece: Piece) -> io::Result<()> {
        self.sender.blocking_send(piece).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, Closed))
    }
}

impl io::Write for PayloadWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.buffer.split().freeze() {
            nothing if nothing.is_empty() => Ok(()),
            bytes => self.pass_on(Piece::Bytes(bytes)),
        }
    }
}
