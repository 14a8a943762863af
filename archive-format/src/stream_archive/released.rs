//! What a stream releases: never more than was signed, and nothing else at the end.

use std::io::{self, Write};

use crate::{
    digest::{Digest, Hasher},
    error::{Error, Result},
};

/// What the receiver was given.
pub(super) struct Released<'a> {
    hasher: Hasher,
    most: u64,
    out: &'a mut dyn Write,
}

impl<'a> Released<'a> {
    /// `most` is the signed size in bytes.
    pub(super) fn new(most: u64, out: &'a mut dyn Write) -> Self {
        Self { hasher: Hasher::default(), most, out }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.most - self.hasher.count() {
            return Err(self.wrong_size());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(self.refused(io::ErrorKind::WriteZero.into())),
                Ok(taken) => {
                    self.hasher.update(&rest[..taken]);
                    rest = &rest[taken..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.refused(error)),
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, signed: Digest) -> Result<()> {
        if self.hasher.count() != self.most {
            return Err(self.wrong_size());
        }
        let (released, digest) = self.hasher.finish();
        if digest != signed {
            return Err(Error::DigestMismatch { what: "what the stream holds".to_owned() });
        }
        self.out.flush().map_err(|source| Error::Output { released, source })
    }

    fn refused(&self, source: io::Error) -> Error {
        Error::Output { released: self.hasher.count(), source }
    }

    fn wrong_size(&self) -> Error {
        Error::SizeMismatch { what: "what the stream holds", expected: self.most }
    }
}
