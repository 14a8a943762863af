//! A directory of images, as the OCI image layout specification has it (`opencontainers/image-spec`, `image-layout.md`);
//! skopeo reads it as `oci:DIRECTORY`.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::{
    Digest, ErrorKind, ImageName, Platform, RegistryError,
    digest::Hashing,
    image_name::split_registry,
    manifest::{DEEPEST, Descriptor, Manifest, chosen},
    place::{Fetched, Found, Pieces, Source, Target},
};

/// The annotation that names an entry of `index.json`.
const NAME: &str = "org.opencontainers.image.ref.name";

/// Start of the names of files that are being written.
const UNFINISHED: &str = ".unfinished-";

/// Room that stays free on the file system of a layout.
const RESERVE: u64 = 1 << 30;

const CHUNK: usize = 256 << 10;

/// A layout. The repository of an image in it is its registry and path: `registry.old:5000/shop/web`.
#[derive(Debug)]
pub struct Layout {
    directory: PathBuf,
    index: Mutex<Index>,
    /// Held while somebody writes.
    _lock: Option<File>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(default, deserialize_with = "none_is_empty")]
    manifests: Vec<Entry>,
    /// What others have written.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// `umoci` and others write `null` for an empty list.
fn none_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Entry>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Entry {
    fn name(&self) -> Option<&str> {
        self.annotations.get(NAME).map(String::as_str)
    }
}

impl Layout {
    /// Opens a layout to write into it; makes it if the directory is empty or absent. Refuses a directory with other
    /// contents, and one that another run writes into.
    pub fn to_write(directory: &Path) -> Result<Self, RegistryError> {
        let marker = directory.join("oci-layout");
        fs::create_dir_all(directory).map_err(failed("make the layout", directory))?;
        require_own(directory)?;
        if !marker.exists() {
            // A run that was killed before the marker was there leaves these.
            let is_ours = |entry: &fs::DirEntry| {
                let name = entry.file_name();
                ["blobs", ".lock"].iter().any(|ours| name == *ours) || is_unfinished(&name)
            };
            let others = fs::read_dir(directory).map_err(failed("read the layout", directory))?;
            if others.filter_map(Result::ok).any(|entry| !is_ours(&entry)) {
                let why = "it is no layout of images, and holds other files";
                return Err(RegistryError::settings(format!("{} is left alone: {why}", directory.display())));
            }
        }
        let lock = open_lock(directory).map_err(failed("lock the layout", directory))?;
        fs::create_dir_all(directory.join("blobs/sha256")).map_err(failed("make the layout", directory))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RegistryError::settings(format!("another run writes into {}", directory.display())));
            }
            Err(TryLockError::Error(cause)) => return Err(failed("lock the layout", directory)(cause)),
        }
        for place in [directory, &directory.join("blobs/sha256")] {
            sweep(place);
        }
        if !marker.exists() {
            write_whole(directory, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
                .map_err(failed("write the layout", directory))?;
        }
        let index = if directory.join("index.json").exists() {
            read_index(directory)?
        } else {
            Index { schema_version: 2, ..Index::default() }
        };
        Ok(Self { directory: directory.to_owned(), index: Mutex::new(index), _lock: Some(lock) })
    }

    /// Opens a layout that is there, to read it.
    pub fn to_read(directory: &Path) -> Result<Self, RegistryError> {
        let index = read_index(directory)?;
        Ok(Self { directory: directory.to_owned(), index: Mutex::new(index), _lock: None })
    }

    /// Returns the images with a name, each with its digest, and with the tags that lead to it.
    pub fn images(&self) -> Vec<(ImageName, Digest, Vec<String>)> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: BTreeMap<(String, Digest), Vec<String>> = BTreeMap::new();
        for entry in &index.manifests {
            let name = entry.name().filter(|name| split_registry(name).1 != *name);
            let name = name.and_then(|name| name.parse::<ImageName>().ok());
            let Some((name, tag)) = name.and_then(|name| Some((name.place(), name.tag()?.to_owned()))) else {
                continue;
            };
            found.entry((name, entry.digest.clone())).or_default().push(tag);
        }
        let named = found.into_iter().filter_map(|((place, digest), tags)| Some((place.parse().ok()?, digest, tags)));
        named.collect()
    }

    /// Returns the entries that no registry and repository are known of, as other programs write them: their names, or
    /// their digests.
    pub fn unnamed(&self) -> Vec<String> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let is_named = |entry: &&Entry| {
            let name = entry.name().filter(|name| split_registry(name).1 != *name);
            name.and_then(|name| name.parse::<ImageName>().ok()).is_some_and(|name| name.tag().is_some())
        };
        let others = index.manifests.iter().filter(|entry| !is_named(entry));
        others.map(|entry| entry.name().map_or_else(|| entry.digest.to_string(), str::to_owned)).collect()
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    fn entry(&self, repository: &str, tag: &str) -> Option<Entry> {
        let name = format!("{repository}:{tag}");
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.manifests.iter().find(|entry| entry.name() == Some(&name)).cloned()
    }

    /// Whether everything that a manifest names is there, for these platforms.
    fn holds_all(&self, digest: &Digest, platforms: &[Platform], depth: u32) -> Result<bool, RegistryError> {
        let Ok(bytes) = fs::read(self.blob_path(digest)) else { return Ok(false) };
        let manifest = match Manifest::parse(&bytes) {
            Ok(manifest) if Digest::of(&bytes) == *digest => manifest,
            // It is fetched again.
            _ => return Ok(false),
        };
        let is_there =
            |blob: &Descriptor| fs::metadata(self.blob_path(&blob.digest)).is_ok_and(|it| it.len() == blob.size);
        match &manifest {
            Manifest::Index(_) if depth == DEEPEST => Ok(false),
            Manifest::Index(children) => {
                for child in chosen(children, platforms) {
                    if !self.holds_all(&child.at.digest, platforms, depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            image @ Manifest::Image { .. } => Ok(image.blobs().into_iter().all(is_there)),
        }
    }

    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    fn not_there(&self, repository: &str, reference: &str) -> RegistryError {
        let what = crate::image_name::image(repository, reference);
        RegistryError::new(ErrorKind::NotThere, &what, &self.place(), "it has no such image")
    }

    /// Refuses a blob for which there is no room, with something left for what else is on this file system: it may be that
    /// of the engine.
    fn require_room(&self, blob: &Descriptor) -> Result<(), RegistryError> {
        let what = format!("write {}", crate::image_name::image("a blob", &blob.digest.to_string()));
        let of = rustix::fs::statvfs(&self.directory).map_err(|cause| RegistryError::file(&what, &cause.into()))?;
        let free = of.f_bavail.saturating_mul(of.f_frsize);
        if free >= blob.size.saturating_add(RESERVE) {
            return Ok(());
        }
        let (size, place) = (blob.size >> 20, self.place());
        Err(RegistryError::settings(format!(
            "failed to {what}: it has {size} MiB, and of the {} MiB that are free in {place} 1 GiB has to stay free",
            free >> 20
        )))
    }

    fn name_it(&self, name: String, manifest: &Fetched) -> io::Result<()> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.manifests.retain(|entry| entry.name() != Some(&name));
        index.manifests.push(Entry {
            media_type: manifest.media_type.clone(),
            digest: manifest.digest.clone(),
            size: manifest.bytes.len() as u64,
            annotations: BTreeMap::from([(NAME.to_owned(), name)]),
            rest: BTreeMap::new(),
        });
        let text = serde_json::to_vec_pretty(&*index)?;
        write_whole(&self.directory, "index.json", &text)
    }

    async fn write_blob(&self, blob: &Descriptor, mut pieces: Pieces) -> io::Result<Option<Digest>> {
        let unfinished =
            tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(self.directory.join("blobs/sha256"))?;
        let mut file = tokio::fs::File::from_std(unfinished.reopen()?);
        let (mut hashing, mut size) = (Hashing::default(), 0);
        while let Some(piece) = pieces.recv().await {
            hashing.update(&piece);
            size += piece.len() as u64;
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        file.sync_all().await?;
        let digest = hashing.finish();
        if digest != blob.digest || size != blob.size {
            return Ok(None);
        }
        persist(unfinished, &self.blob_path(&blob.digest))?;
        Ok(Some(digest))
    }
}

fn read_index(directory: &Path) -> Result<Index, RegistryError> {
    let bytes = fs::read(directory.join("index.json")).map_err(failed("read the layout", directory))?;
    let place = directory.display().to_string();
    serde_json::from_slice(&bytes).map_err(|cause| RegistryError::damaged("index.json", &place, cause))
}

fn failed(what: &str, directory: &Path) -> impl Fn(io::Error) -> RegistryError {
    let what = format!("{what} {}", directory.display());
    move |cause| RegistryError::file(&what, &cause)
}

/// Refuses a directory into which others may write: what they put there would be followed.
fn require_own(directory: &Path) -> Result<(), RegistryError> {
    let of = fs::symlink_metadata(directory).map_err(failed("read the layout", directory))?;
    match of.is_dir() && of.mode() & 0o022 == 0 && of.uid() == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => {
            let why = "it must be a directory of the user who runs this, and nobody else may write into it";
            Err(RegistryError::settings(format!("{} cannot hold images: {why}", directory.display())))
        }
    }
}

/// Opens the file that is locked. It keeps what it holds, and is no link.
fn open_lock(directory: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits();
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags.cast_signed())
        .open(directory.join(".lock"))
}

fn is_unfinished(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
}

/// Removes what a killed run left. The lock must be held.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        if is_unfinished(&entry.file_name()) {
            // What stays is only in the way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn write_whole(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    persist(file, &directory.join(name))
}

/// Gives a file that is on the disk its name, readable for all: images are no secret to who may read the directory.
fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[async_trait]
impl Source for Layout {
    fn name(&self) -> &str {
        self.directory.to_str().unwrap_or("the directory")
    }

    async fn find(&self, repository: &str, reference: &str) -> Result<Found, RegistryError> {
        let Fetched { digest, media_type, .. } = self.manifest(repository, reference).await?;
        Ok(Found { digest, media_type })
    }

    async fn manifest(&self, repository: &str, reference: &str) -> Result<Fetched, RegistryError> {
        let entry = self.entry(repository, reference);
        let digest = match (reference.parse::<Digest>(), &entry) {
            (Ok(digest), _) => digest,
            (Err(_), Some(entry)) => entry.digest.clone(),
            (Err(_), None) => return Err(self.not_there(repository, reference)),
        };
        let bytes = match fs::read(self.blob_path(&digest)) {
            Ok(bytes) => Bytes::from(bytes),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(self.not_there(repository, reference)),
            Err(cause) => {
                return Err(RegistryError::file(&format!("read {}", self.blob_path(&digest).display()), &cause));
            }
        };
        if Digest::of(&bytes) != digest {
            return Err(RegistryError::damaged(
                &crate::image_name::image(repository, reference),
                &self.place(),
                "its bytes have another digest",
            ));
        }
        let media_type = entry.map(|entry| entry.media_type).unwrap_or_else(|| media_type_of(&bytes));
        Ok(Fetched { digest, media_type, bytes })
    }

    async fn has_blob(&self, _: &str, blob: &Descriptor) -> Result<bool, RegistryError> {
        Ok(fs::metadata(self.blob_path(&blob.digest)).is_ok_and(|it| it.len() == blob.size))
    }

    async fn blob(&self, repository: &str, blob: &Descriptor, sink: mpsc::Sender<Bytes>) -> Result<(), RegistryError> {
        let path = self.blob_path(&blob.digest);
        let failed = |cause| RegistryError::file(&format!("read {}", path.display()), &cause);
        let mut file = match tokio::fs::File::open(&path).await {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                return Err(self.not_there(repository, &blob.digest.to_string()));
            }
            opened => opened.map_err(failed)?,
        };
        let mut hashing = Hashing::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = file.read(&mut buffer).await.map_err(failed)?;
            if n == 0 {
                break;
            }
            hashing.update(&buffer[..n]);
            if sink.send(Bytes::copy_from_slice(&buffer[..n])).await.is_err() {
                return Ok(());
            }
        }
        match hashing.finish() == blob.digest {
            true => Ok(()),
            false => {
                Err(RegistryError::damaged(&path.display().to_string(), &self.place(), "its bytes have another digest"))
            }
        }
    }
}

/// Returns the type that a manifest names itself, or that its contents tell.
fn media_type_of(bytes: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let named = document["mediaType"].as_str().filter(|named| !named.is_empty());
    let guessed = match document.get("manifests").is_some() {
        true => "application/vnd.oci.image.index.v1+json",
        false => "application/vnd.oci.image.manifest.v1+json",
    };
    named.unwrap_or(guessed).to_owned()
}

#[async_trait]
impl Target for Layout {
    async fn current(&self, repository: &str, reference: &str) -> Result<Option<Digest>, RegistryError> {
        let digest = match reference.parse::<Digest>() {
            Ok(digest) => Some(digest),
            Err(_) => self.entry(repository, reference).map(|entry| entry.digest),
        };
        Ok(digest.filter(|digest| self.blob_path(digest).exists()))
    }

    async fn is_whole(&self, _: &str, digest: &Digest, platforms: &[Platform]) -> Result<bool, RegistryError> {
        self.holds_all(digest, platforms, 0)
    }

    async fn holds(&self, repository: &str, blob: &Descriptor, _: Option<&str>) -> Result<bool, RegistryError> {
        self.has_blob(repository, blob).await
    }

    async fn put_blob(&self, repository: &str, blob: &Descriptor, pieces: Pieces) -> Result<(), RegistryError> {
        self.require_room(blob)?;
        let written = self.write_blob(blob, pieces).await;
        let what = format!("write {}", self.blob_path(&blob.digest).display());
        match written.map_err(|cause| RegistryError::file(&what, &cause))? {
            Some(_) => Ok(()),
            None => {
                let what = crate::image_name::image(repository, &blob.digest.to_string());
                Err(RegistryError::damaged(&what, "the source", "it ended early, or has another digest"))
            }
        }
    }

    async fn put_manifest(&self, repository: &str, reference: &str, manifest: &Fetched) -> Result<(), RegistryError> {
        let put = || -> io::Result<()> {
            let path = self.blob_path(&manifest.digest);
            if fs::read(&path).is_ok_and(|bytes| Digest::of(&bytes) == manifest.digest) {
                // It is there.
            } else {
                let mut file =
                    tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(self.directory.join("blobs/sha256"))?;
                file.write_all(&manifest.bytes)?;
                file.as_file().sync_all()?;
                persist(file, &path)?;
            }
            match reference.parse::<Digest>() {
                Ok(_) => Ok(()),
                Err(_) => self.name_it(format!("{repository}:{reference}"), manifest),
            }
        };
        let what = format!("write {} into {}", crate::image_name::image(repository, reference), self.place());
        put().map_err(|cause| RegistryError::file(&what, &cause))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn nothing_is_made_in_a_directory_of_others() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let at = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).expect("is made");
            path
        };
        let foreign = at("foreign");
        fs::write(foreign.join("notes"), "x").expect("writes");
        let open = at("open");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("is set");
        let linked = at("linked");
        fs::write(dir.path().join("victim"), "kept").expect("writes");
        symlink(dir.path().join("victim"), linked.join(".lock")).expect("links");
        for path in [&foreign, &open, &linked] {
            Layout::to_write(path).expect_err("is refused");
            assert!(!path.join("blobs").exists() && !path.join("oci-layout").exists(), "{}", path.display());
        }
        assert_eq!(fs::read_to_string(dir.path().join("victim")).expect("reads"), "kept");
        let own = Layout::to_write(&dir.path().join("own")).expect("is made");
        Layout::to_write(&dir.path().join("own")).expect_err("another run has it");
        drop(own);
        Layout::to_write(&dir.path().join("own")).expect("is opened again");
    }

    /// A run can be killed while it writes the marker, which is the first file that it makes.
    #[test]
    fn what_a_killed_run_left_is_removed() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        fs::create_dir_all(dir.path().join("blobs/sha256")).expect("is made");
        let left = [format!("{UNFINISHED}aaaaaa"), format!("blobs/sha256/{UNFINISHED}bbbbbb")];
        for name in &left {
            fs::write(dir.path().join(name), "x").expect("writes");
        }
        Layout::to_write(dir.path()).expect("goes on");
        assert!(left.iter().all(|name| !dir.path().join(name).exists()), "it is still there");
    }

    #[test]
    fn an_index_of_others_is_read() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        for (index, names) in [
            (r#"{"schemaVersion":2,"manifests":null}"#, &[][..]),
            (
                r#"{"schemaVersion":2,"manifests":[
                    {"mediaType":"m","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1,
                     "annotations":{"org.opencontainers.image.ref.name":"latest"},"platform":{"os":"linux"}},
                    {"mediaType":"m","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1}]}"#,
                &["latest", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
            ),
        ] {
            fs::write(dir.path().join("index.json"), index).expect("writes");
            let layout = Layout::to_read(dir.path()).expect("reads");
            assert_eq!(
                (layout.images().len(), layout.unnamed()),
                (0, names.iter().map(|it| (*it).to_owned()).collect())
            );
        }
        for wrong in [
            "",
            "[]",
            r#"{"manifests":1}"#,
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:../x","size":1,"mediaType":"m"}]}"#,
        ] {
            fs::write(dir.path().join("index.json"), wrong).expect("writes");
            Layout::to_read(dir.path()).expect_err("is refused");
        }
    }
}
