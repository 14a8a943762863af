//! Ids of clusters and nodes, and the pair of both that names one node of one swarm.
//!
//! Swarm writes 25 characters of base 36. Nothing here depends on that: an id must only be one harmless component of a
//! path and of an object's key.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

/// Longest id, in bytes.
const MAX_LEN: usize = 64;

fn is_well_formed(text: &str) -> bool {
    (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

macro_rules! swarm_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id as the engine writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                if is_well_formed(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(Error::InvalidSwarmId { kind: $kind, text: text.escape_debug().take(MAX_LEN).collect() })
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        serde_as_string!($name);
    };
}

swarm_id! {
    /// Id of a swarm: 1 to 64 ASCII letters and digits. Organization (O) in the certificates of its nodes.
    ClusterId, "cluster id"
}

swarm_id! {
    /// Id of a node in its swarm: 1 to 64 ASCII letters and digits. Common name (CN) in the node's certificate.
    NodeId, "node id"
}

/// One node of one swarm: the identity that a state directory, a backup and a running engine have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwarmNode {
    /// The swarm that the node belongs to.
    pub cluster: ClusterId,
    /// The node itself.
    pub node: NodeId,
}

impl SwarmNode {
    /// Checks the ids of a certificate, of an engine or of a test against their rule.
    pub fn parse(cluster: &str, node: &str) -> Result<Self> {
        Ok(Self { cluster: cluster.parse()?, node: node.parse()? })
    }

    /// Whether ids that were read elsewhere, and may break the rule, are those of this node.
    pub fn is(&self, cluster: &str, node: &str) -> bool {
        self.cluster.as_str() == cluster && self.node.as_str() == node
    }
}

/// Displays as `node NODE of swarm CLUSTER`.
impl fmt::Display for SwarmNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of swarm {}", self.node, self.cluster)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_string_in_json_and_as_a_key() {
        let id: ClusterId = "q9x0h2k7m1c4v8b6n3z5a7s2d".parse().unwrap();
        let map = std::collections::BTreeMap::from([(id.clone(), id.clone())]);
        let json = serde_json::to_string(&map).unwrap();
        assert_eq!(json, r#"{"q9x0h2k7m1c4v8b6n3z5a7s2d":"q9x0h2k7m1c4v8b6n3z5a7s2d"}"#);
        assert_eq!(serde_json::from_str::<std::collections::BTreeMap<ClusterId, ClusterId>>(&json).unwrap(), map);
        assert_eq!(format!("{id:<26}|"), "q9x0h2k7m1c4v8b6n3z5a7s2d |");
    }

    #[test]
    fn anything_but_letters_and_digits_is_refused() {
        let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
        for text in ["a", "Z9", longest.as_str()] {
            assert_eq!(text.parse::<NodeId>().unwrap().as_str(), text);
        }
        for text in ["", "a b", "a\nb", "a-b", "a/b", "..", "é", too_long.as_str()] {
            assert!(text.parse::<ClusterId>().is_err() && text.parse::<NodeId>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<NodeId>(text.into()).is_err(), "{text:?}");
        }
        let error = SwarmNode::parse("a\nb", "n").unwrap_err().to_string();
        assert_eq!(
            error,
            r"`a\nb` is not a cluster id; one is 1 to 64 letters and digits, like w1ymnkr1qaqfdkyvdpgekypgb"
        );
    }
}
