//! Identity of a state directory: everything about its node that can be read without a key.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Damage, Error,
    certificate::{Certificate, chains_to},
    inventory::root_ca_digest,
    keys::{KeyFacts, KeyFile},
    state_dir::{ENGINE_STATE, KNOWN_MANAGERS, NODE_CERT, NODE_CERT_NEXT, NODE_KEY, ROOT_CA, StateDir},
};

/// Identity of the node: its cluster, its certificates and its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Node id, from the common name of the node certificate.
    pub node_id: String,
    /// Cluster id, from the organization of the node certificate.
    pub cluster_id: String,
    /// Role, from the organizational unit of the node certificate.
    pub role: Role,
    /// Validity of the node certificate.
    pub node_certificate: Validity,
    /// Validity of the root CA; if there are several roots, of the one that ends first.
    pub root_ca: Validity,
    /// Digest of the root CA file; see [`root_ca_digest()`].
    pub root_ca_digest: String,
    /// Facts about the key file; `None` if it is missing or not readable.
    pub key: Option<KeyFacts>,
    /// Settings that dockerd got at init or join; `None` if the file is missing.
    pub engine: Option<EngineState>,
    /// Managers that this node knows, itself included, sorted by node id.
    pub known_managers: Vec<KnownManager>,
    /// Public key of the node certificate.
    #[serde(skip)]
    public_key: Vec<u8>,
}

/// Role of the node in its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Manager (`swarm-manager`).
    Manager,
    /// Worker (`swarm-worker`).
    Worker,
}

/// Validity period of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// First second in which it is valid.
    pub not_before: Timestamp,
    /// Last second in which it is valid.
    pub not_after: Timestamp,
}

/// Content of `docker-state.json`. Fields that an engine omits are empty, as the engine reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineState {
    /// Address of this host as seen at init; empty on a manager that joined.
    #[serde(alias = "LocalAddr")]
    pub local_addr: String,
    /// Address of the manager that was given to `join`.
    #[serde(alias = "RemoteAddr")]
    pub remote_addr: String,
    /// Listen address: host and port.
    #[serde(alias = "ListenAddr")]
    pub listen_addr: String,
    /// Advertise address: host and port; empty on a manager that joined without `--advertise-addr`.
    #[serde(alias = "AdvertiseAddr")]
    pub advertise_addr: String,
    /// Address for VXLAN traffic, if it was set separately.
    #[serde(alias = "DataPathAddr")]
    pub data_path_addr: String,
    /// VXLAN port; 0 on a manager that joined.
    #[serde(alias = "DataPathPort")]
    pub data_path_port: u32,
    /// Address pools that were given to `init`, in CIDR form.
    #[serde(alias = "DefaultAddressPool", deserialize_with = "null_as_empty")]
    pub default_address_pool: Vec<String>,
    /// Prefix length of the subnets cut from the pools.
    #[serde(alias = "SubnetSize")]
    pub subnet_size: u32,
    /// Whether a join never finished: the engine would try it again at every start.
    #[serde(alias = "JoinInProgress")]
    pub join_in_progress: bool,
}

/// Returns the id of the node that a certificate in DER names; `None` if it is none of a node.
#[must_use]
pub fn node_of(der: &[u8]) -> Option<String> {
    Certificate::from_der(der)?.common_name()
}

/// Entry of `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KnownManager {
    /// Node id.
    pub node_id: String,
    /// Host and port of the raft endpoint.
    pub addr: String,
}

impl Identity {
    /// Reads the certificates and the two JSON files. Needs no key, so it works on autolocked states too.
    pub fn read(dir: &StateDir) -> Result<Self, Error> {
        let bytes = dir.read_required(NODE_CERT)?;
        Self::read_with(dir, NODE_CERT, &bytes)
    }

    /// Reads the identity with the certificate of an interrupted renewal; `None` if there is none.
    pub(crate) fn read_next(dir: &StateDir) -> Result<Option<Self>, Error> {
        let bytes = dir.read_small(NODE_CERT_NEXT)?;
        bytes.map(|bytes| Self::read_with(dir, NODE_CERT_NEXT, &bytes)).transpose()
    }

    fn read_with(dir: &StateDir, cert_file: &'static str, bytes: &[u8]) -> Result<Self, Error> {
        let chain = Certificate::parse_pem(cert_file, bytes)?;
        let root_bytes = dir.read_required(ROOT_CA)?;
        let roots = Certificate::parse_pem(ROOT_CA, &root_bytes)?;
        check_chain(cert_file, &chain, &roots)?;
        let key = dir.read_small(NODE_KEY)?.map(Zeroizing::new);
        let key = key.and_then(|bytes| KeyFile::parse(&bytes).ok());
        let engine = dir.read_small(ENGINE_STATE)?;
        let managers = dir.read_small(KNOWN_MANAGERS)?;
        Ok(Self {
            root_ca: root_validity(&roots),
            root_ca_digest: root_ca_digest(&root_bytes),
            key: key.map(|key| key.facts()),
            engine: engine.map(|bytes| parse_engine_state(&bytes)).transpose()?,
            known_managers: managers.map_or(Ok(Vec::new()), |bytes| parse_managers(&bytes))?,
            ..Self::from_certificate(cert_file, &chain[0])?
        })
    }

    pub(super) fn from_certificate(cert_file: &str, leaf: &Certificate) -> Result<Self, Damage> {
        let missing = |what| {
            let why = format!("the subject of the certificate has no {what}");
            Damage::corrupt(cert_file, 0, why)
        };
        let unit = leaf.organizational_unit().ok_or_else(|| missing("role (OU)"))?;
        let role = match unit.as_str() {
            "swarm-manager" => Role::Manager,
            "swarm-worker" => Role::Worker,
            other => {
                let why = format!("the certificate is for the role `{other}`, which is no node's");
                return Err(Damage::corrupt(cert_file, 0, why));
            }
        };
        let validity = Validity { not_before: leaf.not_before(), not_after: leaf.not_after() };
        Ok(Self {
            node_id: leaf.common_name().ok_or_else(|| missing("node id (CN)"))?,
            cluster_id: leaf.organization().ok_or_else(|| missing("cluster id (O)"))?,
            role,
            node_certificate: validity,
            root_ca: validity,
            root_ca_digest: String::new(),
            key: None,
            engine: None,
            public_key: leaf.public_key().to_vec(),
            known_managers: Vec::new(),
        })
    }

    /// Returns the raft address from the files in clear: the entry of `state.json`, or else the advertise address, or
    /// else the local one. Returns `None` if all are absent or wildcards. The port is kept; it need not be 2377.
    pub fn raft_address(&self) -> Option<SocketAddr> {
        let own = self.known_managers.iter().find(|m| m.node_id == self.node_id);
        let own = own.and_then(|m| usable(&m.addr));
        own.or_else(|| {
            let engine = self.engine.as_ref()?;
            usable(&engine.advertise_addr).or_else(|| usable(&engine.local_addr))
        })
    }

    /// Returns the address in the entry of `state.json` about this node.
    pub(crate) fn known_address(&self) -> Option<SocketAddr> {
        let own = self.known_managers.iter().find(|manager| manager.node_id == self.node_id);
        own.and_then(|manager| usable(&manager.addr))
    }

    /// Whether the certificate contains this public key.
    pub(crate) fn fits(&self, public_key: &[u8]) -> bool {
        self.public_key == public_key
    }
}

/// Parses `docker-state.json`.
pub fn parse_engine_state(bytes: &[u8]) -> Result<EngineState, Damage> {
    serde_json::from_slice(bytes).map_err(|error| not_json(ENGINE_STATE, bytes, &error))
}

/// Parses `state.json`. The result is sorted by node id.
pub fn parse_managers(bytes: &[u8]) -> Result<Vec<KnownManager>, Damage> {
    let parsed: Option<Vec<KnownManager>> =
        serde_json::from_slice(bytes).map_err(|error| not_json(KNOWN_MANAGERS, bytes, &error))?;
    let mut managers = parsed.unwrap_or_default();
    managers.sort();
    Ok(managers)
}

/// Parses `address:port`, or an address alone (then with swarm's port 2377). Returns `None` for host names, the
/// unspecified address and port 0.
pub fn usable(addr: &str) -> Option<SocketAddr> {
    let parsed = addr.parse::<SocketAddr>();
    let parsed = parsed.or_else(|_| addr.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 2377)));
    parsed.ok().filter(|addr| !addr.ip().is_unspecified() && addr.port() != 0)
}

fn check_chain(cert_file: &str, chain: &[Certificate], roots: &[Certificate]) -> Result<(), Damage> {
    for root in roots {
        // A root that another CA signed is legal. A self-issued root with a wrong signature is damaged.
        if root.is_self_issued() && root.is_signed_by(root) == Some(false) {
            return Err(Damage::corrupt(ROOT_CA, 0, "the root certificate's own signature does not hold"));
        }
    }
    if chains_to(chain, roots) == Some(false) {
        let why = "no certificate of swarm-root-ca.crt signed it";
        return Err(Damage::corrupt(cert_file, 0, why));
    }
    Ok(())
}

fn root_validity(roots: &[Certificate]) -> Validity {
    let first = roots.iter().min_by_key(|root| root.not_after()).expect("PEM parsing refuses no certificate");
    Validity { not_before: first.not_before(), not_after: first.not_after() }
}

fn not_json(file: &str, bytes: &[u8], error: &serde_json::Error) -> Damage {
    let lines = bytes.split_inclusive(|b| *b == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    let offset = before + error.column().saturating_sub(1);
    Damage::corrupt(file, offset as u64, format!("not the JSON that an engine writes: {error}"))
}

/// Go writes an empty list as null.
fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(engine: EngineState, known_managers: Vec<KnownManager>) -> Identity {
        let dates = Validity { not_before: Timestamp::UNIX_EPOCH, not_after: Timestamp::MAX };
        Identity {
            node_id: "own".to_owned(),
            cluster_id: "cluster".to_owned(),
            role: Role::Manager,
            node_certificate: dates,
            root_ca: dates,
            root_ca_digest: String::new(),
            key: None,
            engine: Some(engine),
            known_managers,
            public_key: Vec::new(),
        }
    }

    #[test]
    fn a_certificate_as_tls_has_it_names_its_node() {
        let file = include_bytes!("../../../tests/fuzz/corpus/files_in_clear/26.1.5-members-swarm-node.crt");
        let leaf = pem::parse_many(file).expect("is PEM").swap_remove(0);
        let parsed = Certificate::parse_pem(NODE_CERT, file).expect("has a certificate");
        let expected = Identity::from_certificate(NODE_CERT, &parsed[0]).expect("is one of a node").node_id;
        assert_eq!(node_of(leaf.contents()), Some(expected));
        assert_eq!(node_of(b"no certificate"), None);
    }

    #[test]
    fn the_raft_address_is_the_first_usable_one() {
        let engine = |advertise: &str, local: &str| EngineState {
            advertise_addr: advertise.to_owned(),
            local_addr: local.to_owned(),
            ..EngineState::default()
        };
        let known = |addr: &str| {
            let other = KnownManager { node_id: "other".to_owned(), addr: "10.0.0.9:2377".to_owned() };
            vec![other, KnownManager { node_id: "own".to_owned(), addr: addr.to_owned() }]
        };
        let cases = [
            (engine("10.0.0.2:2377", "10.0.0.3"), known("10.0.0.1:4000"), Some("10.0.0.1:4000")),
            (engine("10.0.0.2:2377", "10.0.0.3"), known("0.0.0.0:2377"), Some("10.0.0.2:2377")),
            (engine("", "10.0.0.3"), Vec::new(), Some("10.0.0.3:2377")),
            (engine("[::]:2377", "fd00::1"), known("manager:2377"), Some("[fd00::1]:2377")),
            (engine("10.0.0.2:0", "10.0.0.3"), known("10.0.0.1:0"), Some("10.0.0.3:2377")),
            (engine("", ""), Vec::new(), None),
        ];
        for (engine, known, expected) in cases {
            let identity = identity(engine, known);
            assert_eq!(identity.raft_address().map(|addr| addr.to_string()).as_deref(), expected, "{identity:?}");
        }
    }

    #[test]
    fn files_are_read_as_the_engine_reads_them() {
        let written = r#"{"LocalAddr":"10.0.0.1","DefaultAddressPool":null,"JoinInProgress":true,"Later":1}"#;
        let state = parse_engine_state(written.as_bytes()).unwrap();
        assert!(state.join_in_progress && state.default_address_pool.is_empty() && state.data_path_port == 0);
        let again = serde_json::to_vec(&state).unwrap();
        assert_eq!(parse_engine_state(&again).unwrap(), state);
        assert_eq!(parse_managers(b"null").unwrap(), []);
        let broken = parse_managers(b"[\n{\"node_id\": \"a\", \"addr\": 5}]").unwrap_err();
        assert_eq!((broken.file.as_str(), broken.offset), (KNOWN_MANAGERS, 27));
    }
}
