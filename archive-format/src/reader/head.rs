//! Head of an archive: manifest, signature and the header of the payload.

use std::io::Read;

use tar::{EntryType, Header};

use crate::{
    digest::Digest,
    error::{Error, Result},
    key::{KeyId, PublicKey, TrustedKeys},
    limits::{MANIFEST_MAX, SIGNATURE_MAX, SIZE_MAX},
    manifest::{ENCRYPTED_PAYLOAD, Manifest, PLAIN_PAYLOAD},
    signature::Signature,
    stream::read_full,
    tar_header::{self, BLOCK},
};

/// Name of the first member of an archive.
pub(crate) const MANIFEST_NAME: &str = "manifest.json";
/// Name of the second member of an archive.
pub(crate) const SIGNATURE_NAME: &str = "manifest.json.minisig";

/// A head whose signature has not been checked.
#[derive(Clone, Debug)]
pub struct UnverifiedHead {
    manifest: Vec<u8>,
    signature: Signature,
    payload_name: String,
    payload_size: u64,
    payload_offset: u64,
}

/// A head that a trusted key signed.
#[derive(Clone, Debug)]
pub struct Head {
    /// Verified manifest.
    pub manifest: Manifest,
    /// SHA-256 of the manifest bytes. The next backup of the vault names it as `previous`.
    pub manifest_digest: Digest,
    /// Id of the key that signed the manifest.
    pub key_id: KeyId,
    /// Key that signed the manifest. Its id alone is not unique: two keys may have the same one.
    pub signer: PublicKey,
    /// Offset of the stored payload in bytes.
    pub payload_offset: u64,
    /// Size of the whole archive, in bytes. An object of another size is damaged.
    pub archive_size: u64,
}

/// Reads the head up to the first byte of the payload.
pub(super) fn read(input: &mut dyn Read) -> Result<UnverifiedHead> {
    let first = read_member(input, MANIFEST_NAME, MANIFEST_MAX)?;
    let manifest = read_body(input, first.size, MANIFEST_NAME)?;
    let second = read_member(input, SIGNATURE_NAME, SIGNATURE_MAX)?;
    let signature = Signature::parse(&read_body(input, second.size, SIGNATURE_NAME)?)?;
    let payload = read_member(input, PLAIN_PAYLOAD, SIZE_MAX)?;
    let bodies = [first.size, second.size].map(|size| size.next_multiple_of(BLOCK as u64));
    Ok(UnverifiedHead {
        manifest,
        signature,
        payload_name: payload.name,
        payload_size: payload.size,
        payload_offset: 3 * BLOCK as u64 + bodies[0] + bodies[1],
    })
}

impl UnverifiedHead {
    /// Returns the id of the key that claims to have signed.
    pub fn key_id(&self) -> KeyId {
        self.signature.key_id()
    }

    /// Returns the digest of the manifest, which the next backup names as `previous`. It does not depend on who signed.
    pub fn manifest_digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Checks that this is the head of a certain archive: one signer signs many.
    pub fn require(&self, manifest: Digest) -> Result<()> {
        let found = self.manifest_digest();
        if found == manifest {
            Ok(())
        } else {
            Err(Error::OtherArchive { wanted: manifest.to_string(), found: found.to_string() })
        }
    }

    /// Returns the unverified manifest, for a report on an archive that does not verify. Anyone could have written it.
    pub fn claims(&self) -> Result<Manifest> {
        Manifest::parse(&self.manifest)
    }

    /// Checks the signature, then parses the manifest and checks that it belongs to this archive.
    pub fn verify(self, trusted: &TrustedKeys) -> Result<Head> {
        let signer = self.signature.signer(&self.manifest, trusted)?;
        let manifest = Manifest::parse(&self.manifest)?;
        self.signature.check_comment(manifest.id, &manifest.cluster_id)?;
        let payload = &manifest.payload;
        if self.payload_name != payload.name {
            let expected = if manifest.is_encrypted() { ENCRYPTED_PAYLOAD } else { PLAIN_PAYLOAD };
            return Err(Error::UnexpectedMember { found: self.payload_name, expected });
        }
        if self.payload_size != payload.size {
            return Err(Error::SizeMismatch { what: "the payload", expected: payload.size });
        }
        let stored = payload.size + tar_header::padding(payload.size) as u64;
        Ok(Head {
            manifest_digest: Digest::of(&self.manifest),
            key_id: signer.key_id(),
            signer,
            payload_offset: self.payload_offset,
            archive_size: self.payload_offset + stored + 2 * BLOCK as u64,
            manifest,
        })
    }
}

struct Member {
    name: String,
    size: u64,
}

/// Reads the header of the member `expected`; [`PLAIN_PAYLOAD`] stands for both names of the payload.
fn read_member(input: &mut dyn Read, expected: &'static str, limit: u64) -> Result<Member> {
    let mut block = [0; BLOCK];
    let read = read_full(input, &mut block).map_err(Error::read)?;
    let header = Header::from_byte_slice(&block);
    let first = expected == MANIFEST_NAME;
    if first && (read < BLOCK || !tar_header::has_checksum(header)) {
        let reason = if read == 0 { "it is empty" } else { "it is no tar file" };
        return Err(Error::NotAnArchive { reason: reason.to_owned() });
    }
    if read < BLOCK {
        return Err(Error::Truncated { within: "its head" });
    }
    let name = tar_header::shown_name(header);
    let is_name = |wanted: &str| {
        let field = &header.as_old().name;
        field.starts_with(wanted.as_bytes()) && field[wanted.len()..].iter().all(|&byte| byte == 0)
    };
    if first && !is_name(expected) {
        return Err(Error::NotAnArchive { reason: format!("its first member is `{name}`, not {MANIFEST_NAME}") });
    }
    let named = is_name(expected) || (expected == PLAIN_PAYLOAD && is_name(ENCRYPTED_PAYLOAD));
    if !named || !tar_header::has_checksum(header) || !is_plain_file(header) {
        return Err(Error::UnexpectedMember { found: name, expected });
    }
    let size = header.entry_size().unwrap_or(u64::MAX);
    if size > limit {
        let what = match expected {
            MANIFEST_NAME => "the size of the manifest",
            SIGNATURE_NAME => "the size of the signature",
            _ => "the size of the payload",
        };
        return Err(Error::limit(what, limit));
    }
    Ok(Member { name, size })
}

/// Whether this is a regular file of POSIX ustar form. Owner, mode and time of a member have no meaning, so they
/// may be anything.
fn is_plain_file(header: &Header) -> bool {
    let Some(ustar) = header.as_ustar() else {
        return false;
    };
    let zero = |field: &[u8]| field.iter().all(|&byte| byte == 0);
    header.entry_type() == EntryType::Regular
        && ustar.typeflag == *b"0"
        && ustar.size[0] & 0x80 == 0
        && zero(&ustar.linkname)
        && zero(&ustar.prefix)
        && zero(&ustar.pad)
}

/// Reads a body whose size was checked, and its padding.
fn read_body(input: &mut dyn Read, size: u64, name: &'static str) -> Result<Vec<u8>> {
    let mut body = vec![0; size as usize + tar_header::padding(size)];
    if read_full(input, &mut body).map_err(Error::read)? < body.len() {
        return Err(Error::Truncated { within: "its head" });
    }
    if body[size as usize..].iter().any(|&byte| byte != 0) {
        return Err(Error::TrailingBytes { after: name });
    }
    body.truncate(size as usize);
    Ok(body)
}
