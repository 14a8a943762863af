//! The whole job, for a person to watch: a swarm is backed up into a locked bucket, its host is
//! destroyed, and a fresh host with the same address brings it back.
//!
//! `cargo run -p swarmdr-tests --bin demo -- --from 20.10 --to 26.1`

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Role, addr},
    s3::Release,
    scenario::{IDENTITY, Site, agent, describe_swarm, populate, wait_populated},
};

/// Back a real swarm up, destroy its host, and bring it back.
#[derive(Debug, Parser)]
struct Args {
    /// Engine of the manager that is lost
    #[arg(long, value_enum, default_value = "20.10")]
    from: Choice,
    /// Engine of the host that restores
    #[arg(long, value_enum, default_value = "26.1")]
    to: Choice,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    #[value(name = "20.10")]
    E20,
    #[value(name = "26.1")]
    E26,
    #[value(name = "28.5")]
    E28,
}

impl Choice {
    fn engine(self) -> Engine {
        match self {
            Choice::E20 => Engine::E20_10,
            Choice::E26 => Engine::E26_1,
            Choice::E28 => Engine::E28_5,
        }
    }
}

/// Steps and their times, printed as they happen and once more at the end.
#[derive(Debug)]
struct Timeline {
    since: Instant,
    steps: Vec<(Duration, Duration, String)>,
}

impl Timeline {
    fn step<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n--- {what}");
        let begun = Instant::now();
        let result = work().with_context(|| format!("while: {what}"))?;
        self.steps.push((self.since.elapsed(), begun.elapsed(), what.to_owned()));
        Ok(result)
    }

    fn print(&self) {
        println!("\nTimeline");
        println!("{:>9}  {:>9}", "at", "took");
        for (at, took, what) in &self.steps {
            println!("{:>7.1} s  {:>7.1} s  {what}", at.as_secs_f64(), took.as_secs_f64());
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let (from, to) = (args.from.engine(), args.to.engine());
    for engine in [from, to] {
        println!("tree of engine {}: {}", engine.version().trim_end_matches('.'), engine.tree()?.display());
    }
    let site = Site::new(Release::V20).await.context("while starting the object store")?;
    let mut timeline = Timeline { since: Instant::now(), steps: Vec::new() };

    let manager = timeline.step("boot a manager and deploy services, secrets, configs, a network", || {
        let host = site.lab.boot(HostSpec::new("manager", from, addr(11)))?;
        host.swarm_init()?;
        populate(&host)?;
        site.set_up_manager(&host)?;
        Ok(host)
    })?;
    println!("{}", manager.docker(&["service", "ls"])?);
    let before = describe_swarm(&manager)?;
    timeline.step("swarmdr-agent backup", || show(&manager, &["backup"]))?;
    wait_populated(&manager)?;
    timeline.step("the host is destroyed, disk and all", || manager.destroy())?;

    let host = timeline.step("boot a fresh host with the same address", || {
        let host = site.lab.boot(HostSpec::new("fresh", to, addr(11)))?;
        host.load_image()?;
        site.set_up_restorer(&host)?;
        Ok(host)
    })?;
    timeline.step("swarmdr-agent list", || show(&host, &["list"]))?;
    timeline
        .step("swarmdr-agent restore --latest", || show(&host, &["restore", "--latest", "--identity", IDENTITY]))?;
    timeline.step("all services run again", || wait_populated(&host))?;
    println!("{}", host.docker(&["service", "ls"])?);
    let after = describe_swarm(&host)?;

    let worker = timeline.step("a new worker joins with the token of the restored swarm", || {
        let worker = site.lab.boot(HostSpec::new("worker", to, addr(12)))?;
        worker.load_image()?;
        worker.join(&host, Role::Worker)?;
        Ok(worker)
    })?;
    timeline.step("and runs tasks", || {
        host.docker(&["service", "scale", "--detach", "cron=4"])?;
        host.wait_for("a task on the new worker", Duration::from_secs(120), || {
            Ok((!worker.docker(&["ps", "-q"])?.is_empty()).then_some(()))
        })
    })?;
    println!("{}", host.docker(&["node", "ls"])?);

    println!("\nBefore and after");
    compare(&before, &after)?;
    timeline.print();
    println!("\nThe swarm is back: same cluster, same node, same secrets, configs, services, networks and tokens.");
    Ok(())
}

/// Runs the agent, and prints the command and its output as an operator would see them.
fn show(host: &Host, args: &[&str]) -> Result<()> {
    println!("root@{}:~# swarmdr-agent {}", host.name(), args.join(" "));
    let output = agent(host, args)?;
    print!("{}", output.stdout);
    ensure!(output.status.success(), "swarmdr-agent exited {:?}: {}", output.status.code(), output.stderr);
    Ok(())
}

fn compare(before: &[String], after: &[String]) -> Result<()> {
    let mut same = true;
    for line in before.iter().filter(|line| !after.contains(line)) {
        println!("  LOST  {line}");
        same = false;
    }
    for line in after {
        let mark = if before.contains(line) { "same" } else { "NEW " };
        same &= before.contains(line);
        println!("  {mark}  {line}");
    }
    ensure!(same, "the restored swarm differs from the one that was backed up");
    Ok(())
}
