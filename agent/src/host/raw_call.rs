//! Calls of the Engine API that the client crate lacks, or has without a field that is needed. Bodies may be secrets:
//! none is ever told.

use std::path::Path;

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The answers are a key, an id or an error message.
const ANSWER_LIMIT: usize = 64 * 1024;

/// One call on the engine's socket, without a limit in time; an answer other than 200 is an error in the engine's words.
pub async fn call(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "docker")
        .header("Content-Type", "application/json")
        .body(Full::new(body))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the engine's answer could not be read: {error}"))?.to_bytes();
    connection.abort();
    if status != StatusCode::OK {
        // An error message of the engine; a key is only in an answer with 200.
        bail!("the engine answered {status}: {}", String::from_utf8_lossy(&body).trim());
    }
    Ok(body)
}
