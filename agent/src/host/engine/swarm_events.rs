//! The engine's events of the swarm, as hints that something may have changed.
//!
//! They are no more than hints: rotated join tokens, `docker swarm update` and a new unlock key make no event, and what
//! happened while nobody listened is not repeated. Tasks make none of this scope, so a swarm whose tasks die and start
//! all day is silent here.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::JoinHandle;

use super::raw_call::open;

/// Filter `{"scope":["swarm"]}`.
const PATH: &str = "/events?filters=%7B%22scope%22%3A%5B%22swarm%22%5D%7D";

/// A subscription, which ends when this is dropped.
#[derive(Debug)]
pub struct SwarmEvents {
    socket: PathBuf,
    body: Incoming,
    connection: JoinHandle<hyper::Result<()>>,
}

impl SwarmEvents {
    /// Subscribes to what happens from now on.
    pub async fn listen(socket: &Path) -> Result<Self> {
        let (body, connection) = open(socket, PATH).await.context("failed to ask the engine for its events")?;
        Ok(Self { socket: socket.to_owned(), body, connection })
    }

    /// Waits for the next event, or several at once. An error if the engine ended the subscription, as it does when it
    /// stops.
    pub async fn next(&mut self) -> Result<()> {
        let frame = self.body.frame().await;
        let frame = frame.with_context(|| format!("the events of {} ended", self.socket.display()))?;
        frame.map(drop).context("the engine's events could not be read")
    }
}

impl Drop for SwarmEvents {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
