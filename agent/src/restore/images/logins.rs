//! Ways into registries: logins, certificates and proxies, by the host in an image's name.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;
use swarmdr_http::{Proxies, Proxy, read_certificates};
use swarmdr_registry::{Access, Login};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::helper;
use crate::{
    config::{Config, images::RegistryConfig},
    outcome::failure::Failure,
};

/// Where engines keep certificates of registries (docker docs, "Verify repository client with certificates").
const CERTIFICATES: &str = "/etc/docker/certs.d";

/// Where a login comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Asked of a credential helper, at each use.
    Helper,
    /// Read from the configured file.
    File,
    /// Recorded with the service in the swarm.
    Recorded,
    /// There is none.
    Anonymous,
}

impl Origin {
    pub fn words(self) -> &'static str {
        match self {
            Self::Helper => "from the helper",
            Self::File => "from the file",
            Self::Recorded => "recorded",
            Self::Anonymous => "none",
        }
    }
}

/// Ways into registries, by the configuration. Each helper is asked once for a registry, whether it gives a login or not.
#[derive(Debug)]
pub struct Logins<'a> {
    config: &'a Config,
    /// Time for which a busy registry may ask to come back later, in all.
    patience: Duration,
    asked: Mutex<BTreeMap<String, Result<Login, String>>>,
}

impl<'a> Logins<'a> {
    pub fn new(config: &'a Config, patience: Duration) -> Self {
        Self { config, patience, asked: Mutex::default() }
    }

    fn settings(&self, registry: &str) -> Option<&'a RegistryConfig> {
        self.config.images.of_registry(registry)
    }

    /// Returns where the login for an image of this registry comes from: what is configured renews what is recorded.
    pub fn origin(&self, registry: &str, is_recorded: bool) -> Origin {
        match self.settings(registry) {
            Some(settings) if !settings.auth_command.is_empty() => Origin::Helper,
            Some(settings) if settings.login_file.is_some() => Origin::File,
            _ if is_recorded => Origin::Recorded,
            _ => Origin::Anonymous,
        }
    }

    /// Whether a login is configured for a registry.
    pub fn is_configured(&self, registry: &str) -> bool {
        matches!(self.origin(registry, false), Origin::Helper | Origin::File)
    }

    /// Returns the login that is configured for a registry; `None` if none is.
    pub async fn configured(&self, registry: &str) -> Result<Option<Login>> {
        let Some(settings) = self.settings(registry) else { return Ok(None) };
        if let Some(file) = &settings.login_file {
            return from_file(file).map(Some);
        }
        if settings.auth_command.is_empty() {
            return Ok(None);
        }
        let mut asked = self.asked.lock().await;
        if !asked.contains_key(registry) {
            let environment = self.config.proxies_for_children()?;
            let answer = helper::ask(&settings.auth_command, registry, &environment).await;
            asked.insert(registry.to_owned(), answer.map_err(|error| format!("{error:#}")));
        }
        match asked.get(registry) {
            Some(Ok(login)) => Ok(Some(login.clone())),
            Some(Err(why)) => Err(anyhow::anyhow!("{why}")),
            None => Ok(None),
        }
    }

    /// Returns the way into a registry with this login.
    pub fn access(&self, registry: &str, login: Option<Login>) -> Result<Access> {
        let settings = self.settings(registry);
        let proxies = match settings.and_then(|settings| settings.proxy.as_deref()) {
            None => self.config.proxies()?,
            Some(text) => own_proxy(text)?,
        };
        Ok(Access {
            registry: registry.to_owned(),
            login,
            roots: roots(registry, settings.and_then(|settings| settings.ca_file.as_deref()))?,
            proxies,
            insecure: settings.is_some_and(|settings| settings.insecure),
            patience: self.patience,
        })
    }
}

fn own_proxy(text: &str) -> Result<Proxies> {
    let proxy = Proxy::of_setting(text)
        .map_err(|why| Failure::usage(format!("images.registry.proxy cannot be used: {why}")))?;
    Ok(proxy.map_or_else(Proxies::none, |proxy| Proxies::through(proxy, "")))
}

fn from_file(file: &Path) -> Result<Login> {
    if fs::metadata(file).is_ok_and(|of| of.mode() & 0o077 != 0) {
        tracing::warn!("other users may read the login in {}: `chmod 600` it", file.display());
    }
    let read = || -> Result<Login> {
        let text = Zeroizing::new(fs::read_to_string(file)?);
        let (username, password) = text.trim_end().split_once(':').context("it has no colon")?;
        Ok(Login::with_password(username, password))
    };
    read().map_err(|cause| {
        Failure::usage(format!("login_file {} gives no login", file.display()))
            .advice("it must hold one line, `user:password`, readable for root only")
            .because(cause)
            .into()
    })
}

/// Returns the certificates for a registry: those that engines on this host trust, and the configured ones.
fn roots(registry: &str, configured: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let mut pem = Vec::new();
    let engines = fs::read_dir(Path::new(CERTIFICATES).join(registry));
    let mut files: Vec<_> = engines.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "crt"));
    files.sort();
    for file in files {
        match read_certificates(&file) {
            Ok(certificates) => pem.extend(certificates),
            // An engine would not trust it either.
            Err(cause) => tracing::warn!("{} cannot be used: {cause}", file.display()),
        }
    }
    if let Some(file) = configured {
        let certificates = read_certificates(file);
        let what = || Failure::usage(format!("the certificates in {} cannot be used", file.display()));
        pem.extend(certificates.map_err(|cause| what().because(cause))?);
    }
    Ok((!pem.is_empty()).then_some(pem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::images::ImagesConfig;

    fn with(registry: RegistryConfig) -> Config {
        let images = ImagesConfig { registry: vec![registry], ..ImagesConfig::default() };
        Config { images, ..Config::default() }
    }

    #[tokio::test]
    async fn each_helper_is_asked_once_for_a_registry() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let seen = dir.path().join("seen");
        let script = format!(r#"cat >>{}; echo '{{"Username":"u","Secret":"s"}}'"#, seen.display());
        let auth_command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let config = with(RegistryConfig { host: "*.example".to_owned(), auth_command, ..RegistryConfig::default() });
        let logins = Logins::new(&config, Duration::ZERO);
        for registry in ["a.example", "a.example", "b.example", "other"] {
            let login = logins.configured(registry).await.expect("works");
            assert_eq!(login.is_some(), registry != "other");
        }
        assert_eq!(fs::read_to_string(&seen).expect("was asked"), "a.example\nb.example\n");
        let auth_command = ["sh", "-c", &format!("cat >>{}; exit 1", seen.display())].map(str::to_owned).to_vec();
        let failing = with(RegistryConfig { host: "*".to_owned(), auth_command, ..RegistryConfig::default() });
        let failing = Logins::new(&failing, Duration::ZERO);
        for _ in 0..2 {
            failing.configured("c.example").await.expect_err("fails");
        }
        assert_eq!(fs::read_to_string(&seen).expect("was asked"), "a.example\nb.example\nc.example\n");
        assert_eq!(logins.origin("a.example", true), Origin::Helper);
        assert_eq!(logins.origin("other", true), Origin::Recorded);
        assert_eq!(logins.origin("other", false), Origin::Anonymous);
    }

    #[tokio::test]
    async fn a_file_holds_a_login_and_is_never_shown() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let file = dir.path().join("login");
        let config =
            with(RegistryConfig { host: "r".to_owned(), login_file: Some(file.clone()), ..RegistryConfig::default() });
        fs::write(&file, "user:pass:word\n").expect("writes");
        let logins = Logins::new(&config, Duration::ZERO);
        assert!(logins.configured("r").await.expect("reads") == Some(Login::with_password("user", "pass:word")));
        fs::write(&file, "planted").expect("writes");
        let error = format!("{:#}", logins.configured("r").await.expect_err("is none"));
        assert!(error.contains("login_file") && !error.contains("planted"), "{error}");
    }
}
