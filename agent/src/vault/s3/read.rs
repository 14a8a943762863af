//! What is stored: heads with the lock in effect, ranges of bytes, and the removal of one version.

use std::ops::Range;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object_retention::GetObjectRetentionError;
use aws_sdk_s3::types::{ChecksumMode, ObjectLockRetentionMode};
use jiff::Timestamp;
use tokio::io::AsyncReadExt;

use super::S3Vault;
use crate::vault::{Checksum, Content, Lock, LockMode, ObjectHead, VaultError, VersionRef};

impl S3Vault {
    pub(super) async fn read_head(&self, version: &VersionRef) -> Result<ObjectHead, VaultError> {
        let answer = self
            .client
            .head_object()
            .bucket(&self.target.bucket)
            .key(self.full_key(&version.key))
            .version_id(&version.id)
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .map_err(|error| self.error("look at", &version.key, error))?;
        self.require_no_page(answer.content_type(), "look at", &version.key)?;
        Ok(ObjectHead {
            size: answer.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            checksum: answer.checksum_sha256().and_then(Checksum::parse),
            lock: self.read_lock(version).await?,
        })
    }

    /// The retention in effect. The headers of a HEAD would do as well, but are left out for whoever may not read retentions.
    async fn read_lock(&self, version: &VersionRef) -> Result<Option<Lock>, VaultError> {
        let answer = self
            .client
            .get_object_retention()
            .bucket(&self.target.bucket)
            .key(self.full_key(&version.key))
            .version_id(&version.id)
            .send()
            .await;
        let retention = match answer {
            Ok(answer) => answer.retention,
            Err(error) if is_unlocked(&error) => None,
            Err(error) => return Err(self.error("read the lock of", &version.key, error)),
        };
        Ok(retention.and_then(|retention| {
            let mode = match retention.mode()? {
                ObjectLockRetentionMode::Compliance => LockMode::Compliance,
                ObjectLockRetentionMode::Governance => LockMode::Governance,
                // An unknown mode protects from nothing that we know of.
                _ => return None,
            };
            let until = Timestamp::from_second(retention.retain_until_date()?.secs()).ok()?;
            Some(Lock { mode, until })
        }))
    }

    pub(super) async fn open_range(&self, version: &VersionRef, range: Range<u64>) -> Result<Content, VaultError> {
        if range.is_empty() {
            return Ok(Box::new(tokio::io::empty()));
        }
        let action = "read";
        let answer = self
            .client
            .get_object()
            .bucket(&self.target.bucket)
            .key(self.full_key(&version.key))
            .version_id(&version.id)
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .send()
            .await
            .map_err(|error| self.error(action, &version.key, error))?;
        if answer.content_range().is_none() {
            self.require_no_page(answer.content_type(), action, &version.key)?;
        }
        if range.start > 0 && answer.content_range().is_none() {
            return Err(VaultError::Other {
                vault: self.address.clone(),
                action: format!("{action} `{}` from byte {}", version.key, range.start),
                detail: "the server ignores ranges".into(),
            });
        }
        Ok(Box::new(answer.body.into_async_read().take(range.end - range.start)))
    }

    /// A login page must not pass for a damaged archive.
    fn require_no_page(&self, content_type: Option<&str>, action: &str, key: &str) -> Result<(), VaultError> {
        match content_type {
            Some(kind) if kind.starts_with("text/html") => {
                Err(self.not_s3(action, key, "answered 200 with a web page"))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn delete(&self, version: &VersionRef) -> Result<(), VaultError> {
        self.client
            .delete_object()
            .bucket(&self.target.bucket)
            .key(self.full_key(&version.key))
            .version_id(&version.id)
            .send()
            .await
            .map_err(|error| self.error("delete", &version.key, error))?;
        Ok(())
    }
}

/// How servers say that a version has no retention, or its bucket no Object Lock.
fn is_unlocked(error: &SdkError<GetObjectRetentionError>) -> bool {
    let Some(error) = error.as_service_error() else { return false };
    let message = error.message().unwrap_or_default().to_ascii_lowercase();
    match error.code() {
        Some("NoSuchObjectLockConfiguration" | "ObjectLockConfigurationNotFoundError") => true,
        Some("InvalidRequest") => message.contains("object lock"),
        _ => false,
    }
}
