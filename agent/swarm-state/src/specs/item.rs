//! One object of a swarm with its spec.

use std::fmt;

use prost::Message;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    json::{Object, driver, map},
    known,
    messages::{ConfigSpec, Driver, IPAMOptions, NetworkSpec, SecretSpec, ServiceSpec, VolumeSpec},
    network, service,
    strict::{Known, Unknown, unknown},
    volume,
};
use crate::{inventory::ObjectKind, wire};

/// Label on swarm's copies of the engine's own networks, such as `host`; the Engine API hides networks with it.
pub(crate) const PREDEFINED: &str = "com.docker.swarm.predefined";

const SPEC: [u32; 1] = [3];
const DRIVER_STATE: [u32; 1] = [4];
const ALLOCATED: [u32; 1] = [5];
const CONTENT: [u32; 2] = [3, 2];
const REGISTRY_AUTH: [u32; 5] = [3, 2, 1, 10, 64];

/// A service, network, secret, config or cluster volume as it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// Kind of the object.
    pub kind: ObjectKind,
    /// Id of the object.
    pub id: String,
    /// Name in its spec.
    pub name: String,
    /// The body of the Engine API's request that creates such an object, without the content of secrets and configs.
    /// References hold the ids of this swarm.
    pub spec: Value,
    /// What this version does not know of the object; empty for almost all. `spec` lacks these parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Unknown>,
    /// Whether credentials for a registry are stored with a service.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_registry_auth: bool,
    /// Whether it is swarm's copy of one of the engine's own networks, which nobody creates.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_predefined: bool,
    /// Digest of the value that is left out (see [`Values`](super::Values)), to find out whether two are equal. It is no
    /// part of any output: a short value can be guessed from its digest.
    #[serde(skip)]
    pub value: Option<ValueDigest>,
    /// A network as `GET /networks` lists it, apart from ids and times; `spec` for all other kinds.
    #[serde(skip)]
    pub listed: Value,
}

/// SHA-256 of a value that is no part of a spec. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ValueDigest([u8; 32]);

impl ValueDigest {
    /// Returns the digest of this value.
    pub fn of(value: &[u8]) -> Self {
        Self(Sha256::digest(value).into())
    }
}

impl fmt::Debug for ValueDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValueDigest(..)")
    }
}

impl Item {
    /// Makes an item of a spec, as if it had been read.
    #[cfg(any(test, feature = "testkit"))]
    pub fn test(kind: ObjectKind, id: &str, name: &str, spec: Value) -> Self {
        Self {
            kind,
            id: id.to_owned(),
            name: name.to_owned(),
            listed: spec.clone(),
            spec,
            unknown: Vec::new(),
            has_registry_auth: false,
            is_predefined: false,
            value: None,
        }
    }

    /// Returns kind, name and id, as in messages: ``service `web` (x1y2)``.
    pub fn described(&self) -> String {
        format!("{} `{}` ({})", self.kind, self.name, self.id)
    }

    /// Returns what this version does not know of the object, as a list in words.
    pub fn unknown_parts(&self) -> String {
        let parts: Vec<String> = self.unknown.iter().map(ToString::to_string).collect();
        parts.join(", ")
    }

    /// Reads an object of the raft store. Returns `None` for kinds without a spec of their own, and for secrets that swarm
    /// keeps for itself.
    pub(crate) fn read(kind: ObjectKind, id: &str, object: &[u8]) -> Option<Self> {
        let bytes = wire::find(object, &SPEC).unwrap_or_default();
        let (name, spec) = match kind {
            ObjectKind::Service => named(service::spec(decode(bytes))),
            ObjectKind::Network => named(network::create_request(decode(bytes))),
            ObjectKind::Secret if is_internal(object) => return None,
            ObjectKind::Secret => named(secret(decode(bytes))),
            ObjectKind::Config => named(config(decode(bytes))),
            ObjectKind::Volume => named(volume::create_request(decode(bytes))),
            ObjectKind::Cluster | ObjectKind::Node => return None,
        };
        let value = value(kind, object);
        let is_network = kind == ObjectKind::Network;
        Some(Self {
            kind,
            id: id.to_owned(),
            name,
            listed: if is_network { listed(bytes, object) } else { spec.clone() },
            is_predefined: is_network && spec["Labels"][PREDEFINED] == "true",
            has_registry_auth: kind == ObjectKind::Service && value.is_some_and(|auth| !auth.is_empty()),
            value: value.map(ValueDigest::of),
            unknown: everything_unknown(kind, bytes),
            spec,
        })
    }
}

/// Returns the value that [`Item`] leaves out: the content of a secret or a config, or the registry credentials of a
/// service.
pub(super) fn value(kind: ObjectKind, object: &[u8]) -> Option<&[u8]> {
    match kind {
        ObjectKind::Secret | ObjectKind::Config => Some(wire::find(object, &CONTENT).unwrap_or_default()),
        ObjectKind::Service => wire::find(object, &REGISTRY_AUTH),
        _ => None,
    }
}

/// Decodes a spec. One that cannot be decoded is reported by [`everything_unknown`].
fn decode<T: Message + Default>(bytes: &[u8]) -> T {
    T::decode(bytes).unwrap_or_default()
}

fn named(spec: Value) -> (String, Value) {
    (spec["Name"].as_str().unwrap_or_default().to_owned(), spec)
}

/// Field 4 of a secret: whether swarm made it for itself.
fn is_internal(object: &[u8]) -> bool {
    let mut fields = wire::Fields::new(object).flatten();
    fields.any(|field| field.tag == 4 && field.number() == Ok(1))
}

fn secret(spec: SecretSpec) -> Value {
    let annotations = spec.annotations.unwrap_or_default();
    Object::default()
        .text("Name", annotations.name)
        .set("Labels", map(annotations.labels))
        .some("Driver", spec.driver.map(driver))
        .some("Templating", spec.templating.map(driver))
        .into()
}

fn config(spec: ConfigSpec) -> Value {
    let annotations = spec.annotations.unwrap_or_default();
    Object::default()
        .text("Name", annotations.name)
        .set("Labels", map(annotations.labels))
        .some("Templating", spec.templating.map(driver))
        .into()
}

fn listed(spec: &[u8], object: &[u8]) -> Value {
    let state = wire::find(object, &DRIVER_STATE).map(decode::<Driver>);
    let allocated = wire::find(object, &ALLOCATED).map(decode::<IPAMOptions>);
    network::listed(decode::<NetworkSpec>(spec), state, allocated)
}

fn everything_unknown(kind: ObjectKind, spec: &[u8]) -> Vec<Unknown> {
    let (known, decodes): (&'static Known, bool) = match kind {
        ObjectKind::Service => (&known::SERVICE_SPEC, ServiceSpec::decode(spec).is_ok()),
        ObjectKind::Network => (&known::NETWORK_SPEC, NetworkSpec::decode(spec).is_ok()),
        ObjectKind::Secret => (&known::SECRET_SPEC, SecretSpec::decode(spec).is_ok()),
        ObjectKind::Config => (&known::CONFIG_SPEC, ConfigSpec::decode(spec).is_ok()),
        ObjectKind::Volume => (&known::VOLUME_SPEC, VolumeSpec::decode(spec).is_ok()),
        ObjectKind::Cluster | ObjectKind::Node => return Vec::new(),
    };
    let mut found = unknown(known, spec);
    if !decodes && found.is_empty() {
        found.push(Unknown::Unreadable { why: format!("a {} that cannot be read", known.name) });
    }
    if kind == ObjectKind::Service {
        found.extend(of_runtime(spec));
    }
    found
}

/// Looks into the payload of a service that does not run containers.
fn of_runtime(spec: &[u8]) -> Vec<Unknown> {
    const KIND: [u32; 3] = [2, 10, 1];
    const PAYLOAD: [u32; 4] = [2, 10, 2, 2];
    match wire::find(spec, &KIND) {
        None => Vec::new(),
        Some(kind) if kind == service::PLUGIN.as_bytes() => {
            unknown(&known::PLUGIN_SPEC, wire::find(spec, &PAYLOAD).unwrap_or_default())
        }
        Some(_) => {
            vec![Unknown::Choice { message: "GenericRuntimeSpec".to_owned(), choice: "kind".to_owned() }]
        }
    }
}
