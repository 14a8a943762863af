//! Fernet tokens (AES-128-CBC and HMAC-SHA256), which only engines in FIPS mode write.

use aes::Aes128;
use cbc::cipher::{BlockDecryptMut, KeyIvInit, block_padding::Pkcs7};
use data_encoding::BASE64URL;
use ring::hmac;
use zeroize::Zeroizing;

const VERSION: u8 = 0x80;
/// Length of version, time and initialisation vector in bytes.
const HEAD_LEN: usize = 1 + 8 + 16;
const MAC_LEN: usize = 32;

/// Decrypts a token in its base64 form; `None` if the key does not fit or a bit is wrong. The time in the token is
/// ignored, as in swarmkit.
pub(crate) fn open(key: &[u8; 32], token: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let token = BASE64URL.decode(token).ok()?;
    let (signed, mac) = token.split_at(token.len().checked_sub(MAC_LEN)?);
    let (signing, encryption) = key.split_at(16);
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, signing), signed, mac).ok()?;
    let head = signed.get(..HEAD_LEN).filter(|head| head[0] == VERSION)?;
    let cipher = cbc::Decryptor::<Aes128>::new_from_slices(encryption, &head[9..]).ok()?;
    cipher.decrypt_padded_vec_mut::<Pkcs7>(&signed[HEAD_LEN..]).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Token of `verify.json` in the Fernet specification.
    const TOKEN: &[u8] =
        b"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    fn key() -> [u8; 32] {
        let key = BASE64URL.decode(b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
        key.try_into().unwrap()
    }

    #[test]
    fn opens_the_token_of_the_specification() {
        assert_eq!(open(&key(), TOKEN).unwrap().as_slice(), b"hello");
    }

    #[test]
    fn refuses_a_token_with_any_byte_changed() {
        for at in 0..TOKEN.len() {
            let mut token = TOKEN.to_vec();
            token[at] ^= 1;
            assert_eq!(open(&key(), &token), None, "byte {at}");
        }
        for len in 0..TOKEN.len() {
            assert_eq!(open(&key(), &TOKEN[..len]), None, "{len} bytes");
        }
    }
}
