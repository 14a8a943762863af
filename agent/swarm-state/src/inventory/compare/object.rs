//! The fields of each kind of object that are compared.

use std::collections::BTreeMap;

use super::{
    super::{Cluster, Config, Network, Node, Secret, Service, Volume},
    Depth, ObjectKind,
};

/// A comparable field: its name, and its value unless the source does not know it.
pub struct Field {
    pub name: &'static str,
    pub value: Option<String>,
    pub depth: Depth,
}

/// An object of a swarm, as a comparison sees it.
pub trait Object {
    const KIND: ObjectKind;
    fn id(&self) -> &str;
    fn name(&self) -> &str;
    fn fields(&self) -> Vec<Field>;
}

fn spec(name: &'static str, value: impl ToString) -> Field {
    Field { name, value: Some(value.to_string()), depth: Depth::Specs }
}

fn spec_if_known(name: &'static str, value: Option<impl ToString>) -> Field {
    Field { name, value: value.map(|v| v.to_string()), depth: Depth::Specs }
}

fn volatile(name: &'static str, value: Option<impl ToString>) -> Field {
    Field { name, value: value.map(|v| v.to_string()), depth: Depth::All }
}

fn labels(labels: Option<&BTreeMap<String, String>>) -> Field {
    let text = labels.map(|labels| {
        let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(", ")
    });
    spec_if_known("labels", text)
}

impl Object for Cluster {
    const KIND: ObjectKind = ObjectKind::Cluster;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        let pools = self.default_address_pools.as_ref().map(|pools| pools.join(", "));
        let cas = self.external_cas.as_ref().map(|cas| cas.join(", "));
        let tokens = self.join_token_digests.as_ref();
        vec![
            spec("name", &self.name),
            spec_if_known("autolock", self.autolock),
            spec_if_known("root_ca_digest", self.root_ca_digest.as_ref()),
            spec_if_known("force_rotate", self.force_rotate),
            spec_if_known("external_cas", cas),
            spec_if_known("data_path_port", self.data_path_port),
            spec_if_known("default_address_pools", pools),
            spec_if_known("subnet_size", self.subnet_size),
            spec_if_known("node_cert_expiry_seconds", self.node_cert_expiry_seconds),
            spec_if_known("join_token_digests.worker", tokens.map(|t| &t.worker)),
            spec_if_known("join_token_digests.manager", tokens.map(|t| &t.manager)),
            spec_if_known("snapshot_interval", self.snapshot_interval),
            volatile("root_rotation", self.root_rotation),
            volatile("version_index", self.version_index),
        ]
    }
}

impl Object for Node {
    const KIND: ObjectKind = ObjectKind::Node;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.hostname
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("hostname", &self.hostname),
            spec("role", &self.role),
            spec("availability", &self.availability),
            labels(self.labels.as_ref()),
            volatile("addr", self.addr.as_ref()),
            volatile("state", self.state.as_ref()),
            volatile("engine_version", self.engine_version.as_ref()),
            volatile("platform", self.platform.as_ref()),
            volatile("manager_addr", self.manager_addr.as_ref()),
        ]
    }
}

impl Object for Service {
    const KIND: ObjectKind = ObjectKind::Service;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("name", &self.name),
            spec("image", &self.image),
            spec("mode", &self.mode),
            spec_if_known("replicas", self.replicas),
            spec("networks", self.networks.join(", ")),
            spec("secrets", self.secrets.join(", ")),
            spec("configs", self.configs.join(", ")),
            labels(self.labels.as_ref()),
            volatile("spec_version", self.spec_version),
            volatile("version_index", self.version_index),
        ]
    }
}

impl Object for Network {
    const KIND: ObjectKind = ObjectKind::Network;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        let allocated = self.is_allocated();
        // An engine that runs tasks on a network of its own host (macvlan and the like) lists subnets that the swarm
        // itself does not know.
        let is_told = allocated == Some(true) && (self.driver == "overlay" || !self.subnets.is_empty());
        let subnets = is_told.then(|| self.subnets.join(", "));
        vec![
            spec("name", &self.name),
            spec_if_known("driver", Some(&self.driver).filter(|driver| !driver.is_empty())),
            spec_if_known("allocated", allocated),
            spec_if_known("subnets", subnets),
            spec("attachable", self.attachable),
            spec("ingress", self.ingress),
            spec("internal", self.internal),
            labels(self.labels.as_ref()),
        ]
    }
}

impl Network {
    /// Whether the network is allocated. One with subnets is: only the allocator assigns them.
    fn is_allocated(&self) -> Option<bool> {
        self.allocated.or((!self.subnets.is_empty()).then_some(true))
    }
}

impl Object for Secret {
    const KIND: ObjectKind = ObjectKind::Secret;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("name", &self.name),
            spec_if_known("size", self.size),
            labels(self.labels.as_ref()),
            volatile("version_index", self.version_index),
        ]
    }
}

impl Object for Config {
    const KIND: ObjectKind = ObjectKind::Config;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("name", &self.name),
            spec_if_known("size", self.size),
            labels(self.labels.as_ref()),
            volatile("version_index", self.version_index),
        ]
    }
}

impl Object for Volume {
    const KIND: ObjectKind = ObjectKind::Volume;

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            spec("name", &self.name),
            spec_if_known("driver", self.driver.as_ref()),
            volatile("version_index", self.version_index),
        ]
    }
}
