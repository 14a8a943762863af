//! Autolock: reading the unlock key of a running manager, and unlocking a restarted one with it.
//!
//! An autolocked manager that is stopped comes back locked: it takes no part in the cluster until somebody
//! unlocks it. So whoever stops it must have the key first. The engine gives it to every client of its socket
//! (`GET /swarm/unlockkey`); it is kept in memory only.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::Method;
use zeroize::Zeroizing;

use super::raw_call::{call, get};
use crate::swarm::UnlockKey;

/// A manager answers at once, or, without a leader, after 20 s with an error.
const ASK_LIMIT: Duration = Duration::from_secs(60);

/// The unlock key of a running swarm, as `SWMKEY-1-…`. Never shown.
pub struct RunningKey(Zeroizing<String>);

/// Whether the managers of the swarm are to be locked when they start.
pub async fn is_autolocked(socket: &Path) -> Result<bool> {
    let swarm = get(socket, "/swarm").await.context("failed to ask the engine whether its swarm is autolocked")?;
    Ok(swarm["Spec"]["EncryptionConfig"]["AutoLockManagers"].as_bool().unwrap_or_default())
}

impl RunningKey {
    /// Asks the engine for it; an error if the swarm is not autolocked.
    pub async fn ask(socket: &Path) -> Result<Self> {
        let ask = async {
            let asked = call(socket, Method::GET, "/swarm/unlockkey", Bytes::new());
            let answer = tokio::time::timeout(ASK_LIMIT, asked).await.context("it did not answer in time")??;
            let answer: serde_json::Value = serde_json::from_slice(&answer)?;
            match answer.get("UnlockKey").and_then(|key| key.as_str()) {
                Some(key) if !key.is_empty() => Ok(Self(Zeroizing::new(key.to_owned()))),
                _ => bail!("it gave none"),
            }
        };
        ask.await.context("failed to ask the engine for the unlock key of its swarm")
    }

    /// A key that the operator gave, as `SWMKEY-1-…`.
    pub fn given(text: &Zeroizing<String>) -> Self {
        Self(text.clone())
    }

    /// Unlocks the engine that came back locked. A multi-manager swarm must have a leader, else this never ends
    /// (moby `daemon/cluster/swarm.go`, `UnlockSwarm`).
    pub async fn unlock(&self, socket: &Path) -> Result<()> {
        let body = Zeroizing::new(serde_json::json!({ "UnlockKey": *self.0 }).to_string());
        call(socket, Method::POST, "/swarm/unlock", Bytes::from(body.as_bytes().to_vec()))
            .await
            .context("failed to unlock the swarm of this host")?;
        Ok(())
    }

    /// Whether this is the same key.
    pub fn is_same(&self, other: &RunningKey) -> bool {
        self.0.trim() == other.0.trim()
    }

    /// The form that opens the state on disk.
    pub fn for_state(&self) -> Result<UnlockKey> {
        Ok(self.0.parse()?)
    }
}

impl std::fmt::Debug for RunningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunningKey(..)")
    }
}
