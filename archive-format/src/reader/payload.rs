//! Layers of the payload: stored bytes, encryption, compression, tar.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read},
};

use age::{DecryptError, Decryptor, stream::StreamReader};
use sha2::{Digest as _, Sha256};

use super::{
    Head, Visitor,
    entries::{self, TarStream},
};
use crate::{
    contents::Contents,
    digest::Digest,
    error::{Error, Result},
    limits::Limits,
    manifest::Payload,
    recipients::Identities,
    stream::{CHUNK, read_full},
    tar_header,
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

    /// Reads the rest, checks the digest, and then checks the padding.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.drain()? != self.signed.sha256 {
            return Err(Error::DigestMismatch { what: "the stored payload".to_owned() });
        }
        let mut padding = vec![0; tar_header::padding(self.signed.size)];
        if read_full(self.input, &mut padding).map_err(Error::read)? < padding.len() {
            return Err(Error::Truncated { within: "the payload" });
        }
        if padding.iter().any(|&byte| byte != 0) {
            return Err(Error::TrailingBytes { after: "the payload" });
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
    let budget = Cell::new(u64::MAX);
    let stored = Budgeted { inner: stored, budget: &budget };
    let payload = &head.manifest.payload;
    let layer = if head.manifest.is_encrypted() {
        budget.set(limits.age_header_bytes);
        let reader = decrypt(stored, payload, identities);
        if reader.is_err() && budget.get() == 0 {
            return Err(Error::limit("the header of the encryption", limits.age_header_bytes));
        }
        budget.set(u64::MAX);
        Decrypted::Age(Box::new(reader?))
    } else {
        Decrypted::Plain(stored)
    };
    let buffered = BufReader::with_capacity(CHUNK, layer);
    let mut decoder = zstd::Decoder::with_buffer(buffered).map_err(Error::damaged("compression"))?.single_frame();
    decoder.window_log_max(limits.window_log).map_err(Error::damaged("compression"))?;
    let mut tar = TarStream::new(&mut decoder, payload.tar_size);
    let contents = entries::walk(&mut tar, head, limits, visitor).map_err(|error| name_window(error, limits))?;
    if tar.finish()? != payload.tar_sha256 {
        return Err(Error::DigestMismatch { what: "the tar in the payload".to_owned() });
    }
    // Reads on in each layer: the checksum of the frame and the last encrypted chunk are checked only at the end.
    let mut below = decoder.finish();
    let more = below.fill_buf().map_err(Error::damaged("encryption"))?;
    if !more.is_empty() {
        return Err(Error::TrailingBytes { after: "the compressed tar" });
    }
    Ok(contents)
}

/// Returns a limit error if the zstd window is too large. zstd distinguishes this from a broken frame only
/// by the message.
fn name_window(error: Error, limits: &Limits) -> Error {
    match error {
        Error::Damaged { layer: "compression", source } if source.to_string().contains("too much memory") => {
            Error::limit("the window of the compression", 1 << limits.window_log)
        }
        other => other,
    }
}

/// Number of bytes read at a time while the header is parsed. At most this many are read beyond the header; the budget
/// counts them too.
const HEADER_CHUNK: usize = 512;

type AgeInput<'a, 'b> = BufReader<Budgeted<'a, 'b>>;

fn decrypt<'a, 'b>(
    stored: Budgeted<'a, 'b>,
    payload: &Payload,
    identities: &Identities,
) -> Result<StreamReader<AgeInput<'a, 'b>>> {
    let refuse = |error| match error {
        DecryptError::NoMatchingKeys => Error::WrongIdentity { recipients: payload.recipients.join(", ") },
        DecryptError::Io(error) => Error::damaged("encryption")(error),
        other => Error::damaged("encryption")(io::Error::new(io::ErrorKind::InvalidData, other.to_string())),
    };
    let decryptor = Decryptor::new_buffered(BufReader::with_capacity(HEADER_CHUNK, stored)).map_err(refuse)?;
    decryptor.decrypt(identities.as_age()).map_err(refuse)
}

/// Reader that stops when a budget is used up: the age header does not declare its length.
struct Budgeted<'a, 'b> {
    inner: &'a mut StoredPayload<'b>,
    budget: &'a Cell<u64>,
}

impl Read for Budgeted<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.budget.get()).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.budget.set(self.budget.get() - read as u64);
        Ok(read)
    }
}

enum Decrypted<'a, 'b> {
    Plain(Budgeted<'a, 'b>),
    Age(Box<StreamReader<AgeInput<'a, 'b>>>),
}

impl Read for Decrypted<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inner) => inner.read(buffer),
            Self::Age(inner) => inner.read(buffer),
        }
    }
}
