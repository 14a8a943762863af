//! Tells a dead man's switch (healthchecks.io and its kin) that a run begins and how it ended.
//!
//! The address is called with `/start` when a run begins, as it is when it succeeded, and with `/fail` when it did not;
//! the body is one line. A run does not fail because nobody listens. The path is what identifies the switch,
//! so it is never logged.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use http_body_util::Full;
use hyper::{Method, Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::fault::Fault;

/// For one call, name resolution and TLS included.
const LIMIT: Duration = Duration::from_secs(10);

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Start,
    Success,
    Fail,
}

/// The address of a dead man's switch.
#[derive(Clone)]
pub struct Ping(Url);

impl std::fmt::Debug for Ping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ping({})", self.host())
    }
}

impl Ping {
    pub fn parse(text: &str) -> Result<Self> {
        let wrong =
            || Fault::usage("watch.ping_url is no address that can be called").advice("write `https://host/path`");
        let url = Url::parse(text).map_err(|cause| wrong().because(cause))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || url.query().is_some() {
            return Err(wrong().into());
        }
        Ok(Self(url))
    }

    fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// One call; an answer other than 2xx is an error.
    pub async fn send(&self, signal: Signal, line: &str) -> Result<()> {
        let call = tokio::time::timeout(LIMIT, self.call(signal, line.to_owned()));
        let answered = call.await.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", LIMIT.as_secs())));
        answered.with_context(|| format!("failed to ping {}", self.host()))
    }

    async fn call(&self, signal: Signal, line: String) -> Result<()> {
        let port = self.0.port_or_known_default().context("the address has no port")?;
        // Brackets of an IPv6 address belong to the URL only.
        let host = self.host().trim_matches(['[', ']']).to_owned();
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        let request = self.request(signal, line)?;
        if self.0.scheme() == "http" {
            return exchange(stream, request).await;
        }
        let stream = tls()?.connect(ServerName::try_from(host)?, stream).await?;
        exchange(stream, request).await
    }

    fn request(&self, signal: Signal, line: String) -> Result<Request<Full<Bytes>>> {
        let path = self.0.path().trim_end_matches('/');
        let path = match signal {
            Signal::Start => format!("{path}/start"),
            Signal::Fail => format!("{path}/fail"),
            Signal::Success if path.is_empty() => "/".to_owned(),
            Signal::Success => path.to_owned(),
        };
        let authority = match self.0.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_owned(),
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, concat!("swarmdr-agent/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close");
        Ok(request.body(Full::from(line))?)
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<()> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    connection.abort();
    let status = answer?.status();
    if !status.is_success() {
        bail!("it answered {status}");
    }
    Ok(())
}

fn tls() -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers one call, and hands back what came.
    async fn answer(listener: TcpListener, status: &str) -> String {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        let mut bytes = vec![0; 4096];
        let mut length = 0;
        while !bytes[..length].ends_with(b"body") {
            length += stream.read(&mut bytes[length..]).await.expect("reads");
        }
        let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(reply.as_bytes()).await.expect("writes");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[tokio::test]
    async fn start_success_and_failure_have_their_paths() {
        for (signal, path, line) in [
            (Signal::Start, "/uuid/start", "POST /uuid/start HTTP/1.1"),
            (Signal::Success, "/uuid/", "POST /uuid HTTP/1.1"),
            (Signal::Fail, "/uuid", "POST /uuid/fail HTTP/1.1"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
            let address = listener.local_addr().expect("has an address");
            let base = path.trim_end_matches("/start");
            let ping = Ping::parse(&format!("http://{address}{base}")).expect("is valid");
            let (sent, seen) = tokio::join!(ping.send(signal, "one line of body"), answer(listener, "200 OK"));
            sent.expect("is answered");
            assert!(seen.starts_with(line), "{seen}");
            assert!(seen.to_lowercase().contains(&format!("host: {address}")), "{seen}");
        }
    }

    #[tokio::test]
    async fn a_refusal_and_silence_are_told_without_the_path() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("has an address");
        let ping = Ping::parse(&format!("http://{address}/the-secret")).expect("is valid");
        let (sent, _) = tokio::join!(ping.send(Signal::Success, "body"), answer(listener, "404 Not Found"));
        let refused = format!("{:#}", sent.expect_err("is refused"));
        assert!(refused.contains("404") && !refused.contains("the-secret"), "{refused}");
        let gone = format!("{:#}", ping.send(Signal::Start, "body").await.expect_err("nobody listens"));
        assert!(gone.contains("failed to ping 127.0.0.1") && !gone.contains("the-secret"), "{gone}");
        assert!(!format!("{ping:?}").contains("the-secret"));
    }

    #[test]
    fn only_plain_addresses_are_taken() {
        for wrong in ["ftp://x/y", "https://", "nonsense", "https://x/y?z=1"] {
            assert!(Ping::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tls_can_be_set_up() {
        tls().expect("has a provider and roots");
    }
}
