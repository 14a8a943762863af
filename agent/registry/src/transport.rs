//! Requests to one registry: who asks, what a busy server wants, redirects, and connections that break.

use std::time::Duration;

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use swarmdr_http::{Backoff, Proxies, connectors};
use tokio::sync::{Mutex, OnceCell};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    ErrorKind, Login, RegistryError,
    authorization::{Challenge, Scope, TokenRequest, Tokens, basic},
    busy::{Busy, later},
    login::Sent,
    message::{chain, challenge, header, is_redirect, request, token_request},
};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(20);

/// Time for an answer, once the request is sent.
pub const ANSWER: Duration = Duration::from_secs(90);

/// Number of attempts of a request whose answer does not come, or is that of a broken server.
const ATTEMPTS: u32 = 4;

/// Pauses for a busy server that does not say how long.
const BUSY: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_secs(60) };

const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(8) };

/// Longest answer that is read into memory; distribution and engines limit manifests to 4 MiB.
const LONGEST: usize = 4 << 20;

const REDIRECTS: u32 = 5;

/// How a registry is reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// Host with its port, as in names of images.
    pub registry: String,
    pub login: Option<Login>,
    /// Certificates in PEM that are trusted in addition to those of the host.
    pub roots: Option<Vec<u8>>,
    pub proxies: Proxies,
    /// Whether it may be reached without TLS. Always tried on the loopback, after TLS, as engines do (moby
    /// `registry/config.go`: 127.0.0.0/8 is insecure).
    pub insecure: bool,
    /// Time for which a server may ask to come back later, in all.
    pub patience: Duration,
}

/// A request, without what is added to each.
#[derive(Debug)]
pub struct Ask<'a> {
    pub method: &'static str,
    pub url: Url,
    pub scope: &'a Scope,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// In the words of an error: "the manifest of …".
    pub what: &'a str,
}

#[derive(Debug)]
pub struct Transport {
    access: Access,
    connector: SharedHttpConnector,
    /// Found out with the first request. One that cannot be reached then is not tried again for each image.
    base: OnceCell<Result<Url, RegistryError>>,
    challenge: Mutex<Challenge>,
    tokens: Mutex<Tokens>,
    busy: Mutex<Busy>,
}

/// Attempts of one request so far.
#[derive(Debug)]
struct Tries {
    most: u32,
    failures: u32,
    /// Answers that it is asked too often.
    refusals: u32,
}

impl Tries {
    fn most(most: u32) -> Self {
        Self { most, failures: 0, refusals: 0 }
    }
}

impl Transport {
    pub fn new(access: Access) -> Result<Self, RegistryError> {
        let connector =
            connectors(access.roots.as_deref(), &access.proxies, CONNECT).map_err(RegistryError::settings)?;
        Ok(Self {
            access,
            connector,
            base: OnceCell::new(),
            challenge: Mutex::new(Challenge::Open),
            tokens: Mutex::default(),
            busy: Mutex::default(),
        })
    }

    pub fn registry(&self) -> &str {
        &self.access.registry
    }

    /// Returns the URL of a path below `/v2/`.
    pub async fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let base = self.base().await?;
        base.join(path).map_err(|cause| self.refused("a request", cause))
    }

    /// Returns the answer of the registry, whatever its status, unless that is 401, 429 or one of a broken server. Waits
    /// and tries again where that helps.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<HttpResponse, RegistryError> {
        let (mut tries, mut renewed) = (Tries::most(ATTEMPTS), false);
        loop {
            self.busy_over().await;
            let authorization = self.authorization(&ask.url, ask.scope).await?;
            let request = request(ask.method, &ask.url, &ask.headers, SdkBody::from(ask.body.clone()), authorization);
            let request = request.map_err(|why| self.refused(ask.what, why))?;
            let outcome = self.once(request).await;
            let Some(answer) = self.settled(&mut tries, ask.what, outcome).await? else { continue };
            if answer.status().as_u16() != 401 || renewed {
                return Ok(answer);
            }
            renewed = true;
            self.tokens.lock().await.forget(ask.scope);
            // Some ask for a login only where something is wanted.
            if let Ok(challenge) = challenge(answer.headers()) {
                *self.challenge.lock().await = challenge;
            }
        }
    }

    /// Returns the answer that an attempt has brought; `None` after a pause, if it is to be made again.
    async fn settled(
        &self,
        tries: &mut Tries,
        what: &str,
        outcome: Result<HttpResponse, String>,
    ) -> Result<Option<HttpResponse>, RegistryError> {
        let failure = match outcome {
            Ok(answer) => match answer.status().as_u16() {
                429 => {
                    tries.refusals += 1;
                    self.wait(what, later(answer.headers()), tries.refusals).await?;
                    return Ok(None);
                }
                status @ (500 | 502..=504) => format!("it answered {status}"),
                _ => return Ok(Some(answer)),
            },
            Err(why) => why,
        };
        tries.failures += 1;
        if tries.failures >= tries.most {
            return Err(self.unreachable(what, failure));
        }
        tracing::debug!(registry = self.registry(), "{failure}; asking for {what} again");
        BACKOFF.pause(tries.failures).await;
        Ok(None)
    }

    /// Sends a body once, without a limit of time: the caller watches it.
    pub async fn send(
        &self,
        method: &'static str,
        url: &Url,
        scope: &Scope,
        body: SdkBody,
        what: &str,
    ) -> Result<HttpResponse, RegistryError> {
        let authorization = self.authorization(url, scope).await?;
        let headers = [("content-type", "application/octet-stream".to_owned())];
        let request = request(method, url, &headers, body, authorization).map_err(|why| self.refused(what, why))?;
        let answer = self.connector.call(request).await;
        answer.map_err(|error| self.unreachable(what, chain(&error)))
    }

    /// Follows the redirects of an answer to a GET. Other places get no login: they have their own in the URL.
    pub async fn follow(&self, mut answer: HttpResponse, ask: &Ask<'_>) -> Result<HttpResponse, RegistryError> {
        let mut at = ask.url.clone();
        for _ in 0..REDIRECTS {
            if !is_redirect(&answer) {
                return Ok(answer);
            }
            let location =
                header(answer.headers(), "location").ok_or_else(|| self.refused(ask.what, "a redirect to nowhere"))?;
            at = at.join(&location).map_err(|cause| self.refused(ask.what, cause))?;
            if !matches!(at.scheme(), "http" | "https") {
                return Err(self.refused(ask.what, "a redirect to no web address"));
            }
            let request = request(ask.method, &at, &ask.headers, SdkBody::empty(), None);
            let request = request.map_err(|why| self.refused(ask.what, why))?;
            answer = self.once(request).await.map_err(|why| self.unreachable(ask.what, why))?;
        }
        Err(self.refused(ask.what, "too many redirects"))
    }

    async fn once(&self, request: HttpRequest) -> Result<HttpResponse, String> {
        match tokio::time::timeout(ANSWER, self.connector.call(request)).await {
            // The chain of causes does not contain the URL.
            Ok(answer) => answer.map_err(|error| chain(&error)),
            Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
        }
    }

    /// Notes that a busy server asks to come back later, if the patience allows it. All requests wait then.
    async fn wait(&self, what: &str, asked: Option<Duration>, refusals: u32) -> Result<(), RegistryError> {
        let length = asked.unwrap_or_else(|| BUSY.length(refusals));
        if !self.busy.lock().await.until(length, self.access.patience) {
            let why = format!("it asks to come back after {} s", length.as_secs());
            return Err(RegistryError::new(ErrorKind::Busy, what, self.registry(), why));
        }
        tracing::info!(registry = self.registry(), "too many requests; waiting {} s, as it asks", length.as_secs());
        self.busy_over().await;
        Ok(())
    }

    /// Waits until the registry has said to come back.
    async fn busy_over(&self) {
        let until = self.busy.lock().await.until;
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    async fn base(&self) -> Result<&Url, RegistryError> {
        self.base.get_or_init(|| self.ping()).await.as_ref().map_err(Clone::clone)
    }

    /// Finds out how the registry is reached and what it wants to see.
    async fn ping(&self) -> Result<Url, RegistryError> {
        let host = match self.registry() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let mut failure = None;
        let tries_plain = self.access.insecure || is_loopback(host);
        for scheme in ["https", "http"].into_iter().take(if tries_plain { 2 } else { 1 }) {
            let base = format!("{scheme}://{host}/v2/");
            let base = Url::parse(&base).map_err(|cause| self.refused("a request", format!("{cause}: {base}")))?;
            // The first way counts: why TLS failed is what the user has to know.
            match self.ping_at(&base).await {
                Ok(challenge) => {
                    *self.challenge.lock().await = challenge;
                    return Ok(base);
                }
                Err(error) => failure = Some(failure.unwrap_or(error)),
            }
        }
        Err(failure.unwrap_or_else(|| self.refused("a request", "there is no way to it")))
    }

    async fn ping_at(&self, base: &Url) -> Result<Challenge, RegistryError> {
        let mut tries = Tries::most(if is_loopback(self.registry()) { 1 } else { ATTEMPTS });
        let what = "a first request";
        loop {
            let request = request("GET", base, &[], SdkBody::empty(), None).map_err(|why| self.refused(what, why))?;
            let outcome = self.once(request).await;
            let Some(answer) = self.settled(&mut tries, what, outcome).await? else { continue };
            return match answer.status().as_u16() {
                // A redirect leads to a place that asks for itself.
                200..=399 => Ok(Challenge::Open),
                401 => challenge(answer.headers()).map_err(|why| self.refused(what, why)),
                status => Err(self.refused(what, format!("it answered {status}, and is no registry"))),
            };
        }
    }

    /// Returns the value of `Authorization` for a request. Other places than the registry get none.
    async fn authorization(&self, url: &Url, scope: &Scope) -> Result<Option<Zeroizing<String>>, RegistryError> {
        if url.origin() != self.base().await?.origin() {
            return Ok(None);
        }
        let challenge = self.challenge.lock().await.clone();
        match challenge {
            Challenge::Open => Ok(None),
            Challenge::Basic => Ok(self.access.login.as_ref().and_then(basic)),
            // A bearer token is for the registry itself, and for nobody else.
            Challenge::Bearer { .. } if self.login_is_bearer() => Ok(self.access.login.as_ref().and_then(basic)),
            Challenge::Bearer { realm, service } => self.token(&realm, service.as_deref(), scope).await.map(Some),
        }
    }

    async fn token(
        &self,
        realm: &Url,
        service: Option<&str>,
        scope: &Scope,
    ) -> Result<Zeroizing<String>, RegistryError> {
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(scope) {
            return Ok(token);
        }
        let what = "a token";
        if self.base().await?.scheme() == "https" && realm.scheme() != "https" {
            return Err(self.refused(what, "its token server has no TLS, and would see the login"));
        }
        let mut tries = Tries::most(ATTEMPTS);
        loop {
            let asked = TokenRequest::new(realm, service, scope, self.access.login.as_ref());
            let request = token_request(asked).map_err(|why| self.refused(what, why))?;
            let outcome = match self.once(request).await {
                Ok(answer) => match answer.status().as_u16() {
                    200..=299 | 400..=403 | 429 => Ok(answer),
                    status => Err(format!("its token server answered {status}")),
                },
                Err(why) => Err(format!("its token server does not answer: {why}")),
            };
            let Some(answer) = self.settled(&mut tries, what, outcome).await? else { continue };
            let status = answer.status().as_u16();
            if status >= 400 {
                let why = format!("its token server answered {status}{}", self.logged_in());
                return Err(self.denied(&scope.repository, why));
            }
            let body = self.read(answer, what).await?;
            return tokens.keep(scope, &body).map_err(|why| self.refused(what, why));
        }
    }

    fn login_is_bearer(&self) -> bool {
        self.access.login.as_ref().is_some_and(|login| matches!(login.sent(), Sent::Bearer(_)))
    }

    /// Returns a text of the server without the secrets that it was sent, which it may repeat.
    pub async fn without_secrets(&self, text: &str) -> String {
        let tokens = self.tokens.lock().await;
        let login = self.access.login.iter().flat_map(Login::secrets);
        let secrets = login.chain(tokens.secrets()).filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
    }

    /// In the words of a refusal: whether there was a login at all.
    pub fn logged_in(&self) -> &'static str {
        if self.access.login.is_some() { "" } else { ", and there is no login for it" }
    }

    /// Reads an answer into memory, up to the length of the longest manifest.
    pub async fn read(&self, answer: HttpResponse, what: &str) -> Result<Bytes, RegistryError> {
        let read = Limited::new(answer.into_body(), LONGEST).collect();
        match tokio::time::timeout(ANSWER, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.unreachable(what, error)),
            Err(_) => Err(self.unreachable(what, "its answer does not end")),
        }
    }

    pub fn unreachable(&self, what: &str, why: impl ToString) -> RegistryError {
        RegistryError::new(ErrorKind::Unreachable, what, self.registry(), why)
    }

    pub fn refused(&self, what: &str, why: impl ToString) -> RegistryError {
        RegistryError::new(ErrorKind::Refused, what, self.registry(), why)
    }

    pub fn denied(&self, what: &str, why: impl ToString) -> RegistryError {
        RegistryError::new(ErrorKind::Denied, what, self.registry(), why)
    }

    pub fn not_there(&self, what: &str, why: impl ToString) -> RegistryError {
        RegistryError::new(ErrorKind::NotThere, what, self.registry(), why)
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name == "[::1]" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|it| it.is_loopback())
}
