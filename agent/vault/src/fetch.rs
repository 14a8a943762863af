//! Reads the bytes of a version over a connection that may break.

use std::{io, ops::Range, time::Duration};

use swarmdr_archive::Hasher;
use swarmdr_http::Backoff;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Progress, Vault, VaultError, VersionRef};

/// Number of consecutive breaks, without a byte between them, after which a read fails.
const BREAKS_IN_A_ROW: u32 = 5;

const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_millis(1600) };

/// Time without a byte after which a connection counts as broken. A last resort: longer than the stall that the
/// transport itself detects.
const SILENCE: Duration = Duration::from_secs(60);

const BUFFER: usize = 64 * 1024;

/// Size and digest of the bytes that [`fetch`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    pub size: u64,
    /// SHA-256 of the bytes written. The caller must compare it.
    pub sha256: [u8; 32],
}

/// Writes the `size` bytes of one version into `sink`, in order and each once. After a break it resumes with a range.
pub async fn fetch(
    vault: &dyn Vault,
    at: &VersionRef,
    size: u64,
    sink: &mut (dyn AsyncWrite + Send + Unpin),
    progress: Progress<'_>,
) -> Result<Fetched, VaultError> {
    fetch_range(vault, at, 0..size, sink, progress).await
}

/// Writes a range of one version into `sink`, like [`fetch`]; size and digest are those of the range.
pub(crate) async fn fetch_range(
    vault: &dyn Vault,
    at: &VersionRef,
    range: Range<u64>,
    sink: &mut (dyn AsyncWrite + Send + Unpin),
    progress: Progress<'_>,
) -> Result<Fetched, VaultError> {
    let size = range.end.saturating_sub(range.start);
    let mut hasher = Hasher::default();
    let mut done = 0;
    let mut breaks = 0;
    let mut buffer = vec![0; BUFFER];
    while done < size {
        let from = done;
        let failure = match vault.open(at, range.start + done..range.end).await {
            Ok(mut content) => loop {
                let wanted = buffer.len().min(usize::try_from(size - done).unwrap_or(usize::MAX));
                match read_some(&mut content, &mut buffer[..wanted]).await {
                    Ok(n) => {
                        hasher.update(&buffer[..n]);
                        sink.write_all(&buffer[..n]).await.map_err(|source| local_write(at, source))?;
                        done += n as u64;
                        progress(done);
                    }
                    Err(error) => break broken(vault, at, range.start + done, &error),
                }
                if done == size {
                    sink.flush().await.map_err(|source| local_write(at, source))?;
                    return Ok(Fetched { size, sha256: *hasher.finish().1.as_bytes() });
                }
            },
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        breaks = if done > from { 1 } else { breaks + 1 };
        if breaks >= BREAKS_IN_A_ROW {
            return Err(failure);
        }
        tracing::warn!(vault = vault.address(), key = at.key, done, "{failure}; going on from there");
        BACKOFF.pause(breaks).await;
    }
    sink.flush().await.map_err(|source| local_write(at, source))?;
    Ok(Fetched { size, sha256: *hasher.finish().1.as_bytes() })
}

/// Reads a range into memory. The caller must bound its length.
pub async fn read_range(vault: &dyn Vault, at: &VersionRef, range: Range<u64>) -> Result<Vec<u8>, VaultError> {
    let room = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0).min(BUFFER);
    read_into(vault, at, range, Vec::with_capacity(room)).await
}

/// Reads a range into an empty vector, like [`read_range`]. If its capacity exceeds the range by a few bytes, it does
/// not grow.
pub(crate) async fn read_into(
    vault: &dyn Vault,
    at: &VersionRef,
    range: Range<u64>,
    mut bytes: Vec<u8>,
) -> Result<Vec<u8>, VaultError> {
    let size = range.end.saturating_sub(range.start);
    let mut breaks = 0;
    while (bytes.len() as u64) < size {
        let before = bytes.len();
        let failure = match vault.open(at, range.start + before as u64..range.end).await {
            Ok(content) => {
                let mut content = content.take(size - before as u64);
                match tokio::time::timeout(SILENCE, content.read_to_end(&mut bytes)).await {
                    Ok(Ok(_)) if bytes.len() as u64 == size => return Ok(bytes),
                    Ok(Ok(_)) => broken(vault, at, bytes.len() as u64, &ended_early()),
                    Ok(Err(error)) => broken(vault, at, bytes.len() as u64, &error),
                    Err(_) => broken(vault, at, bytes.len() as u64, &silent()),
                }
            }
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        breaks = if bytes.len() > before { 1 } else { breaks + 1 };
        if breaks >= BREAKS_IN_A_ROW {
            return Err(failure);
        }
        BACKOFF.pause(breaks).await;
    }
    Ok(bytes)
}

/// Reads at least one byte. The end of the stream is an error.
async fn read_some(content: &mut super::Content, buffer: &mut [u8]) -> io::Result<usize> {
    match tokio::time::timeout(SILENCE, content.read(buffer)).await {
        Ok(Ok(0)) => Err(ended_early()),
        Ok(result) => result,
        Err(_) => Err(silent()),
    }
}

fn ended_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended early")
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing arrived for {} s", SILENCE.as_secs()))
}

fn broken(vault: &dyn Vault, at: &VersionRef, done: u64, error: &io::Error) -> VaultError {
    VaultError::Unreachable {
        vault: vault.address().into(),
        action: format!("read `{}` beyond byte {done}", at.key),
        detail: error.to_string(),
    }
}

fn local_write(at: &VersionRef, source: io::Error) -> VaultError {
    VaultError::Sink { key: at.key.clone(), source }
}
