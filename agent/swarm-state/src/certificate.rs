//! X.509 certificates in PEM: names, dates, and the check of signatures.

use jiff::Timestamp;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::{
    der::{
        Decode, Header, Reader, SliceReader,
        asn1::{Any, ObjectIdentifier},
    },
    name::Name,
};

use super::Damage;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");

/// One certificate. Contains nothing secret.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    parsed: x509_cert::Certificate,
    der: Vec<u8>,
}

impl Certificate {
    /// Parses all certificates of a PEM file, in file order. A file with no certificate, or with anything else,
    /// is an error.
    pub(crate) fn parse_pem(file: &str, bytes: &[u8]) -> Result<Vec<Self>, Damage> {
        let blocks = pem::parse_many(bytes).map_err(|error| Damage::corrupt(file, 0, format!("not PEM: {error}")))?;
        if blocks.is_empty() {
            return Err(Damage::corrupt(file, 0, "holds no certificate"));
        }
        blocks.into_iter().map(|block| Self::from_block(file, bytes, block)).collect()
    }

    fn from_block(file: &str, bytes: &[u8], block: pem::Pem) -> Result<Self, Damage> {
        if block.tag() != "CERTIFICATE" {
            let why = format!("a PEM block `{}` where a certificate belongs", block.tag());
            return Err(Damage::corrupt(file, tag_offset(bytes, block.tag()), why));
        }
        let der = block.into_contents();
        let parsed = x509_cert::Certificate::from_der(&der)
            .map_err(|error| Damage::corrupt(file, 0, format!("not a certificate: {error}")))?;
        Ok(Self { parsed, der })
    }

    /// Parses one certificate without PEM around it, as TLS has it.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        Some(Self { parsed: x509_cert::Certificate::from_der(der).ok()?, der: der.to_vec() })
    }

    pub(crate) fn common_name(&self) -> Option<String> {
        attribute(&self.parsed.tbs_certificate.subject, COMMON_NAME)
    }

    pub(crate) fn organization(&self) -> Option<String> {
        attribute(&self.parsed.tbs_certificate.subject, ORGANIZATION)
    }

    pub(crate) fn organizational_unit(&self) -> Option<String> {
        attribute(&self.parsed.tbs_certificate.subject, ORGANIZATIONAL_UNIT)
    }

    pub(crate) fn not_before(&self) -> Timestamp {
        timestamp(self.parsed.tbs_certificate.validity.not_before)
    }

    pub(crate) fn not_after(&self) -> Timestamp {
        timestamp(self.parsed.tbs_certificate.validity.not_after)
    }

    /// Returns the key inside SubjectPublicKeyInfo: an uncompressed point for the EC keys of swarm.
    pub(crate) fn public_key(&self) -> &[u8] {
        let spki = &self.parsed.tbs_certificate.subject_public_key_info;
        spki.subject_public_key.raw_bytes()
    }

    /// Whether subject and issuer are the same name, as in a root certificate.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.parsed.tbs_certificate.subject == self.parsed.tbs_certificate.issuer
    }

    /// Returns the signed bytes as they were read.
    fn signed_bytes(&self) -> x509_cert::der::Result<&[u8]> {
        let mut reader = SliceReader::new(&self.der)?;
        Header::decode(&mut reader)?;
        reader.tlv_bytes()
    }

    /// Whether `issuer` signed this certificate and is named as its issuer. Dates and constraints are ignored: a
    /// restore must work with expired certificates too. Returns `None` for an algorithm that this reader does not know.
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> Option<bool> {
        if self.parsed.tbs_certificate.issuer != issuer.parsed.tbs_certificate.subject {
            return Some(false);
        }
        let oid = self.parsed.signature_algorithm.oid.to_string();
        let curve = issuer.parsed.tbs_certificate.subject_public_key_info.algorithm.parameters.as_ref();
        let curve = curve.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let algorithm = algorithm(&oid, curve.map(|oid| oid.to_string()).as_deref())?;
        let signed = self.signed_bytes().ok()?;
        let key = UnparsedPublicKey::new(algorithm, issuer.public_key());
        Some(key.verify(signed, self.parsed.signature.raw_bytes()).is_ok())
    }
}

/// Whether the chain from the first certificate of `chain` leads to one of `roots`. Returns `None` if an algorithm in
/// the chain is unknown.
pub(crate) fn chains_to(chain: &[Certificate], roots: &[Certificate]) -> Option<bool> {
    let mut at = chain.first()?;
    for step in 0..chain.len() {
        for root in roots {
            if at.is_signed_by(root)? {
                return Some(true);
            }
        }
        match chain.get(step + 1) {
            Some(next) if at.is_signed_by(next)? => at = next,
            _ => return Some(false),
        }
    }
    Some(false)
}

fn algorithm(oid: &str, curve: Option<&str>) -> Option<&'static dyn VerificationAlgorithm> {
    const P256: &str = "1.2.840.10045.3.1.7";
    const P384: &str = "1.3.132.0.34";
    Some(match (oid, curve) {
        ("1.2.840.10045.4.3.2", Some(P256)) => &signature::ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.4.3.2", Some(P384)) => &signature::ECDSA_P384_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", Some(P256)) => &signature::ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.4.3.3", Some(P384)) => &signature::ECDSA_P384_SHA384_ASN1,
        ("1.2.840.113549.1.1.11", _) => &signature::RSA_PKCS1_2048_8192_SHA256,
        ("1.2.840.113549.1.1.12", _) => &signature::RSA_PKCS1_2048_8192_SHA384,
        ("1.2.840.113549.1.1.13", _) => &signature::RSA_PKCS1_2048_8192_SHA512,
        ("1.3.101.112", _) => &signature::ED25519,
        _ => return None,
    })
}

fn attribute(name: &Name, oid: ObjectIdentifier) -> Option<String> {
    let found = name.0.iter().flat_map(|part| part.0.iter()).find(|a| a.oid == oid)?;
    text(&found.value)
}

/// Decodes UTF8String and PrintableString, the two string types that Go's encoder writes.
fn text(value: &Any) -> Option<String> {
    std::str::from_utf8(value.value()).ok().map(str::to_owned)
}

fn timestamp(time: x509_cert::time::Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// Returns the offset of the first `BEGIN` line with this tag.
fn tag_offset(bytes: &[u8], tag: &str) -> u64 {
    let begin = format!("-----BEGIN {tag}-----");
    let at = bytes.windows(begin.len()).position(|w| w == begin.as_bytes());
    at.unwrap_or(0) as u64
}
