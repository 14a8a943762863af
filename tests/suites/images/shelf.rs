//! Registries on the loopback, a swarm whose services need what they hold, and the agent beside them.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use swarmdr_tests::{
    lab::Engine,
    registry::{Account, Endpoint, Layout, Login, Registry, RegistryOptions},
    scenario::agent_binary,
    states::MadeState,
};

/// A registry with images, and the agent's files.
pub struct Shelf {
    pub registry: Registry,
    pub layout: Layout,
    directory: tempfile::TempDir,
    /// Sections of the configuration.
    registries: Vec<String>,
    pub extra: String,
}

impl Shelf {
    pub fn new(login: Login) -> Result<Self> {
        let registry = registry(login)?;
        let layout = Layout::create(&registry.directory().join("layout"))?;
        let mut shelf =
            Self { registry, layout, directory: tempfile::tempdir()?, registries: Vec::new(), extra: String::new() };
        let (host, owner) = (shelf.registry.host(), shelf.registry.owner().clone());
        let authority = shelf.registry.authority().context("the registry has no authority")?.to_owned();
        shelf.know(&host, &authority, Some(&owner))?;
        Ok(shelf)
    }

    /// Adds a registry to the configuration: its certificate, and a login.
    pub fn know(&mut self, host: &str, authority: &str, account: Option<&Account>) -> Result<()> {
        let number = self.registries.len();
        let (ca, login) = (self.file(&format!("ca-{number}.pem")), self.file(&format!("login-{number}")));
        fs::write(&ca, authority)?;
        let mut section = format!("[[images.registry]]\nhost = \"{host}\"\nca_file = \"{}\"\n", ca.display());
        if let Some(account) = account {
            fs::write(&login, format!("{}\n", account.pair()))?;
            fs::set_permissions(&login, fs::Permissions::from_mode(0o600))?;
            section += &format!("login_file = \"{}\"\n", login.display());
        }
        self.registries.push(section);
        Ok(())
    }

    /// A file of this test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A state whose services need these images.
    pub fn state(&self, services: &[(&str, String)]) -> Result<MadeState> {
        let bodies: Vec<Value> = services.iter().map(|(name, image)| service(name, image)).collect();
        MadeState::with_services(Engine::E26_1, &bodies)
    }

    /// Runs the agent with the configuration, and returns its output as JSON.
    pub fn agent(&self, expected: i32, args: &[&str]) -> Result<Value> {
        let output = self.command(args)?.output()?;
        let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.code() == Some(expected), "{args:?} ended with {}: {said}{told}", output.status);
        let password = self.registry.owner().password.as_str();
        ensure!(!said.contains(password) && !told.contains(password), "a password was printed: {said}{told}");
        serde_json::from_str(&said).with_context(|| format!("{args:?}: {said}{told}"))
    }

    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let config = self.file("agent.toml");
        let state = self.file("lib");
        fs::create_dir_all(&state)?;
        let text =
            format!("state_dir = \"{}\"\n{}\n[images]\n{}", state.display(), self.extra, self.registries.concat());
        fs::write(&config, text)?;
        let mut command = Command::new(agent_binary()?.path);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("SWARMDR_CONFIG", &config).args(args);
        Ok(command)
    }
}

/// A registry with TLS of an own CA.
pub fn registry(login: Login) -> Result<Registry> {
    Registry::start(RegistryOptions { login, tls: true, ..RegistryOptions::default() })
}

/// A service without tasks.
fn service(name: &str, image: &str) -> Value {
    json!({
        "Name": name, "Mode": { "Replicated": { "Replicas": 0 } },
        "TaskTemplate": { "ContainerSpec": { "Image": image } },
    })
}

/// Returns the line of an image, by one of its services.
pub fn line<'a>(report: &'a Value, service: &str) -> Result<&'a Value> {
    let images = report["images"].as_array().context("no images")?;
    let is_of = |line: &&Value| line["services"].as_array().is_some_and(|all| all.iter().any(|it| it == service));
    images.iter().find(is_of).with_context(|| format!("no image of {service} in {report:#}"))
}

/// Returns the kinds of its problems.
pub fn problems(line: &Value) -> Vec<&str> {
    line["problems"].as_array().into_iter().flatten().filter_map(|it| it["kind"].as_str()).collect()
}
