//! Calls of the Engine API as plain JSON, without types of their own. Bodies may be secrets: none is ever logged.

use std::{error::Error, fmt, path::Path, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header::HeaderValue,
    http::request::Builder, upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::UnixStream, task::JoinHandle};

/// Largest reply in bytes: most are a key, an id or an error message.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Largest listing in bytes: twice what ten thousand services need. Configs, which are listed with their content, are
/// read by [`list_call`](super::list_call).
const LISTING_LIMIT: usize = 128 << 20;

/// Time limit of a call: longer than the 20 s after which a manager without a leader returns an error.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// The task that drives a connection.
type Connection = JoinHandle<hyper::Result<()>>;

/// A reply of the engine that is no success, with the engine's own message.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, body: &[u8]) -> Self {
        Self { status, message: message(body) }
    }

    /// Returns the reply of the engine in the chain of an error; `None` if the call had none.
    pub fn find(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|cause| cause.downcast_ref::<Self>())
    }

    /// True if another client changed the object since it was read (swarmkit `manager/state/store`,
    /// `ErrSequenceConflict`). It has no status of its own (`rpc error: code = Unknown`), so the message decides.
    pub fn is_out_of_sequence(error: &anyhow::Error) -> bool {
        Self::find(error).is_some_and(|refusal| refusal.says("update out of sequence"))
    }

    /// True if another object has the name. Secrets, configs and services are refused with 409; a network that came
    /// to be meanwhile has no status of its own (swarmkit `manager/controlapi/network.go`).
    pub fn is_name_taken(error: &anyhow::Error) -> bool {
        let taken = |refusal: &Self| {
            refusal.status == StatusCode::CONFLICT || refusal.says("name conflicts with an existing object")
        };
        Self::find(error).is_some_and(taken)
    }

    /// True if there is no such object.
    pub fn is_not_found(error: &anyhow::Error) -> bool {
        Self::find(error).is_some_and(|refusal| refusal.status == StatusCode::NOT_FOUND)
    }

    /// True if the engine surely did not do what it was asked for. Without a reply, and after an error of the server
    /// such as a leader that did not answer in time, it may have.
    pub fn is_certain(error: &anyhow::Error) -> bool {
        Self::find(error).is_some_and(|refusal| refusal.status.is_client_error())
    }

    /// True if the engine's message has this text in it.
    pub fn says(&self, text: &str) -> bool {
        self.message.contains(text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the engine answered {}: {}", self.status, self.message)
    }
}

impl Error for Refusal {}

/// Makes one call on the engine's socket, without a time limit. A reply that is no success (200, 201, 204) is a
/// [`Refusal`].
pub async fn call(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
    success(ask(socket, method, path, body, ANSWER_LIMIT).await?)
}

/// Makes one call as [`call`] does, with the credentials for a registry: the text of an `X-Registry-Auth` header.
pub async fn call_with_auth(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
    registry_auth: Bytes,
) -> Result<Bytes> {
    let mut auth = HeaderValue::from_maybe_shared(registry_auth)
        .context("the registry credentials are no text that a header can hold")?;
    auth.set_sensitive(true);
    let request = request(method, path).header("X-Registry-Auth", auth).body(Full::new(body))?;
    let (answer, connection) = send(socket, request).await?;
    success(whole(answer, connection, ANSWER_LIMIT).await?)
}

/// Gets a JSON document as a whole.
pub async fn get(socket: &Path, path: &str) -> Result<Value> {
    in_time(async {
        let answer = success(ask(socket, Method::GET, path, Bytes::new(), LISTING_LIMIT).await?)?;
        serde_json::from_slice(&answer).context("the engine's answer is no JSON")
    })
    .await
}

/// Runs a call to its end within [`CALL_LIMIT`].
pub async fn in_time<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let answered = tokio::time::timeout(CALL_LIMIT, asked).await;
    answered.with_context(|| format!("the engine did not answer within {} s", CALL_LIMIT.as_secs()))?
}

fn success((status, body): (StatusCode, Bytes)) -> Result<Bytes> {
    if !status.is_success() {
        // The body is an error message of the engine; a key is only in a reply with 200.
        return Err(Refusal::new(status, &body).into());
    }
    Ok(body)
}

/// Makes one call with a size limit for the reply. Returns every status.
pub async fn ask(socket: &Path, method: Method, path: &str, body: Bytes, limit: usize) -> Result<(StatusCode, Bytes)> {
    let (answer, connection) = send(socket, request(method, path).body(Full::new(body))?).await?;
    whole(answer, connection, limit).await
}

async fn whole(answer: Response<Incoming>, connection: Connection, limit: usize) -> Result<(StatusCode, Bytes)> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), limit).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow::anyhow!("the engine's answer could not be read: {error}"))?.to_bytes();
    Ok((status, body))
}

/// Returns the body of a reply with 200, to be read as it comes, and the task that drives its connection.
pub async fn open(socket: &Path, path: &str) -> Result<(Incoming, Connection)> {
    open_with(socket, Method::GET, path, Bytes::new()).await
}

/// Makes one call as [`open`] does, with a method and a body.
pub async fn open_with(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<(Incoming, Connection)> {
    let (answer, connection) = send(socket, request(method, path).body(Full::new(body))?).await?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok((answer.into_body(), connection));
    }
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
    connection.abort();
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    Err(Refusal::new(status, &body).into())
}

/// Makes one call whose connection the engine gives up to what the call starts, and returns that connection.
pub async fn upgrade(socket: &Path, path: &str, body: Bytes) -> Result<Upgraded> {
    let request = request(Method::POST, path).header("Connection", "Upgrade").header("Upgrade", "tcp");
    let (answer, connection) = send(socket, request.body(Full::new(body))?).await?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return hyper::upgrade::on(answer).await.context("the engine does not give the connection up");
    }
    let (status, body) = whole(answer, connection, ANSWER_LIMIT).await?;
    Err(Refusal::new(status, &body).into())
}

fn request(method: Method, path: &str) -> Builder {
    let builder = Request::builder().method(method).uri(path);
    builder.header("Host", "docker").header("Content-Type", "application/json")
}

async fn send(socket: &Path, request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Connection)> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection.with_upgrades());
    Ok((sender.send_request(request).await?, connection))
}

/// The text of `{"message": "…"}`, or else the whole body.
fn message(body: &[u8]) -> String {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let message = document.as_ref().and_then(|document| document.get("message")?.as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned)
}
