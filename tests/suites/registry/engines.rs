//! Engines use these registries as they use those of the world.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Lab, Role, addr},
    registry::{
        Account, BlobHost, Endpoint, Fault, Front, Image, Layout, Login, Made, Media, Platform, Registry, TokenRequest,
    },
};

use crate::{REPO, refused, with};

/// Limit for a swarm to start a task.
const LIMIT: Duration = Duration::from_secs(90);

const ROBOT: (&str, &str) = ("robot", "planted-robot-password");

/// A registry with two images, and what is in front of it.
struct Shop {
    registry: Registry,
    front: Front,
    index: Made,
    docker: Made,
}

impl Shop {
    fn open(lab: &Lab, login: Login) -> Result<Self> {
        let registry = Registry::in_lab(lab, with(login))?;
        registry.set_account(&Account::new(ROBOT.0, ROBOT.1))?;
        let layout = Layout::create(&registry.directory().join("images"))?;
        let index = layout.add("index", &Image::index("first").with_large_layer(2_000_000))?;
        let docker = layout.add("docker", &Image::index("second").media(Media::Docker))?;
        registry.push(&index, REPO, "index")?;
        registry.place(&docker, REPO, "docker")?;
        let front = Front::start(&registry)?;
        Ok(Self { registry, front, index, docker })
    }
}

/// Pulls an image by its digest and runs it.
fn pull(host: &Host, from: &impl Endpoint, image: &Made) -> Result<()> {
    let name = format!("{}/{REPO}@{}", from.host(), image.digest);
    host.docker(&["pull", "--quiet", &name])?;
    let said = host.docker(&["run", "--rm", "--network=host", &name, "cat", "/etc/image"])?;
    let digests = host.docker(&["image", "inspect", "--format", "{{json .RepoDigests}}", &name])?;
    ensure!(said.ends_with("amd64"), "{said}");
    ensure!(digests.contains(&image.digest), "{digests}");
    host.docker(&["image", "rm", &name]).map(drop)
}

#[test]
fn every_engine_logs_in_pulls_by_digest_and_runs_services() -> Result<()> {
    let lab = Lab::new()?;
    let hosts = lab.boot_all([
        HostSpec::new("old", Engine::E20_10, addr(11)),
        HostSpec::new("middle", Engine::E26_1, addr(12)),
        HostSpec::new("new", Engine::E28_5, addr(13)),
    ])?;
    let (basic, token) = (Shop::open(&lab, Login::Basic)?, Shop::open(&lab, Login::Token)?);
    for host in &hosts {
        for (shop, kind) in [(&basic, Login::Basic), (&token, Login::Token)] {
            use_it(host, shop).with_context(|| format!("{} with {kind:?}", host.name()))?;
        }
    }
    let tokens = token.registry.tokens().context("it has no server of tokens")?.requests();
    let asked = |it: &&TokenRequest| it.user.as_deref() == Some(ROBOT.0);
    ensure!(tokens.iter().filter(asked).count() > 6, "{tokens:?}");
    pulls_are_limited_and_cut(&hosts[0], &basic)?;
    pulls_are_limited_and_cut(&hosts[2], &token)?;
    a_service_runs_on_every_node(&hosts, &basic)?;
    Ok(())
}

fn use_it(host: &Host, shop: &Shop) -> Result<()> {
    let Shop { registry, front, index, docker } = shop;
    let robot = Account::new(ROBOT.0, ROBOT.1);
    let said = refused(registry.log_in(host, &robot))?;
    ensure!(said.contains("x509"), "{said}");
    registry.trust(host)?;
    let said = refused(registry.log_in(host, &Account::new(ROBOT.0, "wrong")))?;
    ensure!(said.contains("nauthorized") || said.contains("incorrect username or password"), "{said}");
    let said = refused(pull(host, registry, index))?;
    ensure!(said.contains("basic auth") || said.contains("nauthorized") || said.contains("denied"), "{said}");
    registry.log_in(host, &robot)?;
    pull(host, registry, index)?;
    pull(host, registry, docker)?;

    front.trust(host)?;
    front.log_in(host, &robot)?;
    let blobs = BlobHost::start(registry)?;
    front.redirect_blobs(&blobs);
    front.take_seen();
    pull(host, front, index)?;
    let (asked, served) = (front.take_seen(), blobs.seen());
    let amd64 = index.child(Platform::Amd64).context("no such child")?;
    ensure!(asked.iter().any(|it| it.path.ends_with(amd64) && it.status == 200), "{asked:?}");
    // The configuration and three layers.
    assert_eq!(asked.iter().filter(|it| it.status == 307 && it.authorized).count(), 4, "{asked:?}");
    assert_eq!(served.len(), 4);
    ensure!(served.iter().all(|it| it.status == 200 && !it.authorized), "{served:?}");
    front.heal();
    Ok(())
}

fn pulls_are_limited_and_cut(host: &Host, shop: &Shop) -> Result<()> {
    let Shop { front, index, .. } = shop;
    front.spoil("*", "/manifests/", 99, Fault::TooMany { retry_after: 1 });
    let said = refused(pull(host, front, index))?;
    ensure!(said.contains("toomanyrequests"), "{said}");
    front.heal();
    front.spoil("GET", "/blobs/", 1, Fault::Cut { after: 300 });
    // The engine asks again.
    pull(host, front, index)?;
    front.heal();
    Ok(())
}

/// Nodes without a login of their own run a service if it is created with the login of the client, and only then.
fn a_service_runs_on_every_node(hosts: &[Host; 3], shop: &Shop) -> Result<()> {
    let [manager, workers @ ..] = hosts;
    let server = shop.registry.host();
    manager.swarm_init()?;
    for worker in workers {
        worker.join(manager, Role::Worker)?;
        worker.docker(&["logout", &server])?;
    }
    let image = format!("{server}/{REPO}:index");
    let fixed = ["service", "create", "--detach", "--init", "--network=host", "--mode=global", "--restart-delay=1s"];
    manager.docker(&[&fixed[..], &["--name=web", &image]].concat())?;
    manager.wait_for("a task that is refused", LIMIT, || {
        let errors = manager.docker(&["service", "ps", "--no-trunc", "--format", "{{.Error}}", "web"])?;
        Ok(errors.contains("No such image").then_some(()))
    })?;
    let runs = || {
        let format = "{{.Spec.TaskTemplate.ContainerSpec.Image}}";
        manager.docker(&["service", "inspect", "--format", format, "web"])
    };
    // The client did not even ask for the digest with its login.
    assert_eq!(runs()?, image);
    manager.docker(&["service", "update", "--detach", "--with-registry-auth", "--image", &image, "web"])?;
    for host in hosts {
        host.wait_containers("web", 1)?;
    }
    assert_eq!(runs()?, format!("{image}@{}", shop.index.digest));
    Ok(())
}
