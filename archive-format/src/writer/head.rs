//! The head of an archive, which is written last: manifest, signature, header of the payload.

use std::io::{Seek, SeekFrom, Write};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::key::SecretKey;
use crate::limits::{SIGNATURE_MAX, SIZE_MAX};
use crate::manifest::{ENCRYPTED_PAYLOAD, Manifest, ManifestDraft, PLAIN_PAYLOAD, Payload};
use crate::reader::{MANIFEST_NAME, SIGNATURE_NAME};
use crate::recipients::Recipient;
use crate::signature;
use crate::tar_header::{self, BLOCK};

/// The room that is kept before the payload.
pub(super) struct Reserved {
    /// What is known of the payload, with the largest numbers in the place of the rest.
    pub(super) payload: Payload,
    pub(super) manifest_length: usize,
    /// Bytes up to the payload.
    pub(super) head: u64,
}

impl Reserved {
    pub(super) fn measure(manifest: &ManifestDraft, recipients: &[Recipient], key: &SecretKey) -> Result<Self> {
        let name = if recipients.is_empty() { PLAIN_PAYLOAD } else { ENCRYPTED_PAYLOAD };
        let payload = Payload {
            name: name.to_owned(),
            size: SIZE_MAX,
            sha256: Digest::from([0; 32]),
            tar_size: u64::MAX,
            tar_sha256: Digest::from([0; 32]),
            recipients: recipients.iter().map(ToString::to_string).collect(),
            compression: "zstd".to_owned(),
        };
        let draft = manifest.clone().with_payload(payload.clone());
        draft.check()?;
        let manifest_length = draft.to_bytes(0)?.len().next_multiple_of(BLOCK);
        let signature = sign(&draft, b"", key).len();
        if signature as u64 > SIGNATURE_MAX {
            return Err(Error::limit("the size of the signature", SIGNATURE_MAX));
        }
        let head = 3 * BLOCK + manifest_length + signature.next_multiple_of(BLOCK);
        Ok(Self { payload, manifest_length, head: head as u64 })
    }
}

/// Signs manifest bytes. The length depends on the id and the cluster id alone.
fn sign(manifest: &Manifest, bytes: &[u8], key: &SecretKey) -> String {
    let comment = signature::trusted_comment(manifest.id, &manifest.cluster_id);
    signature::sign(key, bytes, &comment)
}

pub(super) fn write_head(
    out: &mut (impl Write + Seek),
    manifest: &Manifest,
    length: usize,
    room: u64,
    key: &SecretKey,
) -> Result<()> {
    let bytes = manifest.to_bytes(length)?;
    let signature = sign(manifest, &bytes, key);
    let mtime = manifest.created_at.as_second().max(0) as u64;
    let mut head = Vec::with_capacity(room as usize);
    for (name, body) in [(MANIFEST_NAME, &bytes[..]), (SIGNATURE_NAME, signature.as_bytes())] {
        head.extend_from_slice(tar_header::member(name, body.len() as u64, mtime).as_bytes());
        head.extend_from_slice(body);
        head.resize(head.len().next_multiple_of(BLOCK), 0);
    }
    let payload = &manifest.payload;
    head.extend_from_slice(tar_header::member(&payload.name, payload.size, mtime).as_bytes());
    assert_eq!(head.len() as u64, room, "the room was measured with the largest numbers");
    out.seek(SeekFrom::Start(0)).map_err(Error::write)?;
    out.write_all(&head).and_then(|()| out.flush()).map_err(Error::write)
}
