//! NaCl's secretbox (XSalsa20 and Poly1305), decrypted piece by piece: a raft snapshot of 1 GiB is one single box.
//!
//! The ciphers come from crates; this file contains only the order of the calls. The first 32 bytes of the key stream
//! are the key of the checksum, and the rest encrypts the text. The checksum covers the encrypted text and precedes it.

use std::fmt;

use poly1305::{
    Poly1305,
    universal_hash::{KeyInit, UniversalHash},
};
use salsa20::{
    XSalsa20,
    cipher::{KeyIvInit, StreamCipher},
};
use zeroize::Zeroize;

pub(crate) const NONCE_LEN: usize = 24;
pub(crate) const TAG_LEN: usize = 16;
const BLOCK_LEN: usize = 16;

/// Decrypts the text of a box. Nothing that it returns is trustworthy until [`Checksum`] has confirmed the whole box.
pub(crate) struct Text(XSalsa20);

/// Checks that a box is complete and was encrypted with the key.
pub(crate) struct Checksum(Poly1305);

/// Starts to decrypt a box.
pub(crate) fn begin(key: &[u8; 32], nonce: &[u8; NONCE_LEN]) -> (Checksum, Text) {
    let mut cipher = XSalsa20::new(key.into(), nonce.into());
    let mut checksum_key = [0; 32];
    cipher.apply_keystream(&mut checksum_key);
    let checksum = Poly1305::new(&checksum_key.into());
    checksum_key.zeroize();
    (Checksum(checksum), Text(cipher))
}

impl Checksum {
    /// Adds the next piece of encrypted text, a multiple of 16 bytes.
    pub(crate) fn update(&mut self, blocks: &[u8]) {
        debug_assert!(blocks.len().is_multiple_of(BLOCK_LEN));
        self.0.update_padded(blocks);
    }

    /// Adds the last piece, of any length, and returns whether the box is genuine.
    pub(crate) fn confirms(self, last: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        // A plain comparison is enough: an attacker who could measure its time learns no more than from the files.
        self.compute(last) == *tag
    }

    pub(super) fn compute(mut self, last: &[u8]) -> [u8; TAG_LEN] {
        let (blocks, rest) = last.split_at(last.len() - last.len() % BLOCK_LEN);
        self.update(blocks);
        self.0.compute_unpadded(rest).into()
    }
}

impl Text {
    /// Decrypts the next piece in place. Pieces must be passed in order.
    pub(crate) fn decrypt(&mut self, piece: &mut [u8]) {
        self.0.apply_keystream(piece);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Example of "Cryptography in NaCl", section 10, which all implementations share.
    #[test]
    fn opens_the_box_of_the_nacl_paper() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let boxed = hex(concat!(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a",
            "c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae",
            "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74",
            "e355a5",
        ));
        let tag: [u8; 16] = boxed[..16].try_into().unwrap();
        let mut text = boxed[16..].to_vec();
        let begin = || begin(key[..].try_into().unwrap(), nonce[..].try_into().unwrap());

        // In pieces, as a snapshot file is read, and at once, as a log record is.
        let (mut checksum, _) = begin();
        checksum.update(&text[..64]);
        assert!(checksum.confirms(&text[64..], &tag));
        let (checksum, mut cipher) = begin();
        assert!(checksum.confirms(&text, &tag));
        let (first, second) = text.split_at_mut(50);
        cipher.decrypt(first);
        cipher.decrypt(second);
        assert_eq!(&text[..8], hex("be075fc53c81f2d5"));
        assert_eq!(&text[text.len() - 3..], hex("5e0705"));
    }
}
