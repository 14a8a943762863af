//! TLS key in the forms that engines wrote: PKCS#8 and SEC1, in clear or encrypted with the unlock key as password.

use aes::Aes256;
use cbc::cipher::{BlockDecryptMut, KeyIvInit, block_padding::Pkcs7};
use data_encoding::HEXUPPER_PERMISSIVE;
use md5::{Digest, Md5};
use p256::{elliptic_curve::sec1::ToEncodedPoint, pkcs8::DecodePrivateKey};
use pkcs8::EncryptedPrivateKeyInfo;
use zeroize::Zeroizing;

use super::UnlockKey;

const OPEN_TAG: &str = "PRIVATE KEY";
const LOCKED_TAG: &str = "ENCRYPTED PRIVATE KEY";
const RFC1423_CIPHER: &str = "AES-256-CBC";

pub(super) fn is_locked(block: &pem::Pem) -> bool {
    block.tag() == LOCKED_TAG || is_rfc1423(block)
}

/// Returns the PEM tag of the same key when it is not encrypted. Only PKCS#8 has a different tag for that.
pub(super) fn open_tag(block: &pem::Pem) -> &str {
    if block.tag() == LOCKED_TAG { OPEN_TAG } else { block.tag() }
}

/// A decrypted key.
pub(super) struct PrivateKey {
    pub(super) der: Zeroizing<Vec<u8>>,
    /// Public half, an uncompressed point.
    pub(super) public: Vec<u8>,
}

/// Decrypts the key; `None` if that fails or the result is not an EC key.
pub(super) fn open(block: &pem::Pem, unlock_key: Option<&UnlockKey>) -> Option<PrivateKey> {
    let der = match unlock_key {
        None => Zeroizing::new(block.contents().to_vec()),
        Some(key) if block.tag() == LOCKED_TAG => open_pkcs8(block.contents(), key)?,
        Some(key) => open_rfc1423(block, key)?,
    };
    // A wrong password yields valid padding once in 256 times, but never a key whose halves fit.
    let public = public_key(&der)?;
    Some(PrivateKey { der, public })
}

/// Returns the public half, computed from the private one; `None` if this is not a P-256 key, the only kind
/// that swarm makes.
fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let pkcs8 = p256::SecretKey::from_pkcs8_der(der).ok();
    let key = pkcs8.or_else(|| p256::SecretKey::from_sec1_der(der).ok())?;
    Some(key.public_key().to_encoded_point(false).as_bytes().to_vec())
}

fn open_pkcs8(der: &[u8], key: &UnlockKey) -> Option<Zeroizing<Vec<u8>>> {
    let closed = EncryptedPrivateKeyInfo::try_from(der).ok()?;
    let opened = closed.decrypt(key.bytes()).ok()?;
    Some(Zeroizing::new(opened.as_bytes().to_vec()))
}

fn is_rfc1423(block: &pem::Pem) -> bool {
    block.headers().get("Proc-Type").is_some_and(|value| value.contains("ENCRYPTED"))
}

/// Decrypts the form of engines before 17.12. The AES key is two rounds of MD5 over password and salt, and the salt is
/// the first half of the initialisation vector.
fn open_rfc1423(block: &pem::Pem, key: &UnlockKey) -> Option<Zeroizing<Vec<u8>>> {
    let (cipher, vector) = block.headers().get("DEK-Info")?.split_once(',')?;
    let vector = HEXUPPER_PERMISSIVE.decode(vector.trim().as_bytes()).ok()?;
    if cipher.trim() != RFC1423_CIPHER || vector.len() != 16 {
        return None;
    }
    let mut aes_key = Zeroizing::new([0_u8; 32]);
    let first = Md5::new().chain_update(key.bytes()).chain_update(&vector[..8]).finalize();
    let second = Md5::new().chain_update(first).chain_update(key.bytes());
    aes_key[..16].copy_from_slice(&first);
    aes_key[16..].copy_from_slice(&second.chain_update(&vector[..8]).finalize());
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(aes_key.as_ref(), &vector).ok()?;
    cipher.decrypt_padded_vec_mut::<Pkcs7>(block.contents()).ok().map(Zeroizing::new)
}
