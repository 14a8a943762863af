//! Swarms, and services in them, as far as tests need to create them.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Host;

/// The image that [`Host::load_image`] makes: busybox, with a link for each of its programs.
pub const IMAGE: &str = "lab/busybox:1";

/// Limit for tasks to run. One starts in about a second, but later if the engine starts again or a leader is elected.
const TASK_LIMIT: Duration = Duration::from_secs(90);
const ENGINE_LIMIT: Duration = Duration::from_secs(60);

/// How a host joins a swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Manager,
    Worker,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Worker => "worker",
        }
    }
}

/// Network of the tasks of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Network<'a> {
    /// The host's own network.
    #[default]
    Host,
    /// An overlay by name, with `dnsrr`: virtual IPs need IPVS.
    Overlay(&'a str),
}

/// A service to create: its tasks sleep, and end at once when told to.
#[derive(Debug, Clone, Default)]
pub struct Service<'a> {
    pub name: &'a str,
    pub replicas: u32,
    pub network: Network<'a>,
    /// Names of secrets, which are mounted where the engine puts them by default.
    pub secrets: &'a [&'a str],
    pub configs: &'a [&'a str],
}

impl Service<'_> {
    fn words(&self) -> Vec<String> {
        let (network, endpoint) = match self.network {
            Network::Host => ("host", None),
            Network::Overlay(name) => (name, Some("--endpoint-mode=dnsrr")),
        };
        let own =
            [format!("--name={}", self.name), format!("--replicas={}", self.replicas), format!("--network={network}")];
        // Without an init a PID 1 that sleeps ignores SIGTERM, and every stop takes ten seconds.
        let fixed = ["--detach", "--no-resolve-image", "--init", "--restart-delay=200ms"];
        let secrets = self.secrets.iter().map(|name| format!("--secret={name}"));
        let configs = self.configs.iter().map(|name| format!("--config={name}"));
        ["service", "create"]
            .map(str::to_owned)
            .into_iter()
            .chain(fixed.map(str::to_owned))
            .chain(own)
            .chain(endpoint.map(str::to_owned))
            .chain(secrets)
            .chain(configs)
            .chain([IMAGE, "sleep", "1000000"].map(str::to_owned))
            .collect()
    }
}

impl Host {
    /// Waits until the engine answers. This starts an engine that is stopped but socket-activated.
    pub fn wait_engine(&self) -> Result<()> {
        self.wait_for("the engine to answer", ENGINE_LIMIT, || self.docker(&["version"]).map(Some))?;
        Ok(())
    }

    /// Waits until the engine is a manager that knows its swarm's leader.
    pub fn wait_manager(&self) -> Result<()> {
        self.wait_for("a swarm with a leader", ENGINE_LIMIT, || self.docker(&["node", "ls"]).map(Some))?;
        Ok(())
    }

    /// Imports [`IMAGE`] into the engine if it is missing. Every host that is to run tasks needs it.
    pub fn load_image(&self) -> Result<()> {
        self.sh(&format!(
            "docker image inspect {IMAGE} >/dev/null 2>&1 || docker import /usr/share/lab/busybox.tar {IMAGE}"
        ))?;
        Ok(())
    }

    /// Makes a swarm of this host, reached at its address.
    pub fn swarm_init(&self) -> Result<()> {
        let addr = self.addr().to_string();
        self.docker(&["swarm", "init", "--advertise-addr", &addr, "--listen-addr", &format!("{addr}:2377")])?;
        self.wait_manager()
    }

    /// Joins the swarm of a manager, and returns when the manager reports this host as ready.
    pub fn join(&self, manager: &Host, role: Role) -> Result<()> {
        let token = manager.docker(&["swarm", "join-token", "--quiet", role.word()])?;
        let (own, remote) = (self.addr().to_string(), format!("{}:2377", manager.addr()));
        self.docker(&["swarm", "join", "--advertise-addr", &own, "--token", &token, &remote])?;
        let what = format!("{} to be ready", self.name());
        manager.wait_for(&what, ENGINE_LIMIT, || {
            let state = manager.docker(&["node", "inspect", "--format", "{{.Status.State}}", self.name()])?;
            Ok((state == "ready").then_some(()))
        })
    }

    /// Creates the service; see [`Host::wait_service`] for its tasks.
    pub fn create_service(&self, service: &Service) -> Result<()> {
        let words = service.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.docker(&words).map(drop)
    }

    pub fn create_secret(&self, name: &str, value: &[u8]) -> Result<()> {
        self.succeed(&["docker", "secret", "create", name, "-"], value).map(drop)
    }

    pub fn create_config(&self, name: &str, value: &[u8]) -> Result<()> {
        self.succeed(&["docker", "config", "create", name, "-"], value).map(drop)
    }

    pub fn create_overlay(&self, name: &str) -> Result<()> {
        self.docker(&["network", "create", "--driver=overlay", "--attachable", name]).map(drop)
    }

    /// Waits until the swarm reports exactly this many running tasks of the service. After a restart it may report them
    /// from its stored state, before anything runs: [`Host::wait_containers`] looks at the containers themselves.
    pub fn wait_service(&self, name: &str, tasks: usize) -> Result<()> {
        let script =
            format!("docker service ps --filter desired-state=running --format '{{{{.CurrentState}}}}' {name}");
        self.wait_count("tasks", name, tasks, &script, "Running")
    }

    /// Waits until exactly this many containers of the service run on this host.
    pub fn wait_containers(&self, name: &str, containers: usize) -> Result<()> {
        let label = format!("label=com.docker.swarm.service.name={name}");
        let script = format!("docker ps --filter {label} --filter status=running --quiet");
        self.wait_count("containers", name, containers, &script, "")
    }

    /// Waits until exactly `count` lines of the script's output begin with `begin`.
    fn wait_count(&self, what: &str, name: &str, count: usize, script: &str, begin: &str) -> Result<()> {
        let waited = self.wait_for(&format!("{count} running {what} of {name}"), TASK_LIMIT, || {
            let lines = self.sh(script)?;
            let running = lines.lines().filter(|line| line.starts_with(begin)).count();
            Ok((running == count).then_some(()))
        });
        waited.with_context(|| {
            self.docker(&["service", "ps", "--no-trunc", name]).unwrap_or_else(|error| format!("{error:#}"))
        })
    }
}
