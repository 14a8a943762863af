//! A restore is interrupted at each of its points, by a kill or a power cut; the next run brings the swarm back.

use std::{fmt::Write as _, time::Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign::seed,
    lab::Host,
    s3::Release,
    scenario::{Site, agent, agent_json, describe_swarm},
};

use super::{LIMIT, RESTORE, fresh, full, generations, hangs, reset, text, three_managers};

/// Point at which a restore is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// A failpoint of the agent, see its `faults`.
    At(&'static str),
    /// A point of the engine's force-new-cluster: right after it has written `docker-state.json`.
    InTheEngine,
}

impl Cut {
    fn words(self) -> &'static str {
        match self {
            Cut::At(point) => point.rsplit_once("hang@").map_or(point, |(_, point)| point),
            Cut::InTheEngine => "init, in the engine",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// `kill -9` of the agent.
    Kill,
    /// The host loses its power and boots again, the engine with it.
    PowerCut,
}

/// Each phase before it is written to the journal, and after that before it is done; then the undo.
const POINTS: [&str; 18] = [
    "hang@stop",
    "hang@stop-noted",
    "hang@aside",
    "hang@aside-noted",
    "hang@place",
    "hang@place-noted",
    "hang@start",
    "hang@start-noted",
    "hang@init",
    "hang@init-noted",
    "hang@confirm",
    "hang@confirm-noted",
    "hang@done",
    "hang@finished",
    "panic@init-noted,hang@undo-noted",
    "panic@init-noted,hang@undo-armed",
    "panic@init-noted,hang@undo-stopped",
    "panic@init-noted,hang@undone",
];

/// Returns all cases, or by default five of them: the two that matter most, and three that depend on
/// `SWARMDR_TEST_SEED`.
fn cuts() -> Vec<(Cut, How)> {
    let points = POINTS.map(Cut::At).into_iter().chain([Cut::InTheEngine]);
    let all: Vec<_> = points.flat_map(|cut| [(cut, How::Kill), (cut, How::PowerCut)]).collect();
    if full() {
        return all;
    }
    let seed = seed(1) as usize;
    let mut chosen = vec![(Cut::InTheEngine, How::PowerCut), (Cut::At("hang@place-noted"), How::PowerCut)];
    // 7 and the number of cases have no common factor: every case is chosen before one is chosen twice.
    chosen.extend((0..3).map(|n| all[(seed * 3 + n) * 7 % all.len()]));
    chosen
}

#[tokio::test]
async fn a_restore_that_was_cut_short_is_ended_by_the_next_run() -> Result<()> {
    let mut table = String::new();
    for engine in generations() {
        let site = Site::new(Release::V20).await?;
        let hosts = three_managers(&site, *engine)?;
        let before = describe_swarm(&hosts[0])?;
        agent_json(&hosts[0], 0, &["backup"])?;
        for host in hosts {
            host.destroy()?;
        }
        let mut host = fresh(&site, *engine)?;
        for (round, (cut, how)) in cuts().into_iter().enumerate() {
            // Every other host has a swarm of its own that a forced restore moves aside.
            let forced = round % 2 == 1;
            reset(&host, forced)?;
            let row = cut_short(&mut host, cut, how, forced, &before)
                .with_context(|| format!("{engine:?}, {how:?} at {cut:?}, over a swarm: {forced}\n{table}"))?;
            writeln!(table, "{:8} {row}", engine.version())?;
            println!("{:8} {row}", engine.version());
        }
    }
    println!("engine   cut, then: what the engine had, and what the next run did\n{table}");
    Ok(())
}

fn cut_short(host: &mut Host, cut: Cut, how: How, forced: bool, before: &[String]) -> Result<String> {
    let old = if forced { Some(describe_swarm(host)?) } else { None };
    let fault = match cut {
        Cut::At(point) => format!("SWARMDRTEST_FAULT={point}"),
        Cut::InTheEngine => "SWARMDRTEST_FAULT=".to_owned(),
    };
    let force: &[&str] = if forced { &["--force"] } else { &[] };
    let words = [&["env", &fault, "swarmdr-agent"][..], &RESTORE, force].concat();
    let mut running = host.spawn(&words)?;
    let state = host.var().join("lib/docker/swarm/docker-state.json");
    let aside = host.var().join("lib/docker");
    let at = Instant::now();
    match cut {
        Cut::At(_) => hangs(&mut running)?,
        Cut::InTheEngine => {
            // Polls as quickly as this machine can: the engine's next step is milliseconds away.
            let moved = |entry: std::io::Result<std::fs::DirEntry>| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("swarm.before"))
            };
            while !(state.exists() && std::fs::read_dir(&aside)?.any(moved)) {
                ensure!(at.elapsed() < LIMIT, "it never came so far: {}", running.stderr()?);
                std::hint::spin_loop();
            }
        }
    }
    match how {
        How::Kill => running.signal("KILL")?,
        How::PowerCut => host.kill()?,
    }
    drop(running);
    let had = match how {
        How::Kill => {
            let state = host.sh("systemctl is-active docker.service || true")?;
            let failsafe = "systemctl list-units --plain --no-legend --state=active 'swarmdr-failsafe-*.timer'";
            ensure!(
                state == "active" || !host.sh(failsafe)?.is_empty(),
                "the engine is {state}, and nothing starts it"
            );
            state
        }
        How::PowerCut => {
            // The engine starts by itself, on whatever state is there.
            host.boot()?;
            host.wait_engine()?;
            host.docker(&["info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.Error}}"])?
        }
    };
    nothing_was_wiped(host, old.is_some())?;
    let output = agent(host, &[&RESTORE[..], force, &["--json"]].concat())?;
    ensure!(output.status.success(), "the next run exited {:?}: {}", output.status.code(), output.stderr);
    ensure!(describe_swarm(host)? == before, "the swarm is another one: {:#?}", describe_swarm(host)?);
    let report: Value = serde_json::from_str(&output.stdout)?;
    // Once the journal is complete there is nothing to do; a forced run restores once more.
    let is_finished = matches!(cut, Cut::At("hang@finished"));
    let expected = if is_finished && !forced { "already-there" } else { "done" };
    ensure!(text(&report, "/result")? == expected, "{report:#}");
    if old.is_some() {
        let aside = text(&report, "/aside")?;
        host.sh(&format!("test -s {aside}/certificates/swarm-node.key && test -s {aside}/docker-state.json"))?;
    }
    let again = agent_json(host, 0, &RESTORE)?;
    ensure!(text(&again, "/result")? == "already-there", "{again:#}");
    let did = output.stderr.lines().find_map(|line| line.split_once("was cut short in phase ")).map(|(_, did)| did);
    let (cut, how) = (cut.words(), format!("{how:?}"));
    let over = if forced { "over a swarm" } else { "on a fresh host" };
    let (had, did) = (had.chars().take(34).collect::<String>(), did.unwrap_or("nothing was begun"));
    Ok(format!("{cut:24} {how:8} {over:15} {had:34} {did}"))
}

/// Checks that each state is whole in one place, whatever the moment of the cut.
fn nothing_was_wiped(host: &Host, had_swarm: bool) -> Result<()> {
    let whole = "find /var/lib/docker -maxdepth 4 -name swarm-node.key -size +0 -path '*/certificates/*' | wc -l";
    let states: usize = host.sh(whole)?.parse()?;
    let expected = 1 + usize::from(had_swarm);
    ensure!(
        states >= expected,
        "{states} whole states, not {expected}: {}",
        host.sh("ls -lR /var/lib/docker/swarm* /var/lib/docker/.swarmdr")?
    );
    Ok(())
}
