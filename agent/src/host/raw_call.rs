//! Calls of the Engine API as plain JSON, whatever the engine may say in it. Bodies may be secrets: none is ever told.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::UnixStream, task::JoinHandle};

/// Most answers are a key, an id or an error message.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Ten thousand services are half of it. Configs are listed with their content, which goes elsewhere: see
/// [`list_call`](super::list_call).
const LISTING_LIMIT: usize = 128 << 20;

/// Longer than the 20 s that a manager without a leader takes to answer.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// One call on the engine's socket, without a limit in time; an answer other than 200 is an error in the engine's words.
pub async fn call(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
    success(ask(socket, method, path, body, ANSWER_LIMIT).await?)
}

/// Asks for a JSON document that is read as a whole.
pub async fn get(socket: &Path, path: &str) -> Result<Value> {
    in_time(async {
        let answer = success(ask(socket, Method::GET, path, Bytes::new(), LISTING_LIMIT).await?)?;
        serde_json::from_slice(&answer).context("the engine's answer is no JSON")
    })
    .await
}

/// A call that is read to its end within [`CALL_LIMIT`].
pub async fn in_time<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let answered = tokio::time::timeout(CALL_LIMIT, asked).await;
    answered.with_context(|| format!("the engine did not answer within {} s", CALL_LIMIT.as_secs()))?
}

fn success((status, body): (StatusCode, Bytes)) -> Result<Bytes> {
    if status != StatusCode::OK {
        // An error message of the engine; a key is only in an answer with 200.
        bail!("the engine answered {status}: {}", message(&body));
    }
    Ok(body)
}

/// One call with a limit of its own for the answer, whatever its status is.
pub async fn ask(socket: &Path, method: Method, path: &str, body: Bytes, limit: usize) -> Result<(StatusCode, Bytes)> {
    let (answer, connection) = send(socket, method, path, body).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), limit).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the engine's answer could not be read: {error}"))?.to_bytes();
    connection.abort();
    Ok((status, body))
}

/// The body of an answer with 200, to be read as it comes, and what drives its connection.
pub async fn open(socket: &Path, path: &str) -> Result<(Incoming, JoinHandle<hyper::Result<()>>)> {
    let (answer, connection) = send(socket, Method::GET, path, Bytes::new()).await?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok((answer.into_body(), connection));
    }
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
    connection.abort();
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    bail!("the engine answered {status}: {}", message(&body))
}

async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(Response<Incoming>, JoinHandle<hyper::Result<()>>)> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "docker")
        .header("Content-Type", "application/json")
        .body(Full::new(body))?;
    Ok((sender.send_request(request).await?, connection))
}

/// `{"message": "…"}`, or whatever it is.
fn message(body: &[u8]) -> String {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let message = document.as_ref().and_then(|document| document.get("message")?.as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned)
}
