//! Tells a dead man's switch (healthchecks.io and its kin) that a run begins and how it ended.
//!
//! The address is called with `/start` when a run begins, as it is when it succeeded, and with `/fail` when it did not;
//! the body is one line. A run does not fail because nobody listens. The path is what identifies the switch,
//! so it is never logged.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_smithy_runtime_api::{
    client::{http::HttpConnector, orchestrator::HttpRequest},
    http::Request,
};
use aws_smithy_types::{body::SdkBody, error::display::DisplayErrorContext};
use url::Url;

use crate::{fault::Fault, http, http::Proxies};

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
    pub async fn send(&self, signal: Signal, line: &str, proxies: &Proxies) -> Result<()> {
        let call = tokio::time::timeout(LIMIT, self.call(signal, line, proxies));
        let answered = call.await.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", LIMIT.as_secs())));
        let through = proxies.before(self.0.as_str()).ok().flatten();
        let through = through.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
        answered.with_context(|| format!("failed to ping {}{through}", self.host()))
    }

    async fn call(&self, signal: Signal, line: &str, proxies: &Proxies) -> Result<()> {
        let request = self.request(signal, line)?;
        let connector = http::connector(request.uri(), proxies, LIMIT).map_err(anyhow::Error::msg)?;
        // Its own chain of causes, without the address.
        let answer = connector.call(request).await.map_err(|error| anyhow!("{}", DisplayErrorContext(&error)))?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            status => bail!("it answered {status}"),
        }
    }

    fn request(&self, signal: Signal, line: &str) -> Result<HttpRequest> {
        let path = self.0.path().trim_end_matches('/');
        let mut url = self.0.clone();
        url.set_path(&match signal {
            Signal::Start => format!("{path}/start"),
            Signal::Fail => format!("{path}/fail"),
            Signal::Success => path.to_owned(),
        });
        let mut request = Request::new(SdkBody::from(line));
        request.set_method("POST")?;
        request.set_uri(url.as_str())?;
        request.headers_mut().insert("user-agent", concat!("swarmdr-agent/", env!("CARGO_PKG_VERSION")));
        Ok(request)
    }
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
            let direct = Proxies::none();
            let ping = Ping::parse(&format!("http://{address}{base}")).expect("is valid");
            let (sent, seen) = tokio::join!(ping.send(signal, "one line of body", &direct), answer(listener, "200 OK"));
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
        let direct = Proxies::none();
        let (sent, _) = tokio::join!(ping.send(Signal::Success, "body", &direct), answer(listener, "404 Not Found"));
        let refused = format!("{:#}", sent.expect_err("is refused"));
        assert!(refused.contains("404") && !refused.contains("the-secret"), "{refused}");
        let gone = format!("{:#}", ping.send(Signal::Start, "body", &direct).await.expect_err("nobody listens"));
        assert!(gone.contains("failed to ping 127.0.0.1") && !gone.contains("the-secret"), "{gone}");
        assert!(!format!("{ping:?}").contains("the-secret"));
    }

    #[test]
    fn only_plain_addresses_are_taken() {
        for wrong in ["ftp://x/y", "https://", "nonsense", "https://x/y?z=1"] {
            assert!(Ping::parse(wrong).is_err(), "{wrong}");
        }
    }
}
