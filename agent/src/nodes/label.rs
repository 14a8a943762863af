//! A property of nodes that managers and tasks are spread over.

use std::{fmt, str::FromStr};

use super::roster::Listed;

/// `node.labels.NAME`, `engine.labels.NAME` or `node.hostname`, as in constraints and preferences of services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    Node(String),
    Engine(String),
    Hostname,
}

impl Label {
    /// The value that a node has; empty for none. Swarm's scheduler treats nodes without a label as one more value too.
    pub fn of<'a>(&self, node: &'a Listed) -> &'a str {
        match self {
            Self::Node(name) => node.node.labels.get(name).map_or("", String::as_str),
            Self::Engine(name) => node.engine_labels.get(name).map_or("", String::as_str),
            Self::Hostname => &node.node.hostname,
        }
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |prefix: &str| text.strip_prefix(prefix).filter(|name| !name.is_empty()).map(str::to_owned);
        if text == "node.hostname" {
            return Ok(Self::Hostname);
        }
        let label = named("node.labels.").map(Self::Node).or_else(|| named("engine.labels.").map(Self::Engine));
        label.ok_or_else(|| "write node.labels.NAME, engine.labels.NAME or node.hostname".to_owned())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node.labels.{name}"),
            Self::Engine(name) => write!(f, "engine.labels.{name}"),
            Self::Hostname => f.write_str("node.hostname"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_written_as_in_services() {
        for text in ["node.labels.zone", "engine.labels.a.b", "node.hostname"] {
            assert_eq!(text.parse::<Label>().expect(text).to_string(), text);
        }
        for wrong in ["", "zone", "node.labels.", "node.role", "node.labels"] {
            wrong.parse::<Label>().expect_err(wrong);
        }
    }
}
