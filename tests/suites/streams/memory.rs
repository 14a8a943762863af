//! Memory and speed of a long stream, beside rclone and beside the network, with the same bytes in one run.

use std::{
    fs, io,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use swarmdr_tests::{
    campaign::full,
    lab::{Engine, Host},
    s3::{Lock, Release, RgwOptions},
    scenario::{IDENTITY, Site, agent_binary, number},
};

use super::site::{DATA, Streams};

/// Memory that a run and everything that it starts may take.
const MEMORY: &str = "600M";

/// Mebibytes of the file that the stream repeats.
const PIECE: u32 = 128;

const LIMIT: Duration = Duration::from_secs(7200);

/// A bucket without locks, for the other program.
const PLAIN: &str = "plain";

const RCLONE: &str = "rclone --config /root/rclone.conf --s3-no-check-bucket";

#[tokio::test]
async fn a_long_stream_takes_little_memory() -> Result<()> {
    let disk = tempfile::Builder::new().tempdir_in("/var/tmp")?;
    let options = RgwOptions { release: Release::V20, disk: Some(disk.path().into()), ..RgwOptions::default() };
    let streams = Streams::on(Site::with(options).await?, Engine::E26_1, PIECE, agent_binary()?)?;
    let host = &streams.host;
    let rounds = if full() { 230 } else { 8 };
    let source = format!("for n in $(seq {rounds}); do echo $n; cat {DATA}; done");
    let sum = host.sh(&format!("({source}) | sha256sum"))?;

    let network = through_the_network(&streams, &source)?;
    let (their_put, their_get) = by_rclone(&streams, &source, &sum).await?;

    let put = ["put", "long", "--expect", "40GB", "--json", "--", "sh", "-c", &source];
    let (stored, put) = limited(host, &[&["swarmdr-agent"], &put[..]].concat())?;
    let report: serde_json::Value = serde_json::from_str(&stored).context("it printed no JSON")?;
    let (size, peak) = (number(&report, "/size")?, number(&report, "/peak_memory")?);
    let get = ["swarmdr-agent", "get", "long", "--latest", "--identity", IDENTITY, "--", "sh", "-c"];
    let (_, get) = limited(host, &[&get[..], &["sha256sum > /run/sum"]].concat())?;
    ensure!(host.read_file("/run/sum")?.trim() == sum.trim(), "another stream came back");

    let rate = |took: Duration| size as f64 / took.as_secs_f64() / 1e6;
    println!("\n| {:.1} GB, at most {MEMORY} | put, MB/s | get, MB/s |\n|---|---:|---:|", size as f64 / 1e9);
    println!("| swarmdr-agent, peak of {:.0} MB | {:.0} | {:.0} |", peak as f64 / 1e6, rate(put), rate(get));
    println!("| rclone rcat, rclone cat | {:.0} | {:.0} |", rate(their_put), rate(their_get));
    println!("| a TCP connection to the same address, nothing stored | {:.0} | |\n", rate(network));
    Ok(())
}

/// Runs a command on the host with little memory, and returns its output and how long it took.
fn limited(host: &Host, command: &[&str]) -> Result<(String, Duration)> {
    let memory = format!("MemoryMax={MEMORY}");
    let bounds = ["systemd-run", "--quiet", "--wait", "--pipe", "-p", &memory, "-p", "MemorySwapMax=0"];
    let begun = Instant::now();
    let output = host.spawn(&[&bounds[..], command].concat())?.wait(LIMIT)?;
    ensure!(output.status.success(), "{command:?}: {}{}", output.stdout, output.stderr);
    Ok((output.stdout, begun.elapsed()))
}

/// Sends the stream to somebody who throws it away where the object store is.
fn through_the_network(streams: &Streams, source: &str) -> Result<Duration> {
    let lab = &streams.site.lab;
    let listener = lab.netns().within(|| TcpListener::bind((lab.gateway_ip(), 0)))??;
    let to = listener.local_addr()?;
    let drain = thread::spawn(move || io::copy(&mut listener.accept()?.0, &mut io::sink()));
    let (_, took) =
        limited(&streams.host, &["bash", "-c", &format!("({source}) >/dev/tcp/{}/{}", to.ip(), to.port())])?;
    drain.join().map_err(|_| anyhow!("the receiver panicked"))??;
    Ok(took)
}

/// Stores the stream with rclone, which neither signs nor encrypts nor locks it, reads it again, and removes it.
async fn by_rclone(streams: &Streams, source: &str, sum: &str) -> Result<(Duration, Duration)> {
    let (site, host) = (&streams.site, &streams.host);
    let bucket = site.rgw.create_bucket(PLAIN, Lock::Off).await?;
    fs::copy("/usr/bin/rclone", host.root()?.join("usr/local/bin/rclone")).context("package rclone")?;
    let user = site.rgw.owner();
    host.write_file(
        "/root/rclone.conf",
        format!(
            "[s3]\ntype = s3\nprovider = Ceph\nendpoint = {}\naccess_key_id = {}\nsecret_access_key = {}\n",
            site.rgw.endpoint(),
            user.access_key,
            user.secret_key
        ),
    )?;
    let parts = "--s3-chunk-size 16M --s3-upload-concurrency 3";
    let (_, put) = limited(host, &["sh", "-c", &format!("({source}) | {RCLONE} {parts} rcat s3:{PLAIN}/long")])?;
    let (_, get) = limited(host, &["sh", "-c", &format!("{RCLONE} cat s3:{PLAIN}/long | sha256sum >/run/sum")])?;
    ensure!(host.read_file("/run/sum")?.trim() == sum.trim(), "another stream came back from rclone");
    bucket.delete_version("long", "null").await?;
    site.rgw.collect_garbage()?;
    Ok((put, get))
}
