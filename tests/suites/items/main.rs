//! Single objects of a backup: brought back into a living swarm, and exported as stack files.
//!
//! `SWARMDR_TEST_FULL=1` runs all of it on three generations of engines; by default one.

mod beside;
mod conflicts;
mod cut_short;
mod elsewhere;
mod exported;
mod growth;
mod killed;
mod leaderless;
mod removals;
mod shop;
mod wishes;

use anyhow::{Result, ensure};
use swarmdr_tests::{
    campaign::generations,
    lab::{Engine, Host, HostSpec, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json},
};

/// The engine of tests that need one only. Its client knows all that stacks can have.
fn engine() -> Engine {
    Engine::E26_1
}

/// A manager with the stack on it, which is backed up.
fn manager(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    host.load_image()?;
    shop::write(&host)?;
    shop::deploy(&host)?;
    shop::wait(&host)?;
    site.set_up_manager(&host)?;
    site.write_identity(&host)?;
    agent_json(&host, 0, &["backup"])?;
    Ok(host)
}

#[tokio::test]
async fn a_removed_stack_is_brought_back() -> Result<()> {
    for engine in generations() {
        brought_back(*engine).await?;
    }
    Ok(())
}

async fn brought_back(engine: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, engine)?;
    shop::wait(&host)?;
    let before = shop::raw_specs(&host)?;
    shop::remove(&host)?;
    let undelete = ["undelete", "--latest", "--stack", shop::STACK, "--identity", IDENTITY];
    let planned = agent_json(&host, 0, &[&undelete[..], &["--dry-run"]].concat())?;
    println!("{engine:?}: planned {planned:#}");
    ensure!(shop::tasks(&host)?.is_empty(), "a dry run changes nothing");
    let done = agent_json(&host, 0, &undelete)?;
    println!("{engine:?}: done {done:#}");
    shop::wait(&host)?;
    let after = shop::raw_specs(&host)?;
    shop::same(&before, &after)?;
    shop::is_read(&host)?;
    same_again(&host, &undelete)?;
    let tasks = shop::tasks(&host)?;
    shop::deploy(&host)?;
    shop::wait(&host)?;
    ensure!(shop::tasks(&host)? == tasks, "{engine:?}: the deployment of the original file restarted tasks");
    shop::same(&before, &shop::raw_specs(&host)?)
}

/// A second run has nothing to do.
fn same_again(host: &Host, undelete: &[&str]) -> Result<()> {
    let (tasks, specs) = (shop::tasks(host)?, shop::raw_specs(host)?);
    agent_json(host, 0, undelete)?;
    ensure!(shop::tasks(host)? == tasks && shop::raw_specs(host)? == specs, "a second run changed something");
    let output = agent(host, undelete)?;
    println!("{}{}", output.stdout, output.stderr);
    Ok(())
}
