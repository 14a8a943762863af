//! Makes a vault from its settings.

use std::sync::Arc;

use swarmdr_http::{Proxies, Proxy};

use super::{
    Target, Vault, VaultError, directory::DirectoryVault, s3::S3Vault, settings::S3Target, watched::WatchedVault,
};

impl Target {
    /// Sets the client up; sends nothing. [`Vault::check`] finds out whether the vault works.
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
    /// Returns the proxy that the settings of this vault name, or else `of_all`, which apply to all vaults.
    pub fn proxies(&self, of_all: &Proxies) -> Result<Proxies, VaultError> {
        let Some(setting) = &self.proxy else { return Ok(of_all.clone()) };
        // `none`. An error cannot occur: the setting was validated.
        let Ok(Some(proxy)) = Proxy::of_setting(setting) else { return Ok(Proxies::none()) };
        let Some(path) = &self.proxy_login_file else { return Ok(Proxies::through(proxy, "")) };
        let action = "read the login for the proxy (`proxy_login_file`)";
        let with_login = proxy.with_login_of(path);
        Ok(Proxies::through(with_login.map_err(|source| VaultError::File { action, path: path.clone(), source })?, ""))
    }

    /// Returns the URL that decides which proxy requests go through.
    pub fn address(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| {
            let region = self.region.as_deref().unwrap_or("us-east-1");
            format!("https://{}.s3.{region}.amazonaws.com", self.bucket)
        })
    }
}
