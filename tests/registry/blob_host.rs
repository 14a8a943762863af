//! A server of blobs alone, to which registries send their clients: the object store behind a large registry.
//!
//! Its URLs carry their own signature, so it must never see a login. Like Amazon S3 it refuses a request that has one.

use std::{
    io::{self, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::Result;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, copy},
};

use super::{
    Registry, Seen,
    authority::Authority,
    http::{self, Head, Stream},
    place::Place,
    storage,
};
use crate::listener::Listener;

/// A running server of a registry's blobs, which stops when dropped. It has an IP address of its own, and serves HTTPS
/// with a certificate of the registry's authority if the registry does.
#[derive(Debug)]
pub struct BlobHost {
    listener: Listener,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Keeps the lab.
    _place: Place,
}

impl BlobHost {
    pub fn start(registry: &Registry) -> Result<Self> {
        let (place, data) = (registry.place.clone(), registry.data());
        let tls = registry.own_authority().map(Authority::acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = place.within(|| {
            let seen = Arc::clone(&seen);
            Listener::start_at(place.other_ip(), None, move |client| {
                let (tls, data, seen) = (tls.clone(), data.clone(), Arc::clone(&seen));
                async move { serve(http::accept(tls, client).await?, &data, &seen).await }
            })
        })??;
        Ok(Self { listener, scheme, seen, _place: place })
    }

    /// `ADDRESS:PORT` of this server.
    pub fn host(&self) -> String {
        self.listener.address().to_string()
    }

    /// URL of a blob, up to its digest.
    pub(super) fn url(&self) -> String {
        format!("{}://{}/signed?digest=", self.scheme, self.host())
    }

    /// Returns the requests so far. None of them should have been authorized.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no holder panics").clone()
    }
}

async fn serve(mut client: impl Stream, data: &Path, seen: &Mutex<Vec<Seen>>) -> io::Result<()> {
    let (head, _) = Head::read(&mut client).await?;
    let authorized = head.get("Authorization").is_some();
    let blob = blob(&head, data).filter(|path| path.exists());
    let begin = head.get("Range").and_then(begin);
    let status = match (&blob, begin) {
        _ if authorized => 400,
        (None, _) => 404,
        (Some(_), None) => 200,
        (Some(_), Some(_)) => 206,
    };
    let (method, path) = (head.method().to_owned(), head.path().to_owned());
    seen.lock().expect("no holder panics").push(Seen { method, path, status, authorized });
    match blob.filter(|_| !authorized) {
        Some(blob) => send(client, Head::answer(status), &blob, begin.unwrap_or(0)).await,
        None => http::answer(client, Head::answer(status), b"<Error/>").await,
    }
}

/// Sends a blob from an offset to its end.
async fn send(mut client: impl Stream, mut head: Head, blob: &Path, begin: u64) -> io::Result<()> {
    let mut file = File::open(blob).await?;
    let size = file.metadata().await?.len();
    if head.status() == 206 {
        head = head.with("Content-Range", &format!("bytes {begin}-{}/{size}", size.saturating_sub(1)));
    }
    file.seek(SeekFrom::Start(begin)).await?;
    let left = size.saturating_sub(begin);
    client.write_all(&head.with("Content-Length", &left.to_string()).bytes()).await?;
    copy(&mut file.take(left), &mut client).await?;
    http::finish(client).await
}

fn blob(head: &Head, data: &Path) -> Option<PathBuf> {
    let (_, digest) = head.path().split_once("digest=sha256:")?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    (head.method() == "GET" && is_digest).then(|| storage::blob(data, &format!("sha256:{digest}")))
}

/// Returns where a range without an end begins: nothing asks for others.
fn begin(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}
