//! How much of a long campaign runs: a part by default, the whole of it with `SWARMDR_TEST_FULL=1`.

use crate::lab::Engine;

pub fn full() -> bool {
    std::env::var_os("SWARMDR_TEST_FULL").is_some_and(|value| value == "1")
}

/// The generations of engines that a campaign runs on.
pub fn generations() -> &'static [Engine] {
    if full() { &Engine::ALL } else { &[Engine::E26_1] }
}
