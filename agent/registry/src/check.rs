//! Whether an image is where its name says, for the platforms that it has to run on.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{
    Digest, ErrorKind, ImageName, ManifestCache, Platform, RegistryError,
    destination::tags,
    digest::Hashing,
    manifest::{Child, Descriptor, Manifest, chosen, missing_platforms},
    place::{PIECES, Source},
};

/// Longest configuration that is read to learn the platform of an image.
const LONGEST_CONFIG: u64 = 4 << 20;

/// What is asked of one image.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub image: &'a ImageName,
    /// Platforms that it has to run on; if none is known, it only has to be there.
    pub platforms: &'a [Platform],
    /// Whether each blob is asked for, too.
    pub deep: bool,
    /// Whether the tag has to lead to the digest still.
    pub tag: bool,
}

/// Something that keeps an image from being pulled, or soon may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Problem {
    /// The registry has no such image, or none under this digest any more.
    NotThere { why: String },
    /// The login is refused, or there is none.
    Denied { why: String },
    /// The image is not made for this platform.
    NoPlatform { platform: Platform },
    /// A part of it is gone: a manifest of an index, or a blob.
    PartGone { digest: Digest },
    /// Its manifest or its configuration is not what the digest says, or cannot be read.
    Damaged { why: String },
    /// The tag leads to another image now (`now`), or to none. The image can be pulled as long as the registry keeps what
    /// has no tag.
    TagMoved { tag: String, now: Option<Digest> },
}

/// The answer for one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// The digest behind the name, if it is there.
    pub digest: Option<Digest>,
    pub problems: Vec<Problem>,
    /// Why something could not be found out.
    pub unknown: Vec<String>,
}

impl Checked {
    fn take(&mut self, error: RegistryError, gone: Option<&Digest>) {
        if error.is_unknown() {
            self.unknown.push(error.to_string());
            return;
        }
        self.problems.push(match (error.kind, gone) {
            (ErrorKind::NotThere, Some(digest)) => Problem::PartGone { digest: digest.clone() },
            (ErrorKind::NotThere, None) => Problem::NotThere { why: error.why },
            (ErrorKind::Denied, _) => Problem::Denied { why: error.why },
            _ => Problem::Damaged { why: error.to_string() },
        });
    }
}

/// Checks one image. What is immutable is taken from the cache; that things exist is asked for each time, with HEAD, which
/// no registry counts as a pull.
pub async fn check(source: &dyn Source, cache: &ManifestCache, wanted: Wanted<'_>) -> Checked {
    let look = Look { source, cache, repository: wanted.image.repository() };
    let mut checked = Checked::default();
    match source.find(look.repository, &wanted.image.reference()).await {
        Ok(found) => {
            checked.digest = Some(found.digest.clone());
            if !wanted.platforms.is_empty() || wanted.deep {
                look.inside(&found.digest, &wanted, &mut checked).await;
            }
        }
        Err(error) => checked.take(error, None),
    }
    if let (true, Some(digest), Some(tag)) = (wanted.tag, wanted.image.digest(), wanted.image.tag())
        && checked.digest.is_some()
    {
        look.tag(tag, digest, &mut checked).await;
    }
    checked
}

struct Look<'a> {
    source: &'a dyn Source,
    cache: &'a ManifestCache,
    repository: &'a str,
}

impl Look<'_> {
    /// Asks where a tag leads. A copy that has a tag of its own is safe, wherever the tag leads that people know.
    async fn tag(&self, tag: &str, digest: &Digest, checked: &mut Checked) {
        let mut found = self.behind(tag).await;
        if matches!(&found, Ok(now) if now.as_ref() != Some(digest)) {
            let own = tags(Some(tag), digest, &[]).remove(0);
            if let Ok(Some(kept)) = self.behind(&own).await
                && kept == *digest
            {
                found = Ok(Some(kept));
            }
        }
        match found {
            Ok(Some(now)) if now == *digest => {}
            Ok(now) => checked.problems.push(Problem::TagMoved { tag: tag.to_owned(), now }),
            Err(error) => checked.unknown.push(error.to_string()),
        }
    }

    async fn behind(&self, tag: &str) -> Result<Option<Digest>, RegistryError> {
        match self.source.find(self.repository, tag).await {
            Ok(found) => Ok(Some(found.digest)),
            Err(error) if error.kind == ErrorKind::NotThere => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks into the image with this digest.
    async fn inside(&self, digest: &Digest, wanted: &Wanted<'_>, checked: &mut Checked) {
        match self.manifest(digest).await {
            Err(error) => checked.take(error, Some(digest)),
            Ok(Manifest::Index(children)) => self.index(&children, wanted, checked).await,
            Ok(image @ Manifest::Image { .. }) => self.image(&image, wanted, checked).await,
        }
    }

    async fn index(&self, children: &[Child], wanted: &Wanted<'_>, checked: &mut Checked) {
        for platform in missing_platforms(children, wanted.platforms) {
            checked.problems.push(Problem::NoPlatform { platform });
        }
        for child in chosen(children, wanted.platforms).into_iter().filter(|child| child.platform.is_some()) {
            let digest = &child.at.digest;
            match self.source.find(self.repository, &digest.to_string()).await {
                Err(error) => checked.take(error, Some(digest)),
                Ok(_) if wanted.deep => match self.manifest(digest).await {
                    Err(error) => checked.take(error, Some(digest)),
                    Ok(manifest) => self.blobs(&manifest, checked).await,
                },
                Ok(_) => {}
            }
        }
    }

    async fn image(&self, image: &Manifest, wanted: &Wanted<'_>, checked: &mut Checked) {
        if let (Manifest::Image { config, .. }, false) = (image, wanted.platforms.is_empty()) {
            match self.platform(config).await {
                Err(error) => checked.take(error, Some(&config.digest)),
                Ok(offered) => {
                    let missing = wanted.platforms.iter().filter(|wanted| !wanted.takes(&offered));
                    let missing = missing.map(|platform| Problem::NoPlatform { platform: platform.clone() });
                    checked.problems.extend(missing);
                }
            }
        }
        if wanted.deep {
            self.blobs(image, checked).await;
        }
    }

    async fn blobs(&self, image: &Manifest, checked: &mut Checked) {
        for blob in image.blobs() {
            match self.source.has_blob(self.repository, blob).await {
                Ok(true) => {}
                Ok(false) => checked.problems.push(Problem::PartGone { digest: blob.digest.clone() }),
                Err(error) => checked.take(error, Some(&blob.digest)),
            }
        }
    }

    async fn manifest(&self, digest: &Digest) -> Result<Manifest, RegistryError> {
        let bytes = match self.cache.get(digest) {
            Some(bytes) => bytes,
            None => {
                let fetched = self.source.manifest(self.repository, &digest.to_string()).await?;
                self.cache.put(digest, &fetched.bytes);
                fetched.bytes
            }
        };
        let what = crate::image_name::image(self.repository, &digest.to_string());
        Manifest::parse(&bytes).map_err(|why| RegistryError::damaged(&what, "the registry", why))
    }

    /// Returns the platform that a configuration names.
    async fn platform(&self, config: &Descriptor) -> Result<Platform, RegistryError> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Config {
            os: String,
            architecture: String,
            variant: String,
        }
        let bytes = match self.cache.get(&config.digest) {
            Some(bytes) => bytes,
            None => {
                let bytes = read_blob(self.source, self.repository, config).await?;
                self.cache.put(&config.digest, &bytes);
                bytes
            }
        };
        // Other things than images have configurations of other kinds.
        let config: Config = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Platform::new(&config.os, &config.architecture, &config.variant))
    }
}

/// Reads a small blob into memory, and compares its digest.
async fn read_blob(source: &dyn Source, repository: &str, blob: &Descriptor) -> Result<Bytes, RegistryError> {
    let what = crate::image_name::image(repository, &blob.digest.to_string());
    if blob.size > LONGEST_CONFIG {
        return Err(RegistryError::damaged(
            &what,
            "the registry",
            format!("its configuration has {} bytes", blob.size),
        ));
    }
    let (sink, mut pieces) = mpsc::channel::<Bytes>(PIECES);
    let collect = async {
        let (mut bytes, mut hashing) = (Vec::new(), Hashing::default());
        while let Some(piece) = pieces.recv().await {
            hashing.update(&piece);
            bytes.extend_from_slice(&piece);
        }
        (bytes, hashing.finish())
    };
    let (sent, (bytes, digest)) = tokio::join!(source.blob(repository, blob, sink), collect);
    sent?;
    match digest == blob.digest {
        true => Ok(bytes.into()),
        false => Err(RegistryError::damaged(&what, "the registry", format!("its digest is {digest}"))),
    }
}
