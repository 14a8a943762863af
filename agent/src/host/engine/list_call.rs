//! Lists of the Engine API that may be larger than this process: read object by object as they come, each made smaller
//! before the next is read. Configs are listed with their content.

use std::{
    fmt,
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, SeqAccess, Visitor},
};
use serde_json::Value;
use tokio::sync::mpsc;

use super::raw_call::{in_time, open};

/// Largest size of one object as it is sent, in bytes. A config has at most 1000 KiB (swarmkit
/// `manager/controlapi/config.go`), a third more in base64.
const OBJECT_LIMIT: usize = 16 << 20;

/// Parts of the reply that wait to be read.
const WAITING: usize = 4;

/// Gets a list, and makes each of its objects smaller with `slim`. `null` is an empty list.
pub async fn list(socket: &Path, path: &str, slim: fn(&mut Value)) -> Result<Value> {
    in_time(async {
        let (body, connection) = open(socket, path).await?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let reading = tokio::task::spawn_blocking(move || read(Parts::new(receiver), slim));
        hand_on(body, sender).await;
        connection.abort();
        reading.await.context("the reading ended unexpectedly")?
    })
    .await
}

/// Hands on the body until the reply or the reader ends.
async fn hand_on(mut body: Incoming, sender: mpsc::Sender<io::Result<Bytes>>) {
    while let Some(frame) = body.frame().await {
        let part = match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => Ok(data),
            Ok(Err(_)) => continue,
            Err(error) => Err(io::Error::other(error)),
        };
        let is_last = part.is_err();
        if sender.send(part).await.is_err() || is_last {
            return;
        }
    }
}

/// Reads the list. Blocking.
fn read(parts: Parts, slim: fn(&mut Value)) -> Result<Value> {
    let taken = Arc::clone(&parts.taken);
    let mut answer = serde_json::Deserializer::from_reader(io::BufReader::new(parts));
    let list = answer.deserialize_any(Objects { slim, taken }).context("the engine's list could not be read")?;
    answer.end().context("the engine's list does not end where it should")?;
    Ok(list)
}

/// The reply as a stream of bytes, which ends with an error if one object is too large.
struct Parts {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    now: Bytes,
    /// Bytes since the last object began.
    taken: Arc<AtomicUsize>,
}

impl Parts {
    fn new(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { receiver, now: Bytes::new(), taken: Arc::default() }
    }
}

impl Read for Parts {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(part) => self.now = part?,
            }
        }
        let length = to.len().min(self.now.len());
        to[..length].copy_from_slice(&self.now.split_to(length));
        if self.taken.fetch_add(length, Ordering::Relaxed) > OBJECT_LIMIT {
            return Err(io::Error::other(format!("one object in it is larger than {} MiB", OBJECT_LIMIT >> 20)));
        }
        Ok(length)
    }
}

struct Objects {
    slim: fn(&mut Value),
    taken: Arc<AtomicUsize>,
}

impl<'de> Visitor<'de> for Objects {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Array(Vec::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut objects: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(object) = objects.next_element_seed(Slimmed(self.slim))? {
            self.taken.store(0, Ordering::Relaxed);
            list.push(object);
        }
        Ok(Value::Array(list))
    }
}

struct Slimmed(fn(&mut Value));

impl<'de> DeserializeSeed<'de> for Slimmed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let mut object = <Value as Deserialize>::deserialize(from)?;
        (self.0)(&mut object);
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixListener};

    use serde_json::json;

    use super::*;

    /// Reads one reply of an engine that gives its length only by its end.
    async fn replied(parts: impl Iterator<Item = Vec<u8>> + Send + 'static, slim: fn(&mut Value)) -> Result<Value> {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).expect("binds");
        // Awaited, so that the connection of a reader that stopped is closed meanwhile.
        let serve = tokio::task::spawn_blocking(move || {
            let (mut client, _) = listener.accept().expect("accepts");
            let _ = client.read(&mut [0; 1024]).expect("reads");
            let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
            // A reader that stops early closes the connection.
            let _ = [head].into_iter().chain(parts).try_for_each(|part| client.write_all(&part));
        });
        let list = list(&path, "/configs", slim).await;
        serve.await.expect("serves");
        list
    }

    fn without_content(object: &mut Value) {
        let length = object["Data"].as_str().map(str::len);
        *object = json!(length);
    }

    #[tokio::test]
    async fn a_list_is_made_smaller_object_by_object() {
        let config = || format!("{{\"Data\":\"{}\"}}", "x".repeat(1 << 20)).into_bytes();
        // Larger in total than one object may be.
        let parts = (0..40).flat_map(move |n| [if n == 0 { b"[".to_vec() } else { b",".to_vec() }, config()]);
        let list = replied(parts.chain([b"]".to_vec()]), without_content).await.expect("reads");
        assert_eq!(list, json!(vec![1 << 20; 40]));
        assert_eq!(replied([b"null".to_vec()].into_iter(), without_content).await.expect("reads"), json!([]));
    }

    #[tokio::test]
    async fn an_object_without_end_and_a_malformed_list_are_errors() {
        let endless = [b"[{\"Data\":\"".to_vec()].into_iter().chain((0..40).map(|_| vec![b'x'; 1 << 20]));
        let error = replied(endless, without_content).await.expect_err("is too large");
        assert!(format!("{error:#}").contains("larger than 16 MiB"), "{error:#}");
        for odd in ["{}", "[1", "[1] 2", ""] {
            replied([odd.as_bytes().to_vec()].into_iter(), without_content).await.expect_err(odd);
        }
    }
}
