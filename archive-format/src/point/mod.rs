//! Recovery points: small signed documents that say what belongs together in time.
//!
//! A [`Point`] names a backup of the swarm's state, the streams and the snapshots of other tools that were the newest
//! when it was made, and what it lacks. It is packed as a [`receipt`], so stock `tar` and `minisign`
//! open it. It says how far apart in time its parts are, and does not claim that they fit each other.

mod document;
mod gap;
mod key;
mod span;

pub use document::{EXTERNAL_ID_MAX, ExternalPart, ImagesPart, Point, StatePart, StreamPart, VERSION, is_external_id};
pub use gap::{Gap, Part, Why};
pub use key::{POINTS, PointKey};
pub use span::Span;

use crate::{
    digest::Digest,
    error::Result,
    key::{KeyId, PublicKey, SecretKey, TrustedKeys},
    receipt,
};

/// A packed point whose signature has not been checked.
#[derive(Clone, Debug)]
pub struct UnverifiedPoint {
    receipt: receipt::Unverified,
    size: u64,
}

/// A point that a trusted key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPoint {
    /// Verified document.
    pub point: Point,
    /// SHA-256 of the document. The next point in the vault names it as `previous`.
    pub digest: Digest,
    /// Key that signed the document.
    pub signer: PublicKey,
    /// Size of the whole object, in bytes.
    pub size: u64,
}

/// Signs a point and packs it. Fails if the document is longer than [`receipt::DOCUMENT_MAX`], or breaks a rule of the
/// format.
pub fn seal(point: &Point, key: &SecretKey) -> Result<Vec<u8>> {
    point.check()?;
    let about = format!("point {} cluster {}", point.id, point.cluster_id);
    let mtime = u64::try_from(point.made_at.as_second()).unwrap_or(0);
    receipt::seal(key, &point.to_bytes()?, &about, mtime)
}

/// Reads a packed point, all of it. Nothing is verified yet.
pub fn read(packed: &[u8]) -> Result<UnverifiedPoint> {
    Ok(UnverifiedPoint { receipt: receipt::read(packed)?, size: packed.len() as u64 })
}

impl UnverifiedPoint {
    /// Returns the id of the key that claims to have signed.
    pub fn key_id(&self) -> KeyId {
        self.receipt.key_id()
    }

    /// Returns the digest of the document, which does not depend on who signed.
    pub fn digest(&self) -> Digest {
        Digest::of(self.receipt.document())
    }

    /// Checks the signature, then parses the document and checks the rules of the format. Where the point was found is
    /// for the caller to compare, with [`Point::key`].
    pub fn verify(self, trusted: &TrustedKeys) -> Result<SignedPoint> {
        let size = self.size;
        let receipt::Receipt { document, signer, .. } = self.receipt.verify(trusted)?;
        Ok(SignedPoint { point: Point::parse(&document)?, digest: Digest::of(&document), signer, size })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;
    use crate::{error::Error, point::document::tests::point};

    #[test]
    fn a_point_opens_with_its_signers_key_only_and_as_it_was() {
        let key = SecretKey::generate(&SystemRandom::new()).unwrap();
        let packed = seal(&point(), &key).unwrap();
        assert!(receipt::is_size(packed.len() as u64));
        let unverified = read(&packed).unwrap();
        assert_eq!(unverified.key_id(), key.public().key_id());
        let digest = unverified.digest();
        let signed = unverified.verify(&TrustedKeys::from(key.public())).unwrap();
        assert_eq!((signed.point, signed.digest, signed.size), (point(), digest, packed.len() as u64));
        assert_eq!(signed.signer, key.public());
        let other = SecretKey::generate(&SystemRandom::new()).unwrap();
        let refused = read(&packed).unwrap().verify(&TrustedKeys::from(other.public()));
        assert!(matches!(refused, Err(Error::UnknownKey { .. })));
    }
}
