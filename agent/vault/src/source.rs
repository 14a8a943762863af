//! Bytes on their way into a vault, which can be read again for another attempt.

use std::{
    collections::VecDeque,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use swarmdr_archive::Hasher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, ReadBuf};

use super::VaultError;

const BUFFER: usize = 256 * 1024;

/// A section of a file, which must not change meanwhile, or buffers in memory, one behind the other.
#[derive(Debug, Clone)]
pub enum Source {
    File { path: PathBuf, range: Range<u64> },
    Memory(Vec<Bytes>),
}

/// A stream of the bytes of a [`Source`].
pub(crate) type SourceReader = Box<dyn AsyncRead + Send + Sync + Unpin>;

impl Source {
    pub fn size(&self) -> u64 {
        match self {
            Self::File { range, .. } => range.end.saturating_sub(range.start),
            Self::Memory(buffers) => buffers.iter().map(|buffer| buffer.len() as u64).sum(),
        }
    }

    /// Returns a part of it; `range` counts from its own start and must be within it.
    pub fn section(&self, range: Range<u64>) -> Self {
        match self {
            Self::File { path, range: whole } => {
                Self::File { path: path.clone(), range: whole.start + range.start..whole.start + range.end }
            }
            Self::Memory(buffers) => Self::Memory(cut(buffers, range)),
        }
    }

    /// Opens it at its start. The stream of a file that became shorter ends early.
    pub(crate) async fn open(&self) -> io::Result<SourceReader> {
        Ok(match self {
            Self::File { path, range } => {
                let mut file = tokio::fs::File::open(path).await?;
                file.seek(SeekFrom::Start(range.start)).await?;
                Box::new(file.take(self.size()))
            }
            Self::Memory(buffers) => Box::new(Buffers(buffers.iter().cloned().collect())),
        })
    }

    /// Returns the SHA-256 of all bytes.
    pub(crate) async fn sha256(&self) -> io::Result<[u8; 32]> {
        let source = self.clone();
        tokio::task::spawn_blocking(move || source.hash()).await.map_err(io::Error::other).flatten()
    }

    fn hash(&self) -> io::Result<[u8; 32]> {
        let mut hasher = Hasher::default();
        self.read_blocking(|bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        Ok(*hasher.finish().1.as_bytes())
    }

    /// Passes all bytes on in their order, on a thread that may block.
    pub(crate) fn read_blocking(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let (path, range) = match self {
            Self::Memory(buffers) => return buffers.iter().try_for_each(|buffer| take(buffer)),
            Self::File { path, range } => (path, range),
        };
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut left = self.size();
        let mut buffer = vec![0; BUFFER];
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match file.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    take(&buffer[..read])?;
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The error of a read that failed.
    pub(crate) fn unread(&self, source: io::Error) -> VaultError {
        let path = match self {
            Self::File { path, .. } => path.clone(),
            Self::Memory(_) => PathBuf::new(),
        };
        VaultError::File { action: "read the archive", path, source }
    }
}

fn cut(buffers: &[Bytes], range: Range<u64>) -> Vec<Bytes> {
    let mut start = 0;
    let mut section = Vec::new();
    for buffer in buffers {
        let end = start + buffer.len() as u64;
        let within = |at: u64| usize::try_from(at.clamp(start, end) - start).unwrap_or(buffer.len());
        let (from, to) = (within(range.start), within(range.end));
        if from < to {
            section.push(buffer.slice(from..to));
        }
        start = end;
    }
    section
}

/// Reads buffers one behind the other.
struct Buffers(VecDeque<Bytes>);

impl AsyncRead for Buffers {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while into.remaining() > 0
            && let Some(first) = self.0.front_mut()
        {
            let taken = first.len().min(into.remaining());
            into.put_slice(&first[..taken]);
            first.advance(taken);
            if first.is_empty() {
                self.0.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::Digest;

    use super::*;

    async fn read(source: &Source) -> Vec<u8> {
        let mut bytes = Vec::new();
        source.open().await.unwrap().read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_file_and_buffers_of_the_same_bytes_are_the_same_source() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abcdefgh").unwrap();
        let file = Source::File { path: file.path().into(), range: 0..8 };
        let memory = Source::Memory(vec!["ab".into(), Bytes::new(), "cdefg".into(), "h".into()]);
        for range in [0..8, 0..0, 1..3, 2..7, 7..8, 3..8] {
            let (file, memory) = (file.section(range.clone()), memory.section(range.clone()));
            let expected = &b"abcdefgh"[range.start as usize..range.end as usize];
            for source in [&file, &memory, &file.section(0..file.size())] {
                assert_eq!(read(source).await, expected, "{range:?}");
                assert_eq!(source.size(), expected.len() as u64);
                assert_eq!(source.sha256().await.unwrap(), *Digest::of(expected).as_bytes());
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_has_no_digest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let source = Source::File { path: file.path().into(), range: 0..4 };
        assert_eq!(source.sha256().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
