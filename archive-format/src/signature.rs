//! Signatures over manifests, in the file format of minisign.
//!
//! A file has four lines: an untrusted comment, base64 of algorithm, key id and signature, a trusted comment, and
//! base64 of a second signature over the first one and the trusted comment. `ED` signs the BLAKE2b-512 of the message,
//! the older `Ed` the message itself.

use blake2::{Blake2b512, Digest as _};
use data_encoding::BASE64;

use crate::{
    backup_id::BackupId,
    error::{Error, Result},
    key::{KeyId, PublicKey, SecretKey, TrustedKeys, array},
    limits::SIGNATURE_MAX,
    swarm_node::ClusterId,
};

const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";
/// Prefix of the trusted comments of backups. The content of comments without the agent's own prefixes is up to their
/// signers.
pub(crate) const BACKUP: &str = "swarmdr backup ";

/// Returns the trusted comment of a backup, for people who run `minisign -V`.
pub fn trusted_comment(id: BackupId, cluster_id: &ClusterId) -> String {
    format!("{BACKUP}{id} cluster {cluster_id}")
}

/// Signs `message` as stock minisign does. The comment must be one line.
pub fn sign(key: &SecretKey, message: &[u8], trusted_comment: &str) -> String {
    let signature = key.sign(&Blake2b512::digest(message));
    let global = key.sign(&[&signature, trusted_comment.as_bytes()].concat());
    compose(key.public().key_id(), &signature, &global, trusted_comment)
}

/// Returns the length in bytes of every signature with this comment, whatever is signed by whichever key.
pub(crate) fn length(trusted_comment: &str) -> usize {
    compose(KeyId([0; 8]), &[0; 64], &[0; 64], trusted_comment).len()
}

fn compose(key_id: KeyId, signature: &[u8; 64], global: &[u8; 64], trusted_comment: &str) -> String {
    let line = BASE64.encode(&[&b"ED"[..], &key_id.0, signature].concat());
    let global = BASE64.encode(global);
    format!("{UNTRUSTED}signature from swarmdr key {key_id}\n{line}\n{TRUSTED}{trusted_comment}\n{global}\n")
}

/// A parsed signature file. It proves nothing until [`Signature::verify`] succeeds.
#[derive(Clone, Debug)]
pub struct Signature {
    key_id: KeyId,
    prehashed: bool,
    signature: [u8; 64],
    trusted_comment: String,
    global: [u8; 64],
}

impl Signature {
    /// Parses a signature file; refuses anything but its four lines.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > SIGNATURE_MAX {
            return Err(Error::limit("the size of the signature", SIGNATURE_MAX));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
        let [untrusted, first, trusted, second] = lines[..] else {
            return Err(bad("it does not have the four lines of a minisign signature"));
        };
        let comment = trusted.strip_prefix(TRUSTED).ok_or(bad("its third line is no trusted comment"))?;
        if !untrusted.starts_with(UNTRUSTED) {
            return Err(bad("its first line is no untrusted comment"));
        }
        let [line, global] = [first, second].map(|line| BASE64.decode(line.as_bytes()));
        let (Ok(line), Ok(global)) = (line, global) else {
            return Err(bad("a line of it is not base64"));
        };
        if line.len() != 74 || global.len() != 64 {
            return Err(bad("a line of it has the wrong length"));
        }
        let prehashed = match &line[..2] {
            b"ED" => true,
            b"Ed" => false,
            _ => return Err(bad("its algorithm is not known here")),
        };
        Ok(Self {
            key_id: KeyId(array(&line[2..10])),
            prehashed,
            signature: array(&line[10..]),
            trusted_comment: comment.to_owned(),
            global: array(&global),
        })
    }

    /// Returns the id of the key that claims to have signed.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Returns the comment that is signed with the message. Trust it only after [`Signature::verify`].
    pub fn trusted_comment(&self) -> &str {
        &self.trusted_comment
    }

    /// Checks both signatures against the trusted keys.
    pub fn verify(&self, message: &[u8], trusted: &TrustedKeys) -> Result<()> {
        self.signer(message, trusted).map(drop)
    }

    /// Checks both signatures as [`Signature::verify`] does, and returns the key that signed.
    pub(crate) fn signer(&self, message: &[u8], trusted: &TrustedKeys) -> Result<PublicKey> {
        let hash = self.prehashed.then(|| Blake2b512::digest(message));
        let message = hash.as_deref().unwrap_or(message);
        let mut keys = trusted.with_id(self.key_id).peekable();
        if keys.peek().is_none() {
            return Err(trusted.unknown(self.key_id));
        }
        let key = keys
            .find(|key| key.verifies(message, &self.signature))
            .ok_or(bad("the manifest is not what this key signed"))?;
        let global = [&self.signature, self.trusted_comment.as_bytes()].concat();
        if key.verifies(&global, &self.global) { Ok(*key) } else { Err(bad("its trusted comment was altered")) }
    }

    /// Returns an error if the comment begins with the agent's own prefix but is not the `expected` one. Other comments
    /// are not checked.
    pub(crate) fn check_comment(&self, prefix: &str, expected: &str) -> Result<()> {
        if self.trusted_comment.starts_with(prefix) && self.trusted_comment != expected {
            return Err(bad("its trusted comment names another archive than the manifest"));
        }
        Ok(())
    }
}

fn bad(reason: &'static str) -> Error {
    Error::BadSignature { reason }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;

    /// Made by stock minisign 0.11 over `hello\n`: prehashed, then legacy.
    const PUBLIC: &str = "RWS4LEL81GcVm2XBEDpc/GTR1E92Il1kyIDqOKCG/yv93qdWlty04K+z";
    const STOCK: &str = "untrusted comment: signature from minisign secret key\n\
        RUS4LEL81GcVmyYUiWmNVfYyX6YrZFQeSymOeBDCbWH4N0kYcBX9cUpVd2Gzv8WBgDRJGh8veFIfD5D0eY+jSULQmbXqQWXAQws=\n\
        trusted comment: swarmdr x\n\
        C3qqx2rsksinBfwJ7xYiyeJVFoleUI1jXLn+ng+Yp1E8jmu7yNnq/sxiZNGrRNSJetMtHdsx4oexdgJMIadIDw==\n";

    fn reason(result: Result<()>) -> &'static str {
        match result {
            Err(Error::BadSignature { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn stock_signature_verifies_and_every_change_to_it_does_not() {
        let trusted = TrustedKeys::from(PUBLIC.parse::<crate::PublicKey>().unwrap());
        let signature = Signature::parse(STOCK.as_bytes()).unwrap();
        signature.verify(b"hello\n", &trusted).unwrap();
        assert_eq!(signature.trusted_comment(), "swarmdr x");
        assert!(reason(signature.verify(b"hello", &trusted)).contains("not what this key signed"));
        let renamed = Signature::parse(STOCK.replace("swarmdr x", "swarmdr y").as_bytes()).unwrap();
        assert!(reason(renamed.verify(b"hello\n", &trusted)).contains("comment was altered"));
        let unknown = signature.verify(b"hello\n", &TrustedKeys::new());
        assert!(unknown.unwrap_err().to_string().contains("9B1567D4FC422CB8"));
    }

    #[test]
    fn malformed_signatures_are_refused() {
        for text in [
            "",
            "x\ny\nz\nw\n",
            &STOCK.replace("untrusted", "trusted"),
            &STOCK.replace("RUS4", "RXS4"),
            &STOCK.replace("RUS4", "****"),
            &STOCK.replace("C3qq", ""),
            &format!("{STOCK}\n"),
            &STOCK.replace('\n', "\r\n"),
        ] {
            reason(Signature::parse(text.as_bytes()).map(drop));
        }
        assert!(Signature::parse(&[b'a'; 2049]).unwrap_err().to_string().contains("2048"));
    }

    #[test]
    fn second_key_of_the_same_id_counts() {
        let key = SecretKey::generate(&SystemRandom::new()).unwrap();
        let mut twin = SecretKey::generate(&SystemRandom::new()).unwrap().public().to_string();
        let id = &BASE64.decode(key.public().to_string().as_bytes()).unwrap()[..10];
        let mut bytes = BASE64.decode(twin.as_bytes()).unwrap();
        bytes[..10].copy_from_slice(id);
        twin = BASE64.encode(&bytes);
        let trusted: TrustedKeys = [twin.parse().unwrap(), key.public()].into_iter().collect();
        let text = sign(&key, b"m", "c");
        Signature::parse(text.as_bytes()).unwrap().verify(b"m", &trusted).unwrap();
    }
}
