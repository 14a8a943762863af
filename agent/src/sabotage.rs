//! Places where a test can hold or break a run: what happens if it dies here?
//!
//! `SWARMDR_FAULT=POINT=ACTION[,…]` in the environment of the process acts at named points: `hang` stops there for
//! good (until it is killed, or the host loses its power), `error` fails there, `panic` panics there. It is part of the
//! shipped binary, so that what is tested is what is shipped; whoever sets the environment of the agent owns it anyway.

use anyhow::{Result, bail};

/// The variable, which is no key of the configuration.
const VARIABLE: &str = "SWARMDR_FAULT";

/// Does nothing, unless the environment names this point.
pub async fn at(point: &str) -> Result<()> {
    let Ok(asked) = std::env::var(VARIABLE) else {
        return Ok(());
    };
    for one in asked.split(',') {
        act(one, point).await?;
    }
    Ok(())
}

async fn act(asked: &str, point: &str) -> Result<()> {
    let Some((named, action)) = asked.split_once('=') else {
        bail!("{VARIABLE} is `{asked}`, not POINT=ACTION");
    };
    if named != point {
        return Ok(());
    }
    tracing::warn!("{VARIABLE}: {action} at {point}");
    match action {
        "hang" => std::future::pending().await,
        "error" => bail!("told to fail at {point}"),
        "panic" => panic!("told to panic at {point}"),
        _ => bail!("{VARIABLE} knows hang, error and panic, not `{action}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn acts_at_its_point_only() {
        act("restore.place=error", "restore.init").await.expect("another point");
        act("restore.place=error", "restore.place").await.expect_err("this point");
        for malformed in ["restore.place", "restore.place=dance"] {
            act(malformed, "restore.place").await.expect_err("says so");
        }
    }
}
