//! Waiting by polling: probes with a pause in between, and a limit.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The result of one probe of [`until`].
#[derive(Debug)]
pub enum Probe<T> {
    Done(T),
    /// Not done yet, and why.
    NotYet(anyhow::Error),
}

impl<T> Probe<T> {
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Probe<U> {
        match self {
            Self::Done(found) => Probe::Done(map(found)),
            Self::NotYet(why) => Probe::NotYet(why),
        }
    }

    /// Treats every error as one that may pass.
    pub fn retry(result: Result<T>) -> Self {
        result.map_or_else(Self::NotYet, Self::Done)
    }
}

/// Probes at least once, and then again after each pause of `every`, until `limit` is over; then it returns `None`.
pub async fn poll<T>(limit: Duration, every: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return Some(found);
        }
        if begun.elapsed() >= limit {
            return None;
        }
        tokio::time::sleep(every).await;
    }
}

/// Probes as [`poll`] does. The error at the end of the limit is `waited 120 s for {what}`, caused by that of the last
/// probe; an error that the probe itself returns ends the wait at once.
pub async fn until<T>(
    limit: Duration,
    every: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<Probe<T>>,
) -> Result<T> {
    let mut last = None;
    let done = poll(limit, every, async || match probe().await {
        Ok(Probe::Done(found)) => Some(Ok(found)),
        Ok(Probe::NotYet(why)) => {
            last = Some(why);
            None
        }
        Err(error) => Some(Err(error)),
    });
    match (done.await, last) {
        (Some(done), _) => done,
        (None, last) => {
            let last = last.unwrap_or_else(|| anyhow::anyhow!("nothing was seen of it"));
            Err(last.context(format!("waited {} s for {what}", limit.as_secs())))
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{anyhow, bail};

    use super::*;

    const EVERY: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_wait_ends_with_the_first_success() {
        let mut probes = 0;
        let found = until(Duration::from_secs(60), EVERY, "three", async || {
            probes += 1;
            Ok(if probes == 3 { Probe::Done(probes) } else { Probe::NotYet(anyhow!("it is {probes}")) })
        });
        assert_eq!(found.await.expect("comes"), 3);
    }

    #[tokio::test]
    async fn a_wait_without_time_probes_once_and_reports_why() {
        let mut probes = 0;
        let waited = until(Duration::ZERO, EVERY, "the engine to start", async || {
            probes += 1;
            Ok(Probe::<()>::NotYet(anyhow!("it is off")))
        });
        let error = waited.await.expect_err("never starts");
        assert_eq!((format!("{error:#}").as_str(), probes), ("waited 0 s for the engine to start: it is off", 1));
        assert_eq!(poll(Duration::ZERO, EVERY, async || None::<()>).await, None);
    }

    #[tokio::test]
    async fn an_error_of_the_probe_ends_the_wait() {
        let probe = async || -> Result<Probe<()>> { bail!("the socket is gone") };
        let error = until(Duration::from_secs(60), EVERY, "a reply", probe).await.expect_err("is over");
        assert_eq!(error.to_string(), "the socket is gone");
    }
}
