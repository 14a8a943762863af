//! Reads heads with the lock in effect and ranges of bytes, and removes single versions.

use std::ops::Range;

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object_retention::GetObjectRetentionError,
    types::{ChecksumMode, ObjectLockRetention, ObjectLockRetentionMode},
};
use jiff::Timestamp;
use tokio::io::AsyncReadExt;

use super::S3Vault;
use crate::{Checksum, Content, Lock, LockMode, ObjectHead, VaultError, VersionRef};

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
            lock: self.read_lock(version, answer.object_lock_mode().is_some()).await?,
        })
    }

    /// Reads the retention in effect. The headers of a HEAD lack it for accounts that may not read retentions, but they
    /// can contradict: a version that one of two answers calls locked is not known to be unlocked.
    async fn read_lock(&self, version: &VersionRef, said_locked: bool) -> Result<Option<Lock>, VaultError> {
        let unclear = |detail: String| VaultError::Other {
            vault: self.address.clone(),
            action: format!("read the lock of `{}`", version.key),
            detail: format!("{detail}; whether it is locked is not known"),
        };
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
            Err(error) if is_unlocked(&error) && !said_locked => None,
            Err(error) if is_unlocked(&error) => {
                return Err(unclear("the server tells HeadObject of a lock, and GetObjectRetention of none".into()));
            }
            Err(error) => return Err(self.error("read the lock of", &version.key, error)),
        };
        retention.map(|retention| lock_of(&retention).map_err(unclear)).transpose()
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

    /// Refuses a web page: a login page must not be taken for a damaged archive.
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

/// True if the server says that a version has no retention, or its bucket no Object Lock.
fn is_unlocked(error: &SdkError<GetObjectRetentionError>) -> bool {
    let Some(error) = error.as_service_error() else { return false };
    let message = error.message().unwrap_or_default().to_ascii_lowercase();
    match error.code() {
        Some("NoSuchObjectLockConfiguration" | "ObjectLockConfigurationNotFoundError") => true,
        Some("InvalidRequest") => message.contains("object lock"),
        _ => false,
    }
}

/// Reads a retention. One that is not understood is an error: it is neither a known lock nor none.
fn lock_of(retention: &ObjectLockRetention) -> Result<Lock, String> {
    let mode = match retention.mode() {
        Some(ObjectLockRetentionMode::Compliance) => LockMode::Compliance,
        Some(ObjectLockRetentionMode::Governance) => LockMode::Governance,
        Some(mode) => return Err(format!("the server names a mode `{}`", mode.as_str())),
        None => return Err("the server names no mode".into()),
    };
    let until = retention.retain_until_date().and_then(|until| Timestamp::from_second(until.secs()).ok());
    Ok(Lock { mode, until: until.ok_or("the server does not say until when")? })
}

#[cfg(test)]
mod tests {
    use crate::{
        LockMode, VaultError, VersionRef,
        s3::canned::{Response, Server},
    };

    /// The lock of a version that a server reports by HeadObject and by GetObjectRetention.
    async fn lock(head: Option<&'static str>, retention: Response) -> Result<Option<LockMode>, VaultError> {
        let server = Server::start(move |asked| {
            let head = Response::new(200, "").with("content-length: 3").with(head.unwrap_or("x-a: b"));
            Some(if asked.is("HEAD ") { head } else { retention.clone() })
        });
        let head = server.vault().await.head(&VersionRef::new("a", "1")).await?;
        Ok(head.lock.map(|lock| lock.mode))
    }

    fn retention(inner: &str) -> Response {
        Response::new(200, format!("<Retention>{inner}</Retention>"))
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_read_is_not_none() {
        let locked = "x-amz-object-lock-mode: COMPLIANCE";
        let until = "<RetainUntilDate>2026-12-21T10:00:00Z</RetainUntilDate>";
        let none = || Response::error(404, "NoSuchObjectLockConfiguration", "no", "");
        assert_eq!(lock(None, none()).await.expect("it says so"), None);
        let compliance = retention(&format!("<Mode>COMPLIANCE</Mode>{until}"));
        assert_eq!(lock(None, compliance).await.expect("it says so"), Some(LockMode::Compliance));
        for (head, answer, words) in [
            (None, Response::error(403, "AccessDenied", "no", ""), "not allowed to read the lock"),
            (None, Response::error(501, "NotImplemented", "no", ""), "the call GetObjectRetention"),
            (Some(locked), none(), "tells HeadObject of a lock, and GetObjectRetention of none"),
            (
                Some(locked),
                Response::error(404, "ObjectLockConfigurationNotFoundError", "no", ""),
                "tells HeadObject of a lock, and GetObjectRetention of none",
            ),
            (None, retention(&format!("<Mode>ETERNAL</Mode>{until}")), "a mode `ETERNAL`"),
            (None, retention(until), "no mode"),
            (None, retention("<Mode>COMPLIANCE</Mode>"), "until when"),
        ] {
            let error = lock(head, answer).await.expect_err(words);
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    }
}
