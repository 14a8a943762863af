//! Settings for workers that become managers.

use std::{collections::BTreeMap, fmt, str::FromStr};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Config;
use crate::outcome::failure::Failure;

/// The `[grow]` section of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrowConfig {
    /// Label (`KEY` or `KEY=VALUE`) of the nodes that may become managers; default: any.
    pub only: Option<String>,
}

/// A label that a node has been given by a manager, and the value that it must have if one is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLabel {
    key: String,
    value: Option<String>,
}

impl NodeLabel {
    /// Whether these labels of a node have it.
    pub fn is_in(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(&self.key).is_some_and(|value| self.value.as_ref().is_none_or(|wanted| wanted == value))
    }
}

impl FromStr for NodeLabel {
    type Err = String;

    /// Parses `KEY`, `KEY=VALUE`, and both after `node.labels.`, as constraints have it.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("engine.labels.") {
            return Err("labels of engines are the host's own words; write a label of the node".to_owned());
        }
        let text = text.strip_prefix("node.labels.").unwrap_or(text);
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
        if key.is_empty() || key.contains(char::is_whitespace) || value.is_some_and(|value| value.starts_with('=')) {
            return Err("write KEY or KEY=VALUE, a label of nodes".to_owned());
        }
        Ok(Self { key: key.to_owned(), value: value.map(str::to_owned) })
    }
}

impl fmt::Display for NodeLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        self.value.iter().try_for_each(|value| write!(f, "={value}"))
    }
}

impl GrowConfig {
    /// Returns the configured label. It was checked when the configuration was read.
    pub fn label(&self) -> Option<NodeLabel> {
        self.only.as_deref().and_then(|text| text.parse().ok())
    }
}

impl Config {
    pub(super) fn validate_grow(&self) -> Result<()> {
        let Some(text) = &self.grow.only else { return Ok(()) };
        text.parse::<NodeLabel>().map_err(|why| Failure::usage(format!("grow.only is `{text}`: {why}")))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_meant_with_its_value_if_one_is_named() {
        let labels = |value: &str| BTreeMap::from([("manager".to_owned(), value.to_owned())]);
        for (text, value, expected) in [
            ("manager", "", true),
            ("manager", "no", true),
            ("manager=yes", "yes", true),
            ("manager=yes", "no", false),
            ("manager=", "", true),
            ("manager=", "yes", false),
            ("node.labels.manager=yes", "yes", true),
            ("other", "yes", false),
        ] {
            let label: NodeLabel = text.parse().expect(text);
            assert_eq!(label.is_in(&labels(value)), expected, "{text} {value}");
            assert!(!label.is_in(&BTreeMap::new()));
        }
    }

    #[test]
    fn what_is_no_label_of_nodes_is_a_mistake_in_the_configuration() {
        for wrong in ["", "=yes", "a b", "a==b", "engine.labels.manager", "node.labels."] {
            let grow = GrowConfig { only: Some(wrong.to_owned()) };
            let error = Config { grow, ..Config::default() }.validate_grow().expect_err(wrong);
            assert!(error.to_string().contains("grow.only"), "{error}");
        }
        Config::default().validate_grow().expect("none is needed");
    }
}
