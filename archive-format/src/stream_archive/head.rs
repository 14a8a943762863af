//! Head of a stream archive: manifest, signature, list of chunks, and the header of the payload.

use std::io::Read;

use super::{ENCRYPTED_PAYLOAD, ListedStream, PLAIN_PAYLOAD, StreamKey, StreamManifest, manifest::DIGEST};
use crate::{
    digest::Digest,
    error::{Error, Result},
    key::{KeyId, PublicKey, TrustedKeys},
    limits::{CHUNK_SIZE, LIST_MAX},
    manifest,
    reader::member::{Expected, SignedManifest, blocks, name_other_kind, read_body, read_member},
    tar_header::BLOCK,
};

/// Name of the third member of a stream archive.
pub(crate) const LIST_NAME: &str = "chunks.sha256";

/// Prefix of the agent's own trusted comments, whatever they are about.
pub(super) const OURS: &str = "swarmdr ";

/// A head whose signature has not been checked.
#[derive(Clone, Debug)]
pub struct UnverifiedStreamHead {
    signed: SignedManifest,
    list_size: u64,
}

/// The head of a stream that a trusted key signed. The list of chunks has not been read.
#[derive(Clone, Debug)]
pub struct StreamHead {
    /// Verified manifest.
    pub manifest: StreamManifest,
    /// SHA-256 of the manifest bytes. The next stream of that name in the vault names it as `previous`.
    pub manifest_digest: Digest,
    /// Key that signed the manifest. Its id alone is not unique: two keys may have the same one.
    pub signer: PublicKey,
    /// Offset of the list of chunks, in bytes; [`StreamHead::with_list`] reads from there.
    pub list_offset: u64,
    /// Offset of the stored payload, in bytes.
    pub payload_offset: u64,
    /// Size of the whole archive, in bytes. An object of another size is damaged.
    pub archive_size: u64,
}

/// Reads the head of a stream up to its list of chunks and not one byte more.
///
/// Needs at most the first [`HEAD_LIMIT`](crate::limits::HEAD_LIMIT) bytes. Nothing is verified yet. A backup of a swarm
/// is refused with [`Error::OtherKind`].
pub fn read_head(mut input: impl Read) -> Result<UnverifiedStreamHead> {
    let signed = SignedManifest::read(&mut input)?;
    let expected = Expected { names: &[LIST_NAME], size: "the size of the list of chunks", limit: LIST_MAX };
    let list = read_member(&mut input, &expected).map_err(|error| {
        let of_backups = [manifest::PLAIN_PAYLOAD, manifest::ENCRYPTED_PAYLOAD];
        name_other_kind(error, &of_backups, "a backup of a swarm", "a stream")
    })?;
    Ok(UnverifiedStreamHead { signed, list_size: list.size })
}

impl UnverifiedStreamHead {
    /// Returns the id of the key that claims to have signed.
    pub fn key_id(&self) -> KeyId {
        self.signed.signature.key_id()
    }

    /// Returns the digest of the manifest, which the next stream names as `previous`. It does not depend on who signed.
    pub fn manifest_digest(&self) -> Digest {
        self.signed.digest()
    }

    /// Returns the unverified manifest, for a report on a stream that does not verify. Anyone could have written it.
    pub fn claims(&self) -> Result<StreamManifest> {
        StreamManifest::parse(&self.signed.bytes)
    }

    /// Checks the signature, then parses the manifest and checks that it belongs to this archive.
    pub fn verify(self, trusted: &TrustedKeys) -> Result<StreamHead> {
        let signer = self.signed.signature.signer(&self.signed.bytes, trusted)?;
        let manifest = StreamManifest::parse(&self.signed.bytes)?;
        self.signed.signature.check_comment(OURS, &manifest.trusted_comment())?;
        let list_size = manifest.chunks.list_size;
        if self.list_size != list_size {
            return Err(Error::SizeMismatch { what: "the list of chunks", expected: list_size });
        }
        let list_offset = self.signed.end + BLOCK as u64;
        let payload_offset = list_offset + blocks(list_size) + BLOCK as u64;
        Ok(StreamHead {
            manifest_digest: self.signed.digest(),
            signer,
            list_offset,
            payload_offset,
            archive_size: payload_offset + blocks(manifest.payload.size) + 2 * BLOCK as u64,
            manifest,
        })
    }
}

impl StreamHead {
    /// Returns the only place in a vault that the stream belongs to.
    pub fn key(&self) -> StreamKey {
        self.manifest.key()
    }

    /// Checks that the stream belongs to the place where it was found, or fails with [`Error::Misplaced`]. One signer
    /// signs many streams: without this check, an old one or one of another name could stand in for it.
    pub fn require(&self, place: &StreamKey) -> Result<()> {
        let own = self.key();
        if own == *place { Ok(()) } else { Err(Error::Misplaced { own: own.to_string(), place: place.to_string() }) }
    }

    /// Reads the list of chunks and the header of the payload, and checks both against the manifest.
    ///
    /// `input` stands at [`StreamHead::list_offset`], and stands at [`StreamHead::payload_offset`] afterwards. The list
    /// is kept in memory, at most [`LIST_MAX`] bytes.
    pub fn with_list(self, mut input: impl Read) -> Result<ListedStream> {
        let (chunks, payload) = (&self.manifest.chunks, &self.manifest.payload);
        let mut list = read_body(&mut input, chunks.list_size, LIST_NAME)?;
        if Digest::of(&list) != chunks.list_sha256 {
            return Err(Error::DigestMismatch { what: "the list of chunks".to_owned() });
        }
        let used = (chunks.count * DIGEST) as usize;
        if list[used..].iter().any(|&byte| byte != 0) {
            return Err(Error::TrailingBytes { after: "the digests of the chunks" });
        }
        list.truncate(used);
        list.shrink_to_fit();
        let expected = Expected {
            names: &[PLAIN_PAYLOAD, ENCRYPTED_PAYLOAD],
            size: "the size of the payload",
            limit: LIST_MAX / DIGEST * u64::from(CHUNK_SIZE),
        };
        let member = read_member(&mut input, &expected)?;
        if member.name != payload.name {
            return Err(Error::UnexpectedMember { found: member.name, expected: self.manifest.payload_name() });
        }
        if member.size != payload.size {
            return Err(Error::SizeMismatch { what: "the payload", expected: payload.size });
        }
        Ok(ListedStream::new(self, list))
    }
}
