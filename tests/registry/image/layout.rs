//! Directories with images in them, in the form that the OCI describes (image-layout.md).

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Child, Image, Media, Platform,
    layer::{self, Layer},
};
use crate::{registry::skopeo::digest_of, tree::Engine};

/// The busybox of a host's tree, as an archive.
const BUSYBOX: &str = "usr/share/lab/busybox.tar";

/// A directory of images, which share the blobs that they have in common. Whoever made the directory above it removes
/// it.
#[derive(Debug)]
pub struct Layout {
    path: PathBuf,
    /// Layers of archives that several images have.
    shared: Mutex<HashMap<PathBuf, Layer>>,
    /// Descriptors in `index.json`.
    listed: Mutex<Vec<Value>>,
    files: AtomicU64,
}

/// An image in a layout.
#[derive(Debug, Clone)]
pub struct Made {
    pub name: String,
    pub media: Media,
    /// Digest of the manifest, or of the index if it has one.
    pub digest: String,
    /// Images of the index; none without one.
    pub children: Vec<Child>,
    /// Digests of all manifests, the index included.
    pub manifests: Vec<String>,
    /// Digests of everything else: configurations and layers.
    pub blobs: Vec<String>,
    layout: PathBuf,
}

/// A manifest, with what it refers to.
struct Manifest {
    descriptor: Value,
    digest: String,
    blobs: Vec<String>,
}

impl Layout {
    /// Makes an empty layout.
    pub fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path.join("blobs/sha256"))
            .with_context(|| format!("failed to create {}", path.display()))?;
        fs::write(path.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
        let (shared, listed) = (Mutex::default(), Mutex::default());
        let layout = Self { path: path.to_owned(), shared, listed, files: AtomicU64::new(0) };
        layout.write_list(&[])?;
        Ok(layout)
    }

    /// Makes an image and lists it under a name.
    pub fn add(&self, name: &str, image: &Image) -> Result<Made> {
        let made = self.make(name, image).with_context(|| format!("failed to make the image {name}"))?;
        if image.media == Media::Docker {
            self.write_directory(&made)?;
        }
        Ok(made)
    }

    /// Makes this many distinct images for this machine, named `NAME-0` and so on.
    pub fn add_many(&self, name: &str, count: usize) -> Result<Vec<Made>> {
        let one = |number| {
            let name = format!("{name}-{number}");
            self.add(&name, &Image::single(&name))
        };
        (0..count).map(one).collect()
    }

    fn make(&self, name: &str, image: &Image) -> Result<Made> {
        let platforms = image.index.as_deref().unwrap_or(&[Platform::Amd64]);
        let manifests: Result<Vec<Manifest>> = platforms.iter().map(|&it| self.manifest(image, it)).collect();
        let manifests = manifests?;
        let (mut descriptor, mut children) = (manifests[0].descriptor.clone(), Vec::new());
        let mut digests: Vec<String> = manifests.iter().map(|it| it.digest.clone()).collect();
        if image.index.is_some() {
            let listed = platforms.iter().zip(&manifests).map(|(platform, manifest)| {
                let mut listed = manifest.descriptor.clone();
                listed["platform"] = json!({"architecture": platform.architecture(), "os": "linux"});
                listed
            });
            let index = json!({
                "schemaVersion": 2, "mediaType": image.media.index(), "manifests": listed.collect::<Vec<_>>(),
            });
            descriptor = self.write_json(&index, image.media.index())?;
            digests.push(digest(&descriptor));
            let child = |(&platform, it): (&Platform, &Manifest)| Child { platform, digest: it.digest.clone() };
            children = platforms.iter().zip(&manifests).map(child).collect();
        }
        let mut blobs: Vec<String> = manifests.into_iter().flat_map(|it| it.blobs).collect();
        blobs.sort();
        blobs.dedup();
        let (media, root, layout) = (image.media, digest(&descriptor), self.path.clone());
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let mut listed = self.listed.lock().expect("no holder panics");
        listed.push(descriptor);
        self.write_list(&listed)?;
        Ok(Made { name: name.to_owned(), media, digest: root, children, manifests: digests, blobs, layout })
    }

    /// Writes the manifest for a platform, and everything below it.
    fn manifest(&self, image: &Image, platform: Platform) -> Result<Manifest> {
        let (media, text) = (image.media, format!("{} {}", image.text, platform.architecture()));
        let mut layers = Vec::new();
        match &image.programs {
            Some(programs) => {
                layers.push(self.shared(&programs.layer, |out| layer::ready(&programs.layer, out))?);
                layers.push(self.keep(|out| layer::of_app(&programs.app, out))?);
            }
            None if platform == Platform::Amd64 => layers.push(self.busybox()?),
            None => {}
        }
        layers.push(self.keep(|out| layer::of_text(&text, out))?);
        if let Some(bytes) = image.large {
            layers.push(self.keep(|out| layer::large(&text, bytes, out))?);
        }
        let diff_ids: Vec<&str> = layers.iter().map(|it| it.diff_id.as_str()).collect();
        let run = match &image.programs {
            Some(programs) => json!({"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": programs.command}),
            None => json!({"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000000"]}),
        };
        let config = json!({
            "architecture": platform.architecture(), "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.write_json(&config, media.config())?;
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|it| json!({"mediaType": media.layer(it.compressed), "digest": it.digest, "size": it.size}))
            .collect();
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media.manifest(), "config": config, "layers": descriptors});
        let descriptor = self.write_json(&manifest, media.manifest())?;
        let blobs = layers.into_iter().map(|it| it.digest).chain([digest(&config)]).collect();
        Ok(Manifest { digest: digest(&descriptor), descriptor, blobs })
    }

    /// Returns the layer that images for this machine have in common.
    fn busybox(&self) -> Result<Layer> {
        let tar = Engine::E20_10.tree()?.join(BUSYBOX);
        self.shared(&tar, |out| layer::compressed(&tar, out))
    }

    /// Returns the layer of an archive, which is made once.
    fn shared(&self, archive: &Path, make: impl FnOnce(&Path) -> Result<Layer>) -> Result<Layer> {
        let mut shared = self.shared.lock().expect("no holder panics");
        if let Some(known) = shared.get(archive) {
            return Ok(known.clone());
        }
        let made = self.keep(make)?;
        shared.insert(archive.to_owned(), made.clone());
        Ok(made)
    }

    /// Makes a layer in a new file, and keeps it under its digest.
    fn keep(&self, make: impl FnOnce(&Path) -> Result<Layer>) -> Result<Layer> {
        let new = self.path.join(format!("new-{}", self.files.fetch_add(1, Ordering::Relaxed)));
        let layer = make(&new)?;
        fs::rename(&new, blob(&self.path, &layer.digest))?;
        Ok(layer)
    }

    /// Writes a document as a blob and returns its descriptor.
    fn write_json(&self, document: &Value, media_type: &str) -> Result<Value> {
        let bytes = document.to_string();
        let digest = digest_of(bytes.as_bytes());
        fs::write(blob(&self.path, &digest), &bytes)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }

    fn write_list(&self, listed: &[Value]) -> Result<()> {
        let list = json!({"schemaVersion": 2, "manifests": listed});
        fs::write(self.path.join("index.json"), list.to_string()).context("failed to list an image")
    }

    /// Writes a directory in skopeo's own form, with links to the blobs: in a layout skopeo overlooks images with
    /// Docker's media types.
    fn write_directory(&self, made: &Made) -> Result<()> {
        let directory = made.directory();
        fs::create_dir(&directory)?;
        fs::write(directory.join("version"), "Directory Transport Version: 1.1\n")?;
        let link = |digest: &str, name: &str| std::os::unix::fs::symlink(made.blob(digest), directory.join(name));
        link(&made.digest, "manifest.json")?;
        for child in &made.children {
            link(&child.digest, &format!("{}.manifest.json", hex(&child.digest)))?;
        }
        made.blobs.iter().try_for_each(|digest| link(digest, hex(digest))).context("failed to link blobs")
    }
}

impl Made {
    /// Returns the file of a blob or a manifest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        blob(&self.layout, digest)
    }

    /// Returns the digest of the image for a platform; `None` if the index lists none.
    pub fn child(&self, platform: Platform) -> Option<&str> {
        self.children.iter().find(|child| child.platform == platform).map(|child| child.digest.as_str())
    }

    /// The image as skopeo names it.
    pub fn reference(&self) -> String {
        match self.media {
            Media::Oci => format!("oci:{}:{}", self.layout.display(), self.name),
            Media::Docker => format!("dir:{}", self.directory().display()),
        }
    }

    fn directory(&self) -> PathBuf {
        self.layout.join(format!("directory-{}", self.name))
    }
}

fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs/sha256").join(hex(digest))
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// Returns the digest in a descriptor that was made here.
fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap_or_default().to_owned()
}
