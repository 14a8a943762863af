//! Receipts: a receipt is a small signed document about a backup, in a file of its own.
//!
//! It is a tar of `receipt.json` and `receipt.json.minisig`, so it can be checked by hand with `tar xf` and stock
//! `minisign -V`. The caller defines the meaning of the document; this module protects its integrity and
//! identifies the signer.

use std::io::Read;

use crate::{
    error::{Error, Result},
    key::{KeyId, PublicKey, SecretKey, TrustedKeys},
    limits::SIGNATURE_MAX,
    signature::{self, Signature},
    tar_header::{self, BLOCK, padding},
};

const DOCUMENT: &str = "receipt.json";
const SIGNATURE: &str = "receipt.json.minisig";

/// Maximum size of a document in bytes.
pub const DOCUMENT_MAX: u64 = 32 * 1024;

/// Minimum size of a whole receipt in bytes: the headers of two members, their content, and the end. What is smaller, or no
/// multiple of a block, is not a receipt.
pub const RECEIPT_MIN: u64 = 6 * BLOCK as u64;

/// Maximum size of a whole receipt in bytes. A longer file is not a receipt.
pub const RECEIPT_MAX: u64 = DOCUMENT_MAX + SIGNATURE_MAX + 6 * BLOCK as u64;

/// A document whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Signed bytes.
    pub document: Vec<u8>,
    /// Id of the key that signed them.
    pub key_id: KeyId,
    /// Key that signed them. Its id alone is not unique: two keys may have the same one.
    pub signer: PublicKey,
}

/// A receipt whose signature has not been checked: anyone could have written it.
#[derive(Clone, Debug)]
pub struct Unverified {
    document: Vec<u8>,
    signature: Signature,
}

impl Unverified {
    /// Returns the bytes that are said to be signed.
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// Returns the id of the key that claims to have signed.
    pub fn key_id(&self) -> KeyId {
        self.signature.key_id()
    }

    /// Returns the document if a trusted key signed it.
    pub fn verify(self, trusted: &TrustedKeys) -> Result<Receipt> {
        let signer = self.signature.signer(&self.document, trusted)?;
        Ok(Receipt { document: self.document, key_id: self.signature.key_id(), signer })
    }
}

/// Whether an object of this size can be a receipt.
pub fn is_size(size: u64) -> bool {
    (RECEIPT_MIN..=RECEIPT_MAX).contains(&size) && size.is_multiple_of(BLOCK as u64)
}

/// Signs a document, and packs both into a tar. `about` becomes part of the trusted comment and must be one line.
/// `mtime` is in seconds since 1970.
pub fn seal(key: &SecretKey, document: &[u8], about: &str, mtime: u64) -> Result<Vec<u8>> {
    if document.len() as u64 > DOCUMENT_MAX {
        return Err(Error::limit("the size of the receipt", DOCUMENT_MAX));
    }
    let signature = signature::sign(key, document, &format!("swarmdr receipt {about}"));
    let mut packed = Vec::new();
    tar_header::push_member(&mut packed, DOCUMENT, document, mtime);
    tar_header::push_member(&mut packed, SIGNATURE, signature.as_bytes(), mtime);
    packed.resize(packed.len() + 2 * BLOCK, 0);
    Ok(packed)
}

/// Reads a receipt as [`seal`] writes it, and returns the document if a trusted key signed it.
pub fn open(packed: &[u8], trusted: &TrustedKeys) -> Result<Receipt> {
    read(packed)?.verify(trusted)
}

/// Reads a receipt as [`seal`] writes it; nothing is verified. As in an archive, nothing else may be in it: what no
/// signature covers is not kept under the name of a receipt.
pub fn read(packed: &[u8]) -> Result<Unverified> {
    if packed.len() as u64 > RECEIPT_MAX {
        return Err(Error::limit("the size of the receipt", RECEIPT_MAX));
    }
    let mut archive = tar::Archive::new(packed);
    // Raw: a pax header or a long name would be taken for a part of the entry after it.
    let mut entries = archive.entries().map_err(not_one)?.raw(true);
    let mut next = |wanted: &str| -> Result<(Vec<u8>, &[u8])> {
        let mut entry = entries.next().ok_or_else(|| no(format!("it has no {wanted}")))?.map_err(not_one)?;
        if entry.path_bytes().as_ref() != wanted.as_bytes() || !entry.header().entry_type().is_file() {
            return Err(no(format!("it has something else where {wanted} belongs")));
        }
        let mut body = Vec::new();
        entry.read_to_end(&mut body).map_err(not_one)?;
        let end = entry.raw_file_position() as usize + body.len();
        let (gap, rest) =
            packed.get(end..).unwrap_or_default().split_at_checked(padding(body.len() as u64)).unwrap_or_default();
        if gap.iter().any(|&byte| byte != 0) {
            return Err(no(format!("it has bytes that belong to nothing after {wanted}")));
        }
        Ok((body, rest))
    };
    let (document, _) = next(DOCUMENT)?;
    let (signature, rest) = next(SIGNATURE)?;
    if rest != [0; 2 * BLOCK] {
        return Err(no(format!("it does not end after {SIGNATURE}")));
    }
    Ok(Unverified { document, signature: Signature::parse(&signature)? })
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
        assert!(is_size(packed.len() as u64));
        assert_eq!(seal(&key, b"{}", "x", 0).unwrap().len() as u64, RECEIPT_MIN);
        assert_eq!(seal(&key, &[b' '; DOCUMENT_MAX as usize], "x", 0).unwrap().len() as u64 % BLOCK as u64, 0);
        assert!(![0, 4, RECEIPT_MIN - 1, RECEIPT_MIN + 1, RECEIPT_MAX + 1].into_iter().any(is_size));
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
        for length in 0..packed.len() {
            assert!(open(&packed[..length], &trusted).is_err(), "cut at {length}");
        }
        assert!(seal(&key, &vec![b'x'; DOCUMENT_MAX as usize + 1], "x", 0).is_err());
        assert!(open(&vec![0; RECEIPT_MAX as usize + 1], &trusted).is_err());
    }

    #[test]
    fn a_receipt_with_anything_else_in_it_is_refused() {
        let key = key();
        let trusted = TrustedKeys::from(key.public());
        let packed = seal(&key, b"{}", "of a test", 0).unwrap();
        let (entries, end) = packed.split_at(packed.len() - 2 * BLOCK);
        let header = |kind, size| {
            let mut header = tar_header::member("another", size, 0);
            header.set_entry_type(kind);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        let body = &[b'x'; BLOCK][..];
        let another = [&header(tar::EntryType::Regular, BLOCK as u64)[..], body].concat();
        let pax = [&header(tar::EntryType::XHeader, BLOCK as u64)[..], body].concat();
        let mut in_a_gap = packed.clone();
        in_a_gap[BLOCK + 100] = 1;
        for (with, changed) in [
            ("another entry", [entries, &another, end].concat()),
            ("a pax header", [&pax, &packed[..]].concat()),
            ("a byte behind the end", [&packed, &b"x"[..]].concat()),
            ("another zero block", [&packed, &end[..BLOCK]].concat()),
            ("one zero block", packed[..packed.len() - BLOCK].to_vec()),
            ("a byte in the padding", in_a_gap),
        ] {
            assert!(matches!(open(&changed, &trusted), Err(Error::NotAnArchive { .. })), "{with}");
        }
        open(&packed, &trusted).unwrap();
    }
}
