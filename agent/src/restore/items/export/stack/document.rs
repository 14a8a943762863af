//! A stack file while it is put together.

use std::collections::{BTreeMap, BTreeSet};

use swarm_state::{inventory::ObjectKind, specs::Item};

use crate::restore::items::export::{
    index::Index,
    names::Keys,
    yaml::{Map, Node},
};

/// Second number of the lowest version of the format that is written; every command line from 20.10 on takes it. The
/// places that need a higher one say what for ([`Document::need`]).
const LOWEST: u64 = 8;

/// Name of the network of services that name none.
const DEFAULT: &str = "default";

/// A stack file with what its services have named so far.
#[derive(Debug)]
pub struct Document<'a> {
    /// Name of the stack.
    pub stack: &'a str,
    pub index: &'a Index<'a>,
    minor: u64,
    services: Map,
    networks: Section,
    volumes: Section,
    secrets: Section,
    configs: Section,
    /// What is used and not defined here, as in messages: it has to be there before the stack is deployed.
    pub others: BTreeSet<String>,
    /// Variables that the command line would take from the shell of whoever deploys.
    pub from_shell: BTreeSet<String>,
    /// Whether the image of a service was pulled with stored credentials.
    pub with_registry_auth: bool,
    /// Whether command lines of version 27 would ignore a part of the file.
    pub ignored_by_27: bool,
}

/// Definitions of one kind of object, by key.
#[derive(Debug, Default)]
struct Section {
    keys: Keys,
    definitions: BTreeMap<String, Map>,
}

impl<'a> Document<'a> {
    pub fn new(stack: &'a str, index: &'a Index<'a>) -> Self {
        let mut networks = Section::default();
        networks.keys.reserve(&format!("{stack}_{DEFAULT}"), DEFAULT);
        Self {
            stack,
            index,
            minor: LOWEST,
            services: Map::default(),
            networks,
            volumes: Section::default(),
            secrets: Section::default(),
            configs: Section::default(),
            others: BTreeSet::new(),
            from_shell: BTreeSet::new(),
            with_registry_auth: false,
            ignored_by_27: false,
        }
    }

    /// Notes that the file needs this version of the format, or a later one.
    pub fn need(&mut self, minor: u64) {
        self.minor = self.minor.max(minor);
    }

    /// Returns the version of the format, as `3.8`.
    pub fn version(&self) -> String {
        format!("3.{}", self.minor)
    }

    pub fn service(&mut self, key: &str, service: Map) {
        self.services.name(key, service);
    }

    /// Returns the key of an object that is defined in this file.
    pub fn key(&self, kind: ObjectKind, name: &str) -> Option<&str> {
        let section = match kind {
            ObjectKind::Network => &self.networks,
            ObjectKind::Secret => &self.secrets,
            ObjectKind::Config => &self.configs,
            _ => &self.volumes,
        };
        section.keys.get(name).filter(|key| section.definitions.contains_key(*key))
    }

    /// Whether the file makes this network, and does not just refer to it.
    pub fn defines_network(&self, name: &str) -> bool {
        let is_other = self.others.contains(&format!("{} `{name}`", ObjectKind::Network));
        self.key(ObjectKind::Network, name).is_some() && !is_other
    }

    /// Defines an object and returns its key.
    pub fn define(&mut self, kind: ObjectKind, name: &str, definition: Map) -> String {
        let short = self.short(name).to_owned();
        let section = self.section(kind);
        let key = section.keys.give(name, &short);
        section.definitions.insert(key.clone(), definition);
        key
    }

    /// Returns the key of an object that somebody else makes, and refers to it by name.
    pub fn refer(&mut self, kind: ObjectKind, name: &str) -> String {
        if let Some(key) = self.key(kind, name) {
            return key.to_owned();
        }
        if kind != ObjectKind::Volume {
            self.others.insert(format!("{kind} `{name}`"));
        }
        let mut definition = Map::default();
        definition.set("external", true);
        definition.set("name", name);
        self.define(kind, name, definition)
    }

    /// Returns the definition of a volume, if there is one of this name.
    pub fn volume(&self, name: &str) -> Option<&Map> {
        self.volumes.definitions.get(self.volumes.keys.get(name)?)
    }

    /// Refers to one of the engine's own networks, which is everywhere.
    pub fn refer_to_predefined(&mut self, network: &Item) -> String {
        let key = self.refer(ObjectKind::Network, &network.name);
        self.others.remove(&format!("{} `{}`", ObjectKind::Network, network.name));
        key
    }

    /// Returns the name of the network that services get which name none.
    pub fn default_network(&self) -> String {
        format!("{}_{DEFAULT}", self.stack)
    }

    /// Returns a name without the name of the stack before it.
    pub fn short<'n>(&self, name: &'n str) -> &'n str {
        name.strip_prefix(self.stack).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name)
    }

    fn section(&mut self, kind: ObjectKind) -> &mut Section {
        match kind {
            ObjectKind::Network => &mut self.networks,
            ObjectKind::Secret => &mut self.secrets,
            ObjectKind::Config => &mut self.configs,
            _ => &mut self.volumes,
        }
    }

    /// Returns the whole document.
    pub fn finish(self) -> Map {
        let mut document = Map::default();
        document.set("version", self.version());
        document.set("services", self.services);
        let sections = [
            ("networks", self.networks),
            ("volumes", self.volumes),
            ("secrets", self.secrets),
            ("configs", self.configs),
        ];
        for (name, section) in sections {
            let mut all = Map::default();
            section.definitions.into_iter().for_each(|(key, definition)| all.name(key, definition));
            document.set_filled(name, Node::Map(all));
        }
        document
    }
}
