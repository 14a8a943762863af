//! Manifests: what an image consists of, read from the bytes that its digest is of.

use std::collections::BTreeSet;

use serde::Deserialize;
use thiserror::Error;

use crate::{Digest, Platform};

/// Types that are asked for and understood, indexes first.
pub const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A manifest, as far as copies and checks need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// One manifest for each platform, and others, as attestations.
    Index(Vec<Child>),
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
}

/// One manifest of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub at: Descriptor,
    pub platform: Option<Platform>,
}

/// Where bytes are, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
}

/// Bytes that are no manifest.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotAManifest {
    #[error("it is not a manifest: {0}")]
    Unreadable(String),
    #[error("it is of the type `{0}`, which is not known here")]
    OtherType(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u64,
    #[serde(default)]
    media_type: String,
    manifests: Option<Vec<Listed>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(flatten)]
    at: Descriptor,
    platform: Option<Words>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Words {
    os: String,
    architecture: String,
    variant: String,
}

impl Descriptor {
    /// Whether the bytes are not in the registry by design: layers of Windows that their maker alone gives away.
    pub fn is_foreign(&self) -> bool {
        self.media_type.contains(".foreign.") || self.media_type.contains(".nondistributable.")
    }
}

impl Manifest {
    /// Reads a manifest of one of the types that are asked for.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAManifest> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|cause| NotAManifest::Unreadable(cause.to_string()))?;
        match document {
            Document { schema_version: 2, manifests: Some(manifests), .. } => {
                Ok(Self::Index(manifests.into_iter().map(Child::of).collect()))
            }
            Document { schema_version: 2, config: Some(config), layers: Some(layers), .. } => {
                Ok(Self::Image { config, layers })
            }
            Document { schema_version: 2, media_type, .. } => Err(NotAManifest::OtherType(media_type)),
            Document { schema_version, .. } => {
                Err(NotAManifest::OtherType(format!("manifest of schema {schema_version}")))
            }
        }
    }

    /// Returns the blobs of an image that a registry keeps, its configuration first; none for an index.
    pub fn blobs(&self) -> Vec<&Descriptor> {
        match self {
            Self::Index(_) => Vec::new(),
            Self::Image { config, layers } => {
                std::iter::once(config).chain(layers.iter().filter(|layer| !layer.is_foreign())).collect()
            }
        }
    }
}

impl Child {
    fn of(listed: Listed) -> Self {
        let platform = listed.platform.map(|it| Platform::new(&it.os, &it.architecture, &it.variant));
        Self { at: listed.at, platform: platform.filter(|it| !it.is_unknown()) }
    }
}

/// Levels of indexes within indexes that are followed.
pub const DEEPEST: u32 = 3;

/// Returns the children of an index that are copied: those for these platforms, or all if none is named. Each digest once.
pub fn chosen<'a>(children: &'a [Child], platforms: &[Platform]) -> Vec<&'a Child> {
    let all = if platforms.is_empty() { children.iter().collect() } else { for_platforms(children, platforms) };
    let mut seen = BTreeSet::new();
    all.into_iter().filter(|child| seen.insert(&child.at.digest)).collect()
}

/// Returns the children of an index that are for one of these platforms.
pub fn for_platforms<'a>(children: &'a [Child], wanted: &[Platform]) -> Vec<&'a Child> {
    let fits = |child: &&Child| {
        child.platform.as_ref().is_some_and(|offered| wanted.iter().any(|wanted| wanted.takes(offered)))
    };
    children.iter().filter(fits).collect()
}

/// Returns the platforms that an index has nothing for.
pub fn missing_platforms(children: &[Child], wanted: &[Platform]) -> Vec<Platform> {
    let is_there = |wanted: &Platform| {
        children.iter().filter_map(|child| child.platform.as_ref()).any(|offered| wanted.takes(offered))
    };
    wanted.iter().filter(|wanted| !is_there(wanted)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::of(&[n])
    }

    #[test]
    fn an_index_lists_platforms_and_an_image_its_blobs() {
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[
                {{"mediaType":"m","digest":"{}","size":3,"platform":{{"os":"linux","architecture":"amd64"}}}},
                {{"mediaType":"m","digest":"{}","size":4,"platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#,
            digest(1),
            digest(2)
        );
        let Manifest::Index(children) = Manifest::parse(index.as_bytes()).expect("is one") else { panic!("no index") };
        let wanted: Vec<Platform> = ["linux/amd64", "linux/arm64"].map(|it| it.parse().expect("is one")).to_vec();
        assert_eq!(for_platforms(&children, &wanted), [&children[0]]);
        assert_eq!(missing_platforms(&children, &wanted), wanted[1..]);
        let image = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":1}},"layers":[{{"digest":"{}","size":2}},
                {{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"{}","size":9}}]}}"#,
            digest(1),
            digest(2),
            digest(3)
        );
        let image = Manifest::parse(image.as_bytes()).expect("is one");
        assert_eq!(image.blobs().iter().map(|it| it.size).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":1,"fsLayers":[]}"#,
            r#"{"schemaVersion":2,"mediaType":"other"}"#,
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:../..","size":1}]}"#,
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:00","size":-1}]}"#,
        ] {
            assert!(Manifest::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Manifest::parse(&bytes);
        }
    }
}
