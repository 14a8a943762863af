//! A put of a whole archive, and the parts that all puts have in common.

use aws_sdk_s3::{
    primitives::{ByteStream, DateTime},
    types::{ChecksumAlgorithm, ObjectLockMode, ServerSideEncryption},
};
use data_encoding::BASE64;
use jiff::Timestamp;

use super::{S3Vault, body, client};
use crate::{Checksum, Lock, LockMode, Placed, Progress, Upload, VaultError, VersionRef, settings::Sse};

impl S3Vault {
    pub(super) async fn put_whole(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError> {
        let (body, sent) = body::of(&upload.source).await.map_err(|error| upload.source.unread(error))?;
        let lock = self.lock_headers(upload.now);
        let request = self
            .client
            .put_object()
            .bucket(&self.target.bucket)
            .key(self.full_key(&upload.key))
            .body(body)
            .content_length(i64::try_from(upload.size).unwrap_or(i64::MAX))
            .set_if_none_match(self.only_if_free())
            // Servers verify the value only if the algorithm is named as well.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_sha256(BASE64.encode(&upload.sha256))
            .object_lock_mode(lock.mode)
            .object_lock_retain_until_date(lock.until)
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.target.kms_key_id.clone())
            .set_metadata(Some(upload.metadata.iter().cloned().collect()))
            .customize()
            .config_override(client::one_attempt())
            .send();
        let action = "store";
        let answer = sent
            .drive(request, progress)
            .await
            .map_err(|silence| self.unreachable(format!("{action} `{}`", upload.key), &silence.detail()))?;
        match answer {
            Ok(answer) if answer.version_id.is_none() && answer.e_tag.is_none() => {
                Err(self.not_s3(action, &upload.key, "answered 200 with nothing that a put is answered with"))
            }
            Ok(answer) => self.placed(&upload.key, answer.version_id, Checksum::Whole(upload.sha256)),
            Err(error) => Err(self.explain(self.error(action, &upload.key, error)).await),
        }
    }

    /// Puts a few bytes whether or not the key is free; without a lock, the bucket's default applies.
    pub(super) async fn put_on_top(
        &self,
        key: &str,
        bytes: &[u8],
        lock: Option<Lock>,
        action: &str,
    ) -> Result<(), VaultError> {
        let lock = lock.map(LockHeaders::of);
        self.client
            .put_object()
            .bucket(&self.target.bucket)
            .key(self.full_key(key))
            .body(ByteStream::from(bytes.to_vec()))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_object_lock_mode(lock.as_ref().map(|lock| lock.mode.clone()))
            .set_object_lock_retain_until_date(lock.map(|lock| lock.until))
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.target.kms_key_id.clone())
            .customize()
            .config_override(client::one_attempt())
            .send()
            .await
            .map_err(|error| self.error(action, key, error))?;
        Ok(())
    }

    /// Makes the result of a put. A bucket that returns no version id keeps no versions, whatever it said when checked.
    pub(super) fn placed(
        &self,
        key: &str,
        version_id: Option<String>,
        checksum: Checksum,
    ) -> Result<Placed, VaultError> {
        let id = version_id.ok_or_else(|| VaultError::NotVersioned { vault: self.address.clone() })?;
        Ok(Placed { at: VersionRef::new(key, id), checksum, read_back: false })
    }

    pub(super) fn lock_headers(&self, now: Timestamp) -> LockHeaders {
        LockHeaders::of(self.target.lock.lock_from(now))
    }

    /// The condition that the key is free, for servers that support it.
    pub(super) fn only_if_free(&self) -> Option<String> {
        self.target.conditional_put.then(|| "*".to_owned())
    }

    pub(super) fn encryption(&self) -> Option<ServerSideEncryption> {
        match self.target.sse {
            Sse::None => None,
            Sse::Aes256 => Some(ServerSideEncryption::Aes256),
            Sse::Kms => Some(ServerSideEncryption::AwsKms),
        }
    }
}

pub(super) struct LockHeaders {
    pub mode: ObjectLockMode,
    pub until: DateTime,
}

impl LockHeaders {
    fn of(lock: Lock) -> Self {
        let mode = match lock.mode {
            LockMode::Compliance => ObjectLockMode::Compliance,
            LockMode::Governance => ObjectLockMode::Governance,
        };
        Self { mode, until: DateTime::from_secs(lock.until.as_second()) }
    }
}
