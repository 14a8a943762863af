//! How a second engine ended, or whether it goes on.

use super::{super::wait, MAKING, POLL};

/// What has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The engine, and how.
    Engine(String),
    Unit,
}

/// Waits until it is known whether the engine or its unit has ended; returns `None` if neither has.
pub async fn how_ended(
    started: bool,
    ended: impl Fn() -> Option<String>,
    is_active: impl AsyncFn() -> bool,
    answers: impl AsyncFn() -> bool,
) -> Option<End> {
    let end = wait::poll(MAKING, POLL, async || {
        if let Some(how) = ended() {
            return Some(Some(End::Engine(how)));
        }
        if !is_active().await {
            return Some(Some(End::Unit));
        }
        // A connection breaks a moment before the process is gone. An engine that was not started answers nobody.
        let goes_on = !started || answers().await;
        goes_on.then_some(None)
    });
    end.await.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_was_not_started_is_not_asked() {
        let asked = async || -> bool { panic!("nobody answers") };
        assert_eq!(how_ended(false, || None, async || true, asked).await, None);
        // Its unit may have been stopped all the same.
        assert_eq!(how_ended(false, || None, async || false, asked).await, Some(End::Unit));
        assert_eq!(how_ended(true, || None, async || true, async || true).await, None);
        let killed = || Some("killed by signal: 9".to_owned());
        assert_eq!(how_ended(true, killed, async || true, asked).await, killed().map(End::Engine));
    }
}
