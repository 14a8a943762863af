//! A recovery point: what belongs together in time, from the first dump to a fresh host that has all of it again.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Output, addr},
    scenario::{IDENTITY, VAULT, agent, agent_json, agent_with_faults, text},
};

use super::site::{Streams, require};

/// Two streams and another tool, with the commands that take the streams back.
const SHOP: &str = r#"
[[stream]]
name = "shop-db"
command = ["cat", "/srv/data"]
max_age = "26h"
restore = ["sh", "-c", "cat > '/srv/shop db'"]

[[stream]]
name = "orders"
command = ["seq", "200000"]
max_age = "26h"
restore = ["sh", "-c", "cat > /srv/orders"]

[[external]]
name = "uploads"
command = ["sh", "-c", "echo working; echo; echo snap-42"]
cron = "* * * * *"
max_age = "26h"
"#;

#[tokio::test]
async fn a_point_brings_the_state_and_the_data_back() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 8).await?;
    let (site, host) = (&streams.site, &streams.host);
    let cluster = &streams.cluster;
    let without = agent_json(host, 0, &["backup"])?;
    ensure!(without["point"].is_null(), "nobody without data gets a point: {without:#}");
    site.configure(host, &(site.config(VAULT) + SHOP))?;
    host.create_secret("db-password", b"correct horse battery staple")?;

    // The dump of one stream is of another year.
    agent_json(host, 0, &["put", "shop-db"])?;
    agent_json(host, 0, &["put", "--due"])?;
    let late = agent_json(host, 0, &["put", "orders", "--as-of", "2025-01-01"])?;
    ensure!(missing(&late)? == ["stream orders is older than 26h"], "{late:#}");
    let none = agent(host, &["restore", "--latest-complete", "--dry-run", "--identity", IDENTITY])?;
    require(&none, 5, &["no complete recovery point", "stream orders is older than 26h"])?;
    let told = agent(host, &["status"])?;
    require(&told, 6, &["is not complete: stream orders is older than 26h; no earlier one is complete", "  point  "])?;

    agent_json(host, 0, &["put", "orders"])?;
    let backup = agent_json(host, 0, &["backup"])?;
    let (point, state) = (text(&backup, "/point/id")?.to_owned(), text(&backup, "/id")?.to_owned());
    ensure!(backup["point"]["complete"] == true && missing(&backup)?.is_empty(), "{backup:#}");
    let listed = agent_json(host, 0, &["list", "--points"])?;
    let newest = listed.pointer("/points/0").context("there is a point")?;
    ensure!(newest["id"] == point.as_str() && newest["state"]["backup"] == state.as_str(), "{listed:#}");
    ensure!(newest["lock"]["mode"] == "COMPLIANCE" && newest["external"][0]["id"] == "snap-42", "{listed:#}");
    ensure!(newest["cluster_id"] == cluster.as_str() && newest["streams"][0]["name"] == "orders", "{listed:#}");
    require(&agent(host, &["list", "--points"])?, 0, &["apart", "NO: stream orders is older than 26h", "yes"])?;

    let status = agent_json(host, 0, &["status"])?;
    ensure!(status["points"]["newest"]["id"] == point.as_str(), "{status:#}");
    ensure!(status["points"]["newest_complete"]["complete"] == true, "{status:#}");
    let metrics = agent(host, &["status", "--prometheus"])?.stdout;
    ensure!(metrics.lines().any(|line| line == "swarmdr_newest_point_complete 1"), "{metrics}");

    // A tool that fails leaves nothing, and the point before stands.
    let failing = SHOP.replace("echo snap-42", "echo snap-43; exit 9");
    site.configure(host, &(site.config(VAULT) + &failing))?;
    require(&agent(host, &["put", "uploads"])?, 1, &["ended with exit status: 9"])?;
    let latest = agent_json(host, 0, &["list", "--points"])?;
    ensure!(latest["points"][0]["id"] == point.as_str(), "{latest:#}");

    let (data, orders) = (streams.sum()?, host.sh("seq 200000 | sha256sum | cut -d' ' -f1")?);
    come_back(streams, &point, &state, [("/srv/shop db", data), ("/srv/orders", orders)]).await
}

/// Loses the host, and brings all of the point back on a fresh one, by what the agent prints there.
async fn come_back(streams: Streams, point: &str, state: &str, sums: [(&str, String); 2]) -> Result<()> {
    let Streams { site, host, cluster } = streams;
    host.destroy()?;
    let fresh = site.lab.boot(HostSpec::new("fresh", Engine::E26_1, addr(11)))?;
    site.set_up_restorer(&fresh)?;
    fresh.install(&agent_with_faults()?)?;
    site.configure(&fresh, &(site.config(VAULT) + SHOP))?;
    fresh.sh("mkdir -p /srv")?;
    let dry = ["restore", "--point", point, "--dry-run", "--identity", IDENTITY];
    require(&agent(&fresh, &dry)?, 0, &["only the application knows", "snap-42"])?;

    let restore = ["restore", "--latest-complete", "--identity", IDENTITY];
    let report = agent_json(&fresh, 0, &restore)?;
    ensure!(report["id"] == state && report["point"]["id"] == point, "{report:#}");
    ensure!(report["point"]["complete"] == true && report["point"]["seconds_apart"].is_u64(), "{report:#}");
    let steps = report["point"]["steps"].as_array().context("there are steps")?;
    let names: Vec<&str> = steps.iter().filter_map(|step| step["name"].as_str()).collect();
    ensure!(names == ["shop-db", "orders", "uploads"], "in the order of the configuration: {names:?}");
    ensure!(fresh.docker(&["info", "--format", "{{.Swarm.Cluster.ID}}"])? == cluster, "another swarm is back");
    ensure!(fresh.docker(&["secret", "ls", "--format", "{{.Name}}"])? == "db-password", "the state is not back");
    for step in steps.iter().filter(|step| step["kind"] == "stream") {
        fresh.sh(text(step, "/run")?)?;
    }
    for (path, sum) in sums {
        ensure!(sum_of(&fresh, path)? == sum, "{path} is not what was stored");
    }
    ensure!(steps[2]["kind"] == "external" && steps[2]["id"] == "snap-42", "{report:#}");

    // Run again at the next boot, it changes nothing, and says the same lines; and each stream can be had by the point.
    let again = agent_json(&fresh, 0, &restore)?;
    ensure!(again["result"] == "already-there" && again["point"]["steps"] == report["point"]["steps"], "{again:#}");
    let got = get(&fresh, "orders", point)?;
    require(&got, 0, &[])?;
    ensure!(sum_of(&fresh, "/srv/again")? == sum_of(&fresh, "/srv/orders")?, "another stream came back");
    require(&get(&fresh, "nothing", point)?, 5, &["has no stream nothing", "orders, shop-db"])?;
    Ok(())
}

fn get(host: &Host, name: &str, point: &str) -> Result<Output> {
    let script = "cat > /srv/again";
    agent(host, &["get", name, "--point", point, "--identity", IDENTITY, "--", "sh", "-c", script])
}

fn sum_of(host: &Host, path: &str) -> Result<String> {
    host.sh(&format!("sha256sum < '{path}' | cut -d' ' -f1"))
}

/// Returns why the point of a report is not complete.
fn missing(report: &Value) -> Result<Vec<&str>> {
    let missing = report.pointer("/point/missing").and_then(Value::as_array);
    let missing = missing.with_context(|| format!("there is no point in {report:#}"))?;
    Ok(missing.iter().filter_map(Value::as_str).collect())
}

/// The first test of this file is about one vault; with two, what one lacks is in the other.
#[tokio::test]
async fn a_vault_that_is_away_costs_no_stream_its_point() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 1).await?;
    let host = &streams.host;
    let both = streams.site.config(VAULT) + "\n[[vault]]\nurl = \"file:///srv/vault\"\n";
    let both = both + "\n[[stream]]\nname = \"db\"\ncommand = [\"cat\", \"/srv/data\"]\n";
    streams.site.configure(host, &both)?;
    host.sh("mkdir -p /srv/vault")?;
    let put = agent_json(host, 0, &["put", "db"])?;
    ensure!(put["point"]["kept"].as_array().is_some_and(|kept| kept.len() == 2), "{put:#}");
    let key = format!("prod/points/{}/{}.point", streams.cluster, text(&put, "/point/id")?);
    let in_bucket = streams.site.owner.get(&key, None).await?;
    let path = key.strip_prefix("prod/").unwrap_or_default();
    let on_disk = host.sh(&format!("sha256sum < /srv/vault/{path} | cut -d' ' -f1"))?;
    ensure!(on_disk == swarmdr_archive::Digest::of(&in_bucket).to_string(), "the vaults have different points");
    streams.site.rgw.kill_gateway()?;
    let away = agent_json(host, 6, &["put", "db"])?;
    ensure!(away["point"]["kept"] == serde_json::json!(["file:///srv/vault"]), "{away:#}");
    let told = away["attention"].to_string();
    ensure!(told.contains("does not have the stream") && !told.contains("recovery point"), "told once: {away:#}");
    let listed = agent_json(host, 6, &["list", "--points"])?;
    ensure!(listed["silent"].as_array().is_some_and(|silent| silent.len() == 1), "{listed:#}");
    a_vault_that_comes_back_gets_the_backup_and_a_point(&streams, &both)
}

/// What waited in the spool is named by a point of the vault that has it now, whether or not a backup is due.
fn a_vault_that_comes_back_gets_the_backup_and_a_point(streams: &Streams, both: &str) -> Result<()> {
    let host = &streams.host;
    let optional = both.replacen("[[vault]]", "[[vault]]\nrequired = false", 1);
    streams.site.configure(host, &(optional.clone() + "\n[schedule]\ncron = \"0 0 1 1 *\"\n"))?;
    let made = agent_json(host, 6, &["backup"])?;
    ensure!(made["point"]["kept"] == serde_json::json!(["file:///srv/vault"]), "{made:#}");
    streams.site.rgw.restart_gateway()?;
    let sent = agent_json(host, 0, &["backup", "--if-due"])?;
    ensure!(sent["sent"][0]["id"] == made["id"] && sent["point"]["complete"] == true, "{sent:#}");
    ensure!(sent["point"]["kept"].as_array().is_some_and(|kept| kept.len() == 2), "{sent:#}");
    let listed = agent_json(host, 0, &["list", "--points"])?;
    let rows = listed["points"].as_array().context("there are points")?;
    let of_bucket = rows.iter().find(|row| row["vault"] == VAULT).context("the bucket has one")?;
    ensure!(of_bucket["id"] == sent["point"]["id"] && of_bucket["state"]["backup"] == made["id"], "{listed:#}");
    // Once is enough.
    require(&agent(host, &["backup", "--if-due"])?, 3, &[])
}
