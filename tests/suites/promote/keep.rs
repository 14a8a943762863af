//! What a standby keeps, and how it is sealed.

use anyhow::{Context, Result, ensure};
use swarmdr_tests::{
    campaign::{full, generations},
    lab::{Engine, Host},
    scenario::{IDENTITY, agent, agent_json, text},
};

use super::site::{Pair, SHELF, require_sealed, wait_gone};

#[tokio::test]
async fn the_newest_backup_is_kept_sealed_and_formed_beforehand() -> Result<()> {
    for engine in generations() {
        let pair = Pair::new(*engine, false).await?;
        let spare = &pair.spare;
        let planned = agent_json(spare, 0, &["standby", "--dry-run"])?;
        assert_eq!((text(&planned, "/result")?, text(&planned, "/backup")?), ("planned", pair.backup.as_str()));
        ensure!(spare.sh(&format!("ls -d {SHELF} 2>/dev/null || true"))?.is_empty(), "a dry run writes nothing");
        let kept = agent_json(spare, 0, &["standby"])?;
        println!("standby on {engine:?}: {}", kept["phases"]);
        assert_eq!((text(&kept, "/result")?, text(&kept, "/backup")?), ("kept", pair.backup.as_str()), "{kept:#}");
        text(&kept, "/formed/archive")?;
        assert_eq!(modes(spare)?, "600 600 600 600 600");
        require_sealed(spare)?;
        wait_gone(spare)?;
        let again = agent_json(spare, 0, &["standby"])?;
        assert_eq!(text(&again, "/result")?, "unchanged");
        repaired(spare)?;
        by_its_unit(spare)?;
        if *engine == Engine::E26_1 {
            killed(&pair)?;
            away(&pair)?;
        }
    }
    Ok(())
}

/// Returns the modes of what is kept: the key and its public half, two archives, and the record.
fn modes(spare: &Host) -> Result<String> {
    ensure!(spare.sh(&format!("stat -c %a {SHELF}"))? == "700");
    // The public half may be read.
    spare.sh(&format!("chmod 600 {SHELF}/seal.pub; stat -c %a {SHELF}/* | xargs"))
}

/// The unit that the package installs may do all of it.
fn by_its_unit(spare: &Host) -> Result<()> {
    const UNIT: &str = "swarmdr-standby.service";
    spare.sh(&format!("rm -rf {SHELF}; install -m 600 {IDENTITY} /etc/credstore.identity"))?;
    spare
        .write_file(&format!("/etc/systemd/system/{UNIT}"), include_str!("../../../systemd/swarmdr-standby.service"))?;
    // The home of root is hidden from it.
    let credential = "[Service]\nLoadCredential=swarmdr.identity:/etc/credstore.identity\n";
    spare.write_file(&format!("/etc/systemd/system/{UNIT}.d/identity.conf"), credential)?;
    spare
        .sh(&format!("systemctl daemon-reload; systemctl start {UNIT}"))
        .with_context(|| spare.journal(UNIT, 40).unwrap_or_default())?;
    let status = spare.sh(&format!("systemctl show --property=ExecMainStatus --value {UNIT}"))?;
    ensure!(status == "0", "{status}: {}", spare.journal(UNIT, 40)?);
    ensure!(spare.sh(&format!("ls {SHELF}"))?.contains(".formed."), "{}", spare.journal(UNIT, 40)?);
    spare.sh("rm /etc/credstore.identity").map(drop)
}

/// Files that were damaged or lost are made again.
fn repaired(spare: &Host) -> Result<()> {
    for (damage, result) in [
        (
            format!("printf x | dd of=$(ls {SHELF}/*.formed.swarmdr) bs=1 seek=9000 conv=notrunc status=none"),
            "completed",
        ),
        (format!("rm $(ls {SHELF}/*.formed.swarmdr)"), "completed"),
        (format!("truncate -s 3000 $(ls {SHELF}/*.swarmdr | grep -v formed)"), "kept"),
    ] {
        spare.sh(&damage)?;
        let report = agent_json(spare, 0, &["standby"])?;
        assert_eq!(text(&report, "/result")?, result, "{damage}: {report:#}");
        text(&report, "/formed/archive")?;
        assert_eq!(text(&agent_json(spare, 0, &["standby"])?, "/result")?, "unchanged");
    }
    Ok(())
}

/// Points of a run, all of them or those at which most lies in clear.
fn points() -> Vec<&'static str> {
    let all = [
        "standby-fetched",
        "in-clear",
        "standby-unpacked",
        "standby-formed",
        "standby-ended",
        "standby-sealed",
        "standby-record",
    ];
    let chosen = ["in-clear", "standby-formed", "standby-sealed"];
    all.into_iter().filter(|point| full() || chosen.contains(point)).collect()
}

/// A run that is killed anywhere leaves nothing in clear, and what was kept before.
fn killed(pair: &Pair) -> Result<()> {
    let spare = &pair.spare;
    for point in points() {
        spare.sh(&format!("rm -rf {SHELF}"))?;
        let fault = format!("SWARMDRTEST_FAULT=kill@{point}");
        let output = spare.run(&["env", &fault, "swarmdr-agent", "standby"])?;
        ensure!(output.stderr.contains(&format!("fault: kill at {point}")), "{point}: {}", output.stderr);
        wait_gone(spare)?;
        let is_swept_later = point == "in-clear";
        if !is_swept_later {
            require_sealed(spare)?;
        }
        let report = agent_json(spare, 0, &["standby"])?;
        ensure!(["kept", "completed"].contains(&text(&report, "/result")?), "{point}: {report:#}");
        require_sealed(spare)?;
        let left = spare.sh(&format!("ls {SHELF} | grep -c new || true"))?;
        assert_eq!(left, "0", "{point}");
    }
    Ok(())
}

/// A vault that does not answer costs nothing that is kept, and is told.
fn away(pair: &Pair) -> Result<()> {
    let spare = &pair.spare;
    let gateway = pair.site.lab.gateway_ip();
    spare.sh(&format!("ip route add prohibit {gateway}/32"))?;
    let report = agent_json(spare, 6, &["standby"])?;
    assert_eq!((text(&report, "/result")?, text(&report, "/backup")?), ("not-asked", pair.backup.as_str()));
    spare.sh(&format!("mv {SHELF} {SHELF}.away"))?;
    let output = agent(spare, &["standby"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    spare.sh(&format!("rm -rf {SHELF}; mv {SHELF}.away {SHELF}; ip route del prohibit {gateway}/32"))?;
    Ok(())
}
