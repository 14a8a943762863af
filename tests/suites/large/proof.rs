//! Cost of proving a large state, compared with an engine's start on the same state.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    lab::Host,
    measure::{Cost, on_one_processor, peak, processor},
    scenario::agent_binary,
};

use crate::{SECRET_BYTES, forget_starts, size};

/// Memory limit of the proof, in bytes: a fixed part, and the largest object.
const MEMORY_LIMIT: u64 = (64 << 20) + SECRET_BYTES as u64;
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(180);

/// Measures the proof of the log, and then of a snapshot of the same objects; the log before a snapshot is not read.
pub fn measure(host: &Host) -> Result<()> {
    let mut table = vec![format!("{:32} {:>12} {:>12} {:>12} {:>12}", "", "processor", "speed", "memory", "in all")];
    compare(host, &format!("{} of log", size().name), "raft/wal-v3-encrypted", &mut table)?;
    take_snapshot(host)?;
    compare(host, &format!("{} of snapshot", size().name), "raft/snap-v3-encrypted", &mut table)?;
    println!("\n{}\n", table.join("\n"));
    Ok(())
}

/// Compares the proof with the engine's start. Both read the whole state; the engine also starts all of its other
/// parts.
fn compare(host: &Host, name: &str, read: &str, table: &mut Vec<String>) -> Result<()> {
    host.sh("systemctl stop docker.socket docker.service")?;
    let state = host.var().join("lib/docker/swarm");
    // Counts blocks, as the spare space of the last segment is never read.
    let bytes = host.sh(&format!("du --summarize --block-size=1 /var/lib/docker/swarm/{read}"))?;
    let bytes: u64 = bytes.split_whitespace().next().context("du prints a number")?.parse()?;
    ensure!(bytes > size().bytes, "{read} has {bytes} bytes");
    let args = ["--config", "/dev/null", "inspect", "--dir", state.to_str().context("UTF-8")?, "--json"];
    let proof = on_one_processor(&agent_binary()?.path, &args, &[0])?;
    let engine = start(host)?;
    table.push(row(&format!("{name}, proof"), bytes, &proof));
    table.push(row(&format!("{name}, start of the engine"), bytes, &engine));
    ensure!(proof.memory > 0 && proof.memory < MEMORY_LIMIT, "{proof:?}");
    ensure!(proof.processor < engine.processor, "the proof costs more than the start: {proof:?}, {engine:?}");
    Ok(())
}

/// Starts the engine, on all processors, and waits until it works as a manager.
fn start(host: &Host) -> Result<Cost> {
    let begun = Instant::now();
    forget_starts(host)?;
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
