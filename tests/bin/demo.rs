//! A disaster and its end, for a person to watch: people vote while the swarm, the database and the images of a voting
//! application are stored; its site is destroyed, registry and all; a new site brings it back and counts on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    browser::{Browser, Size},
    lab::{Engine, Host, wait_for},
    packages::checkout,
    s3::Release,
    scenario::{IDENTITY, Site, agent, describe_swarm},
    voting::{
        Booth, Cast, FRONT, Fate, Kept, LIMIT, boot, copy, counted, deploy, followed, is_empty, join, page,
        push_images, recipe, registry, services, stock, vote, wait_database, wait_open,
    },
};

const ENGINE: Engine = Engine::E26_1;

/// The copy of the images, in a directory of the manager.
const MIRROR: &str = "oci:/root/images";

/// Votes that are counted between two steps.
const SOME: usize = 200;

const PICTURE: Size = (640, 390);

/// What happened, and the seconds since the start.
struct Timeline {
    since: Instant,
    lines: Vec<(Duration, String)>,
}

/// What is known of the site that is gone.
struct Before {
    /// Counted when the dump began.
    stored: BTreeSet<String>,
    /// Counted at the end.
    counted: BTreeSet<String>,
    cast: Cast,
    services: BTreeMap<String, Kept>,
    swarm: Vec<String>,
    gone: Duration,
}

struct Demo {
    site: Site,
    browser: Browser,
    pictures: PathBuf,
    /// The configuration of the stream, and the line that brings it back.
    stream: String,
    back: String,
    timeline: Timeline,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let timeline = Timeline { since: Instant::now(), lines: Vec::new() };
    let (stream, back) = recipe()?;
    let site = Site::new(Release::V20).await.context("while starting the object store")?;
    let browser = Browser::open(&site.lab)?;
    let pictures = checkout().join("target/demo");
    fs::create_dir_all(&pictures).with_context(|| format!("failed to create {}", pictures.display()))?;
    let mut demo = Demo { site, browser, pictures, stream, back, timeline };
    demo.timeline.note("an object store is up, with a locked bucket");
    let before = demo.prosper()?;
    demo.recover(&before)
}

impl Demo {
    /// Everything until nothing is left of the site but the vault and the copy of the images.
    fn prosper(&mut self) -> Result<Before> {
        let registry = registry(&self.site.lab)?;
        stock(&registry)?;
        self.timeline.note("a registry has the images of the application");
        let mut hosts = boot(&self.site, ENGINE, &registry, &self.stream)?;
        let [manager, worker] = &hosts;
        manager.swarm_init()?;
        join(manager, worker)?;
        self.timeline.note("two hosts are a swarm: a manager and a worker");
        deploy(manager, &registry)?;
        wait_open(&self.site.lab, manager)?;
        println!("{}", manager.docker(&["service", "ls"])?);
        self.timeline.note("the application runs, and counts its first vote");

        let booth = Booth::open(&self.site.lab);
        self.wait_counted(SOME)?;
        self.timeline.note("people vote, from here on without a pause");
        let (stored, counted_at_end) = self.store(manager, worker)?;
        let (services, swarm) = (services(manager)?, describe_swarm(manager)?);
        hosts.iter_mut().try_for_each(Host::kill)?;
        registry.stop();
        self.timeline.note("THE SITE IS DESTROYED: both hosts and the registry");
        let cast = booth.close()?;
        hosts.into_iter().try_for_each(Host::destroy)?;
        drop(registry);
        self.timeline.note("their disks are removed; left are the bucket and the copy of the images");
        let gone = self.timeline.since.elapsed();
        Ok(Before { stored, counted: counted_at_end, cast, services, swarm, gone })
    }

    /// Stores images, swarm and database, while people vote and go on to. Returns what was counted at the dump, and at
    /// the end.
    fn store(&mut self, manager: &Host, worker: &Host) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        show(manager, &["images", "mirror", "--to", MIRROR])?;
        copy(&manager.root()?.join("root/images"), &self.site.lab.dir().join("images"))?;
        self.timeline.note("the images are copied to a directory outside of the site");
        show(manager, &["backup"])?;
        self.timeline.note("the swarm is backed up into the bucket; that stopped the engine of the manager");
        let counted = self.counted()?.len();
        self.timeline.note("the tasks of the manager find those of the worker again, and the results answer");
        self.wait_counted(counted + SOME)?;
        let stored = self.counted()?;
        show(worker, &["put", "--due"])?;
        self.timeline
            .note(format!("the database is stored, a recovery point is complete: at least {} votes", stored.len()));
        show(manager, &["list", "--points"])?;
        self.wait_counted(stored.len() + SOME)?;
        self.picture("before")?;
        let end = self.counted()?;
        self.timeline.note(format!("more people voted, which nothing stores: {} votes are counted", end.len()));
        Ok((stored, end))
    }

    /// The new site, until it counts what the recovery point has and takes new votes.
    fn recover(&mut self, before: &Before) -> Result<()> {
        let registry = registry(&self.site.lab)?;
        let hosts = boot(&self.site, ENGINE, &registry, &self.stream)?;
        let [manager, worker] = &hosts;
        self.timeline.note("two fresh hosts have booted at the old addresses, beside an empty registry");
        copy(&self.site.lab.dir().join("images"), &manager.root()?.join("root/images"))?;
        println!("root@{}:~# swarmdr-agent images push --from {MIRROR} --to …", manager.name());
        let rule = push_images(manager, MIRROR, &registry)?;
        self.timeline.note("the new registry has the images");
        show(manager, &["restore", "--latest-complete", "--identity", IDENTITY, "--image-map", &rule])?;
        self.timeline.note("the swarm is back, and its services follow their images");
        join(manager, worker)?;
        self.timeline.note("the new worker has joined");
        wait_database(worker)?;
        let lab = &self.site.lab;
        wait_for("the results", LIMIT, || Ok(Some(page(lab, "/results").map(drop).or_else(is_empty)?)))?;
        self.timeline.note("all tasks run and find each other; the database is empty");
        let back = self.back.replace("--latest", "--point latest-complete");
        println!("root@{}:~# {back}", worker.name());
        worker.sh(&format!("cd /root; {back}"))?;
        self.timeline.note("the data is back, and the results page counts it");
        let recovered = self.timeline.since.elapsed();
        self.picture("after")?;
        let came = self.counted()?;
        wait_for("a new vote to be taken", LIMIT, || Ok(Some(vote(&self.site.lab, "new")?)))?;
        wait_for("the new vote to be counted", LIMIT, || Ok(self.counted()?.contains("new").then_some(())))?;
        self.timeline.note("a new vote is taken and counted");
        remove_dead(manager)?;
        println!("{}", manager.docker(&["service", "ls"])?);
        self.conclude(before, &came, recovered, &rule, manager)
    }

    fn conclude(
        &mut self,
        before: &Before,
        came: &BTreeSet<String>,
        recovered: Duration,
        rule: &str,
        manager: &Host,
    ) -> Result<()> {
        println!("\nThe swarm, before and after");
        compare(&before.swarm, &describe_swarm(manager)?, rule)?;
        ensure!(services(manager)? == followed(&before.services, rule)?, "the services are not what they were");
        let [old, new] = ["before", "after"].map(|name| self.pictures.join(format!("{name}.png")));
        let both = self.pictures.join("results.png");
        let texts = ["The results page before the disaster", "The results page of the new site"];
        self.browser.beside([(texts[0], &old), (texts[1], &new)], PICTURE, &both)?;
        self.timeline.print();
        votes(before, came)?;
        println!("From the first fresh host to the results: {:.0} s.", (recovered - before.gone).as_secs_f64());
        println!("The results page before and after, as a browser shows it: {}", both.display());
        Ok(())
    }

    /// Takes a picture of the results page.
    fn picture(&self, name: &str) -> Result<()> {
        self.browser.picture(&format!("http://{FRONT}/results"), PICTURE, &self.pictures.join(format!("{name}.png")))
    }

    /// The votes that are counted. For half a minute after an engine has started, its tasks do not find those of other
    /// nodes by their names: engines exchange these every 30 seconds.
    fn counted(&self) -> Result<BTreeSet<String>> {
        wait_for("the list of the counted votes", LIMIT, || Ok(Some(counted(&self.site.lab)?)))
    }

    fn wait_counted(&self, more_than: usize) -> Result<()> {
        wait_for("votes to be counted", LIMIT, || Ok((self.counted()?.len() > more_than).then_some(())))
    }
}

impl Timeline {
    fn note(&mut self, what: impl Into<String>) {
        let (at, what) = (self.since.elapsed(), what.into());
        println!("\n--- {:.0} s: {what}", at.as_secs_f64());
        self.lines.push((at, what));
    }

    fn print(&self) {
        println!("\nTimeline, in seconds since the start");
        for (at, what) in &self.lines {
            println!("{:>7.0}  {what}", at.as_secs_f64());
        }
    }
}

/// Runs the agent, and prints the command and its output as an operator would see them.
fn show(host: &Host, args: &[&str]) -> Result<()> {
    println!("root@{}:~# swarmdr-agent {}", host.name(), args.join(" "));
    let output = agent(host, args)?;
    print!("{}", output.stdout);
    let code = output.status.code();
    // Tasks of a worker wait for it after a restore, which is worth a warning.
    ensure!(matches!(code, Some(0 | 6)), "swarmdr-agent exited {code:?}: {}", output.stderr);
    Ok(())
}

/// Removes the old worker's node, as the restore advised.
fn remove_dead(manager: &Host) -> Result<()> {
    let find = "docker node ls --format '{{.ID}} {{.Status}}' | sed -n 's/ Down$//p'";
    let dead = || Ok(Some(manager.sh(find)?).filter(|dead| !dead.is_empty()));
    let dead = manager.wait_for("the old worker to be given up", LIMIT, dead)?;
    println!("root@{}:~# docker node rm --force {dead}", manager.name());
    manager.docker(&["node", "rm", "--force", &dead]).map(drop)
}

/// Says what became of the votes. Fails if one that was stored is not counted.
fn votes(before: &Before, came: &BTreeSet<String>) -> Result<()> {
    let Fate { missing, lost, foreign } = before.cast.fate(&before.stored, came);
    ensure!(missing.is_empty(), "votes of the recovery point are not counted: {missing:?}");
    ensure!(foreign.is_empty(), "votes that nobody cast: {foreign:?}");
    println!("\nThe votes");
    println!(
        "{:>7}  were acknowledged until the disaster, {} of them counted",
        before.cast.acknowledged.len() + 1,
        before.counted.len()
    );
    println!("{:>7}  were counted just before the dump, and all of these are counted again", before.stored.len());
    println!("{:>7}  were in the dump, and are counted on the new site", came.len());
    let first = lost.first().map_or_else(String::new, |first| format!(", from {first} on"));
    println!("{:>7}  are lost: they were acknowledged later{first}", lost.len());
    Ok(())
}

/// Prints the facts about the swarm side by side. Fails unless only the place of the images differs.
fn compare(before: &[String], after: &[String], rule: &str) -> Result<()> {
    let (from, to) = rule.split_once('=').context("the rule names no place")?;
    let expected: Vec<String> = before.iter().map(|line| line.replace(from, to)).collect();
    for line in expected.iter().filter(|line| !after.contains(line)) {
        println!("  LOST  {line}");
    }
    for line in after {
        let mark = match (before.contains(line), expected.contains(line)) {
            (true, _) => "same",
            (_, true) => "image",
            _ => "NEW",
        };
        println!("  {mark:<5}  {line}");
    }
    ensure!(expected == after, "the restored swarm differs from the one that was backed up");
    Ok(())
}
