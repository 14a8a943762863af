//! What was put is what is got, in every way of putting it and getting it.

use anyhow::{Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::generations,
    lab::Engine,
    scenario::{IDENTITY, agent, number, text},
};

use super::site::{DATA, Streams, kept, require};

#[tokio::test]
async fn a_stream_comes_back_as_it_was() -> Result<()> {
    for engine in generations() {
        comes_back(*engine).await?;
    }
    Ok(())
}

async fn comes_back(engine: Engine) -> Result<()> {
    let streams = Streams::new(engine, 96).await?;
    let host = &streams.host;
    // More than one part of an upload.
    let put = agent(host, &["put", "files", "--json", "--", "cat", DATA])?;
    require(&put, 0, &[])?;
    let report: Value = serde_json::from_str(&put.stdout)?;
    ensure!(text(&report, "/sha256")? == streams.sum()?, "{report:#}");
    ensure!(number(&report, "/size")? == 96 << 20 && number(&report, "/sequence")? == 1, "{report:#}");
    ensure!(report["exit_status"] == 0 && report["cluster"] == streams.cluster.as_str(), "{report:#}");
    ensure!(kept(&report)?["lock"]["mode"] == "COMPLIANCE", "{report:#}");
    ensure!(streams.sum_of("files")? == streams.sum()?, "another stream came back");

    // The next one follows it, and the one before can still be had.
    let first = text(&report, "/id")?.to_owned();
    let put = host.run_with_input(
        &["swarmdr-agent", "put", "files", "--stdin", "--expect-tail", "-- all of it", "--json"],
        b"two\n-- all of it\n",
    )?;
    require(&put, 0, &["\"sequence\": 2"])?;
    let got = agent(host, &["get", "files", "--latest", "--identity", IDENTITY])?;
    require(&got, 0, &[])?;
    ensure!(got.stdout == "two\n-- all of it\n", "standard output is the stream and nothing else: {}", got.stdout);
    let script = "sha256sum | cut -d' ' -f1 > /run/first";
    let got = agent(host, &["get", "files", &first, "--identity", IDENTITY, "--", "sh", "-c", script])?;
    require(&got, 0, &[])?;
    ensure!(host.read_file("/run/first")? == streams.sum()?, "the older one is another");

    // An empty stream is one, and is reported.
    let empty = agent(host, &["put", "empty", "--", "true"])?;
    require(&empty, 6, &["wrote nothing"])?;
    require(&streams.get("empty", "cat > /run/empty")?, 0, &[])?;
    ensure!(host.read_file("/run/empty")?.is_empty(), "an empty stream came back with something in it");
    // Without an identity nothing is started.
    let sealed = agent(host, &["get", "files", "--latest", "--", "touch", "/run/started"])?;
    require(&sealed, 2, &["--identity"])?;
    host.sh("! test -e /run/started")?;
    let none = agent(host, &["get", "nothing", "--latest", "--identity", IDENTITY])?;
    require(&none, 5, &["nothing"])?;
    Ok(())
}

#[tokio::test]
async fn a_stream_that_shrank_is_stored_and_reported() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 2).await?;
    let host = &streams.host;
    require(&agent(host, &["put", "db", "--", "cat", DATA])?, 0, &[])?;
    let half = ["put", "db", "--max-shrink", "50%", "--", "head", "-c", "1000000", DATA];
    require(&agent(host, &half)?, 6, &["shrank by more than 50 %"])?;
    let small = ["put", "db", "--min-size", "2MB", "--", "head", "-c", "1000000", DATA];
    require(&agent(host, &small)?, 6, &["less than the 2000000"])?;
    ensure!(streams.stored().await?.len() == 3, "each of them is stored");
    Ok(())
}

#[tokio::test]
async fn two_vaults_get_one_stream_and_one_of_them_is_enough() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 20).await?;
    let host = &streams.host;
    let both = streams.site.config("s3://vault/prod") + "\n[[vault]]\nurl = \"file:///srv/vault\"\n";
    streams.site.configure(host, &both)?;
    host.sh("mkdir -p /srv/vault")?;
    require(&agent(host, &["put", "db", "--", "cat", DATA])?, 0, &[])?;
    let stored = streams.stored().await?;
    let [version] = stored.as_slice() else { anyhow::bail!("there is not one: {stored:?}") };
    let path = version.key.strip_prefix("prod/").unwrap_or_default();
    let in_bucket = streams.site.owner.get(&version.key, None).await?;
    let on_disk = host.sh(&format!("sha256sum < /srv/vault/{path} | cut -d' ' -f1"))?;
    ensure!(on_disk == swarmdr_archive::Digest::of(&in_bucket).to_string(), "the vaults have different streams");

    streams.site.rgw.kill_gateway()?;
    let away = agent(host, &["put", "db", "--", "cat", DATA])?;
    require(&away, 6, &["does not have the stream"])?;
    let any =
        ["get", "db", "--latest", "--any-vault", "--identity", IDENTITY, "--", "sh", "-c", "sha256sum > /run/sum"];
    ensure!(matches!(agent(host, &any)?.status.code(), Some(0 | 6)), "one vault is enough");
    ensure!(host.read_file("/run/sum")?.starts_with(&streams.sum()?), "another stream came back");
    Ok(())
}
