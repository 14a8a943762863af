//! Writes the head of an archive, after the payload: manifest, signature, header of the payload.

use std::io::{Seek, SeekFrom, Write};

use crate::{
    digest::Digest,
    error::{Error, Result},
    key::SecretKey,
    limits::{SIGNATURE_MAX, SIZE_MAX},
    manifest::{ENCRYPTED_PAYLOAD, Manifest, ManifestDraft, PLAIN_PAYLOAD, Payload},
    reader::{MANIFEST_NAME, SIGNATURE_NAME},
    recipients::Recipient,
    signature,
    tar_header::{self, BLOCK},
};

/// Space that is reserved before the payload.
pub(super) struct Reserved {
    /// Payload with the known fields filled in, and with the largest possible numbers for the others.
    pub(super) payload: Payload,
    pub(super) manifest_length: usize,
    /// Size of the head in bytes; the payload starts there.
    pub(super) head: u64,
}

impl Reserved {
    pub(super) fn measure(manifest: &ManifestDraft, recipients: &[Recipient]) -> Result<Self> {
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
        let signature = signature::length(&signature::trusted_comment(draft.id, &draft.cluster_id));
        if signature as u64 > SIGNATURE_MAX {
            return Err(Error::limit("the size of the signature", SIGNATURE_MAX));
        }
        let head = 3 * BLOCK + manifest_length + signature.next_multiple_of(BLOCK);
        Ok(Self { payload, manifest_length, head: head as u64 })
    }
}

/// Signs manifest bytes. The length of the signature depends only on the backup id and the cluster id.
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
    tar_header::push_member(&mut head, MANIFEST_NAME, &bytes, mtime);
    tar_header::push_member(&mut head, SIGNATURE_NAME, signature.as_bytes(), mtime);
    let payload = &manifest.payload;
    head.extend_from_slice(tar_header::member(&payload.name, payload.size, mtime).as_bytes());
    assert_eq!(head.len() as u64, room, "the room was measured with the largest numbers");
    out.seek(SeekFrom::Start(0)).map_err(Error::write)?;
    out.write_all(&head).and_then(|()| out.flush()).map_err(Error::write)
}
