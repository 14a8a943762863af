//! Objects of a swarm, rebuilt from a snapshot and the transactions after it.
//!
//! Keeps only the content of an [`Inventory`]. Values of secrets and configs, tokens and private keys are read in place
//! and never copied.

mod convert;
mod kept;
mod messages;

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;

use super::{
    inventory::{self, Inventory},
    wire::{Fields, Malformed},
};
pub(crate) use kept::Kept;
use messages::TaskState;

/// Kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Node,
    Service,
    Network,
    Task,
    Cluster,
    Secret,
    Resource,
    Extension,
    Config,
    Volume,
}

/// Objects of a swarm by id.
#[derive(Debug, Default)]
pub(crate) struct Store {
    clusters: BTreeMap<String, inventory::Cluster>,
    nodes: HashMap<String, inventory::Node>,
    services: HashMap<String, inventory::Service>,
    /// `None` is one of the engine's own networks, which no list shows.
    networks: HashMap<String, Option<inventory::Network>>,
    /// `None` is one of swarm's internal secrets, which no list shows.
    secrets: HashMap<String, Option<inventory::Secret>>,
    configs: HashMap<String, inventory::Config>,
    volumes: HashMap<String, inventory::Volume>,
    tasks: HashMap<String, TaskState>,
    /// Ids of resources and extensions; nothing else of them is read.
    others: HashSet<(Kind, String)>,
    /// What a caller wants beside the inventory.
    kept: Option<Kept>,
}

/// Error for bytes that passed all integrity checks but are not an object: a format that this reader does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) String);

/// Outcome of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    /// The transaction is dropped as a whole, as the engine does on every manager. Holds the reason.
    Refused(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
    Remove,
}

/// One change of a transaction.
struct Action<'a> {
    verb: Verb,
    kind: Kind,
    id: String,
    object: &'a [u8],
}

impl Store {
    /// Makes an empty store that keeps this too.
    pub(crate) fn keeping(kept: Option<Kept>) -> Self {
        Self { kept, ..Self::default() }
    }

    pub(crate) fn take_kept(&mut self) -> Option<Kept> {
        self.kept.take()
    }

    /// Applies the transaction in a log entry, completely or not at all.
    pub(crate) fn apply(&mut self, request: &[u8]) -> Result<Outcome, Unreadable> {
        let mut actions = Vec::new();
        for field in Fields::new(request) {
            let field = field?;
            // Field 1 is the id of the request.
            if field.tag == 2 {
                match Action::parse(field.bytes()?)? {
                    Ok(action) => actions.push(action),
                    Err(unknown) => return Ok(Outcome::Refused(unknown)),
                }
            }
        }
        if let Some(why) = self.conflict(&actions) {
            return Ok(Outcome::Refused(why));
        }
        for action in actions {
            match action.verb {
                Verb::Create | Verb::Update => self.put(action.kind, action.object)?,
                Verb::Remove => self.remove(action.kind, &action.id),
            }
        }
        Ok(Outcome::Applied)
    }

    /// Returns a conflict: an action that creates an existing object, or changes a missing one, given the
    /// actions before it.
    fn conflict(&self, actions: &[Action<'_>]) -> Option<String> {
        let mut there: HashMap<(Kind, &str), bool> = HashMap::new();
        for action in actions {
            let known = || self.contains(action.kind, &action.id);
            let exists = *there.entry((action.kind, &action.id)).or_insert_with(known);
            if exists == (action.verb == Verb::Create) {
                let state = if exists { "exists already" } else { "does not exist" };
                return Some(format!("{:?} {} {state}", action.kind, action.id));
            }
            there.insert((action.kind, &action.id), action.verb != Verb::Remove);
        }
        None
    }

    /// Adds an object, or replaces the one with the same id.
    pub(crate) fn put(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), Unreadable> {
        let id = object_id(bytes)?;
        if let Some(kept) = &mut self.kept {
            kept.put(kind, &id, bytes);
        }
        match kind {
            Kind::Cluster => {
                self.clusters.insert(id, convert::cluster(decode(kind, bytes)?, bytes));
            }
            Kind::Node => {
                self.nodes.insert(id, convert::node(decode(kind, bytes)?));
            }
            Kind::Service => {
                self.services.insert(id, convert::service(decode(kind, bytes)?));
            }
            Kind::Network => {
                self.networks.insert(id, convert::network(decode(kind, bytes)?));
            }
            Kind::Secret => {
                self.secrets.insert(id, convert::secret(decode(kind, bytes)?, bytes));
            }
            Kind::Config => {
                self.configs.insert(id, convert::config(decode(kind, bytes)?, bytes));
            }
            Kind::Volume => {
                self.volumes.insert(id, convert::volume(decode(kind, bytes)?));
            }
            Kind::Task => {
                self.tasks.insert(id, convert::task(&decode(kind, bytes)?));
            }
            Kind::Resource | Kind::Extension => {
                self.others.insert((kind, id));
            }
        }
        Ok(())
    }

    fn remove(&mut self, kind: Kind, id: &str) {
        if let Some(kept) = &mut self.kept {
            kept.remove(kind, id);
        }
        match kind {
            Kind::Cluster => drop(self.clusters.remove(id)),
            Kind::Node => drop(self.nodes.remove(id)),
            Kind::Service => drop(self.services.remove(id)),
            Kind::Network => drop(self.networks.remove(id)),
            Kind::Secret => drop(self.secrets.remove(id)),
            Kind::Config => drop(self.configs.remove(id)),
            Kind::Volume => drop(self.volumes.remove(id)),
            Kind::Task => drop(self.tasks.remove(id)),
            Kind::Resource | Kind::Extension => drop(self.others.remove(&(kind, id.to_owned()))),
        }
    }

    fn contains(&self, kind: Kind, id: &str) -> bool {
        match kind {
            Kind::Cluster => self.clusters.contains_key(id),
            Kind::Node => self.nodes.contains_key(id),
            Kind::Service => self.services.contains_key(id),
            Kind::Network => self.networks.contains_key(id),
            Kind::Secret => self.secrets.contains_key(id),
            Kind::Config => self.configs.contains_key(id),
            Kind::Volume => self.volumes.contains_key(id),
            Kind::Task => self.tasks.contains_key(id),
            Kind::Resource | Kind::Extension => self.others.contains(&(kind, id.to_owned())),
        }
    }

    /// Returns the inventory; `None` if the store has no cluster object `cluster_id`.
    pub(crate) fn into_inventory(mut self, cluster_id: &str, raft: inventory::Raft) -> Option<Inventory> {
        let cluster = self.clusters.remove(cluster_id)?;
        for member in &raft.members {
            let node = member.node_id.as_ref().and_then(|id| self.nodes.get_mut(id));
            if let Some(node) = node {
                node.raft_id = Some(member.raft_id);
                node.manager_addr.clone_from(&member.addr);
            }
        }
        let mut tasks = BTreeMap::new();
        for state in self.tasks.values() {
            *tasks.entry(state.name().to_owned()).or_default() += 1;
        }
        let inventory = Inventory {
            version: inventory::INVENTORY_VERSION,
            cluster,
            raft: Some(raft),
            nodes: self.nodes.into_values().collect(),
            services: self.services.into_values().collect(),
            networks: self.networks.into_values().flatten().collect(),
            secrets: self.secrets.into_values().flatten().collect(),
            configs: self.configs.into_values().collect(),
            volumes: Some(self.volumes.into_values().collect()),
            tasks,
        };
        Some(inventory.sorted())
    }
}

impl Kind {
    /// Returns the kind for a field number of `StoreSnapshot`.
    pub(crate) fn in_snapshot(tag: u32) -> Option<Self> {
        const TAGS: [Kind; 10] = [
            Kind::Node,
            Kind::Service,
            Kind::Network,
            Kind::Task,
            Kind::Cluster,
            Kind::Secret,
            Kind::Resource,
            Kind::Extension,
            Kind::Config,
            Kind::Volume,
        ];
        TAGS.get((tag as usize).checked_sub(1)?).copied()
    }

    /// Returns the kind for a field number of `StoreAction`, whose order is not that of snapshots.
    fn in_action(tag: u32) -> Option<Self> {
        const TAGS: [Kind; 10] = [
            Kind::Node,
            Kind::Service,
            Kind::Task,
            Kind::Network,
            Kind::Cluster,
            Kind::Secret,
            Kind::Resource,
            Kind::Extension,
            Kind::Config,
            Kind::Volume,
        ];
        TAGS.get((tag as usize).checked_sub(2)?).copied()
    }
}

impl<'a> Action<'a> {
    /// Parses one change. The inner error is a kind of object or of change that only newer engines know, or a change
    /// without an object.
    fn parse(action: &'a [u8]) -> Result<Result<Self, String>, Unreadable> {
        let (mut verb, mut target) = (0, None);
        for field in Fields::new(action) {
            let field = field?;
            match field.tag {
                1 => verb = field.number()?,
                tag => target = Some((tag, field.bytes()?)),
            }
        }
        let verb = match verb {
            1 => Verb::Create,
            2 => Verb::Update,
            3 => Verb::Remove,
            other => return Ok(Err(format!("a change of unknown sort {other}"))),
        };
        let Some((tag, object)) = target else {
            return Ok(Err("a change of nothing".to_owned()));
        };
        let Some(kind) = Kind::in_action(tag) else {
            return Ok(Err(format!("an object of unknown sort {tag}")));
        };
        Ok(Ok(Self { verb, kind, id: object_id(object)?, object }))
    }
}

fn object_id(object: &[u8]) -> Result<String, Unreadable> {
    let id = Fields::new(object).next();
    let id = id.ok_or_else(|| Unreadable("an object without an id".to_owned()))??;
    if id.tag != 1 {
        return Err(Unreadable("an object without an id".to_owned()));
    }
    let id = std::str::from_utf8(id.bytes()?);
    id.map(str::to_owned).map_err(|_| Unreadable("an id that is no text".to_owned()))
}

fn decode<T: Message + Default>(kind: Kind, bytes: &[u8]) -> Result<T, Unreadable> {
    // The decoder's error message names fields and types, but never values.
    T::decode(bytes).map_err(|error| Unreadable(format!("{kind:?}: {error}")))
}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        Self(malformed.why.to_owned())
    }
}
