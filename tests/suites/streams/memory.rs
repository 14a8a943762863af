//! Memory and speed of a long stream, beside a copy of the same bytes by another program.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::Engine,
    scenario::{IDENTITY, agent_binary, number},
};

use super::site::{DATA, Streams};

/// Memory that the run and everything that it starts may take.
const MEMORY: &str = "600M";

#[tokio::test]
async fn a_long_stream_takes_little_memory() -> Result<()> {
    let streams = Streams::with(Engine::E26_1, 128, agent_binary()?).await?;
    let host = &streams.host;
    let rounds = if full() { 240 } else { 8 };
    let script = format!("for n in $(seq {rounds}); do echo $n; cat {DATA}; done");
    let limited = ["systemd-run", "--quiet", "--wait", "--pipe", "-p"];
    let limit = format!("MemoryMax={MEMORY}");
    let put = ["swarmdr-agent", "put", "long", "--expect", "40GB", "--json", "--", "sh", "-c", &script];
    let begun = std::time::Instant::now();
    let mut run = limited.to_vec();
    run.extend([limit.as_str(), "-p", "MemorySwapMax=0"]);
    run.extend(put);
    let stored = host.spawn(&run)?.wait(std::time::Duration::from_secs(3600))?;
    ensure!(stored.status.success(), "{}{}", stored.stdout, stored.stderr);
    let took = begun.elapsed();
    let report: serde_json::Value = serde_json::from_str(&stored.stdout).context("it printed no JSON")?;
    let (size, peak) = (number(&report, "/size")?, number(&report, "/peak_memory")?);
    let mut get = limited.to_vec();
    get.extend([
        limit.as_str(),
        "-p",
        "MemorySwapMax=0",
        "swarmdr-agent",
        "get",
        "long",
        "--latest",
        "--identity",
        IDENTITY,
    ]);
    get.extend(["--", "sh", "-c", "sha256sum > /run/sum"]);
    let begun = std::time::Instant::now();
    let got = host.spawn(&get)?.wait(std::time::Duration::from_secs(3600))?;
    ensure!(got.status.success(), "{}{}", got.stdout, got.stderr);
    let fetched = begun.elapsed();
    let sum = host.sh(&format!("sh -c '{script}' | sha256sum"))?;
    ensure!(host.read_file("/run/sum")?.trim() == sum.trim(), "another stream came back");
    let rate = |took: std::time::Duration| size as f64 / took.as_secs_f64() / 1e6;
    println!("\n| {:.1} GB, at most {MEMORY} | MB/s | peak of the agent |\n|---|---:|---:|", size as f64 / 1e9);
    println!("| put | {:.0} | {:.0} MB |\n| get | {:.0} | |\n", rate(took), peak as f64 / 1e6, rate(fetched));
    Ok(())
}
