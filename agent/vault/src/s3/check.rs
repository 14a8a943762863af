//! Checks that the bucket exists, keeps versions and has Object Lock.

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object_lock_configuration::GetObjectLockConfigurationError,
    types::{BucketVersioningStatus, ObjectLockEnabled},
};

use super::S3Vault;
use crate::VaultError;

impl S3Vault {
    /// Replaces the error of a put if the bucket has a better reason: some servers refuse a lock in a bucket without
    /// Object Lock as an unspecific bad request.
    pub(super) async fn explain(&self, error: VaultError) -> VaultError {
        if !matches!(error, VaultError::Other { .. }) {
            return error;
        }
        match self.check_bucket().await {
            Err(reason @ (VaultError::NotVersioned { .. } | VaultError::NoObjectLock { .. })) => reason,
            _ => error,
        }
    }

    pub(super) async fn check_bucket(&self) -> Result<(), VaultError> {
        let versioning = self
            .client
            .get_bucket_versioning()
            .bucket(&self.target.bucket)
            .send()
            .await
            .map_err(|error| self.error("read whether versions are kept in", "", error))?;
        if versioning.status() != Some(&BucketVersioningStatus::Enabled) {
            return Err(VaultError::NotVersioned { vault: self.address.clone() });
        }
        let answer = self.client.get_object_lock_configuration().bucket(&self.target.bucket).send().await;
        let enabled = match answer {
            Ok(answer) => answer.object_lock_configuration().and_then(|lock| lock.object_lock_enabled().cloned()),
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(self.error("read whether Object Lock is on for", "", error)),
        };
        match enabled {
            Some(ObjectLockEnabled::Enabled) => Ok(()),
            _ => Err(VaultError::NoObjectLock { vault: self.address.clone() }),
        }
    }
}

fn is_absent(error: &SdkError<GetObjectLockConfigurationError>) -> bool {
    error.as_service_error().and_then(|error| error.code()) == Some("ObjectLockConfigurationNotFoundError")
}
