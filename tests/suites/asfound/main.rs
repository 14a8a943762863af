//! A run that stops an engine brings back everything that ran because of it. It stops nothing but that engine, and only
//! if the stop can end in time.
//!
//! On 26.1.5; on all three engines with `SWARMDR_TEST_FULL=1`.

mod found;
mod host;
mod odd;
mod others;
mod price;
mod relations;
mod unit;

use anyhow::{Context, Result};
use swarmdr_tests::{campaign::generations, lab::Engine};

fn on_each_engine(test: fn(Engine) -> Result<()>) -> Result<()> {
    for engine in generations() {
        test(*engine).with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}
