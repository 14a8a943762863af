//! From settings to a vault.

use std::sync::Arc;

use super::{Target, Vault, VaultError, directory::DirectoryVault, s3::S3Vault};

impl Target {
    /// Sets the client up; asks nothing of the vault. [`Vault::check`] tells whether the place works.
    pub async fn connect(&self) -> Result<Arc<dyn Vault>, VaultError> {
        Ok(match self {
            Target::S3(target) => Arc::new(S3Vault::connect(target).await?),
            Target::Directory(path) => Arc::new(DirectoryVault::new(path)),
        })
    }
}
