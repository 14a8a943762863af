//! Settings for the images that services need, and for the registries that hold them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use swarmdr_registry::{ImageMap, Rule};
use wildmatch::WildMatch;

use super::{Config, validation::require_absolute};
use crate::outcome::failure::Failure;

/// The `[images]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImagesConfig {
    /// When a backup also checks that the images of the swarm can be pulled.
    pub check: Check,
    /// Whether a tag that leads to another image than the one in use is reported.
    pub moved_tags: bool,
    /// Other places of images (`FROM=TO`) for `restore`, `undelete`, `export` and `images check`.
    pub map: Vec<Rule>,
    /// Where `images mirror` copies to if it is not told: `REGISTRY/PREFIX` or `oci:DIRECTORY`.
    pub mirror: Option<String>,
    /// Registries that need a login, a certificate or a proxy of their own; the first that fits counts.
    pub registry: Vec<RegistryConfig>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    #[default]
    Off,
    /// After each backup of this host.
    WithBackup,
    /// After a backup, if the last check was made more than a day before.
    Daily,
}

/// One `[[images.registry]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// Host with its port, as in names of images; `*` stands for any number of characters.
    pub host: String,
    /// Credential helper of Docker with its arguments: it reads the host and writes the login (JSON).
    pub auth_command: Vec<String>,
    /// File with `user:password`.
    pub login_file: Option<PathBuf>,
    /// Certificates in PEM that are trusted in addition to those of the host and of /etc/docker/certs.d.
    pub ca_file: Option<PathBuf>,
    /// Proxy for this registry, as network.proxy.
    pub proxy: Option<String>,
    /// Whether it may be reached without TLS.
    pub insecure: bool,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        Self { check: Check::Off, moved_tags: true, map: Vec::new(), mirror: None, registry: Vec::new() }
    }
}

impl ImagesConfig {
    /// Returns the settings of the first registry that fits.
    pub fn of_registry(&self, host: &str) -> Option<&RegistryConfig> {
        self.registry.iter().find(|registry| WildMatch::new(&registry.host).matches(host))
    }

    /// Whether a login is configured for any registry.
    pub fn has_login(&self) -> bool {
        self.registry.iter().any(RegistryConfig::has_login)
    }

    /// Returns the rules of the command line, and those of the configuration after them.
    pub fn map_with(&self, flags: &[Rule]) -> ImageMap {
        ImageMap::new(flags.iter().chain(&self.map).cloned().collect())
    }
}

impl Config {
    pub(super) fn validate_images(&self) -> Result<()> {
        for registry in &self.images.registry {
            registry.validate().with_context(|| format!("images.registry `{}`", registry.host))?;
        }
        Ok(())
    }
}

impl RegistryConfig {
    fn has_login(&self) -> bool {
        !self.auth_command.is_empty() || self.login_file.is_some()
    }

    fn validate(&self) -> Result<()> {
        if self.host.is_empty() || self.host.contains('/') {
            return Err(Failure::usage("images.registry needs a host")
                .advice("write it as in names of images, with the port: `host = \"registry.example:5000\"`")
                .into());
        }
        if !self.auth_command.is_empty() && self.login_file.is_some() {
            return Err(Failure::usage("auth_command and login_file are two logins")
                .advice("leave one of them away")
                .into());
        }
        for path in [&self.login_file, &self.ca_file].into_iter().flatten() {
            require_absolute(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_registry_that_fits_counts() {
        let registry = |host: &str| RegistryConfig { host: host.to_owned(), ..RegistryConfig::default() };
        let hosts = ["own:5000", "*.dkr.ecr.*.amazonaws.com", "*"];
        let config = ImagesConfig { registry: hosts.map(registry).to_vec(), ..ImagesConfig::default() };
        for (host, expected) in
            [("own:5000", "own:5000"), ("1.dkr.ecr.eu-west-1.amazonaws.com", "*.dkr.ecr.*.amazonaws.com"), ("own", "*")]
        {
            assert_eq!(config.of_registry(host).map(|it| it.host.as_str()), Some(expected), "{host}");
        }
    }

    #[test]
    fn a_login_is_given_once_and_paths_are_absolute() {
        let registry = RegistryConfig { host: "r".to_owned(), ..RegistryConfig::default() };
        let with = |change: fn(&mut RegistryConfig)| {
            let mut changed = registry.clone();
            change(&mut changed);
            let images = ImagesConfig { registry: vec![changed], ..ImagesConfig::default() };
            Config { images, ..Config::default() }.validate_images()
        };
        with(|_| {}).expect("is valid");
        for wrong in [
            (|it| it.host.clear()) as fn(&mut RegistryConfig),
            |it| it.host = "r/path".to_owned(),
            |it| it.ca_file = Some("ca.pem".into()),
            |it| (it.auth_command, it.login_file) = (vec!["x".to_owned()], Some("/x".into())),
        ] {
            with(wrong).expect_err("is refused");
        }
    }
}
