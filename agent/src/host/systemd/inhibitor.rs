//! logind's inhibitor lock, which delays a shutdown while the engine is down.
//!
//! Interface: `org.freedesktop.login1(5)`. The lock is of the kind `delay`: logind announces a shutdown
//! (`PrepareForShutdown`) and waits until the lock is released, for at most `InhibitDelayMaxSec` (5 s). That is time
//! enough to bring the engine back first, so that it is stopped in order with everything else.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use zbus::{Connection, OwnedFd, proxy};

use crate::host::shutdown::Shutdown;

/// Time limit of the calls, for a host without logind, whose bus may try to start it.
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

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Inhibitor {
    _lock: OwnedFd,
    watch: JoinHandle<()>,
}

impl Inhibitor {
    /// Takes the lock, and turns an announced shutdown into a stop request.
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
