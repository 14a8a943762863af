//! The registry itself: Docker's own (distribution 2.8), on a network where tests need one.

use std::{
    fs,
    net::SocketAddrV4,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use anyhow::{Context, Result};
use serde_json::json;
use tempfile::TempDir;

use super::{
    Account, Endpoint, TokenServer, account::Htpasswd, authority::Authority, daemon::Daemon, place::Place,
    program::docker_registry,
};
use crate::lab::Lab;

/// How a registry finds out who asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Login {
    /// It does not: everybody may do everything.
    #[default]
    Open,
    /// By user and password in each request. Every user may do everything.
    Basic,
    /// By a token of its [`TokenServer`], which knows the users and their rights.
    Token,
}

/// Options of a registry. The default is open and speaks plain HTTP.
#[derive(Debug, Clone, Copy, Default)]
pub struct RegistryOptions {
    pub login: Login,
    /// Whether to serve HTTPS, with a certificate signed by [`Endpoint::authority`].
    pub tls: bool,
    /// Whether `Location` headers hold paths. Otherwise they hold whole URLs.
    pub relative_urls: bool,
}

/// A running registry. Dropping it ends it and removes its data; a killed test process ends it too.
#[derive(Debug)]
pub struct Registry {
    daemon: Mutex<Option<Daemon>>,
    tokens: Option<TokenServer>,
    htpasswd: Option<Htpasswd>,
    authority: Option<Authority>,
    owner: Account,
    address: SocketAddrV4,
    directory: TempDir,
    /// Dropped last: the directory may be the lab's.
    pub(super) place: Place,
}

impl Registry {
    /// Starts a registry that the hosts of a lab can reach, and waits until it listens.
    pub fn in_lab(lab: &Lab, options: RegistryOptions) -> Result<Self> {
        Self::start_at(Place::lab(lab)?, options)
    }

    /// Starts a registry on a loopback address of this process.
    pub fn start(options: RegistryOptions) -> Result<Self> {
        Self::start_at(Place::loopback(), options)
    }

    fn start_at(place: Place, options: RegistryOptions) -> Result<Self> {
        let directory = place.directory()?;
        let addresses = [place.ip(), place.other_ip()];
        let make_authority = || Authority::make(&directory.path().join("tls"), &addresses);
        let authority = options.tls.then(make_authority).transpose()?;
        let start_tokens = || TokenServer::start(&place, directory.path(), authority.as_ref());
        let tokens = (options.login == Login::Token).then(start_tokens).transpose()?;
        let htpasswd = (options.login == Login::Basic).then(|| Htpasswd::at(directory.path().join("htpasswd")));
        let registry = Self {
            daemon: Mutex::default(),
            tokens,
            htpasswd,
            authority,
            owner: Account::new("owner", "planted-owner-password"),
            address: place.new_address(),
            directory,
            place,
        };
        registry.set_account(&registry.owner)?;
        registry.configure(options)?;
        registry.start_again()?;
        Ok(registry)
    }

    fn configure(&self, options: RegistryOptions) -> Result<()> {
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": false}},
            // No cache of descriptors: what is deleted is gone at once.
            "storage": {"filesystem": {"rootdirectory": self.data()}, "delete": {"enabled": true}},
            "http": {"addr": self.host(), "relativeurls": options.relative_urls, "secret": "known"},
        });
        if let Some(authority) = &self.authority {
            config["http"]["tls"] = json!({"certificate": authority.certificate(), "key": authority.key()});
        }
        if let Some(htpasswd) = &self.htpasswd {
            config["auth"] = json!({"htpasswd": {"realm": "registry", "path": htpasswd.file()}});
        }
        if let Some(tokens) = &self.tokens {
            config["auth"] = json!({"token": tokens.trusted()});
        }
        // YAML contains JSON.
        fs::write(self.config(), format!("{config:#}")).context("failed to write the registry's configuration")
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    /// Directory of everything that was pushed. Its parent is a directory for tests to use, on the same file system.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Directory that is removed with the registry, for layouts of images and the like.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The user that pushes and deletes for the kit. It may do everything.
    pub fn owner(&self) -> &Account {
        &self.owner
    }

    /// The server of tokens; `None` without [`Login::Token`].
    pub fn tokens(&self) -> Option<&TokenServer> {
        self.tokens.as_ref()
    }

    /// Adds a user, or gives it another password, which counts from the next request on. Does nothing if the registry
    /// is open.
    pub fn set_account(&self, account: &Account) -> Result<()> {
        if let Some(tokens) = &self.tokens {
            tokens.set_account(account);
        }
        self.htpasswd.as_ref().map_or(Ok(()), |htpasswd| htpasswd.set(account))
    }

    /// Removes a user, from the next request on.
    pub fn remove_account(&self, user: &str) -> Result<()> {
        if let Some(tokens) = &self.tokens {
            tokens.remove_account(user);
        }
        self.htpasswd.as_ref().map_or(Ok(()), |htpasswd| htpasswd.remove(user))
    }

    /// Kills the registry. Connections are refused until [`start_again`](Self::start_again).
    pub fn stop(&self) {
        self.daemon.lock().expect("no holder panics").take();
    }

    /// Starts the registry at the same address, on the same data.
    pub fn start_again(&self) -> Result<()> {
        let mut daemon = self.daemon.lock().expect("no holder panics");
        daemon.take();
        let (program, config, log) = (docker_registry()?, self.config(), self.directory.path().join("log"));
        let words = [program.as_path(), Path::new("serve"), &config];
        *daemon = Some(Daemon::start(&self.place, &words, &log, self.address)?);
        Ok(())
    }

    /// Removes everything that was pushed, under the running registry, as with a lost disk.
    pub fn destroy_data(&self) -> Result<()> {
        fs::remove_dir_all(self.data()).context("failed to remove the registry's data")
    }

    /// Log so far, with one line for each request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Returns a command that can reach the registry. The caller has to end it.
    pub fn command(&self, program: &str) -> Command {
        self.place.command(program)
    }

    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(super) fn own_authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }
}

impl Endpoint for Registry {
    fn host(&self) -> String {
        self.address.to_string()
    }

    fn authority(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }
}
