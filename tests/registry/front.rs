//! A reverse proxy in front of a registry, which records requests and injects faults.
//!
//! Bodies pass as they come, of any size. Each connection carries one request: the front adds `Connection: close`, and
//! so never has to know where an answer ends. The Host header passes too, so the URLs that the registry makes are those
//! of the front.

use std::{
    io,
    net::SocketAddrV4,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Result;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink, split};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    BlobHost, Endpoint, Fault, Registry, Seen,
    authority::Authority,
    fault::Book,
    http::{self, Head},
    place::Place,
};
use crate::listener::Listener;

const CHUNK: usize = 64 * 1024;

/// A running front, which stops when dropped. It serves HTTPS if its registry does.
#[derive(Debug)]
pub struct Front {
    listener: Listener,
    authority: Option<String>,
    book: Arc<Mutex<Book>>,
    /// Keeps the lab.
    _place: Place,
}

/// The way to the registry, and the orders on the way.
#[derive(Clone)]
struct Way {
    server: SocketAddrV4,
    acceptor: Option<TlsAcceptor>,
    connector: Option<TlsConnector>,
    book: Arc<Mutex<Book>>,
}

impl Front {
    /// Starts a front on a free port of the registry's own address.
    pub fn start(registry: &Registry) -> Result<Self> {
        let (place, authority) = (registry.place.clone(), registry.own_authority());
        let book = Arc::new(Mutex::new(Book::default()));
        let way = Way {
            server: registry.address(),
            acceptor: authority.map(Authority::acceptor).transpose()?,
            connector: authority.map(Authority::connector).transpose()?,
            book: Arc::clone(&book),
        };
        let netns = place.netns();
        let listener = place.within(|| {
            Listener::start_at(place.ip(), netns.as_deref(), move |client| {
                let way = way.clone();
                async move { way.pass_on(client).await }
            })
        })??;
        let authority = registry.authority().map(str::to_owned);
        Ok(Self { listener, authority, book, _place: place })
    }

    /// Injects a fault into the next `times` requests with this method (`*` for any) whose path contains `part`. Orders
    /// for the same requests are carried out one after the other.
    pub fn spoil(&self, method: &str, part: &str, times: usize, fault: Fault) {
        self.book().order(method, part, times, fault);
    }

    /// Answers every GET of a blob that the registry allows with a redirect to another server.
    pub fn redirect_blobs(&self, to: &BlobHost) {
        self.book().blobs_at = Some(to.url());
    }

    /// Removes the `Location` of the answers to PUTs of manifests, as Amazon ECR does.
    pub fn hide_manifest_locations(&self) {
        self.book().hides_location = true;
    }

    /// Cancels everything that was ordered.
    pub fn heal(&self) {
        let mut book = self.book();
        book.heal();
        (book.blobs_at, book.hides_location) = (None, false);
    }

    /// Returns the requests so far, in the order in which they came.
    pub fn seen(&self) -> Vec<Seen> {
        self.book().seen.clone()
    }

    /// Returns the requests since the last call, or since the start.
    pub fn take_seen(&self) -> Vec<Seen> {
        let mut book = self.book();
        let taken = book.seen.clone();
        book.forget();
        taken
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no holder panics")
    }
}

impl Endpoint for Front {
    fn host(&self) -> String {
        self.listener.address().to_string()
    }

    fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }
}

impl Way {
    async fn pass_on(self, client: tokio::net::TcpStream) -> io::Result<()> {
        let mut client = http::accept(self.acceptor.clone(), client).await?;
        let (head, body) = Head::read(&mut client).await?;
        let (number, fault) = self.book().enter(Seen {
            method: head.method().to_owned(),
            path: head.path().to_owned(),
            status: 0,
            authorized: head.get("Authorization").is_some(),
        });
        if fault == Some(Fault::Silence) {
            // The connection stays open until the client hangs up.
            return copy(&mut client, &mut sink()).await.map(drop);
        }
        if let Some((answer, body)) = fault.and_then(own_answer) {
            self.book().note(number, answer.status());
            return http::answer(client, answer, body.as_bytes()).await;
        }
        let mut server = http::connect(self.connector.clone(), self.server).await?;
        server.write_all(&head.clone().with("Connection", "close").bytes()).await?;
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        let (upload, answer) = match fault {
            Some(Fault::CutUpload { .. }) => (fault, None),
            _ => (None, fault),
        };
        tokio::select! {
            // Ends first only if the body was cut or the client hung up; otherwise the end of the answer decides.
            cut = pass_body(body, from_client, to_server, upload) => cut,
            answered = self.pass_answer(&head, number, from_server, to_client, answer) => answered,
        }
    }

    async fn pass_answer(
        &self,
        request: &Head,
        number: usize,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        fault: Option<Fault>,
    ) -> io::Result<()> {
        let (mut head, mut body) = Head::read(&mut from).await?;
        // Interim answers pass as they are; what follows one is the next head.
        while head.status() / 100 == 1 {
            to.write_all(&head.bytes()).await?;
            let mut rest = (&body[..]).chain(&mut from);
            let next = Head::read(&mut rest).await?;
            (head, body) = next;
        }
        if fault == Some(Fault::LoseAnswer) {
            // The registry closes after its answer, so at the end of this copy it has carried out the whole request.
            return copy(&mut from, &mut sink()).await.map(drop);
        }
        let (blobs_at, hides_location) = {
            let book = self.book();
            (book.blobs_at.clone(), book.hides_location)
        };
        if let (Some(url), Some(digest)) = (blobs_at, wanted_blob(request))
            && head.status() / 100 == 2
        {
            head = Head::answer(307).with("Location", &format!("{url}{digest}")).with("Content-Length", "0");
            self.book().note(number, head.status());
            to.write_all(&head.bytes()).await?;
            return to.shutdown().await;
        }
        if hides_location && request.method() == "PUT" && request.path().contains("/manifests/") {
            head.remove("Location");
        }
        self.book().note(number, head.status());
        to.write_all(&head.bytes()).await?;
        pass_body(body, from, &mut to, fault).await?;
        if !matches!(fault, Some(Fault::Cut { .. })) {
            to.shutdown().await?;
        }
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no holder panics")
    }
}

/// Returns the digest of the blob that a request wants to read.
fn wanted_blob(request: &Head) -> Option<&str> {
    let (_, digest) = request.path().split_once("/blobs/")?;
    (request.method() == "GET" && digest.starts_with("sha256:")).then_some(digest)
}

/// Returns what the front answers in place of the registry.
fn own_answer(fault: Fault) -> Option<(Head, String)> {
    let (answer, code) = match fault {
        Fault::TooMany { retry_after } => {
            (Head::answer(429).with("Retry-After", &retry_after.to_string()), "TOOMANYREQUESTS")
        }
        Fault::Refuse { status, code } => (Head::answer(status), code),
        _ => return None,
    };
    let errors = json!([{"code": code, "message": "as ordered"}]);
    Some((answer.with("Content-Type", "application/json"), json!({"errors": errors}).to_string()))
}

/// Passes on a body until its end, or until the fault says to cut.
async fn pass_body(
    mut bytes: Vec<u8>,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    fault: Option<Fault>,
) -> io::Result<()> {
    let mut sent = 0;
    loop {
        let end = sent + bytes.len() as u64;
        match fault {
            Some(Fault::Cut { after } | Fault::CutUpload { after }) if after <= end => {
                bytes.truncate((after - sent) as usize);
                to.write_all(&bytes).await?;
                return to.flush().await;
            }
            Some(Fault::Corrupt { at }) if (sent..end).contains(&at) => bytes[(at - sent) as usize] ^= 0xff,
            _ => {}
        }
        to.write_all(&bytes).await?;
        // A writer with TLS keeps what it has not sent.
        to.flush().await?;
        sent = end;
        bytes.clear();
        bytes.reserve(CHUNK);
        if from.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}
