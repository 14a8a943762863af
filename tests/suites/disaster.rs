//! The bad day: restores that are cut short, repeated, late, locked or expired.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::lab::{Engine, Host, HostSpec, Role, addr, wait_for};
use swarmdr_tests::s3::Release;
use swarmdr_tests::scenario::{IDENTITY, Site, agent, agent_json, agent_with_faults, describe_swarm, fingerprint};

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
    host.install(&agent_with_faults()?)?;
    Ok(host)
}

fn text<'a>(document: &'a Value, pointer: &str) -> Result<&'a str> {
    let value = document.pointer(pointer).and_then(Value::as_str);
    value.with_context(|| format!("there is no text at {pointer} in {document:#}"))
}

/// Where a restore is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// At a point of the agent, see its `faults`.
    At(&'static str),
    /// While the engine is at force-new-cluster: right when it has written `docker-state.json`.
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

/// Each phase before it is written down, and after that before it is done; then the way back.
const POINTS: [&str; 15] = [
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
    "panic@init-noted,hang@undo-noted",
    "panic@init-noted,hang@undone",
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
    let mut chosen = vec![(Cut::InTheEngine, How::PowerCut), (Cut::At("hang@place-noted"), How::PowerCut)];
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
        Cut::At(_) => wait_for("the agent to hang", LIMIT, || {
            ensure!(running.finished()?.is_none(), "it ended: {}", running.stderr()?);
            Ok(running.stderr()?.contains("fault: hang at").then_some(()))
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

/// Where a clear private key would be seen: its armour, in any file of the engine's data root.
const CLEAR_KEYS: &str =
    "grep -rlE -e '-----BEGIN (EC )?PRIVATE KEY-----' /var/lib/docker/swarm* /var/lib/docker/.swarmdr || true";

const UNLOCK_KEY: &str = "/root/unlock-key";

#[tokio::test]
async fn a_locked_swarm_of_three_comes_back_locked_and_an_expired_certificate_is_renewed() -> Result<()> {
    for engine in engines() {
        println!("engine {}", engine.version());
        let site = Site::new(Release::V20).await?;
        let hosts = three_managers(&site, *engine)?;
        let manager = &hosts[0];
        manager.docker(&["swarm", "update", "--autolock=true"])?;
        let key = manager.docker(&["swarm", "unlock-key", "-q"])?;
        let before = describe_swarm(manager)?;
        let locked = agent_json(manager, 0, &["backup"])?;
        assert_eq!(locked["autolock"], Value::Bool(true));
        manager.docker(&["swarm", "update", "--autolock=false"])?;
        let ca = rotate_to_own_ca(manager)?;
        let rotated = describe_swarm(manager)?;
        expire_while_stopped(manager)?;
        let expired = agent_json(manager, 0, &["backup"])?;
        for host in hosts {
            host.destroy()?;
        }

        let mut host = fresh(&site, *engine)?;
        let id = text(&locked, "/id")?;
        comes_back_locked(&mut host, id, &key, &before)?;
        reset(&host, false)?;
        comes_back_renewed(&host, text(&expired, "/id")?, &ca, &rotated)?;
    }
    Ok(())
}

fn comes_back_locked(host: &mut Host, id: &str, key: &str, before: &[String]) -> Result<()> {
    let restore = ["restore", id, "--identity", IDENTITY];
    let with_key = [&restore[..], &["--unlock-key", UNLOCK_KEY]].concat();
    // Without the key, and with another one: nothing is touched.
    let untouched = fingerprint(host)?;
    let refused = agent_json(host, 4, &restore)?;
    ensure!(text(&refused, "/error")?.contains("its unlock key was not given"), "{refused:#}");
    ensure!(fingerprint(host)? == untouched);
    host.write_file(UNLOCK_KEY, "SWMKEY-1-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc")?;
    let untouched = fingerprint(host)?;
    let refused = agent_json(host, 4, &with_key)?;
    ensure!(refused.to_string().contains("does not open this backup"), "{refused:#}");
    ensure!(fingerprint(host)? == untouched);

    // Cut while the key lies open, over a swarm of its own. What the next run puts away is closed again.
    host.write_file(UNLOCK_KEY, format!("{key}\n"))?;
    reset(host, true)?;
    let old = describe_swarm(host)?;
    for point in ["hang@init-noted", "hang@confirm"] {
        let fault = format!("SWARMDRTEST_FAULT={point}");
        let forced = [&["env", &fault, "swarmdr-agent"], &with_key[..], &["--force"]].concat();
        let mut running = host.spawn(&forced)?;
        wait_for("the agent to hang", LIMIT, || {
            ensure!(running.finished()?.is_none(), "it ended: {}", running.stderr()?);
            Ok(running.stderr()?.contains("fault: hang at").then_some(()))
        })?;
        host.kill()?;
        drop(running);
        host.boot()?;
        host.wait_engine()?;
        if point == "hang@init-noted" {
            ensure!(!host.sh(CLEAR_KEYS)?.is_empty(), "the key was to lie open at this point");
            // The engine is told to fail, so this run puts the old swarm back.
            let failing = [&["env", "SWARMDRTEST_FAULT=panic@start-noted", "swarmdr-agent"], &with_key[..]].concat();
            let failed = host.run(&failing)?;
            ensure!(failed.stderr.contains("what was there before is back"), "{}", failed.stderr);
            host.wait_manager()?;
            ensure!(describe_swarm(host)? == old);
            let open = host.sh(CLEAR_KEYS)?;
            // The old swarm is not autolocked: its own key is open as ever.
            ensure!(open == "/var/lib/docker/swarm/certificates/swarm-node.key", "open keys: {open}");
        }
    }
    // The engine had locked it again, so it waits; the next run forms the swarm once more.
    let report = agent_json(host, 0, &with_key)?;
    ensure!(report["autolocked"] == Value::Bool(true) && text(&report, "/result")? == "done", "{report:#}");
    ensure!(describe_swarm(host)? == before);
    let open = host.sh(CLEAR_KEYS)?;
    let aside = text(&report, "/aside")?;
    ensure!(open == format!("{aside}/certificates/swarm-node.key"), "open keys: {open}; aside {aside}");
    ensure!(host.docker(&["swarm", "unlock-key", "-q"])? == key, "the key is another one");

    // It is locked after a restart as any autolocked manager, and user-data unlocks it, with a systemd credential.
    host.reboot()?;
    host.wait_engine()?;
    ensure!(host.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"])? == "locked");
    let words = [
        &["systemd-run", "--wait", "--pipe", "--quiet", "-p", "LoadCredential=swarmdr.unlock-key:/root/unlock-key"],
        &["swarmdr-agent"][..],
        &restore[..],
        &["--json"],
    ];
    let output = host.run(&words.concat())?;
    ensure!(output.status.success() && !output.stdout.contains(key), "{}{}", output.stdout, output.stderr);
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(text(&report, "/result")? == "already-there" && report["unlocked"] == Value::Bool(true), "{report:#}");
    ensure!(describe_swarm(host)? == before);
    ensure!(!host.journal("*", 100_000)?.contains(key.trim_start_matches("SWMKEY-1-")), "the journal holds the key");
    Ok(())
}

fn comes_back_renewed(host: &Host, id: &str, ca: &str, before: &[String]) -> Result<()> {
    let report = agent_json(host, 0, &["restore", id, "--identity", IDENTITY])?;
    ensure!(report["notes"].to_string().contains("the node certificate expired at"), "{report:#}");
    ensure!(describe_swarm(host)? == before, "{:#?}", describe_swarm(host)?);
    let certificate = "/var/lib/docker/swarm/certificates/swarm-node.crt";
    host.wait_for("a new certificate", LIMIT, || {
        host.sh(&format!("openssl x509 -in {certificate} -checkend 3600")).map(Some)
    })?;
    ensure!(host.docker(&["swarm", "ca"])?.trim() == ca.trim(), "another root CA");
    let rotation = "{{.Swarm.Cluster.RootRotationInProgress}} {{.Swarm.Cluster.Spec.CAConfig.ForceRotate}}";
    ensure!(host.docker(&["info", "--format", rotation])? == "false 1", "a rotation was begun");
    // And the CA works: it signs for the host itself, through the join token of the backed-up swarm.
    println!("expired certificate: {}", report["phases"]);
    Ok(())
}

/// Rotates the root CA of a swarm to one whose key this test has; answers with its certificate.
fn rotate_to_own_ca(host: &Host) -> Result<String> {
    host.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /root/ca.key -out /root/ca.pem \
             -days 3650 -subj /CN=own 2>/dev/null
         docker swarm ca --rotate --detach --ca-cert /root/ca.pem --ca-key /root/ca.key",
    )?;
    host.wait_for("the end of the rotation", LIMIT, || {
        let rotating = host.docker(&["info", "--format", "{{.Swarm.Cluster.RootRotationInProgress}}"])?;
        let issued = host.sh("openssl verify -CAfile /root/ca.pem /var/lib/docker/swarm/certificates/swarm-node.crt");
        Ok((rotating == "false" && issued.is_ok()).then_some(()))
    })?;
    host.read_file("/root/ca.pem")
}

/// While the engine is stopped, its node certificate is one that ended an hour ago: for the same key and names, signed by
/// the swarm's own CA. So that is what a backup finds.
fn expire_while_stopped(host: &Host) -> Result<()> {
    host.sh(r#"cd /root
        own=/var/lib/docker/swarm/certificates
        grep -vE '^[A-Za-z-]+: |^$' $own/swarm-node.key > node.key
        subject=$(openssl x509 -in $own/swarm-node.crt -noout -subject -nameopt compat | sed 's/^subject= *//')
        node=$(docker info --format '{{.Swarm.NodeID}}')
        openssl req -new -key node.key -subj "$subject" -out node.csr
        touch index.txt
        cat > ca.cnf <<END
[ca]
default_ca = own
[own]
database = /root/index.txt
rand_serial = yes
new_certs_dir = /root
default_md = sha256
policy = any
x509_extensions = node
[any]
organizationName = supplied
organizationalUnitName = supplied
commonName = supplied
[node]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = DNS:swarm-manager,DNS:swarm-ca,DNS:$node
END
        day() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
        openssl ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -in node.csr -out expired.crt \
            -startdate "$(day '2 days ago')" -enddate "$(day '1 hour ago')" 2>ca.log || { cat ca.log >&2; exit 1; }
        cp $own/swarm-node.crt good.crt
        mkdir -p /etc/systemd/system/docker.service.d
        printf '[Service]\nExecStartPre=/bin/cp /root/good.crt %s\nExecStopPost=/bin/cp /root/expired.crt %s\n' \
            $own/swarm-node.crt $own/swarm-node.crt > /etc/systemd/system/docker.service.d/expire.conf
        systemctl daemon-reload"#)?;
    Ok(())
}
