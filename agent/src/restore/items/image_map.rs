//! Other places of images: `--image-map FROM=TO`.

use std::str::FromStr;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Replaces the start of image names, as of a registry that moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMap(Vec<Rule>);

/// One rule, as it is typed: `registry.old:5000/shop=registry.new/mirror/shop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    from: String,
    to: String,
}

impl FromStr for Rule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (from, to) = text.split_once('=').context("give it as FROM=TO")?;
        let (from, to) = (from.trim_end_matches('/'), to.trim_end_matches('/'));
        if from.is_empty() || to.is_empty() {
            bail!("neither side of FROM=TO may be empty");
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }
}

impl ImageMap {
    /// Makes a map of rules; the longest one that fits an image counts.
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.from.len()));
        Self(rules)
    }

    /// Returns the image under its other name, with tag and digest unchanged; `None` if no rule fits. A rule fits at the
    /// end of a part of the name only: `registry/shop` does not fit `registry/shopping`, and `registry` does not fit
    /// `registry:5000/shop`, which is another registry.
    pub fn apply(&self, image: &str) -> Option<String> {
        self.0.iter().find_map(|rule| {
            let rest = image.strip_prefix(&rule.from)?;
            is_end_of_part(rest).then(|| format!("{}{rest}", rule.to))
        })
    }

    /// Renames the image in the spec of a service. Returns whether it did.
    pub fn apply_to(&self, spec: &mut Value) -> bool {
        let Some(image) = spec.pointer_mut("/TaskTemplate/ContainerSpec/Image") else { return false };
        match image.as_str().and_then(|name| self.apply(name)) {
            Some(other) => {
                *image = other.into();
                true
            }
            None => false,
        }
    }
}

/// Whether a part of the name of an image ends before this rest of it.
fn is_end_of_part(rest: &str) -> bool {
    match rest.chars().next() {
        None | Some('/' | '@') => true,
        // A tag is the last but the digest; what a path follows is the port of a registry.
        Some(':') => !rest.contains('/'),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_parts_of_names_are_replaced_and_the_longest_rule_counts() {
        let rules = ["registry.old:5000=registry.new", "registry.old:5000/shop=mirror/shop", "busybox=own/busybox"];
        let map = ImageMap::new(rules.iter().map(|rule| rule.parse().expect("is a rule")).collect());
        for (image, other) in [
            ("registry.old:5000/db:1", Some("registry.new/db:1")),
            ("registry.old:5000/shop/web:1@sha256:00", Some("mirror/shop/web:1@sha256:00")),
            ("registry.old:5000/shopping", Some("registry.new/shopping")),
            ("busybox:1.36", Some("own/busybox:1.36")),
            ("busyboxes", None),
            ("registry.old", None),
        ] {
            assert_eq!(map.apply(image).as_deref(), other, "{image}");
        }
    }

    #[test]
    fn a_port_is_no_tag() {
        let map = |rule: &str| ImageMap::new(vec![rule.parse().expect("is a rule")]);
        for (rule, image, other) in [
            ("registry=mirror", "registry:5000/shop/web:1", None),
            ("registry=mirror", "registry:5000/shop/web@sha256:00", None),
            ("registry=mirror", "registry/shop/web:1", Some("mirror/shop/web:1")),
            ("registry=mirror", "registry:2@sha256:00", Some("mirror:2@sha256:00")),
            ("registry:5000=mirror", "registry:5000/shop/web:1", Some("mirror/shop/web:1")),
            ("registry:50=mirror", "registry:5000/shop/web:1", None),
        ] {
            assert_eq!(map(rule).apply(image).as_deref(), other, "{rule} {image}");
        }
    }

    #[test]
    fn half_a_rule_is_none() {
        for wrong in ["", "a", "=", "a=", "=b", "/=b"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}
