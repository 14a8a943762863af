//! A swarm in a lab whose services need the images of a registry there.

use std::{collections::BTreeMap, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64URL;
use serde_json::Value;
use swarm_state::inventory::ObjectKind;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Lab, Output, addr},
    registry::{Account, Endpoint, Image, Layout, Login, Made, Registry, RegistryOptions},
    s3::Release,
    scenario::{IDENTITY, Site, VAULT, agent, agent_json},
};

pub const USER: &str = "robot";
pub const RESTORE: [&str; 4] = ["restore", "--latest", "--identity", IDENTITY];

/// A registry with the images of the services.
pub struct Stock {
    pub registry: Registry,
    pub web: Made,
    pub db: Made,
}

impl Stock {
    /// Makes a registry in the lab, with the images below `prefix`.
    pub fn new(lab: &Lab, prefix: &str, password: &str) -> Result<Self> {
        Self::with(lab, prefix, password, Login::Basic)
    }

    /// As `new`, with another way to log in.
    pub fn with(lab: &Lab, prefix: &str, password: &str, login: Login) -> Result<Self> {
        let options = RegistryOptions { login, tls: true, ..RegistryOptions::default() };
        let registry = Registry::in_lab(lab, options)?;
        registry.set_account(&Account::new(USER, password))?;
        let layout = Layout::create(&registry.directory().join("layout"))?;
        let (web, db) = (layout.add("web", &Image::index("web"))?, layout.add("db", &Image::single("db"))?);
        registry.push(&web, &format!("{prefix}shop/web"), "1")?;
        registry.push(&db, &format!("{prefix}shop/db"), "1")?;
        Ok(Self { registry, web, db })
    }

    pub fn host(&self) -> String {
        self.registry.host()
    }

    pub fn new_password(&self, password: &str) -> Result<()> {
        self.registry.set_account(&Account::new(USER, password))
    }
}

/// A manager whose services run the images of the stock: several tasks, one on each node, and a job that has ended.
pub fn deployed(site: &Site, engine: Engine, stock: &Stock, password: &str) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    site.set_up_manager(&host)?;
    stock.registry.trust(&host)?;
    stock.registry.log_in(&host, &Account::new(USER, password))?;
    host.create_secret("key", b"value")?;
    let create = |more: &[&str], image: String, command: &[&str]| {
        let fixed =
            ["service", "create", "--detach", "--with-registry-auth", "--network=host", "--restart-delay=200ms"];
        host.docker(&[&fixed[..], more, &[&image], command].concat())
    };
    let at = stock.host();
    let web = [
        "--name=web",
        "--replicas=2",
        "--init",
        "--secret=key",
        "--env=A=1",
        "--health-cmd=true",
        "--health-interval=2s",
        "--mount=type=tmpfs,target=/scratch",
        "--limit-memory=64m",
        "--update-parallelism=1",
        "--update-order=start-first",
        "--update-monitor=1s",
        "--constraint=node.role==manager",
        "--label=a=b",
    ];
    create(&web, format!("{at}/shop/web:1"), &[])?;
    create(&["--name=db", "--mode=global", "--init"], format!("{at}/shop/db:1"), &[])?;
    create(&["--name=once", "--mode=replicated-job"], format!("{at}/shop/web:1"), &["true"])?;
    runs(&host)?;
    host.wait_for("the job to end", Duration::from_secs(60), || {
        let state = host.docker(&["service", "ls", "--filter=name=once", "--format={{.Replicas}}"])?;
        Ok(state.contains("1/1 completed").then_some(()))
    })?;
    Ok(host)
}

pub fn runs(host: &Host) -> Result<()> {
    host.wait_containers("web", 2)?;
    host.wait_containers("db", 1)?;
    host.wait_service("web", 2)?;
    host.wait_service("db", 1)
}

/// Waits until no update is under way: one that replaces tasks goes on for a while after they run.
pub fn settled(host: &Host) -> Result<()> {
    runs(host)?;
    for service in ["web", "db"] {
        host.wait_for("the update to end", Duration::from_secs(90), || {
            Ok((inspect(host, service)?["UpdateStatus"]["State"] != "updating").then_some(()))
        })?;
    }
    Ok(())
}

/// A fresh host at the manager's address, which trusts these registries.
pub fn fresh(site: &Site, engine: Engine, registries: &[&Registry]) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    site.set_up_restorer(&host)?;
    registries.iter().try_for_each(|registry| registry.trust(&host))?;
    Ok(host)
}

/// Configures a helper that gives this password for a registry.
pub fn configure(site: &Site, host: &Host, registry: &str, password: &str) -> Result<()> {
    host.write_file("/root/login", format!("{{\"Username\":\"{USER}\",\"Secret\":\"{password}\"}}"))?;
    let images = format!("[[images.registry]]\nhost = \"{registry}\"\nauth_command = [\"cat\", \"/root/login\"]\n");
    site.configure(host, &format!("{}\n{images}", site.config(VAULT)))
}

/// Ids of all tasks that run and of their containers.
pub fn running(host: &Host) -> Result<Vec<String>> {
    let script = "docker ps --no-trunc --quiet | sort; for s in web db; do \
                  docker service ps --filter desired-state=running --quiet $s | sort; done";
    Ok(host.sh(script)?.lines().map(str::to_owned).collect())
}

/// Versions of all services.
pub fn versions(host: &Host) -> Result<String> {
    host.sh("docker service inspect --format '{{.Spec.Name}} {{.Version.Index}}' $(docker service ls --quiet) | sort")
}

/// Returns a service as the engine has it: the client asks for defaults in places that were left empty.
pub fn inspect(host: &Host, service: &str) -> Result<Value> {
    let socket = host.root()?.join("run/docker.sock");
    let url = format!("http://docker/v1.41/services/{service}");
    let answer = Command::new("curl").args(["--silent", "--fail", "--unix-socket"]).arg(&socket).arg(url).output()?;
    ensure!(answer.status.success(), "GET {service}: {answer:?}");
    Ok(serde_json::from_slice(&answer.stdout)?)
}

/// Number of tasks that a job ever had.
pub fn tasks_of_job(host: &Host) -> Result<usize> {
    Ok(host.docker(&["service", "ps", "--quiet", "once"])?.lines().count())
}

/// Returns the login that is recorded with a service, as the raft log has it.
pub fn recorded(host: &Host, service: &str) -> Result<String> {
    let id = inspect(host, service)?["ID"].as_str().context("no id")?.to_owned();
    let dir: PathBuf = host.var().join("lib/docker/swarm");
    let wanted = [(ObjectKind::Service, id.clone())];
    let values = swarm_state::read_values(&dir, None, wanted)?;
    let text = values.get(ObjectKind::Service, &id).context("the log lacks the service")?;
    Ok(String::from_utf8(BASE64URL.decode(text)?)?)
}

/// Runs a verb, and checks that no password is in what it printed.
pub fn quiet_json(host: &Host, expected: i32, args: &[&str]) -> Result<Value> {
    let report = agent_json(host, expected, args)?;
    let text = agent(host, &[args, &["--dry-run"]].concat())?;
    for said in [report.to_string(), text.stdout, text.stderr] {
        ensure!(!said.contains("planted"), "a password was printed: {said}");
    }
    Ok(report)
}

/// Returns what became of each service by its name.
pub fn outcomes(services: &Value) -> BTreeMap<&str, &str> {
    let services = services.as_array().into_iter().flatten();
    services.filter_map(|it| Some((it["service"].as_str()?, it["outcome"].as_str()?))).collect()
}

/// Waits until no task of a service can get its image.
pub fn wait_rejected(host: &Host, service: &str) -> Result<String> {
    host.wait_for("a task to be rejected", Duration::from_secs(60), || {
        let tasks = host.docker(&["service", "ps", "--no-trunc", "--format={{.CurrentState}} {{.Error}}", service])?;
        Ok(tasks.lines().find(|line| line.starts_with("Rejected")).map(str::to_owned))
    })
}

pub fn told(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

/// A site of its own for a test.
pub async fn site() -> Result<Site> {
    Site::new(Release::V20).await
}
