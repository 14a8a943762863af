//! Writes the layers of the payload: tar, compression, encryption, stored bytes.

use std::io::{self, Write};

use age::{Encryptor, stream::StreamWriter};

use crate::{
    digest::Digest,
    error::{Error, Result},
    recipients::Recipient,
    stream::HashWriter,
};

/// Calls `write_tar` with a writer for the tar. Returns size and digest of the tar, and of the stored bytes.
pub(super) fn write(
    out: &mut dyn Write,
    level: i32,
    recipients: &[Recipient],
    write_tar: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<((u64, Digest), (u64, Digest))> {
    let stored = encrypt(HashWriter::new(out), recipients)?;
    let mut encoder = zstd::Encoder::new(stored, level).map_err(Error::write)?;
    encoder.include_checksum(true).map_err(Error::write)?;
    let mut tar = HashWriter::new(encoder);
    write_tar(&mut tar)?;
    let (encoder, tar_size, tar_digest) = tar.finish();
    let sealing = encoder.finish().map_err(Error::write)?;
    let (out, size, digest) = sealing.finish().map_err(Error::write)?.finish();
    out.flush().map_err(Error::write)?;
    Ok(((tar_size, tar_digest), (size, digest)))
}

fn encrypt<W: Write>(out: W, recipients: &[Recipient]) -> Result<Sealing<W>> {
    if recipients.is_empty() {
        return Ok(Sealing::Plain(out));
    }
    let encryptor = Encryptor::with_recipients(recipients.iter().map(Recipient::as_age))
        .map_err(|error| Error::InvalidInput { reason: format!("cannot encrypt: {error}") })?;
    let writer = encryptor.wrap_output(out).map_err(Error::write)?;
    Ok(Sealing::Age(Box::new(writer)))
}

/// Writer that encrypts if there are recipients.
enum Sealing<W: Write> {
    Plain(W),
    Age(Box<StreamWriter<W>>),
}

impl<W: Write> Sealing<W> {
    /// Encrypts the last chunk. Without this call the payload is truncated.
    fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Age(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(buffer),
            Self::Age(writer) => writer.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Age(writer) => writer.flush(),
        }
    }
}
