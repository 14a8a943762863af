//! What the proof of a gigabyte costs, beside what an engine spends to start on the same state.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::lab::Host;
use swarmdr_tests::measure::{Cost, on_one_processor, peak, processor};
use swarmdr_tests::scenario::agent_binary;

use crate::SECRET_BYTES;

/// What the proof may take beside the largest object.
const MEMORY_LIMIT: u64 = (64 << 20) + SECRET_BYTES as u64;
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(180);

/// Measures the proof of the log, and then of a snapshot of the same things: of the log before a snapshot nothing is read.
pub fn measure(host: &Host) -> Result<()> {
    let mut table = vec![format!("{:32} {:>12} {:>12} {:>12} {:>12}", "", "processor", "speed", "memory", "in all")];
    compare(host, "1 GiB of log", "raft/wal-v3-encrypted", &mut table)?;
    take_snapshot(host)?;
    compare(host, "1 GiB of snapshot", "raft/snap-v3-encrypted", &mut table)?;
    println!("\n{}\n", table.join("\n"));
    Ok(())
}

/// Both read all of it; the engine also brings up everything else that it is.
fn compare(host: &Host, name: &str, read: &str, table: &mut Vec<String>) -> Result<()> {
    host.sh("systemctl stop docker.socket docker.service")?;
    let state = host.var().join("lib/docker/swarm");
    // Blocks, as the spare space of the last segment is never read.
    let bytes = host.sh(&format!("du --summarize --block-size=1 /var/lib/docker/swarm/{read}"))?;
    let bytes: u64 = bytes.split_whitespace().next().context("du prints a number")?.parse()?;
    ensure!(bytes > 1 << 30, "{read} has {bytes} bytes");
    let args = ["--config", "/dev/null", "inspect", "--dir", state.to_str().context("UTF-8")?, "--json"];
    let proof = on_one_processor(&agent_binary()?.path, &args, &[0])?;
    let engine = start(host)?;
    table.push(row(&format!("{name}, proof"), bytes, &proof));
    table.push(row(&format!("{name}, start of the engine"), bytes, &engine));
    ensure!(proof.memory > 0 && proof.memory < MEMORY_LIMIT, "{proof:?}");
    ensure!(proof.processor < engine.processor, "the proof costs more than the start: {proof:?}, {engine:?}");
    Ok(())
}

/// Starts the engine, until it works as a manager; on all processors.
fn start(host: &Host) -> Result<Cost> {
    let begun = Instant::now();
    host.sh("systemctl start docker.socket docker.service")?;
    host.wait_manager()?;
    let wall = begun.elapsed();
    let told = |file: &str| host.sh(&format!("cat /proc/$(systemctl show --property=MainPID --value docker)/{file}"));
    let stat = told("stat")?;
    let processor = processor(&stat).with_context(|| stat.clone())?;
    Ok(Cost { wall, processor, memory: peak(&told("status")?) })
}

fn take_snapshot(host: &Host) -> Result<()> {
    host.docker(&["swarm", "update", "--snapshot-interval=10"])?;
    host.sh("for n in $(seq 15); do docker config create after-$n /etc/hostname > /dev/null; done")?;
    host.wait_for("a snapshot", SNAPSHOT_LIMIT, || {
        let there = host.sh("ls /var/lib/docker/swarm/raft/snap-v3-encrypted")?;
        Ok(there.lines().any(|name| name.ends_with(".snap")).then_some(()))
    })
}

fn row(name: &str, bytes: u64, cost: &Cost) -> String {
    let processor = format!("{} ms", cost.processor.as_millis());
    let (speed, memory) = (format!("{} MB/s", cost.speed(bytes)), format!("{} MiB", cost.memory >> 20));
    format!("{name:32} {processor:>12} {speed:>12} {memory:>12} {:>9} ms", cost.wall.as_millis())
}
