//! Writes the layers of a payload: compression, encryption, stored bytes.

use std::{
    fmt,
    io::{self, Write},
};

use age::{Encryptor, stream::StreamWriter};

use crate::{
    digest::Digest,
    error::{Error, Result},
    recipients::Recipient,
    stream::HashWriter,
};

/// Writer that compresses, and encrypts if there are recipients. Hashes what goes in and what comes out.
pub(crate) struct Layers<W: Write>(HashWriter<zstd::Encoder<'static, Sealing<HashWriter<W>>>>);

/// What passed through the layers: the number of bytes and their digest, on both sides.
pub(crate) struct Passed<W> {
    pub(crate) out: W,
    pub(crate) plain: (u64, Digest),
    pub(crate) stored: (u64, Digest),
}

impl<W: Write> Layers<W> {
    /// Writes the header of the encryption.
    pub(crate) fn new(out: W, level: i32, recipients: &[Recipient]) -> Result<Self> {
        let stored = encrypt(HashWriter::new(out), recipients)?;
        let mut encoder = zstd::Encoder::new(stored, level).map_err(Error::write)?;
        encoder.include_checksum(true).map_err(Error::write)?;
        Ok(Self(HashWriter::new(encoder)))
    }

    /// Number of bytes that were written into the layers.
    pub(crate) fn plain_size(&self) -> u64 {
        self.0.count()
    }

    /// Writes the end of each layer. Without this call the payload is truncated.
    pub(crate) fn finish(self) -> io::Result<Passed<W>> {
        let (encoder, plain_size, plain_digest) = self.0.finish();
        let (mut out, size, digest) = encoder.finish()?.finish()?.finish();
        out.flush()?;
        Ok(Passed { out, plain: (plain_size, plain_digest), stored: (size, digest) })
    }
}

impl<W: Write> Write for Layers<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> fmt::Debug for Layers<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({} bytes)", self.plain_size())
    }
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
    /// Encrypts the last chunk.
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
