//! Signs of life: what a working site leaves in the vaults every few minutes.
//!
//! A partitioned site cannot be asked whether it lives. If it reaches a vault, the vault is the witness: a manager that
//! sees a leader leaves a signed document at `life/<cluster id>/<node id>-<host>`, always under the same key, and who takes over
//! a cluster looks there first. Time is the vault's: a sign is as old as its version. It is bounded by what removes old
//! versions: the bucket's lifecycle rule, or `prune`.
//!
//! Whoever owns a manager has its signing key, so a sign can be forged, and then a take-over is refused that should not
//! be; the operator overrules that. What hides signs is told.

mod document;
pub mod last_sign;
pub mod leave;
pub mod look;
pub mod sites;

pub use last_sign::LastSign;
pub use look::{FencedAt, Own, Seen, Sign, look, look_within};

use jiff::SignedDuration;

/// Most seconds between two signs that count: a thief of a manager could otherwise promise one for next year.
const MOST_EVERY: u32 = 3600;

/// Returns the age from which a sign is no longer fresh: two may be missed.
pub fn fresh_for(every: u32) -> SignedDuration {
    SignedDuration::from_secs(3 * i64::from(every.min(MOST_EVERY)) + 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_fresh_for_three_intervals_and_a_minute_and_never_for_long() {
        assert_eq!(fresh_for(120), SignedDuration::from_secs(420));
        assert_eq!(fresh_for(u32::MAX), SignedDuration::from_secs(3 * 3600 + 60));
    }
}
