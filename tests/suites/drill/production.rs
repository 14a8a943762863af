//! A drill on a manager at work: production is the same before and after, and nothing of the rehearsed swarm runs.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::Host,
    s3::Release,
    scenario::{IDENTITY, Site, agent_json, journal_entry},
};

use super::{DRILL, manager, nothing_is_left, text};
use swarmdr_tests::lab::{Engine, HostSpec, addr};

const PRODUCTION: &str = include_str!("production.sh");

/// The entry of a drill that proved its backup, as the catalog that is shipped names it.
const DRILL_PROVEN: &str = "0dcec0ae01ed4efcb52a52c0bb415cf0";

/// A file outside of every container, in which a task leaves a mark when it starts.
const MARKS: &str = "/srv/marks";

#[tokio::test]
async fn production_notices_nothing_and_no_task_of_the_rehearsal_runs() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, Engine::E26_1)?;
    reach_out(&host)?;
    let backup = agent_json(&host, 0, &["backup"])?;
    host.wait_containers("marks", 1)?;
    host.wait_containers("port", 1)?;
    settle(&host)?;
    let (before, marks) = (host.sh(PRODUCTION)?, host.read_file(MARKS)?);

    let report = agent_json(&host, 0, &DRILL)?;
    println!(
        "drill of a fresh state: {} s in all, a working swarm after {} ms, {} MiB of memory; phases {}",
        report["seconds"],
        report["booted_ms"],
        report["peak_memory"].as_u64().unwrap_or(0) >> 20,
        report["phases"]
    );
    nothing_is_left(&host)?;
    let after = host.sh(PRODUCTION)?;
    ensure!(before == after, "production differs:\n{}", difference(&before, &after));
    ensure!(host.read_file(MARKS)? == marks, "a task of the rehearsed swarm ran on the host's own files");
    ensure!(report["outcome"] == "proven" && report["backup"] == backup["id"], "{report:#}");
    ensure!(report["items"] == "proven", "{report:#}");
    ensure!(report["seconds"].as_f64().is_some_and(|seconds| seconds < 60.0), "{report:#}");

    receipt_is_kept(&site, &host, text(&report, "/stored_as")?).await?;
    whoever_looks_sees_it(&host, text(&backup, "/id")?)?;
    each_of_a_range(&host)?;
    on_a_spare_host(&site)
}

/// Runs a drill on a host without a swarm or a signing key. Its engine is stopped and stays so: a request on its socket
/// would start it.
fn on_a_spare_host(site: &Site) -> Result<()> {
    let spare = site.lab.boot(HostSpec::new("spare", Engine::E28_5, addr(21)))?;
    site.set_up_restorer(&spare)?;
    spare.sh("systemctl stop docker.socket docker.service; systemctl start docker.socket")?;
    let report = agent_json(&spare, 0, &DRILL)?;
    ensure!(report["outcome"] == "proven" && report["not_stored"] == "this host has no signing key", "{report:#}");
    ensure!(spare.run(&["systemctl", "is-active", "docker.service"])?.stdout.trim() == "inactive");
    nothing_is_left(&spare)
}

/// Creates services that would be noticed: one writes to the host, the other listens on it and uses a volume.
fn reach_out(host: &Host) -> Result<()> {
    host.sh(&format!(
        "touch {MARKS}
        docker service create --detach --quiet --name marks --mount type=bind,source=/srv,target=/out \
            --network host lab/busybox:1 sh -c 'date +%s.%N >> /out/marks; exec sleep 100000'
        docker service create --detach --quiet --name port --publish mode=host,published=8099,target=80 \
            --mount type=volume,source=port-data,target=/data --endpoint-mode dnsrr lab/busybox:1 sleep 100000"
    ))?;
    Ok(())
}

/// Waits until production has come to rest after the backup, which stopped the engine.
fn settle(host: &Host) -> Result<()> {
    let mut last = String::new();
    host.wait_for("production to stand still", super::LIMIT, || {
        let seen = host.sh(PRODUCTION)?;
        let still = seen == last;
        last = seen;
        if !still {
            std::thread::sleep(std::time::Duration::from_secs(2));
        }
        Ok(still.then_some(()))
    })
}

fn difference(before: &str, after: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (before, after) = (lines(before), lines(after));
    let gone = before.difference(&after).map(|line| format!("- {line}"));
    gone.chain(after.difference(&before).map(|line| format!("+ {line}"))).collect::<Vec<_>>().join("\n")
}

/// Checks the receipt as an operator would, with stock tools, and checks that it is locked.
async fn receipt_is_kept(site: &Site, host: &Host, key: &str) -> Result<()> {
    let key = format!("prod/{key}");
    let stored = site.owner.versions(&key).await?;
    ensure!(stored.len() == 1, "{} versions", stored.len());
    let packed = site.owner.get(&key, None).await?;
    host.write_file("/root/receipt.tar", packed)?;
    let said = host.sh("cd /root; tar xf receipt.tar; cat receipt.json")?;
    ensure!(said.contains("\"outcome\": \"proven\""), "{said}");
    let lock = site.owner.retention(&key, &stored[0].id).await?;
    ensure!(lock.is_some(), "the receipt is not locked");
    Ok(())
}

fn whoever_looks_sees_it(host: &Host, id: &str) -> Result<()> {
    let listed = agent_json(host, 0, &["list"])?;
    let row = &listed["backups"][0];
    ensure!(row["id"] == id && row["drill"]["proven"] == true, "{listed:#}");
    let status = agent_json(host, 0, &["status"])?;
    ensure!(status["drills"]["proven"]["backup"] == id, "{status:#}");
    let page = host.run(&["swarmdr-agent", "status", "--prometheus"])?.stdout;
    ensure!(page.contains("swarmdr_last_drill_good 1"), "{page}");
    let entry = journal_entry(host, DRILL_PROVEN)?;
    ensure!(entry["VERB"] == "drill" && entry["BACKUP_ID"] == id, "{entry:#}");
    Ok(())
}

/// Checks a range of backups by drills: the oldest first, each with a line of its own.
fn each_of_a_range(host: &Host) -> Result<()> {
    let second = agent_json(host, 0, &["backup"])?;
    let summary = agent_json(host, 0, &["verify", "--boot", "--max-age", "1d", "--identity", IDENTITY])?;
    let drills = summary["drills"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(drills.len() == 2 && drills[1]["backup"] == second["id"], "{summary:#}");
    ensure!(drills.iter().all(|drill| drill["outcome"] == "proven"), "{summary:#}");
    nothing_is_left(host)
}
