//! Who stops an engine owes the host what ran because of it; and stops nothing but that engine, and only where the stop
//! can end in time.
//!
//! On 26.1.5; on all three engines with `SWARMDR_TEST_FULL=1`.

#[path = "asfound/found.rs"]
mod found;
#[path = "asfound/host.rs"]
mod host;
#[path = "asfound/odd.rs"]
mod odd;
#[path = "asfound/others.rs"]
mod others;
#[path = "asfound/price.rs"]
mod price;
#[path = "asfound/relations.rs"]
mod relations;
#[path = "asfound/unit.rs"]
mod unit;

use anyhow::{Context, Result};
use swarmdr_tests::campaign::generations;
use swarmdr_tests::lab::Engine;

fn on_each_engine(test: fn(Engine) -> Result<()>) -> Result<()> {
    for engine in generations() {
        test(*engine).with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}
