//! Autolock: reads the unlock key of a running manager, and unlocks a restarted one with it.
//!
//! An autolocked manager that is stopped comes back locked: it takes no part in the cluster until it is unlocked. So a
//! run that stops it must have the key first. The engine gives it to every client of its socket (`GET
//! /swarm/unlockkey`); it is kept in memory only.

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::Method;
use swarm_state::UnlockKey;
use swarmdr_archive::Hasher;
use zeroize::Zeroizing;

use super::raw_call::{call, get};

/// Time limit of the call for the key: a manager replies at once, or, without a leader, after 20 s with an error.
const ASK_LIMIT: Duration = Duration::from_secs(60);

/// The unlock key of a running swarm, as `SWMKEY-1-…`. Never shown.
pub struct RunningKey(Zeroizing<String>);

/// True if the swarm's managers are locked when they start.
pub async fn is_autolocked(socket: &Path) -> Result<bool> {
    let swarm = get(socket, "/swarm").await.context("failed to ask the engine whether its swarm is autolocked")?;
    Ok(swarm["Spec"]["EncryptionConfig"]["AutoLockManagers"].as_bool().unwrap_or_default())
}

impl RunningKey {
    /// Gets the key from the engine; an error if the swarm is not autolocked.
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

    /// Takes a key from the operator, as `SWMKEY-1-…`.
    pub fn given(text: &Zeroizing<String>) -> Self {
        Self(text.clone())
    }

    /// Unlocks an engine that came back locked. A swarm of several managers must have a leader, else this never returns
    /// (moby `daemon/cluster/swarm.go`, `UnlockSwarm`).
    pub async fn unlock(&self, socket: &Path) -> Result<()> {
        let body = Zeroizing::new(serde_json::json!({ "UnlockKey": *self.0 }).to_string());
        call(socket, Method::POST, "/swarm/unlock", Bytes::from(body.as_bytes().to_vec()))
            .await
            .context("failed to unlock the swarm of this host")?;
        Ok(())
    }

    /// True if this is the same key.
    pub fn is_same(&self, other: &RunningKey) -> bool {
        self.0.trim() == other.0.trim()
    }

    /// Adds the key to what is hashed.
    pub(super) fn hash_into(&self, hasher: &mut Hasher) {
        hasher.update(self.0.trim().as_bytes());
    }

    /// The form that opens the state on disk.
    pub fn for_state(&self) -> Result<UnlockKey> {
        Ok(self.0.parse()?)
    }
}

impl fmt::Debug for RunningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunningKey(..)")
    }
}
