//! Examines one stored object by the head of its bytes.

use jiff::Timestamp;
use swarmdr_archive::{
    Error as ArchiveError, HEAD_LIMIT, TrustedKeys,
    reader::{self, UnverifiedHead},
};

use super::Verdict;
use crate::{Vault, VaultError, VersionRef, object_name::ObjectName, read_range};

/// Bytes that are read first: enough for the head of an ordinary backup. A longer head is read again, up to its limit.
const FIRST_READ: u64 = 16 * 1024;

/// Examines a version. A signing key that is no longer trusted still counts if the vault `stored` the version before
/// the key's end.
pub async fn verdict(
    vault: &dyn Vault,
    at: &VersionRef,
    size: u64,
    stored: Timestamp,
    name: &ObjectName,
    keys: &TrustedKeys,
) -> Verdict {
    let head = match read_head(vault, at, size).await {
        Ok(Ok(head)) => head,
        Ok(Err(why)) => return Verdict::Damaged(why),
        Err(error) => return Verdict::Unread(error),
    };
    let digest = head.manifest_digest();
    let head = match head.verify(keys) {
        Ok(head) => head,
        Err(why @ (ArchiveError::UnknownKey { .. } | ArchiveError::BadSignature { .. })) => {
            return Verdict::Forged { why, digest };
        }
        Err(why) => return Verdict::Damaged(why),
    };
    let own = ObjectName::new(head.manifest.cluster_id.clone(), head.manifest.id);
    if own != *name {
        return Verdict::Misplaced { belongs: own.key() };
    }
    if head.archive_size != size {
        return Verdict::WrongSize { expected: head.archive_size };
    }
    match keys.until(&head.signer).filter(|until| stored >= *until) {
        Some(until) => Verdict::KeyEnded { head: Box::new(head), until },
        None => Verdict::Good(Box::new(head)),
    }
}

/// Reads a head. The outer error means that it could not be read, the inner one that it was read and is bad.
async fn read_head(
    vault: &dyn Vault,
    at: &VersionRef,
    size: u64,
) -> Result<Result<UnverifiedHead, ArchiveError>, VaultError> {
    let bytes = read_range(vault, at, 0..size.min(FIRST_READ)).await?;
    match reader::read_head(&bytes[..]) {
        Err(ArchiveError::Truncated { .. }) if size > FIRST_READ => {
            let bytes = read_range(vault, at, 0..size.min(HEAD_LIMIT)).await?;
            Ok(reader::read_head(&bytes[..]))
        }
        head => Ok(head),
    }
}
