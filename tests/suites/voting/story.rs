//! The story: people vote, the database is stored, the images are copied, the site is destroyed, and a new one counts on.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host, wait_for},
    registry::{Endpoint, Registry},
    s3::Release,
    scenario::{IDENTITY, Site, agent, agent_json},
};

use crate::{
    booth::{Booth, Cast, counted, page, vote},
    site::{LIMIT, boot, copy, deploy, join, recipe, registry, specs, stock, wait_database},
};

/// What is known of the site that is gone.
struct Before {
    /// Counted when the stream began.
    stored: BTreeSet<String>,
    /// Counted at the end.
    counted: BTreeSet<String>,
    cast: Cast,
    specs: Vec<serde_json::Value>,
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
    let [manager, worker] = boot(&site, engine, &registry, &stream)?;
    let images = manager.root()?.join("root/images");
    copy(&site.lab.dir().join("images"), &images)?;
    restore(&manager, &registry)?;
    join(&manager, &worker)?;
    wait_database(&worker)?;
    wait_for("the results", LIMIT, || Ok(Some(page(&site.lab, "/results").map(drop).or_else(is_empty)?)))?;
    worker.sh(&format!("cd /root; {back}"))?;
    let specs = specs(&manager)?;
    judge(&site, &before)?;
    ensure!(names(&specs) == names(&before.specs), "other services came back: {specs:#?}");
    println!("{engine:?}: {:.0?} in all, {:.0?} after the disaster", begun.elapsed(), disaster.elapsed());
    Ok(())
}

/// The page of a database without the table says so through the load balancer.
fn is_empty(error: anyhow::Error) -> Result<()> {
    if format!("{error:#}").contains("relation \"votes\" does not exist") { Ok(()) } else { Err(error) }
}

fn names(specs: &[serde_json::Value]) -> Vec<String> {
    specs
        .iter()
        .map(|spec| format!("{} {} {}", spec["Name"], spec["Mode"], spec["TaskTemplate"]["Placement"]))
        .collect()
}

/// Everything until nothing is left of the site but the vault and the copy of the images.
fn until_the_disaster(site: &Site, engine: Engine, stream: &str) -> Result<Before> {
    let registry = registry(&site.lab)?;
    stock(&registry)?;
    let [manager, worker] = boot(site, engine, &registry, stream)?;
    manager.swarm_init()?;
    join(&manager, &worker)?;
    deploy(&manager, &registry)?;
    wait_for("the application to take a vote", LIMIT, || Ok(Some(vote(&site.lab, "first")?)))?;
    wait_for("the vote to be counted", LIMIT, || Ok(counted(&site.lab)?.contains("first").then_some(())))?;
    for service in ["votes_web", "votes_queue", "votes_worker"] {
        manager.wait_service(service, 2)?;
    }

    let booth = Booth::open(&site.lab);
    let more_than =
        |count: usize| wait_for("votes to be counted", LIMIT, || Ok((counted(&site.lab)?.len() > count).then_some(())));
    more_than(50)?;
    agent_json(&manager, 0, &["images", "mirror", "--to", "oci:/root/images"])?;
    copy(&manager.root()?.join("root/images"), &site.lab.dir().join("images"))?;
    agent_json(&manager, 0, &["backup"])?;
    // A backup stops the engine for a moment, and with it the load balancer.
    let listed = || wait_for("the list of the counted votes", LIMIT, || Ok(Some(counted(&site.lab)?)));
    let stored = listed()?;
    let elsewhere = agent(&manager, &["put", "--due"])?;
    ensure!(elsewhere.status.code() == Some(3), "it is not the manager's turn: {elsewhere:?}");
    let put = agent(&worker, &["put", "--due"])?;
    ensure!(put.status.code() == Some(0), "{put:?}");
    // Some that no stream has.
    let at_least = listed()?.len();
    more_than(at_least + 20)?;
    let (specs, counted) = (specs(&manager)?, listed()?);
    worker.destroy()?;
    manager.destroy()?;
    registry.stop();
    let cast = booth.close()?;
    Ok(Before { stored, counted, cast, specs })
}

/// The images from the directory into the new registry, and the swarm with the names that they have there.
fn restore(manager: &Host, registry: &Registry) -> Result<()> {
    let place = format!("{}/mirror", registry.host());
    let pushed = agent_json(manager, 0, &["images", "push", "--from", "oci:/root/images", "--to", &place])?;
    let rule = pushed["image_map"][0].as_str().context("no rule")?;
    let words = ["restore", "--latest", "--identity", IDENTITY, "--image-map", rule, "--json"];
    let restored = agent(manager, &words)?;
    // Tasks of the worker wait for it, which is worth a warning.
    ensure!(matches!(restored.status.code(), Some(0 | 6)), "{restored:?}");
    Ok(())
}

/// What was in the stream is counted; what is lost is told; the application goes on.
fn judge(site: &Site, before: &Before) -> Result<()> {
    let came = counted(&site.lab)?;
    let missing: Vec<&String> = before.stored.difference(&came).collect();
    ensure!(missing.is_empty(), "{} votes of the stream are not counted: {missing:?}", missing.len());
    let lost: Vec<&String> = before.cast.acknowledged.difference(&came).collect();
    ensure!(!lost.is_empty(), "nothing was cast after the stream");
    let foreign: Vec<&String> = came.iter().filter(|id| *id != "first" && !before.cast.sent.contains(*id)).collect();
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
