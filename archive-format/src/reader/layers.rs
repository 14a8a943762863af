//! Layers around what an archive holds: encryption and compression.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read},
};

use age::{DecryptError, Decryptor, stream::StreamReader};

use crate::{
    error::{Error, Result},
    limits::Limits,
    recipients::Identities,
    stream::CHUNK,
};

/// Reader of what is in the layers.
pub(crate) type Layers<'a> = zstd::Decoder<'static, BufReader<Decrypted<'a>>>;

/// Opens the layers around stored bytes. Without recipients there is no encryption. The cell may hold anything.
pub(crate) fn open<'a>(
    stored: &'a mut dyn Read,
    budget: &'a Cell<u64>,
    recipients: &[String],
    identities: &Identities,
    limits: &Limits,
) -> Result<Layers<'a>> {
    budget.set(u64::MAX);
    let stored = Budgeted { inner: stored, budget };
    let layer = if recipients.is_empty() {
        Decrypted::Plain(stored)
    } else {
        budget.set(limits.age_header_bytes);
        let reader = decrypt(stored, recipients, identities);
        if reader.is_err() && budget.get() == 0 {
            return Err(Error::limit("the header of the encryption", limits.age_header_bytes));
        }
        budget.set(u64::MAX);
        Decrypted::Age(Box::new(reader?))
    };
    let buffered = BufReader::with_capacity(CHUNK, layer);
    let mut decoder = zstd::Decoder::with_buffer(buffered).map_err(Error::damaged("compression"))?.single_frame();
    decoder.window_log_max(limits.window_log).map_err(Error::damaged("compression"))?;
    Ok(decoder)
}

/// Reads on in each layer to its end: the checksum of the frame and the last encrypted chunk are checked only there.
/// `inside` names what was decoded.
pub(crate) fn finish(decoder: Layers<'_>, inside: &'static str) -> Result<()> {
    let mut below = decoder.finish();
    let more = below.fill_buf().map_err(Error::damaged("encryption"))?;
    if more.is_empty() { Ok(()) } else { Err(Error::TrailingBytes { after: inside }) }
}

/// Returns a limit error if the zstd window is too large. zstd distinguishes this from a broken frame only
/// by the message.
pub(crate) fn name_window(error: Error, limits: &Limits) -> Error {
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

type AgeInput<'a> = BufReader<Budgeted<'a>>;

fn decrypt<'a>(
    stored: Budgeted<'a>,
    recipients: &[String],
    identities: &Identities,
) -> Result<StreamReader<AgeInput<'a>>> {
    let refuse = |error| match error {
        DecryptError::NoMatchingKeys => Error::WrongIdentity { recipients: recipients.join(", ") },
        DecryptError::Io(error) => Error::damaged("encryption")(error),
        other => Error::damaged("encryption")(io::Error::new(io::ErrorKind::InvalidData, other.to_string())),
    };
    let decryptor = Decryptor::new_buffered(BufReader::with_capacity(HEADER_CHUNK, stored)).map_err(refuse)?;
    decryptor.decrypt(identities.as_age()).map_err(refuse)
}

/// Reader that stops when a budget is used up: the age header does not declare its length.
pub(crate) struct Budgeted<'a> {
    inner: &'a mut dyn Read,
    budget: &'a Cell<u64>,
}

impl Read for Budgeted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.budget.get()).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.budget.set(self.budget.get() - read as u64);
        Ok(read)
    }
}

pub(crate) enum Decrypted<'a> {
    Plain(Budgeted<'a>),
    Age(Box<StreamReader<AgeInput<'a>>>),
}

impl Read for Decrypted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inner) => inner.read(buffer),
            Self::Age(inner) => inner.read(buffer),
        }
    }
}
