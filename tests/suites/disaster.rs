//! The bad day: restores that are cut short, repeated, late, locked or expired.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::lab::{Engine, Host, HostSpec, Role, addr, wait_for};
use swarmdr_tests::s3::Release;
use swarmdr_tests::scenario::{IDENTITY, Site, agent, agent_json, describe_swarm};

const RESTORE: [&str; 4] = ["restore", "--latest", "--identity", IDENTITY];

/// A restore of a small state takes seconds, on a machine that does nothing else.
const LIMIT: Duration = Duration::from_secs(180);

/// The whole campaign, or its seeded part.
fn full() -> bool {
    std::env::var_os("SWARMDR_TEST_FULL").is_some()
}

/// Engines that a campaign runs on.
fn engines() -> &'static [Engine] {
    if full() { &Engine::ALL } else { &[Engine::E26_1] }
}

/// Three managers with something to lose; the first one backs up.
fn three_managers(site: &Site, engine: Engine) -> Result<[Host; 3]> {
    let spec = |n: u8| HostSpec::new(&format!("m{n}"), engine, addr(10 + n));
    let hosts = site.lab.boot_all([spec(1), spec(2), spec(3)])?;
    hosts[0].swarm_init()?;
    fill(&hosts[0])?;
    for host in &hosts[1..] {
        host.join(&hosts[0], Role::Manager)?;
    }
    site.set_up_manager(&hosts[0])?;
    Ok(hosts)
}

fn fill(host: &Host) -> Result<()> {
    host.create_overlay("backend")?;
    host.create_secret("db-password", b"correct horse battery staple")?;
    host.create_config("site.conf", b"listen 80;")
}

fn fresh(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("fresh", engine, addr(11)))?;
    site.set_up_restorer(&host)?;
    Ok(host)
}

fn text<'a>(document: &'a Value, pointer: &str) -> Result<&'a str> {
    let value = document.pointer(pointer).and_then(Value::as_str);
    value.with_context(|| format!("there is no text at {pointer} in {document:#}"))
}

/// Where a restore is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// At a point of the agent, through its `SWARMDR_FAULT`.
    At(&'static str),
    /// While the engine is at force-new-cluster: right when it has written `docker-state.json`.
    InTheEngine,
}

impl Cut {
    fn words(self) -> &'static str {
        match self {
            Cut::At(point) => point.rsplit_once("restore.").map_or(point, |(_, point)| point).trim_end_matches("=hang"),
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

/// Each phase before it is written down, and after that before it is done; then the way back.
const POINTS: [&str; 15] = [
    "restore.before-stop=hang",
    "restore.stop=hang",
    "restore.before-aside=hang",
    "restore.aside=hang",
    "restore.before-place=hang",
    "restore.place=hang",
    "restore.before-start=hang",
    "restore.start=hang",
    "restore.before-init=hang",
    "restore.init=hang",
    "restore.before-confirm=hang",
    "restore.confirm=hang",
    "restore.before-done=hang",
    "restore.init=error,restore.undo=hang",
    "restore.init=error,restore.undone=hang",
];

/// A sixth of them by default, other ones for each `SWARMDR_TEST_SEED`; never without the two that matter most.
fn cuts() -> Vec<(Cut, How)> {
    let points = POINTS.map(Cut::At).into_iter().chain([Cut::InTheEngine]);
    let all: Vec<_> = points.flat_map(|cut| [(cut, How::Kill), (cut, How::PowerCut)]).collect();
    if full() {
        return all;
    }
    let seed = std::env::var("SWARMDR_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_usize);
    println!("seed {seed}");
    let mut chosen = vec![(Cut::InTheEngine, How::PowerCut), (Cut::At("restore.place=hang"), How::PowerCut)];
    // 7 and 32 have no common factor: every choice comes before one comes twice.
    chosen.extend((0..5).map(|n| all[(seed * 5 + n) * 7 % all.len()]));
    chosen
}

#[tokio::test]
async fn a_restore_that_was_cut_short_is_ended_by_the_next_run() -> Result<()> {
    let mut table = String::new();
    for engine in engines() {
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

/// Empties the host again, and makes a swarm on it that is not to be lost.
fn reset(host: &Host, with_swarm: bool) -> Result<()> {
    host.sh("systemctl stop docker.socket docker.service; systemctl reset-failed docker.service
         rm -rf /var/lib/docker/swarm* /var/lib/docker/.swarmdr
         systemctl start docker.socket docker.service")?;
    host.wait_engine()?;
    if with_swarm {
        host.swarm_init()?;
        host.create_secret("of-the-old-swarm", b"x")?;
    }
    Ok(())
}

fn cut_short(host: &mut Host, cut: Cut, how: How, forced: bool, before: &[String]) -> Result<String> {
    let old = if forced { Some(describe_swarm(host)?) } else { None };
    let fault = match cut {
        Cut::At(point) => format!("SWARMDR_FAULT={point}"),
        Cut::InTheEngine => "SWARMDR_FAULT=none=hang".to_owned(),
    };
    let force: &[&str] = if forced { &["--force"] } else { &[] };
    let words = [&["env", &fault, "swarmdr-agent"][..], &RESTORE, force].concat();
    let mut running = host.spawn(&words)?;
    let state = host.var().join("lib/docker/swarm/docker-state.json");
    let aside = host.var().join("lib/docker");
    let at = Instant::now();
    match cut {
        Cut::At(_) => wait_for("the agent to hang", LIMIT, || {
            ensure!(running.finished()?.is_none(), "it ended: {}", running.stderr()?);
            Ok(running.stderr()?.contains("hang at").then_some(()))
        })?,
        Cut::InTheEngine => {
            // As quickly as this machine can: the engine's next step is milliseconds away.
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
        How::Kill => host.sh("systemctl is-active docker.service || true")?,
        How::PowerCut => {
            // What an engine that starts by itself makes of what lies there.
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
    ensure!(text(&report, "/result")? == "done", "{report:#}");
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

/// Whatever the instant, each state is whole in one place.
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

#[tokio::test]
async fn a_restore_that_is_repeated_changes_nothing_and_rolls_nothing_back() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.swarm_init()?;
    fill(&host)?;
    site.set_up_manager(&host)?;
    let oldest = agent_json(&host, 0, &["backup"])?;
    host.create_secret("second", b"2")?;
    let newest = agent_json(&host, 0, &["backup"])?;
    let before = describe_swarm(&host)?;
    host.destroy()?;

    let mut host = fresh(&site, Engine::E26_1)?;
    agent_json(&host, 0, &RESTORE)?;
    host.create_secret("a-day-of-work", b"3")?;
    let after = describe_swarm(&host)?;
    assert_ne!(after, before);
    let same = ["restore", text(&newest, "/id")?, "--identity", IDENTITY];
    let older = ["restore", text(&oldest, "/id")?, "--identity", IDENTITY];
    // User-data runs again at a reboot, whichever way it names the backup.
    host.reboot()?;
    host.wait_manager()?;
    for again in [&RESTORE[..], &same[..]] {
        let report = agent_json(&host, 0, again)?;
        assert_eq!(text(&report, "/result")?, "already-there");
    }
    let refused = agent_json(&host, 4, &older)?;
    assert!(text(&refused, "/error")?.contains("has moved on since"), "{refused:#}");
    assert!(refused["to_do"].to_string().contains("--force"), "{refused:#}");
    assert_eq!(describe_swarm(&host)?, after);

    // The newest backup is now one that the healed swarm made itself.
    site.set_up_manager(&host)?;
    let own = agent_json(&host, 0, &["backup"])?;
    assert_ne!(text(&own, "/id")?, text(&newest, "/id")?);
    let report = agent_json(&host, 0, &RESTORE)?;
    assert_eq!((text(&report, "/result")?, text(&report, "/id")?), ("already-there", text(&own, "/id")?));
    assert_eq!(describe_swarm(&host)?, after);

    // Told to, it goes back, and the day of work is kept aside.
    let forced = agent_json(&host, 0, &[&older[..], &["--force"]].concat())?;
    assert!(!describe_swarm(&host)?.iter().any(|line| line.contains("a-day-of-work")));
    host.sh(&format!("test -s {}/docker-state.json", text(&forced, "/aside")?))?;
    // And then the newest one is from before that: a plain run does not undo what was forced.
    let refused = agent_json(&host, 4, &RESTORE)?;
    assert!(text(&refused, "/error")?.contains("was restored from backup"), "{refused:#}");
    Ok(())
}
