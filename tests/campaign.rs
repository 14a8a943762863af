//! Extent of a long campaign: a part of it by default, the whole with `SWARMDR_TEST_FULL=1`.

use crate::lab::Engine;

pub fn full() -> bool {
    std::env::var_os("SWARMDR_TEST_FULL").is_some_and(|value| value == "1")
}

/// Returns the generations of engines that a campaign runs on; `SWARMDR_TEST_ENGINE=20.10` selects that one alone.
pub fn generations() -> &'static [Engine] {
    if let Ok(only) = std::env::var("SWARMDR_TEST_ENGINE") {
        let at = Engine::ALL.iter().position(|engine| engine.version().starts_with(&only));
        let at = at.unwrap_or_else(|| panic!("SWARMDR_TEST_ENGINE={only} is none of {:?}", Engine::ALL));
        return &Engine::ALL[at..=at];
    }
    if full() { &Engine::ALL } else { &[Engine::E26_1] }
}

/// Returns the seed of a sample, `SWARMDR_TEST_SEED` or else `usual`, and prints it.
pub fn seed(usual: u64) -> u64 {
    let seed = std::env::var("SWARMDR_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(usual);
    println!("SWARMDR_TEST_SEED={seed}");
    seed
}
