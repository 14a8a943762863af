//! Other places of images: `--image-map FROM=TO`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::image_name::{DEFAULT_REGISTRY, split_registry};

/// Replaces the start of image names, as of a registry that moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageMap(Vec<Rule>);

/// One rule, as it is typed: `registry.old:5000/shop=registry.new/mirror/shop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    from: String,
    to: String,
}

/// Text that is no rule.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotARule {
    #[error("give it as FROM=TO")]
    NoSides,
    #[error("neither side of FROM=TO may be empty")]
    EmptySide,
}

impl Rule {
    /// Makes the rule that gives one place another name.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into() }
    }

    /// Returns the image under its other name if the rule fits it as it is written.
    fn apply(&self, image: &str) -> Option<String> {
        let rest = image.strip_prefix(&self.from)?;
        is_end_of_part(rest).then(|| format!("{}{rest}", self.to))
    }

    /// Whether the image is where this rule leads.
    fn leads_to(&self, image: &str) -> bool {
        let begins = |image: &str| image.strip_prefix(&self.to).is_some_and(is_end_of_part);
        begins(image) || begins(&whole(image))
    }

    /// Whether the rule fits the names that it gives.
    fn leads_on(&self) -> bool {
        let given = format!("{}/image", self.to);
        self.apply(&given).is_some() || self.apply(&whole(&given)).is_some()
    }
}

impl FromStr for Rule {
    type Err = NotARule;

    fn from_str(text: &str) -> Result<Self, NotARule> {
        let (from, to) = text.split_once('=').ok_or(NotARule::NoSides)?;
        let (from, to) = (from.trim_end_matches('/'), to.trim_end_matches('/'));
        if from.is_empty() || to.is_empty() {
            return Err(NotARule::EmptySide);
        }
        Ok(Self::new(from, to))
    }
}

impl TryFrom<String> for Rule {
    type Error = NotARule;

    fn try_from(text: String) -> Result<Self, NotARule> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.from, self.to)
    }
}

impl ImageMap {
    /// Makes a map of rules; the longest one that fits an image counts, and of two equally long ones the first.
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.from.len()));
        Self(rules)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules, the longest first.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// Returns the image under its other name, with tag and digest unchanged; `None` if no rule fits. A rule fits at the
    /// end of a part of the name only: `registry/shop` does not fit `registry/shopping`, and `registry` does not fit
    /// `registry:5000/shop`, which is another registry. Rules are tried with the name as it is written, then with the
    /// whole name: `docker.io` fits `busybox`, which is `docker.io/library/busybox`.
    pub fn apply(&self, image: &str) -> Option<String> {
        self.rule(image).map(|(_, other)| other)
    }

    /// Returns the other name as [`apply`](Self::apply) does, but none to an image that may have got its name by this map:
    /// with `registry=registry/mirror` an image at `registry/mirror` stays. So a map that is applied again to what it has
    /// renamed renames nothing.
    pub fn apply_once(&self, image: &str) -> Option<String> {
        let (rule, other) = self.rule(image)?;
        let came_by = |of: &&Rule| of.leads_to(image) && (*of != rule || rule.leads_on());
        self.0.iter().find(came_by).is_none().then_some(other)
    }

    fn rule(&self, image: &str) -> Option<(&Rule, String)> {
        let find = |image: &str| self.0.iter().find_map(|rule| Some((rule, rule.apply(image)?)));
        find(image).or_else(|| find(&whole(image)))
    }
}

/// Returns the name with its registry, and with `library` if it is official.
fn whole(image: &str) -> String {
    let (registry, path) = split_registry(image);
    let is_official = registry == DEFAULT_REGISTRY && !path.contains('/');
    format!("{registry}/{}{path}", if is_official { "library/" } else { "" })
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
            ("docker.io/library/busybox", None),
        ] {
            assert_eq!(map.apply(image).as_deref(), other, "{image}");
        }
    }

    #[test]
    fn a_rule_for_the_hub_fits_names_without_a_registry() {
        let rules = ["docker.io=mirror/hub", "docker.io/shop=own"];
        let map = ImageMap::new(rules.iter().map(|rule| rule.parse().expect("is a rule")).collect());
        for (image, other) in [
            ("busybox:1@sha256:00", Some("mirror/hub/library/busybox:1@sha256:00")),
            ("bitnami/redis", Some("mirror/hub/bitnami/redis")),
            ("shop/web:1", Some("own/web:1")),
            ("index.docker.io/a/b", Some("mirror/hub/a/b")),
            ("ghcr.io/a/b", None),
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
    fn what_a_map_has_renamed_it_does_not_rename_again() {
        for rules in [
            &["old=new"][..],
            &["reg=reg/mirror"],
            &["docker.io=mirror/hub"],
            &["reg/mirror=reg"],
            &["a.b=b.c", "b.c=c.d"],
            &["a.b=b.c", "b.c=a.b"],
            &["a.b=b.c", "b.c/web=c.d/web"],
        ] {
            let map = ImageMap::new(rules.iter().map(|rule| rule.parse().expect("is a rule")).collect());
            for image in ["old/web:1", "reg/web@sha256:00", "web", "own/web", "reg/mirror/web", "a.b/web", "b.c/web"] {
                let once = map.apply_once(image);
                assert!(once.is_none() || once == map.apply(image), "{rules:?} {image}");
                if let Some(once) = once {
                    assert_eq!(map.apply_once(&once), None, "{rules:?} {image}");
                }
            }
        }
        let map = ImageMap::new(vec!["reg/mirror=reg".parse().expect("is a rule")]);
        assert_eq!(map.apply_once("reg/mirror/web").as_deref(), Some("reg/web"));
    }

    #[test]
    fn half_a_rule_is_none() {
        for wrong in ["", "a", "=", "a=", "=b", "/=b"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}
