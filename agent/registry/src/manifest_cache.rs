//! Manifests and configurations that were fetched before. What a digest is of never changes, and registries count each
//! fetch of a manifest as a pull.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::Digest;

/// Number of files that are kept; the oldest are removed first.
const MOST: usize = 10_000;

/// A directory with a file for each digest. What is read from it is compared with the digest, so that nobody can lie by
/// it. A failure to write is none of the check: the next one fetches again.
#[derive(Debug, Clone)]
pub struct ManifestCache(Option<PathBuf>);

impl ManifestCache {
    pub fn at(directory: &Path) -> Self {
        Self(Some(directory.to_owned()))
    }

    /// Keeps nothing.
    pub fn none() -> Self {
        Self(None)
    }

    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        let bytes = fs::read(self.0.as_ref()?.join(digest.hex())).ok()?;
        (Digest::of(&bytes) == *digest).then(|| bytes.into())
    }

    pub fn put(&self, digest: &Digest, bytes: &[u8]) {
        let Some(directory) = &self.0 else { return };
        let write = || -> io::Result<()> {
            fs::create_dir_all(directory)?;
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
            io::Write::write_all(&mut file, bytes)?;
            file.persist(directory.join(digest.hex()))?;
            Ok(())
        };
        if let Err(cause) = write() {
            tracing::debug!("failed to keep a manifest in {}: {cause}", directory.display());
        }
    }

    /// Removes the oldest files if there are too many.
    pub fn trim(&self) {
        let Some(entries) = self.0.as_ref().and_then(|directory| fs::read_dir(directory).ok()) else { return };
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(MOST);
        for (_, path) in &files[..surplus] {
            // Another run may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_on_disk_is_not_returned() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let cache = ManifestCache::at(dir.path());
        let digest = Digest::of(b"manifest");
        assert_eq!(cache.get(&digest), None);
        cache.put(&digest, b"manifest");
        assert_eq!(cache.get(&digest).as_deref(), Some(&b"manifest"[..]));
        fs::write(dir.path().join(digest.hex()), b"another").expect("writes");
        assert_eq!(cache.get(&digest), None);
        cache.trim();
    }
}
