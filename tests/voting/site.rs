//! Two hosts, a registry with the images of the application, and what the agent on them knows.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    booth::{FIRST, vote},
    pages::counted,
};
use crate::{
    lab::{Engine, Host, HostSpec, Lab, addr, wait_for},
    packages::checkout,
    registry::{Account, Endpoint, Image, Layout, Login, Registry, RegistryOptions},
    scenario::{Site, VAULT, agent_binary, agent_json},
    tree::{application_layer, capture},
};

/// Time for a part of the application to run, on a machine that does other things too.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Where the load balancer listens: on the manager.
pub const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(addr(11)), 8080);

const PASSWORD: &str = "it's a \"password\"";
const USER: &str = "robot";
const STACK: &str = "votes";
const TOKEN: &str = "/etc/swarmdr/worker-token";

/// Names of the images, and what they run.
const IMAGES: [(&str, &[&str]); 6] = [
    ("lb", &["haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"]),
    ("web", &["python3", "-u", "/app/web.py"]),
    (
        "queue",
        &[
            "sh",
            "-c",
            "exec redis-server --dir /queue --port 0 --unixsocket /queue/redis.sock --appendonly yes --appendfsync always",
        ],
    ),
    ("worker", &["python3", "-u", "/app/worker.py"]),
    ("results", &["python3", "-u", "/app/results.py"]),
    ("db", &["sh", "-eu", "/app/database.sh"]),
];

/// The directory of the application's files.
pub(super) fn directory() -> PathBuf {
    checkout().join("tests/voting")
}

/// Starts an empty registry in the lab.
pub fn registry(lab: &Lab) -> Result<Registry> {
    let options = RegistryOptions { login: Login::Basic, tls: true, ..RegistryOptions::default() };
    let registry = Registry::in_lab(lab, options)?;
    registry.set_account(&Account::new(USER, "planted"))?;
    Ok(registry)
}

/// Pushes the images of the application, which have all layers in common.
pub fn stock(registry: &Registry) -> Result<()> {
    let (layer, app) = (application_layer()?, directory().join("app"));
    let layout = Layout::create(&registry.directory().join("layout"))?;
    for (name, command) in IMAGES {
        let image = layout.add(name, &Image::single(name).with_programs(&layer, &app, command))?;
        registry.push(&image, &format!("vote/{name}"), "1")?;
    }
    fs::remove_dir_all(registry.directory().join("layout")).context("failed to remove the layout")
}

/// Boots a manager and a worker with the agent, which may use this registry.
pub fn boot(site: &Site, engine: Engine, registry: &Registry, streams: &str) -> Result<[Host; 2]> {
    let hosts =
        site.lab.boot_all([("m1", 11), ("w1", 12)].map(|(name, last)| HostSpec::new(name, engine, addr(last))))?;
    let program = agent_binary()?;
    let more = format!(
        "[images]\n[[images.registry]]\nhost = \"{}\"\nlogin_file = \"/root/login\"\n\
         [join]\nmanagers = [\"{}\"]\ntoken_file = \"{TOKEN}\"\n{streams}",
        registry.host(),
        addr(11)
    );
    for host in &hosts {
        site.configure_manager(host)?;
        site.configure(host, &format!("{}\n{more}", site.config(VAULT)))?;
        host.write_file("/root/login", format!("{USER}:planted\n"))?;
        host.sh("chmod 600 /root/login")?;
        site.write_identity(host)?;
        host.install(&program)?;
        registry.trust(host)?;
    }
    Ok(hosts)
}

/// Joins the worker as its user-data does: by a token of the manager.
pub fn join(manager: &Host, worker: &Host) -> Result<()> {
    worker.write_file(TOKEN, manager.docker(&["swarm", "join-token", "--quiet", "worker"])?)?;
    worker.sh("swarmdr-agent node join --wait 3m").map(drop)
}

/// Deploys the application as an operator would.
pub fn deploy(manager: &Host, registry: &Registry) -> Result<()> {
    registry.log_in(manager, &Account::new(USER, "planted"))?;
    manager.create_secret("db-password", PASSWORD.as_bytes())?;
    for file in ["stack.yml", "haproxy.cfg"] {
        manager.write_file(&format!("/root/voting/{file}"), fs::read(directory().join(file))?)?;
    }
    manager.sh(&format!(
        "cd /root/voting; REGISTRY={} docker stack deploy --with-registry-auth -c stack.yml {STACK}",
        registry.host()
    ))?;
    Ok(())
}

/// Waits until a vote is taken and counted, and every part of the application runs where it should.
pub fn wait_open(lab: &Lab, manager: &Host) -> Result<()> {
    wait_for("the application to take a vote", LIMIT, || Ok(Some(vote(lab, FIRST)?)))?;
    wait_for("the vote to be counted", LIMIT, || Ok(counted(lab)?.contains(FIRST).then_some(())))?;
    ["votes_web", "votes_queue", "votes_worker"].iter().try_for_each(|service| manager.wait_service(service, 2))
}

/// Waits until the database answers in its task on this host. It listens on the network once it is complete.
pub fn wait_database(worker: &Host) -> Result<()> {
    worker.wait_for("the database to answer", LIMIT, || {
        let probe = "docker exec $(docker ps -q --filter label=com.docker.swarm.service.name=votes_db) \
                     pg_isready --quiet --host 127.0.0.1 --dbname votes";
        Ok(Some(worker.sh(probe).map(drop)?))
    })
}

/// The page of a database without the table says so through the load balancer.
pub fn is_empty(error: anyhow::Error) -> Result<()> {
    if format!("{error:#}").contains("relation \"votes\" does not exist") { Ok(()) } else { Err(error) }
}

/// Copies a directory between a host and this machine.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    capture(Command::new("cp").arg("-a").arg(from).arg(to)).map(drop)
}

/// Brings images from a directory of the manager into a new registry. Returns the rule by which their names change.
pub fn push_images(manager: &Host, from: &str, registry: &Registry) -> Result<String> {
    let place = format!("{}/mirror", registry.host());
    let pushed = agent_json(manager, 0, &["images", "push", "--from", from, "--to", &place])?;
    Ok(pushed["image_map"][0].as_str().context("no rule")?.to_owned())
}

/// The recipe for PostgreSQL of `recipes.md` for this application: its stream, and the line that brings it back.
pub fn recipe() -> Result<(String, String)> {
    let text = fs::read_to_string(checkout().join("packaging/docs/recipes.md"))?;
    let section = text.split("\n## PostgreSQL\n").nth(1).context("there is no recipe for PostgreSQL")?;
    let fenced = |language: &str| {
        let block = section.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next());
        let block = block.with_context(|| format!("the recipe has no {language}"))?;
        anyhow::Ok(block.replace("shop", STACK).replace("15 2 * * *", "* * * * *"))
    };
    Ok((fenced("toml")?, fenced("sh")?))
}
