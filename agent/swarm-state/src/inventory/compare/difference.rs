//! One difference between two inventories.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One difference between two inventories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Kind of the object.
    pub kind: ObjectKind,
    /// Id of the object.
    pub id: String,
    /// Name of the object; host name for nodes.
    pub name: String,
    /// Kind of the difference.
    pub change: Change,
}

/// Kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// The cluster as a whole.
    Cluster,
    /// A node.
    Node,
    /// A service.
    Service,
    /// A network of swarm scope.
    Network,
    /// A secret.
    Secret,
    /// A config.
    Config,
    /// A cluster volume.
    Volume,
}

/// Kind of a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// The object is only in the first inventory.
    Missing,
    /// The object is only in the second inventory.
    Extra,
    /// The object is in both inventories, with different values of a field.
    Changed {
        /// Name of the field in the JSON form.
        field: String,
        /// Value in the first inventory.
        recorded: String,
        /// Value in the second inventory.
        actual: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, name, change } = self;
        match change {
            Change::Missing => write!(f, "{kind} `{name}` ({id}) is missing"),
            Change::Extra => write!(f, "{kind} `{name}` ({id}) is new"),
            Change::Changed { field, recorded, actual } => {
                write!(f, "{kind} `{name}` ({id}): {field} was `{recorded}`, is `{actual}`")
            }
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Service => "service",
            Self::Network => "network",
            Self::Secret => "secret",
            Self::Config => "config",
            Self::Volume => "volume",
        })
    }
}
