//! A worker that stores streams and nothing else: its key counts on nothing else, and its credentials store nothing else.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    aws::put_user_policy,
    lab::{Engine, HostSpec, addr},
    packages::checkout,
    scenario::{IDENTITY, VAULT, agent, agent_json, agent_with_faults, text},
};

use super::site::{Streams, require};

const STREAM: &str = "[[stream]]\nname = \"db\"\ncommand = [\"seq\", \"9000\"]\nmax_age = \"26h\"\n";

#[tokio::test]
async fn a_worker_stores_streams_and_its_key_counts_on_nothing_else() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 1).await?;
    let (site, host) = (&streams.site, &streams.host);
    let worker = site.lab.boot(HostSpec::new("w1", Engine::E26_1, addr(12)))?;
    worker.install(&agent_with_faults()?)?;
    let identity = site.rgw.user("worker")?;
    let policy = fs::read_to_string(checkout().join("packaging/aws/policy-streams.json"))?.replace("BUCKET", "vault");
    let authority = tempfile::NamedTempFile::new()?;
    let endpoint = format!("http://{}", site.rgw.reach());
    put_user_policy(&endpoint, authority.path(), site.rgw.owner(), "worker", &policy)?;
    site.write_credentials_of(&worker, &identity)?;

    let made = agent_json(&worker, 0, &["keygen"])?;
    let key = text(&made, "/public")?;
    let config = site.config(VAULT) + STREAM;
    let narrow = config.replacen("\"]\n\n", &format!("\", {{ key = \"{key}\", only = \"streams\" }}]\n\n"), 1);
    ensure!(narrow.contains("only"), "the configuration has another form: {narrow}");
    for it in [host, &worker] {
        site.configure(it, &narrow)?;
    }

    // The worker stores the stream, and leaves the point to the managers.
    let put = agent_json(&worker, 0, &["put", "db", "--cluster", &streams.cluster])?;
    ensure!(put["point"].is_null() && text(&put, "/result")? == "done", "{put:#}");
    let backup = agent_json(host, 0, &["backup"])?;
    ensure!(backup["point"]["complete"] == true, "{backup:#}");
    let listed = agent_json(host, 0, &["list", "--points"])?;
    ensure!(listed["points"][0]["streams"][0]["id"] == put["id"], "{listed:#}");
    require(&agent(host, &["verify", "--streams", "--identity", IDENTITY])?, 0, &["db", "good"])?;
    let get = ["get", "db", "--point", "latest-complete", "--identity", IDENTITY, "--", "sh", "-c", "cat > /run/got"];
    require(&agent(host, &get)?, 0, &[])?;
    host.sh("seq 9000 | cmp - /run/got")?;
    let again = agent_json(&worker, 0, &["put", "db", "--cluster", &streams.cluster])?;
    ensure!(again["sequence"] == 2, "it follows its own: {again:#}");

    // A backup that the same key signed is none.
    let own = backed_up_by(&backup)?;
    let swapped = narrow.replacen(&own, "OWN", 1).replacen(key, &own, 1).replacen("OWN", key, 1);
    site.configure(host, &swapped)?;
    let dry = ["restore", "--latest", "--dry-run", "--force", "--identity", IDENTITY];
    require(&agent(host, &dry)?, 5, &["is not trusted"])?;
    require(&agent(host, &["restore", "--latest-complete", "--dry-run", "--identity", IDENTITY])?, 5, &[])?;
    require(&agent(host, &["backup"])?, 2, &["is trusted for streams only"])?;
    require(&agent(host, &["put", "db"])?, 0, &[])?;
    // The operator who names it has decided.
    let named = [&dry[..], &["--trust", &own]].concat();
    let trusted = agent(host, &named)?;
    ensure!(trusted.status.code() != Some(5), "{}{}", trusted.stdout, trusted.stderr);
    Ok(())
}

/// The key that signed a backup, as its report names it.
fn backed_up_by(report: &Value) -> Result<String> {
    Ok(report.pointer("/signing_key/public").and_then(Value::as_str).context("the report names the key")?.to_owned())
}
