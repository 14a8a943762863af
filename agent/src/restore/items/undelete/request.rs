//! What is to be brought back, and how.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use swarm_state::inventory::ObjectKind;
use swarmdr_registry::ImageMap;

use crate::{outcome::failure::Failure, restore::items::selection::Selection};

/// The operator's wishes. A journal has them too, in which a field that is missing has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    pub selection: Selection,
    /// Everything of which neither the id nor the name lives.
    pub all_missing: bool,
    pub conflict: Conflict,
    /// Replicated services get no replicas.
    pub stopped: bool,
    /// Name of the one selected object from now on.
    pub new_name: Option<String>,
    pub images: ImageMap,
}

/// What is done about a living object that has the name and is not the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    #[default]
    Refuse,
    /// A secret, config or network comes back under another name, and the services that come back with it use that.
    Rename,
    /// A service is updated; a secret or config that no service uses is removed and created again.
    Replace,
}

/// Longest name of a service or a network, and of a secret or a config (swarmkit `manager/controlapi/common.go`).
const LONGEST: usize = 63;
const LONGEST_OF_CONTENT: usize = 64;

/// Whether an engine takes this name for an object of the kind (swarmkit `manager/controlapi/common.go`): letters,
/// digits, `-` and `_`, and for a secret or a config also `.`; at the start and at the end a letter or a digit.
pub fn is_name(kind: ObjectKind, name: &str) -> bool {
    let has_content = matches!(kind, ObjectKind::Secret | ObjectKind::Config);
    let longest = if has_content { LONGEST_OF_CONTENT } else { LONGEST };
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || has_content && byte == b'.';
    let at_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= longest && at_end(bytes.first()) && at_end(bytes.last()) && bytes.iter().copied().all(inside)
}

/// Refuses a name that no engine would take.
pub fn require_name(kind: ObjectKind, name: &str) -> Result<()> {
    if is_name(kind, name) {
        return Ok(());
    }
    let what = format!("`{name}` cannot be the name of a {kind}");
    Err(Failure::usage(what)
        .advice("give --as a name of letters, digits, - and _ (of a secret or config also .), at most 63 of them")
        .into())
}

/// Returns the names under which an object may come back if its own is taken, in the order in which they are tried:
/// `key.20261121`, `key.20261121-2`, and so on. A network's name cannot have a dot in it.
pub fn other_names(kind: ObjectKind, name: &str, date: &str) -> impl Iterator<Item = String> {
    const MOST: u32 = 20;
    let mark = if kind == ObjectKind::Network { '-' } else { '.' };
    let first = format!("{name}{mark}{date}");
    (1..=MOST).map(move |number| if number == 1 { first.clone() } else { format!("{first}-{number}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_engines_take() {
        let (network, secret) = (ObjectKind::Network, ObjectKind::Secret);
        for (kind, name, is) in [
            (network, "shop_back-end", true),
            (network, "shop.back", false),
            (secret, "shop.key", true),
            (secret, ".key", false),
            (secret, "key-", false),
            (secret, "", false),
            (secret, "a/b", false),
            (secret, "schl\u{fc}ssel", false),
        ] {
            assert_eq!(is_name(kind, name), is, "{name}");
        }
        assert!(is_name(secret, &"a".repeat(64)) && !is_name(secret, &"a".repeat(65)));
        assert!(is_name(network, &"a".repeat(63)) && !is_name(network, &"a".repeat(64)));
        require_name(secret, "../key").expect_err("is none");
    }

    #[test]
    fn other_names_have_the_date_of_the_backup() {
        let names: Vec<String> = other_names(ObjectKind::Secret, "key", "20261121").take(2).collect();
        assert_eq!(names, ["key.20261121", "key.20261121-2"]);
        let network = other_names(ObjectKind::Network, "back", "20261121").next().expect("is one");
        assert_eq!(network, "back-20261121");
        assert!(is_name(ObjectKind::Network, &network));
    }
}
