//! Where images are copied to, and the names that they get there.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

use crate::{Digest, ImageName, Platform, Rule, split_registry};

/// Longest tag (distribution-spec, "Pulling manifests").
const LONGEST_TAG: usize = 128;

/// A place that images are copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A registry, and the path there that comes before all names.
    Registry(Mirror),
    /// A directory.
    Layout(PathBuf),
}

/// A path in a registry, below which images keep the names that they have elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    registry: String,
    prefix: String,
}

/// Text that names no destination.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` names no place for images: give a registry and a path in it, as `registry.example:5000/mirror`, or `oci:DIRECTORY`"
)]
pub struct NotADestination(String);

impl FromStr for Destination {
    type Err = NotADestination;

    fn from_str(text: &str) -> Result<Self, NotADestination> {
        let refuse = || NotADestination(text.to_owned());
        match text.strip_prefix("oci:") {
            Some("") => Err(refuse()),
            Some(directory) => Ok(Self::Layout(directory.into())),
            None => text.parse().map(Self::Registry).map_err(|_| refuse()),
        }
    }
}

impl FromStr for Mirror {
    type Err = NotADestination;

    fn from_str(text: &str) -> Result<Self, NotADestination> {
        let refuse = || NotADestination(text.to_owned());
        let text = text.trim_end_matches('/');
        let (registry, prefix) = text.split_once('/').unwrap_or((text, ""));
        // A name below it has to be a name, and the first part has to be taken for a host.
        let below: ImageName = format!("{text}/x/y").parse().map_err(|_| refuse())?;
        let is_plain = below.tag().is_none() && below.digest().is_none();
        match is_plain && below.registry() == registry && split_registry(&format!("{text}/x")).0 == registry {
            true => Ok(Self { registry: registry.to_owned(), prefix: prefix.to_owned() }),
            false => Err(refuse()),
        }
    }
}

impl Mirror {
    /// Host with its port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository for an image of another registry: prefix, registry, path. With the registry in it, images of
    /// two registries never get the same name, and a second registry does not change the names of the first one's.
    pub fn repository(&self, image: &ImageName) -> String {
        let registry = directory(image.registry());
        let parts = [self.prefix.as_str(), &registry, image.repository()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }

    /// Whether an image is in this mirror by its name.
    pub fn holds(&self, image: &ImageName) -> bool {
        let below = match self.prefix.is_empty() {
            true => Some(image.repository()),
            false => image.repository().strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('/')),
        };
        image.registry() == self.registry && below.is_some()
    }

    /// Returns the rule that leads from a registry to this mirror.
    pub fn rule(&self, registry: &str) -> Rule {
        let parts = [self.registry.as_str(), &self.prefix, &directory(registry)];
        Rule::new(registry, parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"))
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.is_empty() {
            true => f.write_str(&self.registry),
            false => write!(f, "{}/{}", self.registry, self.prefix),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(mirror) => mirror.fmt(f),
            Self::Layout(directory) => write!(f, "oci:{}", directory.display()),
        }
    }
}

impl Destination {
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Registry(_) => None,
            Self::Layout(directory) => Some(directory),
        }
    }
}

/// Returns a registry as a part of a path: `registry.old:5000` is `registry.old_5000`. No host has an underscore, so no two
/// registries get the same name.
fn directory(registry: &str) -> String {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, format!("_{port}")),
        _ => (registry, String::new()),
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => format!("v6-{}", address.replace("::", "-x-").replace(':', "-").trim_matches('-')),
        None => host.to_owned(),
    };
    format!("{host}{port}").to_lowercase()
}

/// Returns the tags of a copy. The first belongs to this digest for ever, so that no registry takes it for garbage when the
/// other one, which people know, moves on. It also tells which platforms were copied, if not all were.
pub fn tags(tag: Option<&str>, digest: &Digest, platforms: &[Platform]) -> Vec<String> {
    let of: Vec<String> = platforms.iter().map(|platform| format!("-{platform}").replace('/', "-")).collect();
    let end = format!("-{}{}", digest.short(), of.concat());
    let mut start: String = tag.unwrap_or("digest").to_owned();
    start.truncate(LONGEST_TAG.saturating_sub(end.len()).max(1));
    std::iter::once(start + &end).chain(tag.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_registry_with_a_path_or_a_directory() {
        for (text, shown) in [
            ("registry.new:5000/mirror", "registry.new:5000/mirror"),
            ("registry.new/a/b/", "registry.new/a/b"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("1.dkr.ecr.eu-west-1.amazonaws.com/swarm", "1.dkr.ecr.eu-west-1.amazonaws.com/swarm"),
            ("oci:/srv/images", "oci:/srv/images"),
        ] {
            let destination: Destination = text.parse().expect(text);
            assert_eq!(destination.to_string(), shown);
        }
        for wrong in
            ["", "oci:", "/srv", "mirror", "mirror/x", "r.x/A", "r.x/a:1", "r.x/a@b", "https://r.x/a", "r.x/../a"]
        {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_rule_leads_to_the_repository_of_each_image() {
        let mirrors = ["new:5000/mirror/a", "new:5000"].map(|text| text.parse::<Mirror>().expect("is one"));
        let digest = Digest::of(b"x");
        for mirror in mirrors {
            for image in ["busybox:1", "shop/web", "old:5000/shop/web:2", "ghcr.io/a/b", "localhost/x", "[::1]:5000/x"]
            {
                let image = format!("{image}@{digest}");
                let name: ImageName = image.parse().expect("is a name");
                let map = crate::ImageMap::new(vec![mirror.rule(name.registry())]);
                let mapped: ImageName = map.apply(&image).expect("fits").parse().expect("is a name");
                assert_eq!((mapped.registry(), mapped.repository()), (mirror.registry(), &*mirror.repository(&name)));
                assert_eq!((mapped.tag(), mapped.digest()), (name.tag(), name.digest()));
                assert!(mirror.holds(&mapped) && !mirror.holds(&name), "{image}");
            }
        }
    }

    #[test]
    fn the_first_tag_belongs_to_the_digest() {
        let digest = Digest::of(b"x");
        let arm: Platform = "linux/arm/v7".parse().expect("is one");
        assert_eq!(tags(Some("1.2"), &digest, &[arm])[0], format!("1.2-{}-linux-arm-v7", digest.short()));
        assert_eq!(tags(Some("1.2"), &digest, &[]), [format!("1.2-{}", digest.short()), "1.2".to_owned()]);
        assert_eq!(tags(None, &digest, &[]), [format!("digest-{}", digest.short())]);
        assert_eq!(tags(Some(&"x".repeat(128)), &digest, &[])[0].len(), 128);
    }
}
