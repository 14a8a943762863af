//! Copies of images from one place to another, byte for byte, so that every digest stays.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use swarmdr_http::Backoff;
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::{
    Digest, ErrorKind, Platform, RegistryError,
    manifest::{Child, DEEPEST, Descriptor, Manifest, chosen},
    place::{Fetched, PIECES, Source, Target},
};

/// Number of blobs of one image that are looked at together.
const TOGETHER: usize = 4;

/// Number of attempts for one blob.
const ATTEMPTS: u32 = 3;

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(8) };

/// Copies images to one target. Order within an image: blobs, manifests of platforms, index, tags. So a name that is there
/// is whole, whenever an earlier run was ended.
pub struct Copying<'a> {
    pub target: &'a dyn Target,
    /// Platforms that are copied; all, and what has no platform, if none is named.
    pub platforms: &'a [Platform],
    /// Is told of each piece that was copied, in bytes.
    pub progress: &'a (dyn Fn(u64) + Sync),
    blobs_at_a_time: Semaphore,
    /// A repository of the target that holds this blob, of those that this run has seen.
    known: Mutex<HashMap<Digest, String>>,
}

/// One image to copy.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub digest: &'a Digest,
    /// Tags that it gets, in this order.
    pub tags: &'a [String],
    /// The one of them that tells whether it is there already: for an image that is named by its digest one that belongs to
    /// the digest and to the platforms that are copied alone, for one that is named by a tag that tag.
    pub proof: &'a str,
}

/// What was done for one image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Whether it was there already, as a whole.
    pub was_there: bool,
    pub blobs: u64,
    pub bytes: u64,
}

impl std::ops::AddAssign for Copied {
    fn add_assign(&mut self, other: Self) {
        self.blobs += other.blobs;
        self.bytes += other.bytes;
    }
}

impl std::fmt::Debug for Copying<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copying").field("platforms", &self.platforms).finish_non_exhaustive()
    }
}

impl<'a> Copying<'a> {
    pub fn new(
        target: &'a dyn Target,
        platforms: &'a [Platform],
        parallel: usize,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Self {
        Self { target, platforms, progress, blobs_at_a_time: Semaphore::new(parallel), known: Mutex::default() }
    }

    /// Copies one image, as far as it is not there. One request finds out that it is.
    pub async fn image(&self, source: &dyn Source, job: Job<'_>) -> Result<Copied, RegistryError> {
        if self.is_there(job, job.proof).await? {
            return Ok(Copied { was_there: true, ..Copied::default() });
        }
        let manifest = source.manifest(job.from, &job.digest.to_string()).await?;
        let copied = self.contents(source, job, &manifest, 0).await?;
        for (number, tag) in job.tags.iter().enumerate() {
            match self.target.put_manifest(job.to, tag, &manifest).await {
                // A registry may keep its tags from being moved; the first one belongs to this image alone.
                Err(error) if number > 0 && tag != job.proof => tracing::warn!("{error}; it has another tag"),
                put => put?,
            }
        }
        Ok(copied)
    }

    /// Whether a tag or a digest leads to this image, and everything of it is there.
    async fn is_there(&self, job: Job<'_>, reference: &str) -> Result<bool, RegistryError> {
        Ok(self.target.current(job.to, reference).await?.as_ref() == Some(job.digest)
            && self.target.is_whole(job.to, job.digest, self.platforms).await?)
    }

    /// Copies everything that a manifest names.
    fn contents<'b>(
        &'b self,
        source: &'b dyn Source,
        job: Job<'b>,
        manifest: &'b Fetched,
        depth: u32,
    ) -> BoxFuture<'b, Result<Copied, RegistryError>> {
        Box::pin(async move {
            let what = crate::image_name::image(job.from, &manifest.digest.to_string());
            let parsed =
                Manifest::parse(&manifest.bytes).map_err(|why| RegistryError::damaged(&what, "the source", why))?;
            match &parsed {
                Manifest::Index(_) if depth == DEEPEST => {
                    Err(RegistryError::damaged(&what, "the source", "its indexes lie in each other too deep"))
                }
                Manifest::Index(children) => self.children(source, job, children, depth).await,
                image @ Manifest::Image { .. } => self.blobs(source, job, image).await,
            }
        })
    }

    async fn children(
        &self,
        source: &dyn Source,
        job: Job<'_>,
        children: &[Child],
        depth: u32,
    ) -> Result<Copied, RegistryError> {
        let chosen = chosen(children, self.platforms);
        if chosen.is_empty() && !children.is_empty() {
            let wanted: Vec<String> = self.platforms.iter().map(ToString::to_string).collect();
            let why = format!("it has nothing for {}", wanted.join(" or "));
            return Err(RegistryError::new(ErrorKind::NotThere, job.from, source.name(), why));
        }
        let mut copied = Copied::default();
        for child in chosen {
            let digest = &child.at.digest;
            if self.is_there(Job { digest, ..job }, &digest.to_string()).await? {
                continue;
            }
            let manifest = source.manifest(job.from, &digest.to_string()).await?;
            copied += self.contents(source, job, &manifest, depth + 1).await?;
            self.target.put_manifest(job.to, &digest.to_string(), &manifest).await?;
        }
        Ok(copied)
    }

    async fn blobs(&self, source: &dyn Source, job: Job<'_>, image: &Manifest) -> Result<Copied, RegistryError> {
        let copies: Vec<BoxFuture<_>> =
            image.blobs().into_iter().map(|blob| self.blob(source, job, blob).boxed()).collect();
        let add = |mut sum: Copied, one: Copied| async move {
            sum += one;
            Ok(sum)
        };
        stream::iter(copies).buffer_unordered(TOGETHER).try_fold(Copied::default(), add).await
    }

    async fn blob(&self, source: &dyn Source, job: Job<'_>, blob: &Descriptor) -> Result<Copied, RegistryError> {
        let turn = self.blobs_at_a_time.acquire().await;
        debug_assert!(turn.is_ok(), "the semaphore is never closed");
        let from = self.known.lock().await.get(&blob.digest).cloned();
        let there = self.target.holds(job.to, blob, from.as_deref().filter(|other| *other != job.to)).await?;
        if !there {
            self.send_again(source, job, blob).await?;
        }
        self.known.lock().await.entry(blob.digest.clone()).or_insert_with(|| job.to.to_owned());
        Ok(if there { Copied::default() } else { Copied { was_there: false, blobs: 1, bytes: blob.size } })
    }

    /// Sends a blob, and again if a connection breaks: an upload cannot go on where it was.
    async fn send_again(&self, source: &dyn Source, job: Job<'_>, blob: &Descriptor) -> Result<(), RegistryError> {
        let mut failures = 0;
        loop {
            match self.send(source, job, blob).await {
                Err(error) if error.kind == ErrorKind::Unreachable && failures < ATTEMPTS - 1 => {
                    failures += 1;
                    tracing::debug!("{error}; sending it again");
                    BACKOFF.pause(failures).await;
                }
                done => return done,
            }
        }
    }

    async fn send(&self, source: &dyn Source, job: Job<'_>, blob: &Descriptor) -> Result<(), RegistryError> {
        let (from_source, mut received) = mpsc::channel::<Bytes>(PIECES);
        let (to_target, pieces) = mpsc::channel::<Bytes>(PIECES);
        let count = async move {
            while let Some(piece) = received.recv().await {
                let size = piece.len() as u64;
                if to_target.send(piece).await.is_err() {
                    return;
                }
                (self.progress)(size);
            }
        };
        let reads = source.blob(job.from, blob, from_source);
        let (read, (), stored) = tokio::join!(reads, count, self.target.put_blob(job.to, blob, pieces));
        // What the target says follows from the source if that has failed.
        match (read, stored) {
            (Err(error), _) if error.is_missing() => Err(error),
            (_, Err(error)) | (Err(error), Ok(())) => Err(error),
            (Ok(()), Ok(())) => Ok(()),
        }
    }
}
