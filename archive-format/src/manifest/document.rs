//! A manifest as bytes: parsed, checked against the rules that its types do not enforce, and written.

use serde::{Deserialize, Serialize};

use super::{ENCRYPTED_PAYLOAD, FORMAT, Manifest, PLAIN_PAYLOAD};
use crate::{
    backup_id::BackupId,
    error::{Error, Result},
    limits::{MANIFEST_MAX, RECIPIENTS_MAX, SIZE_MAX},
    swarm_node::{ClusterId, NodeId},
};

impl<P> Manifest<P> {
    /// Checks the fields that do not depend on the payload.
    fn check_identity(&self) -> Result<()> {
        if self.format != FORMAT {
            return Err(Error::UnsupportedVersion { found: self.format, reads: FORMAT });
        }
        if BackupId::new(self.created_at, [0; 4]).created_at() != self.id.created_at() {
            return Err(invalid("its id and its creation time disagree"));
        }
        Ok(())
    }
}

impl Manifest {
    /// Parses and checks manifest bytes. The result can be trusted as far as the signature over these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        check_format(bytes, FORMAT)?;
        check_ids(bytes)?;
        let manifest: Self = read(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks every rule of the format that the types do not enforce.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_identity()?;
        let payload = &self.payload;
        let name = if self.is_encrypted() { ENCRYPTED_PAYLOAD } else { PLAIN_PAYLOAD };
        if payload.name != name {
            return Err(invalid(format!("its recipients ask for a payload named {name}")));
        }
        if payload.compression != "zstd" {
            return Err(invalid("its compression is not zstd"));
        }
        if payload.size > SIZE_MAX {
            return Err(Error::limit("the size of the payload", SIZE_MAX));
        }
        if payload.recipients.len() > RECIPIENTS_MAX {
            return Err(Error::limit("the number of recipients", RECIPIENTS_MAX as u64));
        }
        Ok(())
    }

    /// Returns the bytes to sign, padded with line feeds to `length`, or longer if the document does not fit.
    pub(crate) fn to_bytes(&self, length: usize) -> Result<Vec<u8>> {
        write(self, length)
    }
}

/// Checks the size of a manifest and its format, before anything else: in another format the other keys may have any
/// meaning.
pub(crate) fn check_format(bytes: &[u8], reads: u64) -> Result<()> {
    #[derive(Deserialize)]
    struct Version {
        format: u64,
    }
    if bytes.len() as u64 > MANIFEST_MAX {
        return Err(Error::limit("the size of the manifest", MANIFEST_MAX));
    }
    let Version { format } = read(bytes)?;
    if format == reads { Ok(()) } else { Err(Error::UnsupportedVersion { found: format, reads }) }
}

/// Parses a manifest. Unknown keys are ignored; a known one that occurs twice is an error.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))
}

/// Returns the bytes of a manifest, padded with line feeds to `length`, or longer if the document does not fit.
pub(crate) fn write(manifest: &impl Serialize, length: usize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(manifest).expect("a manifest has string keys only");
    bytes.push(b'\n');
    bytes.resize(bytes.len().max(length), b'\n');
    if bytes.len() as u64 > MANIFEST_MAX {
        return Err(Error::limit("the size of the manifest", MANIFEST_MAX));
    }
    Ok(bytes)
}

/// Refuses ids that break their rule before their types do, which would say it with a line and a column.
fn check_ids(bytes: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Ids {
        cluster_id: String,
        node_id: String,
    }
    let ids: Ids = read(bytes)?;
    let ill_formed = match (ids.cluster_id.parse::<ClusterId>(), ids.node_id.parse::<NodeId>()) {
        (Err(_), _) => "cluster id",
        (_, Err(_)) => "node id",
        (Ok(_), Ok(_)) => return Ok(()),
    };
    Err(invalid(format!("its {ill_formed} is not 1 to 64 letters and digits")))
}

pub(crate) fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidManifest { reason: reason.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../tests/testkit/manifest.json");

    #[test]
    fn unknown_keys_are_ignored_and_null_may_be_left_out() {
        let known = Manifest::parse(GOOD.as_bytes()).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(GOOD).unwrap();
        value["colour"] = "red".into();
        value["payload"]["colour"] = serde_json::json!({ "deep": [1, 2] });
        assert_eq!(Manifest::parse(value.to_string().as_bytes()).unwrap(), known);
        value["previous"].take();
        value.as_object_mut().unwrap().remove("previous");
        assert_eq!(Manifest::parse(value.to_string().as_bytes()).unwrap(), Manifest { previous: None, ..known });
    }

    #[test]
    fn written_bytes_are_filled_up_and_read_back() {
        let manifest = Manifest::parse(GOOD.as_bytes()).unwrap();
        let bytes = manifest.to_bytes(8192).unwrap();
        assert_eq!(bytes.len(), 8192);
        assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
        assert!(manifest.to_bytes(MANIFEST_MAX as usize + 1).is_err());
    }

    #[test]
    fn ill_formed_ids_are_named_without_a_line() {
        for (key, name) in [("cluster_id", "cluster id"), ("node_id", "node id")] {
            for text in ["", "a b", "a\nb", &"a".repeat(65)] {
                let mut value: serde_json::Value = serde_json::from_str(GOOD).unwrap();
                value[key] = text.into();
                let error = Manifest::parse(value.to_string().as_bytes()).unwrap_err().to_string();
                assert_eq!(error, format!("the manifest is not valid: its {name} is not 1 to 64 letters and digits"));
            }
        }
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        let text = GOOD.replace("10.0.0.4:2377", "[fd00::4]:2377");
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.raft_addr.to_string(), "[fd00::4]:2377");
        assert!(Manifest::parse(text.replace("[fd00::4]", "fd00::4").as_bytes()).is_err());
    }
}
