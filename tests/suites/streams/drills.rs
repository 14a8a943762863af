//! Drills of streams: the newest one goes through a command, and hooks, the journal, `status` and metrics tell how that ended.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    lab::{Engine, Host},
    scenario::{IDENTITY, agent, agent_json, journal_entry},
};

use super::site::{DATA, Streams, require};

const HOOKS: &str = "/etc/swarmdr/hooks.d";

/// Message id of the entry for a stream that no drill proved, as in the shipped catalog.
const NOT_PROVEN: &str = "58a3d0c7f91e4b26a4e8c2f6b7d01935";

const DRILL: [&str; 4] = ["drill", "--streams", "--identity", IDENTITY];

#[tokio::test]
async fn a_stream_is_drilled_and_the_outcome_is_told() -> Result<()> {
    let streams = Streams::new(Engine::E26_1, 20).await?;
    let (site, host) = (&streams.site, &streams.host);
    host.sh(&format!("mkdir -p /srv/vault {HOOKS}"))?;
    let note = "env | grep ^SWARMDR_HOOK_ | sort >> /run/told; echo >> /run/told";
    for name in ["pre-drill", "post-drill", "failed-drill"] {
        host.write_file(&format!("{HOOKS}/{name}"), format!("#!/bin/sh\n{note}\n"))?;
        host.sh(&format!("chmod 755 {HOOKS}/{name}"))?;
    }
    let drills = |script: &str| {
        let stream = "[[stream]]\nname = \"db\"\ncommand = [\"true\"]\n";
        let drill = format!("drill = [\"sh\", \"-c\", '''{script}''']\ndrill_timeout = 3\n");
        site.configure(host, &format!("{}\n{stream}{drill}", site.directory_config()))
    };
    site.configure(host, &site.directory_config())?;
    require(&agent(host, &DRILL)?, 3, &["no stream of the configuration has a `drill`"])?;
    require(&agent(host, &["put", "db", "--", "cat", DATA])?, 0, &[])?;

    drills("cat > /run/got; echo 42 rows; echo $SWARMDR_STREAM $SWARMDR_STREAM_ID > /run/which")?;
    let report = agent_json(host, 0, &DRILL)?;
    ensure!(report["streams"]["good"][0]["name"] == "db", "{report:#}");
    host.sh(&format!("cmp /run/got {DATA}; grep -q '^db 2' /run/which"))?;
    let told = host.read_file("/run/told")?;
    let blocks: Vec<&str> = told.split("\n\n").collect();
    let [before, after] = blocks.as_slice() else { anyhow::bail!("there are not two hooks: {told}") };
    ensure!(before.contains("NAME=pre-drill") && before.contains("STREAM=db"), "{told}");
    ensure!(after.contains("NAME=post-drill") && after.contains("RESULT=done"), "{told}");
    told_by_status(host, true)?;
    // With the newest backup the streams are drilled too, also if there is no backup.
    host.sh("rm /run/got")?;
    require(&agent(host, &["drill", "--latest", "--identity", IDENTITY])?, 5, &["stream db"])?;
    host.sh(&format!("cmp /run/got {DATA}"))?;

    drills("cat > /dev/null; exit 7")?;
    let words = [&["systemd-run", "--wait", "--quiet", "--unit=by-hand", "swarmdr-agent"][..], &DRILL].concat();
    ensure!(host.run(&words)?.status.code() == Some(1), "the drill did not fail");
    let entry = journal_entry(host, NOT_PROVEN)?;
    ensure!(entry["STREAM"] == "db" && entry["VERB"] == "drill" && entry["RESULT"] == "failed", "{entry:#}");
    ensure!(host.read_file("/run/told")?.contains("NAME=failed-drill"), "no hook was told");
    told_by_status(host, false)?;
    for slow in ["exec sleep 4711", "cat > /dev/null; exec sleep 4711"] {
        drills(slow)?;
        require(&agent(host, &DRILL)?, 1, &["did not end within 3 s and was killed"])?;
        host.sh("! pgrep -f '[s]leep 4711'")?;
    }
    altered(host, drills)
}

fn told_by_status(host: &Host, proven: bool) -> Result<()> {
    // There is no backup.
    let status = agent_json(host, 5, &["status"])?;
    ensure!(status["streams"][0]["drill"]["proven"] == proven, "{status:#}");
    ensure!(status["reasons"].to_string().contains("failed its drill at") != proven, "{status:#}");
    let line = format!("swarmdr_stream_last_drill_good{{stream=\"db\"}} {}", u8::from(proven));
    let metrics = agent(host, &["status", "--prometheus"])?.stdout;
    ensure!(metrics.lines().any(|it| it == line), "`{line}` is not in:\n{metrics}");
    Ok(())
}

/// The command of a drill never takes a part of a stream for the whole.
fn altered(host: &Host, drills: impl Fn(&str) -> Result<()>) -> Result<()> {
    drills("cat > /run/got; touch /run/end")?;
    let path = host.sh("find /srv/vault -name '*.stream'")?;
    let size: u64 = host.sh(&format!("stat -c %s {path}"))?.parse()?;
    let at = size - (1 << 20);
    host.sh(&format!("dd if=/dev/urandom of={path} bs=1 count=16 seek={at} conv=notrunc status=none"))?;
    require(&agent(host, &DRILL)?, 1, &["chunk", "killed before it saw the end"])?;
    host.sh("! test -e /run/end")?;
    Ok(())
}
