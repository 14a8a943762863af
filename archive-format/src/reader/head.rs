//! Head of an archive: manifest, signature and the header of the payload.

use std::io::Read;

use super::member::{Expected, SignedManifest, blocks, name_other_kind, read_member};
use crate::{
    digest::Digest,
    error::{Error, Result},
    key::{KeyId, PublicKey, TrustedKeys},
    limits::SIZE_MAX,
    manifest::{ENCRYPTED_PAYLOAD, Manifest, PLAIN_PAYLOAD},
    signature,
    stream_archive::LIST_NAME,
    tar_header::BLOCK,
};

/// A head whose signature has not been checked.
#[derive(Clone, Debug)]
pub struct UnverifiedHead {
    signed: SignedManifest,
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
    let signed = SignedManifest::read(input)?;
    let expected =
        Expected { names: &[PLAIN_PAYLOAD, ENCRYPTED_PAYLOAD], size: "the size of the payload", limit: SIZE_MAX };
    let payload = read_member(input, &expected)
        .map_err(|error| name_other_kind(error, &[LIST_NAME], "a stream", "a backup of a swarm"))?;
    let payload_offset = signed.end + BLOCK as u64;
    Ok(UnverifiedHead { signed, payload_name: payload.name, payload_size: payload.size, payload_offset })
}

impl UnverifiedHead {
    /// Returns the id of the key that claims to have signed.
    pub fn key_id(&self) -> KeyId {
        self.signed.signature.key_id()
    }

    /// Returns the digest of the manifest, which the next backup names as `previous`. It does not depend on who signed.
    pub fn manifest_digest(&self) -> Digest {
        self.signed.digest()
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
        Manifest::parse(&self.signed.bytes)
    }

    /// Checks the signature, then parses the manifest and checks that it belongs to this archive.
    pub fn verify(self, trusted: &TrustedKeys) -> Result<Head> {
        let signer = self.signed.signature.signer(&self.signed.bytes, trusted)?;
        let manifest = Manifest::parse(&self.signed.bytes)?;
        let comment = signature::trusted_comment(manifest.id, &manifest.cluster_id);
        self.signed.signature.check_comment(signature::BACKUP, &comment)?;
        let payload = &manifest.payload;
        if self.payload_name != payload.name {
            let expected = if manifest.is_encrypted() { ENCRYPTED_PAYLOAD } else { PLAIN_PAYLOAD };
            return Err(Error::UnexpectedMember { found: self.payload_name, expected });
        }
        if self.payload_size != payload.size {
            return Err(Error::SizeMismatch { what: "the payload", expected: payload.size });
        }
        Ok(Head {
            manifest_digest: self.signed.digest(),
            key_id: signer.key_id(),
            signer,
            payload_offset: self.payload_offset,
            archive_size: self.payload_offset + blocks(payload.size) + 2 * BLOCK as u64,
            manifest,
        })
    }
}
