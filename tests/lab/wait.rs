//! Waiting for a condition instead of for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

const BETWEEN_TRIES: Duration = Duration::from_millis(40);

/// Calls `probe` until it returns a value, and gives up after `limit`. After an error it tries again; the last error is
/// returned when the time is up. `what` completes "waited for".
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        let reason = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => anyhow!("it did not come"),
            Err(error) => error,
        };
        if begun.elapsed() > limit {
            return Err(reason).with_context(|| format!("waited {limit:.0?} for {what}"));
        }
        thread::sleep(BETWEEN_TRIES);
    }
}
