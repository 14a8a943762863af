//! Tells a dead man's switch (healthchecks.io and its kin) that a run begins and how it ended.
//!
//! `/start` is appended to the URL when a run begins, and `/fail` when it failed; when it succeeded, the URL is called
//! unchanged. The body is one line. A ping that fails does not fail the run. The path identifies the switch, so it is
//! never logged.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_smithy_runtime_api::{
    client::{http::HttpConnector, orchestrator::HttpRequest},
    http::Request,
};
use aws_smithy_types::{body::SdkBody, error::display::DisplayErrorContext};
use swarmdr_http::{self as http, Proxies};

use crate::config::PingUrl;

/// Time limit of one call, name resolution and TLS included.
const LIMIT: Duration = Duration::from_secs(10);

/// Event that a ping reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Start,
    Success,
    Fail,
}

/// A dead man's switch.
#[derive(Debug, Clone)]
pub struct Ping(pub PingUrl);

impl Ping {
    /// Makes one call; an answer other than 2xx is an error.
    pub async fn send(&self, signal: Signal, line: &str, proxies: &Proxies) -> Result<()> {
        let call = tokio::time::timeout(LIMIT, self.call(signal, line, proxies));
        let answered = call.await.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", LIMIT.as_secs())));
        let through = proxies.before(self.0.secret().as_str()).ok().flatten();
        let through = through.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
        answered.with_context(|| format!("failed to ping {}{through}", self.0.host()))
    }

    async fn call(&self, signal: Signal, line: &str, proxies: &Proxies) -> Result<()> {
        let request = self.request(signal, line)?;
        let connector = http::connector(request.uri(), proxies, LIMIT).map_err(anyhow::Error::msg)?;
        // The error's own chain of causes does not contain the URL.
        let answer = connector.call(request).await.map_err(|error| anyhow!("{}", DisplayErrorContext(&error)))?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            status => bail!("it answered {status}"),
        }
    }

    fn request(&self, signal: Signal, line: &str) -> Result<HttpRequest> {
        let path = self.0.secret().path().trim_end_matches('/');
        let mut url = self.0.secret().clone();
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

    /// Answers one call, and returns the request.
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
            let ping = Ping(PingUrl::parse("key", &format!("http://{address}{base}")).expect("is valid"));
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
        let ping = Ping(PingUrl::parse("key", &format!("http://{address}/the-secret")).expect("is valid"));
        let direct = Proxies::none();
        let (sent, _) = tokio::join!(ping.send(Signal::Success, "body", &direct), answer(listener, "404 Not Found"));
        let refused = format!("{:#}", sent.expect_err("is refused"));
        assert!(refused.contains("404") && !refused.contains("the-secret"), "{refused}");
        let gone = format!("{:#}", ping.send(Signal::Start, "body", &direct).await.expect_err("nobody listens"));
        assert!(gone.contains("failed to ping 127.0.0.1") && !gone.contains("the-secret"), "{gone}");
        assert!(!format!("{ping:?}").contains("the-secret"));
    }
}
