//! From settings to a vault.

use std::sync::Arc;

use super::{
    Target, Vault, VaultError, directory::DirectoryVault, s3::S3Vault, settings::S3Target, watched::WatchedVault,
};
use crate::http::{Proxies, Proxy};

impl Target {
    /// Sets the client up; asks nothing of the vault. [`Vault::check`] tells whether the place works.
    pub async fn connect(&self, proxies: &Proxies) -> Result<Arc<dyn Vault>, VaultError> {
        Ok(match self {
            Target::S3(target) => {
                let vault = S3Vault::connect(target, &target.proxies(proxies)?).await?;
                Arc::new(WatchedVault::new(Arc::new(vault)))
            }
            Target::Directory(path) => Arc::new(DirectoryVault::new(path)),
            Target::Own(path) => Arc::new(DirectoryVault::own(path)),
        })
    }
}

impl S3Target {
    /// Its own proxy before everything, or those that count for all.
    pub fn proxies(&self, of_all: &Proxies) -> Result<Proxies, VaultError> {
        let Some(setting) = &self.proxy else { return Ok(of_all.clone()) };
        // Validated with the settings.
        let Ok(Some(proxy)) = Proxy::of_setting(setting) else { return Ok(Proxies::none()) };
        let Some(path) = &self.proxy_login_file else { return Ok(Proxies::through(proxy, "")) };
        let action = "read the login for the proxy (`proxy_login_file`)";
        let with_login = proxy.with_login_of(path);
        Ok(Proxies::through(with_login.map_err(|source| VaultError::File { action, path: path.clone(), source })?, ""))
    }

    /// Where its requests go, as far as proxies mind.
    pub fn address(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| {
            let region = self.region.as_deref().unwrap_or("us-east-1");
            format!("https://{}.s3.{region}.amazonaws.com", self.bucket)
        })
    }
}
