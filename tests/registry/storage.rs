//! The registry's data, as it lies on disk (distribution 2.8, registry/storage/paths.go).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Made, Registry};

/// Returns the file of a blob or a manifest.
pub(super) fn blob(data: &Path, digest: &str) -> PathBuf {
    let hex = hex(digest);
    root(data).join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

fn root(data: &Path) -> PathBuf {
    data.join("docker/registry/v2")
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

impl Registry {
    /// Puts an image where a push would have put it, without a request: in no time, whatever its size. Blobs are not
    /// copied if the image is on the same file system, as it is in [`Registry::directory`].
    pub fn place(&self, image: &Made, repo: &str, tag: &str) -> Result<()> {
        let repository = root(&self.data()).join("repositories").join(repo);
        for digest in &image.manifests {
            self.place_blob(image, digest)?;
            link(&repository.join("_manifests/revisions/sha256").join(hex(digest)), digest)?;
        }
        for digest in &image.blobs {
            self.place_blob(image, digest)?;
            link(&repository.join("_layers/sha256").join(hex(digest)), digest)?;
        }
        let tag = repository.join("_manifests/tags").join(tag);
        link(&tag.join("index/sha256").join(hex(&image.digest)), &image.digest)?;
        link(&tag.join("current"), &image.digest)
    }

    fn place_blob(&self, image: &Made, digest: &str) -> Result<()> {
        let (from, to) = (image.blob(digest), blob(&self.data(), digest));
        if to.exists() {
            return Ok(());
        }
        fs::create_dir_all(to.parent().expect("it has directories above it"))?;
        hard_link_or_copy(&from, &to).with_context(|| format!("failed to place {digest}"))
    }
}

/// Writes a file that names a digest.
fn link(directory: &Path, digest: &str) -> Result<()> {
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(directory.join("link"), digest))
        .with_context(|| format!("failed to write {}", directory.display()))
}

fn hard_link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => fs::copy(from, to).map(drop),
        other => other,
    }
}
