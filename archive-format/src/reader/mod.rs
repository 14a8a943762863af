//! Reads archives. All input is bounded and checked; no input makes the reader panic.
//!
//! **Stage, then use.** [`unpack`] passes entries to its visitor while it still reads the payload. Until it returns
//! `Ok`, nothing that the visitor received is verified. Unpack into a staging directory, and use that only after `Ok`.

mod body;
mod entries;
mod head;
pub(crate) mod layers;
pub(crate) mod member;
mod payload;

use std::io::{self, Read};

pub use body::Body;
pub use head::{Head, UnverifiedHead};
pub(crate) use member::{MANIFEST_NAME, SIGNATURE_NAME};

use crate::{
    contents::{Contents, FileEntry},
    error::{Error, Result},
    key::TrustedKeys,
    limits::Limits,
    recipients::Identities,
};
use member::read_end;
use payload::StoredPayload;

/// Receives what [`unpack`] finds. `()` ignores everything, which makes `unpack` a full check.
pub trait Visitor {
    /// Called once, before any entry. The head is verified; the contents are verified only when `unpack` returns.
    fn contents(&mut self, head: &Head, contents: &Contents) -> io::Result<()> {
        let _ = (head, contents);
        Ok(())
    }

    /// Called for each entry in the order of [`Contents::files`], parents before children. The part of the body that is
    /// not read is skipped.
    fn entry(&mut self, entry: &FileEntry, body: &mut Body<'_>) -> io::Result<()>;
}

impl Visitor for () {
    fn entry(&mut self, _: &FileEntry, _: &mut Body<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Verified result of [`unpack`].
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// The verified head.
    pub head: Head,
    /// Contents of the payload.
    pub contents: Contents,
}

/// Reads the head of an archive and not one byte more, so that `input` is then at the start of the payload.
///
/// Needs at most the first [`HEAD_LIMIT`](crate::limits::HEAD_LIMIT) bytes. Nothing is verified yet.
pub fn read_head(mut input: impl Read) -> Result<UnverifiedHead> {
    head::read(&mut input)
}

/// Checks everything that needs no identity: the signature, the size and digest of the stored payload, and that
/// nothing follows it.
pub fn verify_stored(mut input: impl Read, trusted: &TrustedKeys) -> Result<Head> {
    let head = head::read(&mut input)?.verify(trusted)?;
    StoredPayload::new(&mut input, &head.manifest.payload).finish()?;
    read_end(&mut input, head.manifest.payload.size)?;
    Ok(head)
}

/// Decrypts, decompresses and reads the payload, and checks every byte of the archive.
///
/// What the visitor received is good only if this returns `Ok`. It checks the signature, the sizes, the digests of
/// payload, tar and every file, modes and owners, that exactly the listed entries are there, and that nothing follows.
/// `trusted` and `limits` are applied before anything is unpacked.
pub fn unpack(
    mut input: impl Read,
    trusted: &TrustedKeys,
    identities: &Identities,
    limits: &Limits,
    visitor: &mut dyn Visitor,
) -> Result<Unpacked> {
    let head = head::read(&mut input)?.verify(trusted)?;
    let payload = &head.manifest.payload;
    check_expansion(payload.size, payload.tar_size, limits)?;
    if head.manifest.is_encrypted() && identities.is_empty() {
        return Err(Error::NeedsIdentity { recipients: payload.recipients.join(", ") });
    }
    let mut stored = StoredPayload::new(&mut input, payload);
    let contents = match payload::unpack(&mut stored, &head, identities, limits, visitor) {
        Ok(contents) => contents,
        Err(error) => return Err(stored.diagnose(error)),
    };
    stored.finish()?;
    read_end(&mut input, payload.size)?;
    Ok(Unpacked { head, contents })
}

/// Refuses a payload that would unpack to far more than any state.
pub(crate) fn check_expansion(stored: u64, unpacked: u64, limits: &Limits) -> Result<()> {
    let allowed = stored.saturating_mul(limits.expansion).max(limits.free_expansion);
    if unpacked > allowed {
        return Err(Error::limit("the unpacked size", allowed));
    }
    Ok(())
}
