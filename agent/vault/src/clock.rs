//! The vault's clock, compared with the clock of this host.

use jiff::{SignedDuration, Timestamp};

use super::Vault;

/// Tolerated difference between the clocks of managers and vaults. AWS refuses requests that differ by more.
pub const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// Returns the time from which a lock is counted: `here`, or the vault's time if they differ by more than [`SKEW`]. If
/// this host's clock is behind, a lock counted from it would be too short, or refused (S3 answers 400 to an end in the
/// past). If it is ahead, the lock would cost money for longer than intended.
pub(super) async fn time_of(vault: &dyn Vault, here: Timestamp) -> Timestamp {
    match vault.clock().await {
        Ok(Some(there)) if here.duration_since(there).abs() > SKEW => there,
        // If the vault does not work, the call that follows reports it.
        _ => here,
    }
}
