//! Engines use these registries as they use those of the world.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Lab, addr},
    registry::{Account, BlobHost, Endpoint, Fault, Front, Image, Layout, Login, Made, Media, Platform, Registry},
};

use crate::{REPO, refused, with};

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
    let asked = |it: &&swarmdr_tests::registry::TokenRequest| it.user.as_deref() == Some(ROBOT.0);
    ensure!(tokens.iter().filter(asked).count() > 6, "{tokens:?}");
    pulls_are_limited_and_cut(&hosts[0], &basic)?;
    pulls_are_limited_and_cut(&hosts[2], &token)?;
    for host in &hosts {
        service_runs(host, &basic).with_context(|| format!("a service on {}", host.name()))?;
    }
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
    let pulled = pull(host, front, index);
    println!("{}: a pull whose first blob is cut: {:?}", host.name(), pulled.map_err(|error| format!("{error:#}")));
    front.heal();
    pull(host, front, index)
}

/// A service is created with the login of the client, which the swarm keeps for its nodes.
fn service_runs(host: &Host, shop: &Shop) -> Result<()> {
    host.swarm_init()?;
    let image = format!("{}/{REPO}:index", shop.registry.host());
    let create = |name: &str, more: &[&str]| {
        let name = format!("--name={name}");
        let words = ["service", "create", "--detach", "--init", "--network=host", "--restart-delay=200ms", &name];
        host.docker(&[&words[..], more, &[&image]].concat())
    };
    create("web", &["--with-registry-auth"])?;
    host.wait_service("web", 1)?;
    let spec = host.docker(&["service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", "web"])?;
    assert_eq!(spec, format!("{image}@{}", shop.index.digest));
    host.docker(&["service", "rm", "web"]).map(drop)
}
