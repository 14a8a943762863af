//! The vault's clock beside this host's.

use jiff::{SignedDuration, Timestamp};

use super::Vault;

/// Clocks of managers and vaults differ. AWS refuses requests whose time is further off.
pub const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// What a lock is counted from: the vault's own time where this host's is far from it. A lock that was counted from a clock
/// that is behind is too short, or none at all (S3 answers 400 to an end that is over); from one that is ahead it is paid
/// for, for as long.
pub(super) async fn time_of(vault: &dyn Vault, here: Timestamp) -> Timestamp {
    match vault.clock().await {
        Ok(Some(there)) if here.duration_since(there).abs() > SKEW => there,
        // Whatever is wrong with the vault is told by the call that matters.
        _ => here,
    }
}
