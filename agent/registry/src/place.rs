//! Places that keep images: registries and layouts, as far as checks and copies need them.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Digest, Platform, RegistryError, manifest::Descriptor};

/// Number of pieces of a blob that are on their way at a time.
pub const PIECES: usize = 16;

/// What a place says of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub digest: Digest,
    pub media_type: String,
}

/// A manifest, whose bytes have this digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Bytes,
}

/// Pieces of a blob, in order. The end of the channel is the end of the blob.
pub type Pieces = mpsc::Receiver<Bytes>;

/// Where images are copied from.
#[async_trait]
pub trait Source: Sync {
    /// The place in the words of an error.
    fn name(&self) -> &str;

    /// Asks for the digest behind a tag or a digest, without fetching anything.
    async fn find(&self, repository: &str, reference: &str) -> Result<Found, RegistryError>;

    /// Fetches a manifest, and compares its digest.
    async fn manifest(&self, repository: &str, reference: &str) -> Result<Fetched, RegistryError>;

    /// Whether a blob is there.
    async fn has_blob(&self, repository: &str, blob: &Descriptor) -> Result<bool, RegistryError>;

    /// Sends the bytes of a blob into the channel. An error means that what was sent is not the blob.
    async fn blob(&self, repository: &str, blob: &Descriptor, sink: mpsc::Sender<Bytes>) -> Result<(), RegistryError>;
}

/// Where images are copied to.
#[async_trait]
pub trait Target: Sync {
    /// Returns the digest behind a tag or a digest; `None` if there is none.
    async fn current(&self, repository: &str, reference: &str) -> Result<Option<Digest>, RegistryError>;

    /// Whether a manifest that is there has everything that it names, for these platforms (all if none is named). A
    /// registry has refused it otherwise; a directory may have lost a file.
    async fn is_whole(&self, _: &str, _: &Digest, _: &[Platform]) -> Result<bool, RegistryError> {
        Ok(true)
    }

    /// Whether a blob is there already. `from` is another repository of the place which has it; it may be taken from
    /// there.
    async fn holds(&self, repository: &str, blob: &Descriptor, from: Option<&str>) -> Result<bool, RegistryError>;

    /// Stores a blob and compares its digest. If the pieces end early, nothing is stored.
    async fn put_blob(&self, repository: &str, blob: &Descriptor, pieces: Pieces) -> Result<(), RegistryError>;

    /// Stores a manifest under a tag or its digest.
    async fn put_manifest(&self, repository: &str, reference: &str, manifest: &Fetched) -> Result<(), RegistryError>;
}
