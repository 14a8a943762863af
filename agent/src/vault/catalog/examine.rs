//! What one stored object is worth, from the head of its bytes.

use jiff::Timestamp;
use swarmdr_archive::reader::{self, UnverifiedHead};
use swarmdr_archive::{Error as ArchiveError, HEAD_LIMIT, TrustedKeys};

use super::Verdict;
use crate::vault::object_name::ObjectName;
use crate::vault::{Vault, VaultError, VersionRef, read_range};

/// Holds the head of an ordinary backup; a longer one is read again up to its limit.
const FIRST_READ: u64 = 16 * 1024;

/// `stored` is when the vault got it: a key that has ended counts for what is older.
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
    match ObjectName::new(&head.manifest.cluster_id, head.manifest.id) {
        Ok(own) if own == *name => {}
        own => {
            let belongs = own.map_or_else(|_| head.manifest.id.to_string(), |own| own.key());
            return Verdict::Misplaced { belongs };
        }
    }
    if head.archive_size != size {
        return Verdict::WrongSize { expected: head.archive_size };
    }
    match keys.until(&head.signer).filter(|until| stored >= *until) {
        Some(until) => Verdict::KeyEnded { head: Box::new(head), until },
        None => Verdict::Good(Box::new(head)),
    }
}

/// Outer error: could not be read. Inner error: was read and is bad.
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
