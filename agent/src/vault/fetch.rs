//! Brings the bytes of a version back, over a connection that may break.

use std::io;
use std::ops::Range;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Progress, Vault, VaultError, VersionRef};

/// Breaks in a row, with not one byte between them, before a read is given up.
const BREAKS_IN_A_ROW: u32 = 5;

const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Longer than a stall that the transport itself would notice; only for a peer that trickles nothing at all.
const SILENCE: Duration = Duration::from_secs(60);

const BUFFER: usize = 64 * 1024;

/// What [`fetch`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    pub size: u64,
    /// Of the bytes written. The caller knows what they should be; nothing was compared here.
    pub sha256: [u8; 32],
}

/// Writes the `size` bytes of one version into `sink`, in order, once each, going on by ranges after a break.
pub async fn fetch(
    vault: &dyn Vault,
    at: &VersionRef,
    size: u64,
    sink: &mut (dyn AsyncWrite + Send + Unpin),
    progress: Progress<'_>,
) -> Result<Fetched, VaultError> {
    let mut hash = Sha256::new();
    let mut done = 0;
    let mut breaks = 0;
    let mut buffer = vec![0; BUFFER];
    while done < size {
        let from = done;
        let failure = match vault.open(at, done..size).await {
            Ok(mut content) => loop {
                let wanted = buffer.len().min(usize::try_from(size - done).unwrap_or(usize::MAX));
                match read_some(&mut content, &mut buffer[..wanted]).await {
                    Ok(n) => {
                        hash.update(&buffer[..n]);
                        sink.write_all(&buffer[..n]).await.map_err(|source| local_write(at, source))?;
                        done += n as u64;
                        progress(done);
                    }
                    Err(error) => break broken(vault, at, done, &error),
                }
                if done == size {
                    sink.flush().await.map_err(|source| local_write(at, source))?;
                    return Ok(Fetched { size, sha256: hash.finalize().into() });
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
        tokio::time::sleep(FIRST_PAUSE * 2u32.pow(breaks - 1)).await;
    }
    sink.flush().await.map_err(|source| local_write(at, source))?;
    Ok(Fetched { size, sha256: hash.finalize().into() })
}

/// The bytes of a range, which the caller has bounded: they are held in memory.
pub async fn read_range(vault: &dyn Vault, at: &VersionRef, range: Range<u64>) -> Result<Vec<u8>, VaultError> {
    let size = range.end.saturating_sub(range.start);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).min(BUFFER));
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
        tokio::time::sleep(FIRST_PAUSE * 2u32.pow(breaks - 1)).await;
    }
    Ok(bytes)
}

/// At least one byte, or why not.
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
