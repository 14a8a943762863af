//! The payload: its stored bytes, and the tar in its layers.

use std::{
    cell::Cell,
    io::{self, Read},
};

use sha2::{Digest as _, Sha256};

use super::{
    Head, Visitor,
    entries::{self, TarStream},
    layers,
};
use crate::{
    contents::Contents,
    digest::Digest,
    error::{Error, Result},
    limits::Limits,
    manifest::Payload,
    recipients::Identities,
};

/// Stored bytes of the payload, hashed while they are read, and the first error in reading them.
pub(super) struct StoredPayload<'a> {
    input: &'a mut dyn Read,
    signed: &'a Payload,
    left: u64,
    hasher: Sha256,
    failed: Option<Error>,
}

impl<'a> StoredPayload<'a> {
    pub(super) fn new(input: &'a mut dyn Read, signed: &'a Payload) -> Self {
        Self { input, signed, left: signed.size, hasher: Sha256::new(), failed: None }
    }

    /// Reads the rest and checks the digest.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.drain()? != self.signed.sha256 {
            return Err(Error::DigestMismatch { what: "the stored payload".to_owned() });
        }
        Ok(())
    }

    /// Returns the root cause of an error in a layer above: unreadable, truncated or altered bytes, or
    /// the layer itself.
    pub(super) fn diagnose(mut self, error: Error) -> Error {
        if let Some(failed) = self.failed.take() {
            return failed;
        }
        match error {
            Error::Visit { .. } | Error::LimitExceeded { .. } => error,
            error => match self.drain() {
                Err(failed) => failed,
                Ok(digest) if digest == self.signed.sha256 => error,
                Ok(_) => Error::DigestMismatch { what: "the stored payload".to_owned() },
            },
        }
    }

    fn drain(&mut self) -> Result<Digest> {
        let drained = io::copy(self, &mut io::sink());
        match self.failed.take() {
            Some(failed) => Err(failed),
            None => drained.map(|_| Digest::finish(self.hasher.clone())).map_err(Error::read),
        }
    }
}

impl Read for StoredPayload<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        match self.input.read(&mut buffer[..most]) {
            Ok(0) => {
                self.failed = Some(Error::Truncated { within: "the payload" });
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(read) => {
                self.hasher.update(&buffer[..read]);
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(Error::read(error));
                Err(kind.into())
            }
        }
    }
}

/// Decodes all layers and checks that each ends where the one below it does.
pub(super) fn unpack(
    stored: &mut StoredPayload<'_>,
    head: &Head,
    identities: &Identities,
    limits: &Limits,
    visitor: &mut dyn Visitor,
) -> Result<Contents> {
    let payload = &head.manifest.payload;
    let budget = Cell::new(0);
    let mut decoder = layers::open(stored, &budget, &payload.recipients, identities, limits)?;
    let mut tar = TarStream::new(&mut decoder, payload.tar_size);
    let contents =
        entries::walk(&mut tar, head, limits, visitor).map_err(|error| layers::name_window(error, limits))?;
    if tar.finish()? != payload.tar_sha256 {
        return Err(Error::DigestMismatch { what: "the tar in the payload".to_owned() });
    }
    layers::finish(decoder, "the compressed tar")?;
    Ok(contents)
}
