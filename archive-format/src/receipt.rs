//! A receipt: a small signed document about a backup, in a file of its own.
//!
//! A tar of `receipt.json` and `receipt.json.minisig`, so `tar xf` and stock `minisign -V` check one by hand. What the
//! document says is for its maker to define; this keeps it whole and says who signed it.

use std::io::Read;

use crate::error::{Error, Result};
use crate::key::{KeyId, SecretKey, TrustedKeys};
use crate::limits::SIGNATURE_MAX;
use crate::signature::{self, Signature};
use crate::tar_header::{self, BLOCK, padding};

const DOCUMENT: &str = "receipt.json";
const SIGNATURE: &str = "receipt.json.minisig";

/// Bytes of a document.
pub const DOCUMENT_MAX: u64 = 32 * 1024;

/// Bytes of a whole receipt; what is longer is none.
pub const RECEIPT_MAX: u64 = DOCUMENT_MAX + SIGNATURE_MAX + 6 * BLOCK as u64;

/// A document whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The signed bytes.
    pub document: Vec<u8>,
    /// Who signed them.
    pub key_id: KeyId,
}

/// Signs a document and packs both. `about` becomes the trusted comment: one line. `mtime` is in seconds since 1970.
pub fn seal(key: &SecretKey, document: &[u8], about: &str, mtime: u64) -> Result<Vec<u8>> {
    if document.len() as u64 > DOCUMENT_MAX {
        return Err(Error::limit("the size of the receipt", DOCUMENT_MAX));
    }
    let signature = signature::sign(key, document, &format!("swarmdr receipt {about}"));
    let mut packed = Vec::new();
    for (name, body) in [(DOCUMENT, document), (SIGNATURE, signature.as_bytes())] {
        let size = body.len() as u64;
        packed.extend_from_slice(tar_header::member(name, size, mtime).as_bytes());
        packed.extend_from_slice(body);
        packed.resize(packed.len() + padding(size), 0);
    }
    packed.resize(packed.len() + 2 * BLOCK, 0);
    Ok(packed)
}

/// Reads what [`seal`] wrote, and nothing else; believes only what a trusted key signed.
pub fn open(packed: &[u8], trusted: &TrustedKeys) -> Result<Receipt> {
    if packed.len() as u64 > RECEIPT_MAX {
        return Err(Error::limit("the size of the receipt", RECEIPT_MAX));
    }
    let mut archive = tar::Archive::new(packed);
    let mut entries = archive.entries().map_err(not_one)?;
    let mut next = |wanted: &str| -> Result<Vec<u8>> {
        let mut entry = entries.next().ok_or_else(|| no(format!("it has no {wanted}")))?.map_err(not_one)?;
        if entry.path_bytes().as_ref() != wanted.as_bytes() || !entry.header().entry_type().is_file() {
            return Err(no(format!("it has something else where {wanted} belongs")));
        }
        let mut body = Vec::new();
        entry.read_to_end(&mut body).map_err(not_one)?;
        Ok(body)
    };
    let document = next(DOCUMENT)?;
    let signature = Signature::parse(&next(SIGNATURE)?)?;
    signature.verify(&document, trusted)?;
    Ok(Receipt { document, key_id: signature.key_id() })
}

fn not_one(error: std::io::Error) -> Error {
    no(format!("it is no tar of a receipt: {error}"))
}

fn no(reason: String) -> Error {
    Error::NotAnArchive { reason }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    fn key() -> SecretKey {
        SecretKey::generate(&SystemRandom::new()).unwrap()
    }

    #[test]
    fn a_receipt_opens_with_its_signers_key_only() {
        let key = key();
        let packed = seal(&key, b"{\"result\":\"proven\"}\n", "of a test", 1_700_000_000).unwrap();
        assert_eq!(packed.len() % BLOCK, 0);
        let opened = open(&packed, &TrustedKeys::from(key.public())).unwrap();
        assert_eq!(opened.document, b"{\"result\":\"proven\"}\n");
        assert_eq!(opened.key_id, key.public().key_id());
        let other = SecretKey::generate(&SystemRandom::new()).unwrap();
        assert!(matches!(open(&packed, &TrustedKeys::from(other.public())), Err(Error::UnknownKey { .. })));
    }

    #[test]
    fn every_changed_byte_of_the_document_is_seen_and_none_panics() {
        let key = key();
        let trusted = TrustedKeys::from(key.public());
        let packed = seal(&key, b"{\"result\":\"proven\"}\n", "of a test", 0).unwrap();
        for at in 0..packed.len() {
            let mut changed = packed.clone();
            changed[at] ^= 1;
            if let Ok(opened) = open(&changed, &trusted) {
                assert_eq!(opened.document, b"{\"result\":\"proven\"}\n", "byte {at}");
            }
        }
        // Two headers and the document come before the first byte of the signature.
        for length in 0..3 * BLOCK + 64 {
            assert!(open(&packed[..length], &trusted).is_err(), "cut at {length}");
        }
        assert!(seal(&key, &vec![b'x'; DOCUMENT_MAX as usize + 1], "x", 0).is_err());
        assert!(open(&vec![0; RECEIPT_MAX as usize + 1], &trusted).is_err());
    }
}
