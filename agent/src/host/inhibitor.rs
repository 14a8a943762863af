//! logind's inhibitor lock: a shutdown waits for a moment while the engine is away.
//!
//! Interface: `org.freedesktop.login1(5)`. The lock is of the kind `delay`: logind tells that a shutdown is
//! coming (`PrepareForShutdown`) and waits until the lock is given back, for `InhibitDelayMaxSec` (5 s) at the
//! most. That is time enough to bring the engine back first, so that it is stopped in order with everything else.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use zbus::{Connection, OwnedFd, proxy};

use crate::shutdown::Shutdown;

/// A host without logind may have a bus that tries to start one.
const LIMIT: Duration = Duration::from_secs(5);

#[proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Login {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd>;

    #[zbus(signal)]
    fn prepare_for_shutdown(&self, start: bool) -> zbus::Result<()>;
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct Inhibitor {
    _lock: OwnedFd,
    watch: JoinHandle<()>,
}

impl Inhibitor {
    /// Takes the lock, and makes an announced shutdown a request to stop.
    pub async fn take(bus: &Connection, why: &str, shutdown: &Shutdown) -> Result<Self> {
        let take = async {
            let login = LoginProxy::new(bus).await?;
            let mut announced = login.receive_prepare_for_shutdown().await?;
            let lock = login.inhibit("shutdown", "swarmdr-agent", why, "delay").await?;
            let shutdown = shutdown.clone();
            let watch = tokio::spawn(async move {
                while let Some(signal) = announced.next().await {
                    if signal.args().is_ok_and(|args| args.start) {
                        shutdown.request("the host is about to shut down");
                    }
                }
            });
            zbus::Result::Ok(Self { _lock: lock, watch })
        };
        let taken = tokio::time::timeout(LIMIT, take).await.context("logind did not answer")?;
        taken.context("failed to take logind's inhibitor lock")
    }
}

impl Drop for Inhibitor {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
