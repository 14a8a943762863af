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
#[path = "asfound/unit.rs"]
mod unit;

use swarmdr_tests::campaign::full;
use swarmdr_tests::lab::Engine;

fn generations() -> &'static [Engine] {
    if full() { &Engine::ALL } else { &[Engine::E26_1] }
}
