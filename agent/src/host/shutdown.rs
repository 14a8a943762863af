//! Turns SIGINT, SIGTERM, SIGHUP and SIGQUIT into a stop request that every phase can see.
//!
//! A signal never ends the process by itself: the running phase stops at its next safe point, and what was begun is
//! undone on the way out (the engine started, temporary files removed).

use std::{
    fs,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use crate::outcome::failure::Failure;

fn interrupted() -> anyhow::Error {
    Failure::failed("interrupted by a signal").into()
}

/// The set of ignored signals, bit n - 1 for signal n; none if it cannot be read.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default()
}

/// A stop request. Cheap to clone; all clones see the same request.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    notify: Notify,
    /// The number of pieces of work that must run to their end.
    shielded: AtomicUsize,
    unshielded: Notify,
}

/// Ends the shield of one piece of work, however that ends.
struct Shield<'a>(&'a Shared);

impl Drop for Shield<'_> {
    fn drop(&mut self) {
        self.0.shielded.fetch_sub(1, Ordering::SeqCst);
        self.0.unshielded.notify_waiters();
    }
}

impl Shared {
    fn request(&self, why: &str) {
        tracing::warn!(why, "stop requested: ending at the next safe point");
        self.requested.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }
}

impl Shutdown {
    /// Starts to listen; from here on these signals no longer kill the process. A signal that was ignored when the
    /// process started, as `nohup` does with SIGHUP, stays ignored.
    pub fn listen() -> Result<Self> {
        let shutdown = Self::default();
        let ignored = ignored();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()] {
            if ignored & (1 << (kind.as_raw_value() - 1)) != 0 {
                continue;
            }
            let mut stream = signal(kind).context("failed to listen for signals")?;
            let shared = Arc::clone(&shutdown.shared);
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    shared.request("a signal came");
                }
            });
        }
        Ok(shutdown)
    }

    /// Makes every phase end at its next safe point.
    pub fn request(&self, why: &str) {
        self.shared.request(why);
    }

    pub fn is_requested(&self) -> bool {
        self.shared.requested.load(Ordering::SeqCst)
    }

    /// Returns an error once a stop was requested; for loops in blocking code.
    pub fn check(&self) -> Result<()> {
        if self.is_requested() {
            return Err(interrupted());
        }
        Ok(())
    }

    /// Runs `work` to its end, or drops it when a stop is requested, once its [`Shutdown::shielded`] parts have ended.
    pub async fn or_interrupted<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let requested = self.shared.notify.notified();
        self.check()?;
        let mut work = pin!(work);
        tokio::select! {
            result = &mut work => return result,
            () = requested => {}
        }
        loop {
            let unshielded = self.shared.unshielded.notified();
            if self.shared.shielded.load(Ordering::SeqCst) == 0 {
                return Err(interrupted());
            }
            tokio::select! {
                result = &mut work => return result,
                () = unshielded => {}
            }
        }
    }

    /// Runs `work` to its end even if a stop is requested meanwhile: an engine that it stops is also started by it.
    pub async fn shielded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.check()?;
        self.shared.shielded.fetch_add(1, Ordering::SeqCst);
        let _shield = Shield(&self.shared);
        work.await
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_request_drops_what_waits_and_lets_shielded_work_end() {
        let shutdown = Shutdown::default();
        let (begun, is_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel();
        let work = {
            let shutdown = shutdown.clone();
            async move {
                let ended = shutdown.shielded(async {
                    begun.send(()).expect("is waited for");
                    Ok(may_go_on.await?)
                });
                ended.await?;
                future::pending::<Result<()>>().await
            }
        };
        let run = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.or_interrupted(work).await }
        });
        is_begun.await.expect("begins");
        shutdown.request("a test");
        tokio::task::yield_now().await;
        assert!(!run.is_finished(), "what is shielded was dropped");
        go_on.send(()).expect("it still runs");
        let error = run.await.expect("no panic").expect_err("the rest is dropped");
        assert!(error.to_string().contains("interrupted"), "{error:#}");
        shutdown.shielded(async { Ok(()) }).await.expect_err("nothing is begun after a request");
    }
}
