//! Examines one stored object by the head of its bytes.

use jiff::Timestamp;
use swarmdr_archive::{BackupId, Error as ArchiveError, HEAD_LIMIT, TrustedKeys};

use super::{Series, SignedHead, Verdict, series::CheckedHead};
use crate::{Vault, VaultError, VersionRef, read_range};

/// Examines a version under the key of `id` in a series. A signing key that is no longer trusted still counts if the
/// vault `stored` the version before the key's end.
pub async fn verdict<S: Series>(
    vault: &dyn Vault,
    at: &VersionRef,
    size: u64,
    stored: Timestamp,
    (series, id): (&S, BackupId),
    keys: &TrustedKeys,
) -> Verdict<S> {
    let CheckedHead { digest, verified } = match read_head::<S>(vault, at, size, keys).await {
        Ok(Ok(head)) => head,
        Ok(Err(why)) => return Verdict::Damaged(why),
        Err(error) => return Verdict::Unread(error),
    };
    let head = match verified {
        Ok(head) => head,
        Err(why @ (ArchiveError::UnknownKey { .. } | ArchiveError::BadSignature { .. })) => {
            return Verdict::Forged { why, digest };
        }
        Err(why) => return Verdict::Damaged(why),
    };
    let (own, facts) = (S::of(&head), head.facts());
    if own != *series || facts.id != id {
        return Verdict::Misplaced { belongs: own.key(facts.id) };
    }
    if facts.archive_size != size {
        return Verdict::WrongSize { expected: facts.archive_size };
    }
    match keys.until(facts.signer).filter(|until| stored >= *until) {
        Some(until) => Verdict::KeyEnded { head: Box::new(head), until },
        None => Verdict::Good(Box::new(head)),
    }
}

/// Reads a head. The outer error means that it could not be read, the inner one that it was read and is bad.
async fn read_head<S: Series>(
    vault: &dyn Vault,
    at: &VersionRef,
    size: u64,
    keys: &TrustedKeys,
) -> Result<Result<CheckedHead<S::Head>, ArchiveError>, VaultError> {
    let bytes = read_range(vault, at, 0..size.min(S::FIRST_READ)).await?;
    match S::check_head(&bytes, keys) {
        Err(ArchiveError::Truncated { .. }) if size > S::FIRST_READ => {
            let bytes = read_range(vault, at, 0..size.min(HEAD_LIMIT)).await?;
            Ok(S::check_head(&bytes, keys))
        }
        head => Ok(head),
    }
}
