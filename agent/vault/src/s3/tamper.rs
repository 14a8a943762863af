//! For `doctor` only: tries what an attacker with these credentials would try, and reads the server's time.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef},
    error::BoxError,
    primitives::DateTime,
    types::{ChecksumAlgorithm, ObjectLockRetention, ObjectLockRetentionMode},
};
use jiff::Timestamp;

use super::{S3Vault, client};
use crate::{Lock, LockMode, Tampering, VaultError, VersionRef};

impl S3Vault {
    pub(super) async fn try_tampering(&self, version: &VersionRef, how: Tampering) -> Result<(), VaultError> {
        match how {
            Tampering::Delete { bypass } => self.try_delete(version, Some(&version.id), bypass).await,
            Tampering::Hide => self.try_delete(version, None, false).await,
            Tampering::Shorten { until, bypass } => {
                let lock = Lock { mode: self.target.lock.mode, until };
                self.put_retention(version, lock, bypass, "shorten the lock of").await
            }
            Tampering::Overlay => self.try_overlay(&version.key).await,
        }
    }

    async fn try_delete(&self, version: &VersionRef, id: Option<&str>, bypass: bool) -> Result<(), VaultError> {
        self.client
            .delete_object()
            .bucket(&self.target.bucket)
            .key(self.full_key(&version.key))
            .set_version_id(id.map(str::to_owned))
            .set_bypass_governance_retention(bypass.then_some(true))
            .customize()
            .config_override(client::one_attempt())
            .send()
            .await
            .map_err(|error| self.error("delete", &version.key, error))?;
        Ok(())
    }

    /// Puts like the agent, but without the condition that the key is free.
    async fn try_overlay(&self, key: &str) -> Result<(), VaultError> {
        self.put_on_top(key, b"laid on top by swarmdr-agent doctor\n", None, "lay a version on").await
    }

    pub(super) async fn put_retention(
        &self,
        version: &VersionRef,
        lock: Lock,
        bypass: bool,
        action: &str,
    ) -> Result<(), VaultError> {
        let mode = match lock.mode {
            LockMode::Compliance => ObjectLockRetentionMode::Compliance,
            LockMode::Governance => ObjectLockRetentionMode::Governance,
        };
        let until = DateTime::from_secs(lock.until.as_second());
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(until).build();
        self.client
            .put_object_retention()
            .bucket(&self.target.bucket)
            .key(self.full_key(&version.key))
            .version_id(&version.id)
            .retention(retention)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_bypass_governance_retention(bypass.then_some(true))
            .customize()
            .config_override(client::one_attempt())
            .send()
            .await
            .map_err(|error| self.error(action, &version.key, error))?;
        Ok(())
    }

    /// Returns the `Date` of an answer (RFC 9110, 6.6.1); any request would do.
    pub(super) async fn server_time(&self) -> Result<Option<Timestamp>, VaultError> {
        let date = SeenDate::default();
        self.client
            .get_bucket_versioning()
            .bucket(&self.target.bucket)
            .customize()
            .interceptor(date.clone())
            .send()
            .await
            .map_err(|error| self.error("ask for the time of", "", error))?;
        let text = date.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(text.and_then(|text| jiff::fmt::rfc2822::parse(&text).ok()).map(|zoned| zoned.timestamp()))
    }
}

/// Records the `Date` header of the answer.
#[derive(Debug, Clone, Default)]
struct SeenDate(Arc<Mutex<Option<String>>>);

impl Intercept for SeenDate {
    fn name(&self) -> &'static str {
        "SeenDate"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}
