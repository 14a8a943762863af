//! `images auth`: logins that were changed after the deploy are renewed, and nothing that runs is restarted.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Role, addr},
    scenario::{Site, agent, agent_json},
};

use crate::{
    engines,
    yard::{
        RESTORE, Stock, configure, deployed, fresh, inspect, outcomes, quiet_json, recorded, running, runs, settled,
        site, tasks_of_job, told, versions, wait_rejected,
    },
};

const AUTH: [&str; 2] = ["images", "auth"];

#[tokio::test]
async fn tasks_that_could_not_be_pulled_heal_and_no_other_is_restarted() -> Result<()> {
    for engine in engines() {
        healed(*engine).await.with_context(|| format!("on {engine:?}"))?;
    }
    Ok(())
}

async fn healed(engine: Engine) -> Result<()> {
    let site = site().await?;
    let stock = Stock::new(&site.lab, "", "planted-1")?;
    let old = deployed(&site, engine, &stock, "planted-1")?;
    agent_json(&old, 0, &["backup"])?;
    old.destroy()?;
    stock.new_password("planted-2")?;
    let host = fresh(&site, engine, &[&stock.registry])?;
    agent_json(&host, 0, &RESTORE)?;
    println!("{engine:?}: {}", wait_rejected(&host, "web")?);
    let none = agent(&host, &AUTH)?;
    ensure!(none.status.code() == Some(2) && none.stderr.contains("auth_command"), "{none:?}");

    configure(&site, &host, &stock.host(), "planted-2")?;
    let (job, before) = (tasks_of_job(&host)?, inspect(&host, "web")?);
    let done = quiet_json(&host, 0, &AUTH)?;
    println!("{engine:?}: {done:#}");
    let expected = [("db", "renewed"), ("once", "left"), ("web", "renewed")];
    ensure!(outcomes(&done["services"]) == expected.into(), "{done:#}");
    runs(&host)?;
    ensure!(tasks_of_job(&host)? == job, "the job ran again");
    ensure!(inspect(&host, "web")?["Spec"] == before["Spec"], "something was lost");
    ensure!(recorded(&host, "web")?.contains("planted-2"));
    nothing_to_do(&host)?;
    nothing_is_restarted(&host, &site, &stock)?;
    a_rollback_has_nothing_to_go_back_to(&host, &site, &stock)?;
    a_paused_update_stays_paused(&host, &site, &stock)?;
    let log = host.sh("journalctl --no-pager")?;
    ensure!(!log.contains("planted"), "a password is in the journal");
    Ok(())
}

/// What is recorded already is not sent.
fn nothing_to_do(host: &Host) -> Result<()> {
    let before = versions(host)?;
    let done = quiet_json(host, 0, &AUTH)?;
    ensure!(outcomes(&done["services"])["web"] == "same" && versions(host)? == before, "{done:#}");
    Ok(())
}

fn nothing_is_restarted(host: &Host, site: &Site, stock: &Stock) -> Result<()> {
    settled(host)?;
    let before = running(host)?;
    stock.new_password("planted-3")?;
    configure(site, host, &stock.host(), "planted-3")?;
    let done = quiet_json(host, 0, &AUTH)?;
    ensure!(outcomes(&done["services"])["web"] == "renewed", "{done:#}");
    // An orchestrator acts within a second; a task of these services would be replaced in two.
    thread::sleep(Duration::from_secs(8));
    ensure!(running(host)? == before, "a task was restarted: {before:?} {:?}", running(host)?);
    ensure!(inspect(host, "web")?["UpdateStatus"].is_null(), "an update was begun");
    Ok(())
}

/// A fact of engines, which the report states: an update keeps one spec before it.
fn a_rollback_has_nothing_to_go_back_to(host: &Host, site: &Site, stock: &Stock) -> Result<()> {
    host.docker(&["service", "update", "--env-add=NEW=1", "web"])?;
    settled(host)?;
    let before = running(host)?;
    stock.new_password("planted-4")?;
    configure(site, host, &stock.host(), "planted-4")?;
    let done = quiet_json(host, 0, &AUTH)?;
    let web = done["services"].as_array().context("no services")?.iter().find(|it| it["service"] == "web");
    ensure!(web.context("no web")?["rollback_lost"] == true, "{done:#}");
    let spec = inspect(host, "web")?;
    ensure!(spec["PreviousSpec"] == spec["Spec"], "{spec:#}");
    host.docker(&["service", "rollback", "--detach", "web"])?;
    thread::sleep(Duration::from_secs(8));
    let after = inspect(host, "web")?;
    println!("after a rollback: {} {}", after["UpdateStatus"], recorded(host, "web")?.contains("planted-3"));
    ensure!(after["Spec"] == spec["Spec"] && running(host)? == before, "{after:#}");
    ensure!(recorded(host, "web")?.contains("planted-3"), "the login of before is back");
    Ok(())
}

fn a_paused_update_stays_paused(host: &Host, site: &Site, stock: &Stock) -> Result<()> {
    let missing = format!("{}/shop/none:1", stock.host());
    host.docker(&["service", "update", "--detach", "--update-order=stop-first", "--image", &missing, "web"])?;
    host.wait_for("the update to pause", Duration::from_secs(60), || {
        Ok((inspect(host, "web")?["UpdateStatus"]["State"] == "paused").then_some(()))
    })?;
    let before = inspect(host, "web")?;
    configure(site, host, &stock.host(), "planted-5")?;
    let done = quiet_json(host, 6, &AUTH)?;
    ensure!(outcomes(&done["services"])["web"] == "left", "{done:#}");
    let after = inspect(host, "web")?;
    ensure!(after["UpdateStatus"]["State"] == "paused" && after["Spec"] == before["Spec"], "{after:#}");
    Ok(())
}

/// Migrations of a stack are services as others, and their restart policy lets their tasks end.
#[tokio::test]
async fn tasks_that_have_ended_for_good_are_not_begun_again() -> Result<()> {
    for engine in engines() {
        one_shots(*engine).await.with_context(|| format!("on {engine:?}"))?;
    }
    Ok(())
}

async fn one_shots(engine: Engine) -> Result<()> {
    let site = site().await?;
    let stock = Stock::new(&site.lab, "", "planted-1")?;
    let host = deployed(&site, engine, &stock, "planted-1")?;
    let ended = [("migrate", "none", "true"), ("init", "on-failure", "true"), ("failed", "none", "false")];
    for (name, condition, command) in ended {
        one_shot(&host, &format!("{}/shop/web:1", stock.host()), (name, condition, command))?;
        wait_ended(&host, name)?;
    }
    // The engine has no image of this name, and its login is dead.
    stock.registry.push(&stock.web, "shop/late", "1")?;
    stock.new_password("planted-2")?;
    one_shot(&host, &format!("{}/shop/late:1", stock.host()), ("late", "none", "true"))?;
    println!("{engine:?}: {}", wait_rejected(&host, "late")?);

    settled(&host)?;
    let before = tasks(&host)?;
    configure(&site, &host, &stock.host(), "planted-2")?;
    let done = quiet_json(&host, 0, &AUTH)?;
    let outcomes = outcomes(&done["services"]);
    ensure!(ended.iter().all(|(name, ..)| outcomes[name] == "left"), "{done:#}");
    ensure!(outcomes["late"] == "renewed" && outcomes["web"] == "renewed", "{done:#}");
    wait_ended(&host, "late")?;
    // An orchestrator acts within a second.
    thread::sleep(Duration::from_secs(8));
    ensure!(tasks(&host)? == before, "a task began again: {before} {}", tasks(&host)?);
    Ok(())
}

fn one_shot(host: &Host, image: &str, (name, condition, command): (&str, &str, &str)) -> Result<()> {
    let (name, condition) = (format!("--name={name}"), format!("--restart-condition={condition}"));
    let create = ["service", "create", "--detach", "--with-registry-auth", "--network=host"];
    host.docker(&[&create[..], &[&name, &condition, image, command]].concat()).map(drop)
}

/// Waits until a task of a service has run to its end, and the swarm has taken it for over.
fn wait_ended(host: &Host, service: &str) -> Result<()> {
    host.wait_for("a task to end", Duration::from_secs(60), || {
        let format = "--format={{.DesiredState}} {{.CurrentState}}";
        let tasks = host.docker(&["service", "ps", format, service])?;
        let is_over = |line: &str| line.starts_with("Shutdown Complete") || line.starts_with("Shutdown Failed");
        Ok(tasks.lines().any(is_over).then_some(()))
    })
}

/// Ids of all tasks of services that came to their end before, and of those that run.
fn tasks(host: &Host) -> Result<String> {
    host.sh("for s in migrate init failed once web db; do docker service ps --quiet $s | sort; done")
}

/// The leader does it, and no other manager; a worker and a host without a swarm cannot.
#[tokio::test]
async fn one_manager_renews() -> Result<()> {
    let site = site().await?;
    let stock = Stock::new(&site.lab, "", "planted-1")?;
    let leader = deployed(&site, Engine::E26_1, &stock, "planted-1")?;
    let other = site.lab.boot(HostSpec::new("m2", Engine::E26_1, addr(12)))?;
    site.set_up_restorer(&other)?;
    configure(&site, &other, &stock.host(), "planted-2")?;
    let outside = agent(&other, &AUTH)?;
    ensure!(outside.status.code() == Some(4), "{outside:?}");
    other.join(&leader, Role::Manager)?;
    let follower = agent(&other, &AUTH)?;
    println!("{}", told(&follower));
    ensure!(follower.status.code() == Some(3) && follower.stderr.contains("m1"), "{follower:?}");
    configure(&site, &leader, "*.example", "planted-2")?;
    let none = quiet_json(&leader, 6, &AUTH)?;
    ensure!(none["without_login"] == 3, "{none:#}");
    configure(&site, &leader, "*", "planted-2")?;
    let wrong = agent(&leader, &["images", "auth", "--for", "nobody.example"])?;
    ensure!(wrong.status.code() == Some(5), "{wrong:?}");
    let before = versions(&leader)?;
    agent_json(&leader, 0, &["images", "auth", "--dry-run"])?;
    ensure!(versions(&leader)? == before, "a dry run changed something");
    let pattern = format!("{}*", &stock.host()[..6]);
    let done = agent_json(&leader, 0, &["images", "auth", "--for", &pattern])?;
    ensure!(outcomes(&done["services"])["db"] == "renewed", "{done:#}");
    leader.sh("rm /root/login")?;
    let failed = agent(&leader, &AUTH)?;
    println!("{}", told(&failed));
    ensure!(failed.status.code() == Some(1), "{failed:?}");
    Ok(())
}
