//! A backup never leaves a manager down, and the copy of a frozen engine is good: on real hosts, with everything that
//! can end an agent, and everything that can be wrong with an engine.
//!
//! The campaigns are reduced and seeded by default; `SWARMDR_TEST_FULL=1` runs all of them.

mod engine;
mod freeze;
mod kill;
mod manager;
mod shutdown;

use swarmdr_tests::campaign::full;

/// A small generator whose sequence is the same on every machine (splitmix64).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
