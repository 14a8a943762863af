//! A registry, by the OCI distribution specification 1.1 (`opencontainers/distribution-spec`, `spec.md`).

use std::time::Duration;

use async_trait::async_trait;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use http_body_util::BodyExt;
use swarmdr_http::Backoff;
use tokio::sync::mpsc;
use url::Url;

use crate::{
    Digest, ErrorKind, RegistryError,
    authorization::Scope,
    digest::Hashing,
    image_name::image,
    manifest::{ACCEPTED, Descriptor},
    message::{header, is_redirect},
    place::{Fetched, Found, Pieces, Source, Target},
    transport::{ANSWER, Access, Ask, Transport},
    upload,
};

/// Number of consecutive breaks, without a byte between them, after which a read fails.
const BREAKS_IN_A_ROW: u32 = 5;

const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(5) };

/// A registry that is asked with one login.
#[derive(Debug)]
pub struct Registry {
    transport: Transport,
}

impl Registry {
    /// Sets the client up; sends nothing.
    pub fn new(access: Access) -> Result<Self, RegistryError> {
        Ok(Self { transport: Transport::new(access)? })
    }

    async fn ask(
        &self,
        method: &'static str,
        url: Url,
        scope: &Scope,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
        what: &str,
    ) -> Result<HttpResponse, RegistryError> {
        self.transport.ask(&Ask { method, url, scope, headers, body, what }).await
    }

    async fn ask_manifest(
        &self,
        method: &'static str,
        repository: &str,
        reference: &str,
    ) -> Result<HttpResponse, RegistryError> {
        let what = image(repository, reference);
        let url = self.transport.url(&format!("{repository}/manifests/{reference}")).await?;
        let (headers, scope) = (vec![("accept", ACCEPTED.to_owned())], Scope::pull(repository));
        let ask = Ask { method, url, scope: &scope, headers, body: Bytes::new(), what: &what };
        let answer = self.transport.ask(&ask).await?;
        let answer = self.transport.follow(answer, &ask).await?;
        match answer.status().as_u16() {
            200 => Ok(answer),
            _ => Err(self.transport.refusal(answer, &what).await),
        }
    }

    /// Opens a blob from this byte on. Returns the answer, and whether it begins there and not at the first byte.
    async fn open(
        &self,
        repository: &str,
        blob: &Descriptor,
        from: u64,
        what: &str,
    ) -> Result<(HttpResponse, bool), RegistryError> {
        let url = self.transport.url(&format!("{repository}/blobs/{}", blob.digest)).await?;
        let headers = if from > 0 { vec![("range", format!("bytes={from}-"))] } else { Vec::new() };
        let scope = Scope::pull(repository);
        let ask = Ask { method: "GET", url, scope: &scope, headers, body: Bytes::new(), what };
        let answer = self.transport.ask(&ask).await?;
        let answer = self.transport.follow(answer, &ask).await?;
        match answer.status().as_u16() {
            206 => Ok((answer, true)),
            200 => Ok((answer, from == 0)),
            500..=599 => Err(self.transport.unreachable(what, format!("it answered {}", answer.status()))),
            _ => Err(self.transport.refusal(answer, what).await),
        }
    }

    async fn has_first_byte(&self, repository: &str, blob: &Descriptor, what: &str) -> Result<bool, RegistryError> {
        let url = self.transport.url(&format!("{repository}/blobs/{}", blob.digest)).await?;
        let (scope, headers) = (Scope::pull(repository), vec![("range", "bytes=0-0".to_owned())]);
        let ask = Ask { method: "GET", url, scope: &scope, headers, body: Bytes::new(), what };
        let answer = self.transport.ask(&ask).await?;
        let answer = self.transport.follow(answer, &ask).await?;
        match answer.status().as_u16() {
            200 | 206 => Ok(true),
            404 => Ok(false),
            _ => Err(self.transport.refusal(answer, what).await),
        }
    }

    /// Sends what arrives of a blob into the channel until it is whole; returns early, with a reason, at a break.
    async fn stream(
        &self,
        answer: HttpResponse,
        at: &mut Progress<'_>,
        mut skip: u64,
    ) -> Result<Option<String>, RegistryError> {
        let mut body = answer.into_body();
        loop {
            let piece = match tokio::time::timeout(ANSWER, body.frame()).await {
                Err(_) => return Ok(Some(format!("nothing arrived for {} s", ANSWER.as_secs()))),
                Ok(None) if at.done == at.size => return Ok(None),
                Ok(None) => return Ok(Some("it ended early".to_owned())),
                Ok(Some(Err(error))) => return Ok(Some(error.to_string())),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            let skipped = piece.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            skip -= skipped as u64;
            let piece = piece.slice(skipped..);
            at.done += piece.len() as u64;
            if at.done > at.size {
                return Err(RegistryError::damaged(at.what, Source::name(self), "it is longer than its manifest says"));
            }
            at.hashing.update(&piece);
            // The other side is gone: it has failed, and says why.
            if !piece.is_empty() && at.sink.send(piece).await.is_err() {
                return Err(self.transport.unreachable(at.what, "nobody takes its bytes any more"));
            }
        }
    }
}

struct Progress<'a> {
    what: &'a str,
    size: u64,
    done: u64,
    hashing: Hashing,
    sink: mpsc::Sender<Bytes>,
}

#[async_trait]
impl Source for Registry {
    fn name(&self) -> &str {
        self.transport.registry()
    }

    async fn find(&self, repository: &str, reference: &str) -> Result<Found, RegistryError> {
        let answer = self.ask_manifest("HEAD", repository, reference).await?;
        let media_type = media_type(&answer);
        let told = header(answer.headers(), "docker-content-digest").and_then(|it| it.parse::<Digest>().ok());
        match (reference.parse::<Digest>().ok(), told) {
            (Some(wanted), Some(told)) if wanted != told => {
                let what = image(repository, reference);
                Err(RegistryError::damaged(&what, Source::name(self), format!("it gives the digest {told}")))
            }
            (_, Some(digest)) => Ok(Found { digest, media_type }),
            // A page that answers everything has no such type.
            (Some(digest), None) if ACCEPTED.split(", ").any(|it| it == media_type) => Ok(Found { digest, media_type }),
            // The header is optional (distribution-spec, "Pulling manifests").
            (_, None) => {
                let Fetched { digest, media_type, .. } = self.manifest(repository, reference).await?;
                Ok(Found { digest, media_type })
            }
        }
    }

    async fn manifest(&self, repository: &str, reference: &str) -> Result<Fetched, RegistryError> {
        let answer = self.ask_manifest("GET", repository, reference).await?;
        let media_type = media_type(&answer);
        let what = image(repository, reference);
        let bytes = self.transport.read(answer, &what).await?;
        let digest = Digest::of(&bytes);
        match reference.parse::<Digest>() {
            Ok(wanted) if wanted != digest => {
                Err(RegistryError::damaged(&what, Source::name(self), format!("its digest is {digest}")))
            }
            _ => Ok(Fetched { digest, media_type, bytes }),
        }
    }

    async fn has_blob(&self, repository: &str, blob: &Descriptor) -> Result<bool, RegistryError> {
        let what = image(repository, &blob.digest.to_string());
        let url = self.transport.url(&format!("{repository}/blobs/{}", blob.digest)).await?;
        let answer = self.ask("HEAD", url, &Scope::pull(repository), Vec::new(), Bytes::new(), &what).await?;
        match answer.status().as_u16() {
            200 => Ok(true),
            // The place that it leads to takes a GET only, as its address says.
            _ if is_redirect(&answer) => self.has_first_byte(repository, blob, &what).await,
            404 => Ok(false),
            _ => Err(self.transport.refusal(answer, &what).await),
        }
    }

    async fn blob(&self, repository: &str, blob: &Descriptor, sink: mpsc::Sender<Bytes>) -> Result<(), RegistryError> {
        let what = image(repository, &blob.digest.to_string());
        let mut at = Progress { what: &what, size: blob.size, done: 0, hashing: Hashing::default(), sink };
        let mut breaks = 0;
        loop {
            let from = at.done;
            let opened = self.open(repository, blob, from, &what).await;
            let broken = match opened {
                Ok((answer, begins_there)) => {
                    let skip = if begins_there { 0 } else { from };
                    match self.stream(answer, &mut at, skip).await? {
                        None => break,
                        Some(why) => self.transport.unreachable(&what, why),
                    }
                }
                Err(error) if error.kind == ErrorKind::Unreachable => error,
                Err(error) => return Err(error),
            };
            breaks = if at.done > from { 1 } else { breaks + 1 };
            if breaks >= BREAKS_IN_A_ROW {
                return Err(broken);
            }
            tracing::debug!(done = at.done, "{broken}; going on from there");
            BACKOFF.pause(breaks).await;
        }
        let digest = at.hashing.finish();
        match digest == blob.digest {
            true => Ok(()),
            false => Err(RegistryError::damaged(&what, Source::name(self), format!("its digest is {digest}"))),
        }
    }
}

#[async_trait]
impl Target for Registry {
    async fn current(&self, repository: &str, reference: &str) -> Result<Option<Digest>, RegistryError> {
        match self.find(repository, reference).await {
            Ok(found) => Ok(Some(found.digest)),
            Err(error) if error.kind == ErrorKind::NotThere => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn holds(&self, repository: &str, blob: &Descriptor, from: Option<&str>) -> Result<bool, RegistryError> {
        match self.has_blob(repository, blob).await {
            Ok(false) => {}
            other => return other,
        }
        match from {
            Some(other) => upload::mount(&self.transport, repository, other, &blob.digest).await,
            None => Ok(false),
        }
    }

    async fn put_blob(&self, repository: &str, blob: &Descriptor, pieces: Pieces) -> Result<(), RegistryError> {
        upload::blob(&self.transport, repository, blob, pieces).await
    }

    async fn put_manifest(&self, repository: &str, reference: &str, manifest: &Fetched) -> Result<(), RegistryError> {
        let what = image(repository, reference);
        let url = self.transport.url(&format!("{repository}/manifests/{reference}")).await?;
        let headers = vec![("content-type", manifest.media_type.clone())];
        let answer = self.ask("PUT", url, &Scope::push(repository), headers, manifest.bytes.clone(), &what).await?;
        // No header of the answer is asked for: Amazon's registry leaves some away.
        match answer.status().as_u16() {
            200..=202 => Ok(()),
            _ => Err(self.transport.refusal(answer, &what).await),
        }
    }
}

fn media_type(answer: &HttpResponse) -> String {
    let value = header(answer.headers(), "content-type").unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
