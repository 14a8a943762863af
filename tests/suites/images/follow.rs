//! `restore --image-map`: the services of a restored swarm follow their images to another registry.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, addr},
    registry::{Account, Endpoint, Login},
    scenario::{Site, agent, agent_json, agent_with_faults},
};

use crate::{
    engines,
    yard::{
        RESTORE, Stock, USER, configure, deployed, fresh, inspect, outcomes, recorded, runs, settled, site,
        tasks_of_job, told, versions,
    },
};

/// The old registry, which is dead, the new one, and the rule that leads there.
struct Moved {
    site: Site,
    old: Stock,
    new: Stock,
    rule: String,
}

async fn moved(engine: Engine) -> Result<Moved> {
    moved_to(engine, Login::Basic).await
}

async fn moved_to(engine: Engine, login: Login) -> Result<Moved> {
    let site = site().await?;
    let old = Stock::new(&site.lab, "", "planted-old")?;
    let new = Stock::with(&site.lab, "mirror/", "planted-new", login)?;
    let host = deployed(&site, engine, &old, "planted-old")?;
    agent_json(&host, 0, &["backup"])?;
    host.destroy()?;
    old.registry.stop();
    let rule = format!("{}={}/mirror", old.host(), new.host());
    Ok(Moved { site, old, new, rule })
}

impl Moved {
    fn host(&self, engine: Engine) -> Result<Host> {
        let host = fresh(&self.site, engine, &[&self.old.registry, &self.new.registry])?;
        configure(&self.site, &host, &self.new.host(), "planted-new")?;
        Ok(host)
    }

    fn restore(&self) -> Vec<&str> {
        [&RESTORE[..], &["--image-map", &self.rule]].concat()
    }

    /// All services run from the new registry, with their digests, and without a word of the old login.
    fn follows(&self, host: &Host) -> Result<()> {
        runs(host)?;
        for (service, repo, made) in [("web", "web", &self.new.web), ("db", "db", &self.new.db)] {
            let image = inspect(host, service)?["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].clone();
            ensure!(image == format!("{}/mirror/shop/{repo}:1@{}", self.new.host(), made.digest), "{image}");
            let login = recorded(host, service)?;
            ensure!(login.contains("planted-new") && !login.contains("planted-old"), "{service} has another login");
        }
        Ok(())
    }

    /// A second run changes nothing.
    fn stays(&self, host: &Host) -> Result<()> {
        let (before, job) = (versions(host)?, tasks_of_job(host)?);
        for run in [self.restore(), RESTORE.to_vec()] {
            let again = agent_json(host, 0, &run)?;
            ensure!(again["result"] == "already-there", "{again:#}");
            ensure!(versions(host)? == before && tasks_of_job(host)? == job, "it changed something: {again:#}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn services_run_from_the_new_registry_after_the_old_one_died() -> Result<()> {
    for engine in engines() {
        let moved = moved(*engine).await?;
        let host = moved.host(*engine)?;
        let planned = agent(&host, &[&moved.restore()[..], &["--dry-run"]].concat())?;
        println!("{}", told(&planned));
        ensure!(planned.stdout.contains(&format!("{}/mirror/shop/web:1@", moved.new.host())), "{planned:?}");
        let done = agent_json(&host, 0, &moved.restore())?;
        println!("{engine:?}: {:#}", done["images"]);
        let expected = [("db", "renamed"), ("once", "left"), ("web", "renamed")];
        ensure!(outcomes(&done["images"]["services"]) == expected.into(), "{done:#}");
        moved.follows(&host)?;
        ensure!(!done.to_string().contains("planted"), "a password was printed");
        moved.stays(&host)?;
    }
    Ok(())
}

/// Services are renamed to a registry that wants no login, and the old login is taken away.
#[tokio::test]
async fn without_a_login_for_the_new_place_the_old_one_is_dropped() -> Result<()> {
    let moved = moved_to(Engine::E26_1, Login::Open).await?;
    let host = moved.host(Engine::E26_1)?;
    configure(&moved.site, &host, "nobody.example", "planted-new")?;
    let done = agent_json(&host, 0, &moved.restore())?;
    ensure!(outcomes(&done["images"]["services"])["web"] == "renamed", "{done:#}");
    ensure!(recorded(&host, "web")? == "{}" && recorded(&host, "db")? == "{}", "a login is recorded");
    ensure!(!done.to_string().contains("planted"), "a password was printed");
    let before = versions(&host)?;
    agent_json(&host, 0, &moved.restore())?;
    ensure!(versions(&host)? == before, "a second run changed something");
    Ok(())
}

/// A helper that fails keeps services where they are; the next run is the one that moves them.
#[tokio::test]
async fn what_fails_is_reported_and_the_next_run_does_it() -> Result<()> {
    let moved = moved(Engine::E26_1).await?;
    let host = moved.host(Engine::E26_1)?;
    host.sh("mv /root/login /root/away")?;
    let done = agent_json(&host, 6, &moved.restore())?;
    println!("{:#}", done["attention"]);
    ensure!(outcomes(&done["images"]["services"])["web"] == "no-login", "{done:#}");
    let image = inspect(&host, "web")?["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].to_string();
    ensure!(image.contains(&moved.old.host()), "{image}");
    host.sh("mv /root/away /root/login")?;
    // The journal has the rule.
    let again = agent(&host, &RESTORE)?;
    println!("{}", told(&again));
    ensure!(again.status.code() == Some(0) && again.stdout.contains("renamed"), "{again:?}");
    moved.follows(&host)?;
    moved.stays(&host)
}

const POINTS: [&str; 5] = ["confirm-noted", "finished", "follow", "service-updated", "followed"];

#[tokio::test]
async fn a_run_that_is_killed_is_finished_by_the_next() -> Result<()> {
    let engine = Engine::E26_1;
    let moved = moved(engine).await?;
    for point in POINTS {
        let host = moved.host(engine)?;
        host.install(&agent_with_faults()?)?;
        let fault = format!("SWARMDRTEST_FAULT=kill@{point}");
        // The host of the round before, which has claimed the swarm, is destroyed.
        let words = [&["env", &fault, "swarmdr-agent"][..], &moved.restore(), &["--fenced"]].concat();
        let killed = host.run(&words)?;
        ensure!(killed.stderr.contains("fault: kill"), "{point}: {killed:?}");
        // The rule was given to the run that was killed.
        let again = agent(&host, &RESTORE).with_context(|| point.to_owned())?;
        println!("{point}: {}", told(&again));
        ensure!(again.status.code() == Some(0), "{point}: {again:?}");
        moved.follows(&host).with_context(|| point.to_owned())?;
        moved.stays(&host).with_context(|| point.to_owned())?;
        host.destroy()?;
    }
    Ok(())
}

/// A wrong place stops nothing that runs, and costs nothing but the attention.
#[tokio::test]
async fn services_stay_where_their_images_are_if_the_new_place_has_none() -> Result<()> {
    for engine in engines() {
        stay(*engine).await.with_context(|| format!("on {engine:?}"))?;
    }
    Ok(())
}

async fn stay(engine: Engine) -> Result<()> {
    let site = site().await?;
    let old = Stock::new(&site.lab, "", "planted-old")?;
    let new = Stock::new(&site.lab, "mirror/", "planted-new")?;
    let host = deployed(&site, engine, &old, "planted-old")?;
    agent_json(&host, 0, &["backup"])?;
    host.destroy()?;
    let at = old.host();
    let rule = |to: &str| format!("{at}={to}");
    let moved = Moved { rule: rule(&format!("{}/mirror", new.host())), site, old, new };
    let host = moved.host(engine)?;
    let nobody = rule("10.77.0.1:9");
    let done = agent_json(&host, 6, &[&RESTORE[..], &["--image-map", &nobody]].concat())?;
    println!("{engine:?}: {:#}", done["attention"]);
    ensure!(outcomes(&done["images"]["services"])["web"] == "left", "{done:#}");
    runs(&host)?;
    let before = versions(&host)?;
    let nowhere = rule(&format!("{}/nowhere", moved.new.host()));
    for (map, expected) in [(Some(&nobody), "not known"), (Some(&nowhere), "not there"), (None, "not there")] {
        let map = map.map(|rule| vec!["--image-map", rule]).unwrap_or_default();
        let again = agent_json(&host, 6, &[&RESTORE[..], &map].concat())?;
        println!("{engine:?}: {map:?}: {:#}", again["attention"]);
        ensure!(again["attention"].to_string().contains(expected), "{again:#}");
        ensure!(versions(&host)? == before, "it changed something: {again:#}");
    }
    runs(&host)?;
    agent_json(&host, 0, &moved.restore())?;
    moved.follows(&host)?;
    settled(&host)?;
    moved.stays(&host)
}

/// A job that does not end keeps its image; it does not keep the rules alive.
#[tokio::test]
async fn what_somebody_moved_back_stays() -> Result<()> {
    let site = site().await?;
    let old = Stock::new(&site.lab, "", "planted-old")?;
    let new = Stock::new(&site.lab, "mirror/", "planted-old")?;
    let host = deployed(&site, Engine::E26_1, &old, "planted-old")?;
    let image = format!("{}/shop/web:1", old.host());
    let create = ["service", "create", "--detach", "--with-registry-auth", "--network=host", "--mode=replicated-job"];
    host.docker(&[&create[..], &["--name=endless", &image, "sleep", "100000"]].concat())?;
    agent_json(&host, 0, &["backup"])?;
    host.destroy()?;

    let host = fresh(&site, Engine::E26_1, &[&old.registry, &new.registry])?;
    configure(&site, &host, "*", "planted-old")?;
    let rule = format!("{}={}/mirror", old.host(), new.host());
    let done = agent_json(&host, 6, &[&RESTORE[..], &["--image-map", &rule]].concat())?;
    println!("{:#}", done["attention"]);
    ensure!(done["attention"].as_array().is_some_and(|all| all.len() == 1), "only the job: {done:#}");
    runs(&host)?;
    old.registry.log_in(&host, &Account::new(USER, "planted-old"))?;
    host.docker(&["service", "update", "--detach", "--with-registry-auth", "--image", &image, "web"])?;
    settled(&host)?;
    let before = versions(&host)?;
    // As user data does it at each boot.
    let again = agent_json(&host, 0, &RESTORE)?;
    ensure!(versions(&host)? == before && again["images"].is_null(), "it changed something: {again:#}");
    Ok(())
}

/// Rules that are given to a swarm that is back already are written down before the first service is changed.
#[tokio::test]
async fn a_later_run_that_is_killed_is_finished_by_the_next() -> Result<()> {
    let moved = moved(Engine::E26_1).await?;
    let host = moved.host(Engine::E26_1)?;
    agent_json(&host, 0, &RESTORE)?;
    host.install(&agent_with_faults()?)?;
    let fault = "SWARMDRTEST_FAULT=kill@service-updated";
    let killed = host.run(&[&["env", fault, "swarmdr-agent"][..], &moved.restore()].concat())?;
    ensure!(killed.stderr.contains("fault: kill"), "{killed:?}");
    let again = agent_json(&host, 0, &RESTORE)?;
    println!("{:#}", again["images"]);
    moved.follows(&host)?;
    moved.stays(&host)
}

/// A host that was never restored keeps its images, whatever the configuration or the command line say.
#[tokio::test]
async fn a_manager_that_was_not_restored_is_left_alone() -> Result<()> {
    let site = site().await?;
    let stock = Stock::new(&site.lab, "", "planted-old")?;
    let host = deployed(&site, Engine::E26_1, &stock, "planted-old")?;
    agent_json(&host, 0, &["backup"])?;
    site.write_identity(&host)?;
    configure(&site, &host, &stock.host(), "planted-old")?;
    let before = versions(&host)?;
    let rule = format!("{}=nobody.example", stock.host());
    let there = agent(&host, &[&RESTORE[..], &["--image-map", &rule]].concat())?;
    println!("{}", told(&there));
    ensure!(there.status.code() == Some(0) && there.stdout.contains("does not count"), "{there:?}");
    ensure!(versions(&host)? == before, "it changed something");
    Ok(())
}

#[tokio::test]
async fn services_follow_to_another_address_too() -> Result<()> {
    let moved = moved(Engine::E26_1).await?;
    let host = moved.site.lab.boot(HostSpec::new("m2", Engine::E26_1, addr(12)))?;
    moved.site.set_up_restorer(&host)?;
    moved.new.registry.trust(&host)?;
    configure(&moved.site, &host, &moved.new.host(), "planted-new")?;
    let done = agent_json(&host, 0, &[&moved.restore()[..], &["--readdress"]].concat())?;
    ensure!(outcomes(&done["images"]["services"])["web"] == "renamed", "{done:#}");
    moved.follows(&host)
}
