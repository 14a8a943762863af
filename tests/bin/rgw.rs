//! Starts one gateway for use by hand, prints its address and keys as variables of a shell, and keeps running.
//!
//! `cargo run -p swarmdr-tests --bin rgw -- --release 20 --bucket vault`

use std::{
    fs::{self, File},
    io::{Read, stdin},
    net::Ipv4Addr,
    os::unix::fs::FileTypeExt,
    path::PathBuf,
};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use swarmdr_tests::s3::{Identity, Lock, Release, Rgw, RgwOptions};

/// Start a Ceph gateway with Object Lock and stay until standard input (a pipe or a terminal) ends, or until killed.
#[derive(Debug, Parser)]
struct Args {
    /// Which server.
    #[arg(long, value_enum, default_value = "20")]
    release: Choice,
    /// Address of the network namespace to listen on [default: a loopback address of its own]
    #[arg(long)]
    listen: Option<Ipv4Addr>,
    /// Network namespace to run in, as in /run/netns/NAME
    #[arg(long)]
    netns: Option<PathBuf>,
    /// Serve HTTPS and write the certificate of its authority to this file
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// Create this bucket with Object Lock, for writer and reader
    #[arg(long)]
    bucket: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Choice {
    /// Ceph 20, which keeps its promises
    #[value(name = "20")]
    V20,
    /// Ceph 16, which drops without an error what it does not know
    #[value(name = "old")]
    Old,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let release = match args.release {
        Choice::V20 => Release::V20,
        Choice::Old => Release::Old,
    };
    let options = RgwOptions { release, listen: args.listen, netns: args.netns, tls: args.tls.is_some(), disk: None };
    let rgw = Rgw::start(options)?;
    if let (Some(path), Some(pem)) = (&args.tls, rgw.authority()) {
        fs::write(path, pem).with_context(|| format!("failed to write {}", path.display()))?;
        println!("AWS_CA_BUNDLE={}", path.display());
    }
    println!("AWS_ENDPOINT_URL={}", rgw.endpoint());
    println!("AWS_REGION=us-east-1");
    print_key("", &rgw.writer()?);
    print_key("READER_", &rgw.reader()?);
    print_key("OWNER_", rgw.owner());
    if let Some(name) = &args.bucket {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(rgw.create_bucket(name, Lock::On))?;
        println!("BUCKET={name}");
    }
    println!("READY=1");
    stay()
}

/// Prints a key. The writer's has the names that every S3 tool reads; the others have a prefix.
fn print_key(prefix: &str, identity: &Identity) {
    println!("{prefix}AWS_ACCESS_KEY_ID={}", identity.access_key);
    println!("{prefix}AWS_SECRET_ACCESS_KEY={}", identity.secret_key);
}

/// Waits until standard input ends. A shell gives its background jobs `/dev/null`, whose end means nothing; then only a
/// signal ends this process.
fn stay() -> Result<()> {
    let input = fs::metadata("/proc/self/fd/0").context("failed to look at standard input")?;
    let null = input.file_type().is_char_device() && File::open("/proc/self/fd/0")?.read(&mut [0])? == 0;
    if null {
        loop {
            std::thread::park();
        }
    }
    std::io::copy(&mut stdin(), &mut std::io::sink())?;
    Ok(())
}
