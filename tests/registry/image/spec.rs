//! What an image is to contain.

use std::path::{Path, PathBuf};

/// Generation of the media types of manifests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Media {
    #[default]
    Oci,
    /// Docker's own, schema 2.
    Docker,
}

impl Media {
    pub fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    pub fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    pub(super) fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    pub(super) fn layer(self, compressed: bool) -> &'static str {
        match (self, compressed) {
            (Self::Oci, true) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Oci, false) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Docker, true) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (Self::Docker, false) => "application/vnd.docker.image.rootfs.diff.tar",
        }
    }
}

/// Platform of an image; all are Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// The one on which these tests run: images of it contain busybox.
    Amd64,
    /// Images of it contain a text only.
    Arm64,
}

impl Platform {
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// An image to make. Its tasks sleep, and `/etc/image` in it holds a text that tells it from others.
#[derive(Debug, Clone)]
pub struct Image {
    pub(super) text: String,
    pub(super) media: Media,
    /// Platforms of an index; `None` for a manifest without one.
    pub(super) index: Option<Vec<Platform>>,
    pub(super) large: Option<u64>,
    pub(super) programs: Option<Programs>,
}

/// What an image has in place of busybox.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// The archive of a file system, compressed.
    pub layer: PathBuf,
    /// Directory whose files are in `/app`.
    pub app: PathBuf,
    pub command: Vec<String>,
}

impl Image {
    /// An image for this machine's platform alone, without an index.
    pub fn single(text: &str) -> Self {
        Self { text: text.to_owned(), media: Media::Oci, index: None, large: None, programs: None }
    }

    /// An index with an image for each platform.
    pub fn index(text: &str) -> Self {
        Self::index_of(text, &[Platform::Amd64, Platform::Arm64])
    }

    /// An index that lists these platforms only.
    pub fn index_of(text: &str, platforms: &[Platform]) -> Self {
        Self { index: Some(platforms.to_vec()), ..Self::single(text) }
    }

    /// Adds a layer with one file of this many bytes, `/large`, which does not shrink when compressed.
    pub fn with_large_layer(self, bytes: u64) -> Self {
        Self { large: Some(bytes), ..self }
    }

    /// Puts the compressed archive of a file system in the place of busybox, the files of a directory into `/app`, and
    /// lets tasks run this command.
    pub fn with_programs(self, layer: &Path, app: &Path, command: &[&str]) -> Self {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Self { programs: Some(Programs { layer: layer.to_owned(), app: app.to_owned(), command }), ..self }
    }

    pub fn media(self, media: Media) -> Self {
        Self { media, ..self }
    }
}

/// An image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub platform: Platform,
    pub digest: String,
}
