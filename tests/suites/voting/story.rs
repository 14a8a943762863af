//! The story: people vote, the database is stored, the images are copied, the site is destroyed, and a new one counts on.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, wait_for},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json},
    voting::{
        Booth, Cast, Fate, Kept, LIMIT, boot, copy, counted, deploy, deploy_backend, followed, is_empty, join, page,
        push_images, recipe, registry, services, stock, vote, wait_backend, wait_database, wait_open,
    },
};

/// The copy of the images, in a directory of the manager.
const MIRROR: &str = "oci:/root/images";

/// What is known of the site that is gone.
struct Before {
    /// Counted when the stream began.
    stored: BTreeSet<String>,
    /// Counted at the end.
    counted: BTreeSet<String>,
    cast: Cast,
    services: BTreeMap<String, Kept>,
}

#[tokio::test]
async fn votes_that_the_stream_had_counted_are_counted_on_a_new_site() -> Result<()> {
    let runs: &[Engine] = if full() { &[Engine::E26_1; 3] } else { &[Engine::E26_1] };
    let newest: &[Engine] = if full() { &[Engine::E28_5; 3] } else { &[] };
    for engine in runs.iter().chain(newest) {
        told(*engine).await.with_context(|| format!("{engine:?}"))?;
    }
    Ok(())
}

async fn told(engine: Engine) -> Result<()> {
    let begun = Instant::now();
    let (stream, back) = recipe()?;
    let site = Site::new(Release::V20).await?;
    let before = until_the_disaster(&site, engine, &stream)?;
    let disaster = Instant::now();

    let registry = registry(&site.lab)?;
    let nodes = boot(&site, engine, &registry, &stream)?;
    let [manager, worker] = &nodes;
    let images = manager.root()?.join("root/images");
    copy(&site.lab.dir().join("images"), &images)?;
    let rule = push_images(manager, MIRROR, &registry)?;
    restore(manager, &rule)?;
    join(manager, worker)?;
    wait_database(worker)?;
    wait_for("the results", LIMIT, || Ok(Some(page(&site.lab, "/results").map(drop).or_else(is_empty)?)))?;
    worker.sh(&format!("cd /root; {back}"))?;
    judge(&site, &before)?;
    wait_backend(&site.lab, &nodes)?;
    same_services(&followed(&before.services, &rule)?, &services(manager)?)?;
    println!("{engine:?}: {:.0?} in all, {:.0?} after the disaster", begun.elapsed(), disaster.elapsed());
    Ok(())
}

/// The services have the same ids, and each the whole specification that it had.
fn same_services(before: &BTreeMap<String, Kept>, after: &BTreeMap<String, Kept>) -> Result<()> {
    ensure!(before.len() == 12, "there are not all services of both stacks: {before:#?}");
    ensure!(before.keys().eq(after.keys()), "other services came back: {:?}", after.keys());
    for (name, kept) in before {
        ensure!(*kept == after[name], "{name} was {kept:#?}\nand came back as {:#?}", after[name]);
    }
    Ok(())
}

/// Everything until nothing is left of the site but the vault and the copy of the images.
fn until_the_disaster(site: &Site, engine: Engine, stream: &str) -> Result<Before> {
    let registry = registry(&site.lab)?;
    stock(&registry)?;
    let nodes = boot(site, engine, &registry, stream)?;
    let [manager, worker] = &nodes;
    manager.swarm_init()?;
    join(manager, worker)?;
    deploy(manager, &registry)?;
    deploy_backend(manager, &registry)?;
    wait_open(&site.lab, manager)?;
    wait_backend(&site.lab, &nodes)?;

    let booth = Booth::open(&site.lab);
    let more_than =
        |count: usize| wait_for("votes to be counted", LIMIT, || Ok((counted(&site.lab)?.len() > count).then_some(())));
    more_than(50)?;
    agent_json(manager, 0, &["images", "mirror", "--to", MIRROR])?;
    copy(&manager.root()?.join("root/images"), &site.lab.dir().join("images"))?;
    agent_json(manager, 0, &["backup"])?;
    // A backup stops the engine for a moment, and with it the load balancer.
    let listed = || wait_for("the list of the counted votes", LIMIT, || Ok(Some(counted(&site.lab)?)));
    let stored = listed()?;
    let elsewhere = agent(manager, &["put", "--due"])?;
    ensure!(elsewhere.status.code() == Some(3), "it is not the manager's turn: {elsewhere:?}");
    let put = agent(worker, &["put", "--due"])?;
    ensure!(put.status.code() == Some(0), "{put:?}");
    // Some that no stream has.
    let at_least = listed()?.len();
    more_than(at_least + 20)?;
    let (services, counted) = (services(manager)?, listed()?);
    nodes.into_iter().try_for_each(Host::destroy)?;
    registry.stop();
    let cast = booth.close()?;
    Ok(Before { stored, counted, cast, services })
}

/// Brings the swarm back, with the names that its images have in the new registry.
fn restore(manager: &Host, rule: &str) -> Result<()> {
    let words = ["restore", "--latest", "--identity", IDENTITY, "--image-map", rule, "--json"];
    let restored = agent(manager, &words)?;
    // Tasks of the worker wait for it, which is worth a warning.
    ensure!(matches!(restored.status.code(), Some(0 | 6)), "{restored:?}");
    Ok(())
}

/// What was in the stream is counted; what is lost is told; the application goes on.
fn judge(site: &Site, before: &Before) -> Result<()> {
    let came = counted(&site.lab)?;
    let Fate { missing, lost, foreign } = before.cast.fate(&before.stored, &came);
    ensure!(missing.is_empty(), "{} votes of the stream are not counted: {missing:?}", missing.len());
    ensure!(!lost.is_empty(), "nothing was cast after the stream");
    ensure!(foreign.is_empty(), "votes that nobody cast: {foreign:?}");
    println!(
        "{} votes were acknowledged and {} counted; {} had been counted when the stream began, and {} came back; \
         {} acknowledged votes are lost, the first of them {}",
        before.cast.acknowledged.len(),
        before.counted.len(),
        before.stored.len(),
        came.len(),
        lost.len(),
        lost[0]
    );
    ensure!(page(&site.lab, "/")?.contains("Cats or dogs?"), "the front says something else");
    wait_for("a new vote to be taken", LIMIT, || Ok(Some(vote(&site.lab, "new")?)))?;
    wait_for("the new vote to be counted", LIMIT, || Ok(counted(&site.lab)?.contains("new").then_some(())))
}
