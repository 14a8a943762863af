//! The bad day: restores that are cut short, repeated, late, locked or expired.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::lab::{Background, Engine, Host, HostSpec, Role, addr, wait_for};
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
        Cut::At(_) => hangs(&mut running)?,
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

/// Waits until the agent stands still at the point that it was told.
fn hangs(running: &mut Background) -> Result<()> {
    let ended = wait_for("the agent to hang", LIMIT, || {
        let hangs = running.stderr()?.contains("fault: hang at");
        let ended = running.finished()?;
        Ok((hangs || ended.is_some()).then_some(ended.filter(|_| !hangs)))
    })?;
    ensure!(ended.is_none(), "it ended: {}", running.stderr()?);
    Ok(())
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

const STATE_KEY: &str = "/var/lib/docker/swarm/certificates/swarm-node.key";

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
        hangs(&mut running)?;
        host.kill()?;
        drop(running);
        host.boot()?;
        host.wait_engine()?;
        if point == "hang@init-noted" {
            let open = host.sh(CLEAR_KEYS)?;
            ensure!(open.lines().any(|path| path == STATE_KEY), "the key was to lie open at this point: {open}");
            // The engine is told to fail, so this run puts the old swarm back.
            let failing = [&["env", "SWARMDRTEST_FAULT=panic@start-noted", "swarmdr-agent"], &with_key[..]].concat();
            let failed = host.run(&failing)?;
            ensure!(failed.stderr.contains("what was there before is back"), "{}", failed.stderr);
            host.wait_manager()?;
            ensure!(describe_swarm(host)? == old);
            let open = host.sh(CLEAR_KEYS)?;
            // The old swarm is not autolocked: its own key is open as ever.
            ensure!(open == STATE_KEY, "open keys: {open}");
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

/// Rotates the root CA of a swarm to one whose key this test has, and which is a month old; answers with its certificate.
fn rotate_to_own_ca(host: &Host) -> Result<String> {
    host.sh(
        r#"cd /root
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
[any]
organizationName = optional
organizationalUnitName = optional
commonName = supplied
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[node]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = DNS:swarm-manager,DNS:swarm-ca,DNS:$(docker info --format '{{.Swarm.NodeID}}')
END
        day() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.csr -subj /CN=own 2>/dev/null
        openssl ca -batch -notext -config ca.cnf -extensions root -selfsign -keyfile ca.key -in ca.csr -out ca.pem \
            -startdate "$(day '30 days ago')" -enddate "$(day '3650 days')" 2>ca.log || { cat ca.log >&2; exit 1; }
        docker swarm ca --rotate --detach --ca-cert ca.pem --ca-key ca.key"#,
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
        openssl req -new -key node.key -subj "$subject" -out node.csr
        day() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
        openssl ca -batch -notext -config ca.cnf -extensions node -cert ca.pem -keyfile ca.key -in node.csr -out expired.crt \
            -startdate "$(day '2 days ago')" -enddate "$(day '1 hour ago')" 2>ca.log || { cat ca.log >&2; exit 1; }
        cp $own/swarm-node.crt good.crt
        mkdir -p /etc/systemd/system/docker.service.d
        printf '[Service]\nExecStartPre=/bin/cp /root/good.crt %s\nExecStopPost=/bin/cp /root/expired.crt %s\n' \
            $own/swarm-node.crt $own/swarm-node.crt > /etc/systemd/system/docker.service.d/expire.conf
        systemctl daemon-reload"#)?;
    Ok(())
}

#[tokio::test]
async fn a_majority_that_is_lost_is_recovered_on_the_manager_that_is_left() -> Result<()> {
    for engine in engines() {
        let site = Site::new(Release::V20).await?;
        let hosts = three_managers(&site, *engine)?;
        let before = describe_swarm(&hosts[0])?;
        let works = agent_json(&hosts[0], 0, &["recover-quorum"])?;
        assert_eq!(text(&works, "/result")?, "nothing-to-recover");
        let [mut survivor, mut second, third] = hosts;
        site.configure(&survivor, &(site.config("s3://vault/prod") + "\n[restore]\nprune_grace = 3\n"))?;
        third.destroy()?;
        second.kill()?;
        leaderless(&survivor)?;

        // One of the others is up again and only cut off from the third: it answers, so it would lose its state.
        second.boot()?;
        second.wait_engine()?;
        survivor.wait_for("the second manager to answer", LIMIT, || {
            let refused = agent(&survivor, &["recover-quorum"])?;
            // With two of three there is a leader again, sooner or later; before that it is refused.
            Ok(matches!(refused.status.code(), Some(0 | 4)).then_some(()))
        })?;
        second.destroy()?;
        leaderless(&survivor)?;

        let planned = agent_json(&survivor, 0, &["recover-quorum", "--dry-run"])?;
        assert_eq!(planned["without"].as_array().map(Vec::len), Some(2), "{planned:#}");
        // Cut in the middle, as a restore may be.
        let words = ["env", "SWARMDRTEST_FAULT=hang@start-noted", "swarmdr-agent", "recover-quorum"];
        survivor.install(&agent_with_faults()?)?;
        let mut running = survivor.spawn(&words)?;
        hangs(&mut running)?;
        survivor.kill()?;
        drop(running);
        survivor.boot()?;
        survivor.wait_engine()?;
        let report = agent_json(&survivor, 0, &["recover-quorum", "--prune-dead"])?;
        println!("{}: recovered in {}", engine.version(), report["phases"]);
        assert_eq!(describe_swarm(&survivor)?, before);
        assert!(!report["backup"]["kept"].as_array().context("a list")?.is_empty(), "{report:#}");
        let removed = report["dead_nodes"].as_array().into_iter().flatten().filter(|node| node["removed"] == true);
        assert_eq!(removed.count(), 2, "{report:#}");
        assert_eq!(survivor.docker(&["node", "ls", "-q"])?.lines().count(), 1);
        // The state from before is aside, and the backup of it in the vault, where it verifies.
        survivor.sh(&format!("test -s {}/docker-state.json", text(&report, "/aside")?))?;
        let listed = agent_json(&survivor, 0, &["list"])?;
        let kept = listed["backups"].to_string();
        assert!(kept.contains(text(&report, "/backup/id")?), "{kept}");
        let again = agent_json(&survivor, 0, &["recover-quorum"])?;
        assert_eq!(text(&again, "/result")?, "nothing-to-recover");
        // The recovered manager takes new ones.
        let fourth = site.lab.boot(HostSpec::new("m4", *engine, addr(14)))?;
        fourth.join(&survivor, Role::Manager)?;
    }
    Ok(())
}

fn leaderless(host: &Host) -> Result<()> {
    host.wait_for("the leader to be gone", LIMIT, || {
        Ok(host.docker(&["info", "--format", "{{.Swarm.Error}}"])?.contains("leader").then_some(()))
    })
}

#[tokio::test]
async fn living_managers_forbid_a_restore_since_it_would_make_them_delete_their_state() -> Result<()> {
    for engine in engines() {
        let site = Site::new(Release::V20).await?;
        let hosts = three_managers(&site, *engine)?;
        let before = describe_swarm(&hosts[0])?;
        agent_json(&hosts[0], 0, &["backup"])?;
        let [first, second, third] = hosts;
        first.destroy()?;
        let host = fresh(&site, *engine)?;
        let untouched = fingerprint(&host)?;
        let refused = agent_json(&host, 4, &RESTORE)?;
        assert!(text(&refused, "/error")?.contains("10.77.0.12:2377 (m2), 10.77.0.13:2377 (m3)"), "{refused:#}");
        let ways = refused["to_do"].as_array().context("a list")?;
        assert_eq!(ways.len(), 3, "{refused:#}");
        for (way, words) in ways.iter().zip(["join", "--fenced", "copy"]) {
            assert!(way.to_string().contains(words), "{way}");
        }
        assert_eq!(fingerprint(&host)?, untouched);

        // The reason. Nobody should do this: what came into the living swarm since the backup is gone. On 26.1 the two
        // even join the restored one half a minute later, as new members with an empty log.
        second.create_secret("since-the-backup", b"x")?;
        let log = "stat -c %i /var/lib/docker/swarm/raft/wal-v3-encrypted/0000000000000000-0000000000000000.wal";
        let before_logs = [second.sh(log)?, third.sh(log)?];
        agent_json(&host, 0, &[&RESTORE[..], &["--fenced"]].concat())?;
        assert_eq!(describe_swarm(&host)?, before);
        let since = Instant::now();
        for (living, its_log) in [&second, &third].into_iter().zip(before_logs) {
            living.wait_for("its raft log to be deleted", LIMIT, || {
                Ok((living.run(&["sh", "-c", log])?.stdout.trim() != its_log).then_some(()))
            })?;
        }
        println!(
            "{}: both living managers had deleted their raft log {:.0?} after the restore",
            engine.version(),
            since.elapsed()
        );
        for living in [&second, &third] {
            let secrets = living.run(&["docker", "secret", "ls"])?.stdout;
            assert!(!secrets.contains("since-the-backup"), "{secrets}");
        }
        second.destroy()?;
        third.destroy()?;
        reset(&host, false)?;
        let report = agent_json(&host, 0, &RESTORE)?;

        // What is printed for each dead node works as it is, and a demotion would not.
        let dead = report["dead_nodes"].as_array().context("a list")?;
        assert_eq!(dead.len(), 2, "{report:#}");
        assert!(host.docker(&["node", "demote", "m2"]).is_err(), "then the advice should name it");
        for node in dead {
            host.sh(text(node, "/remove_with")?)?;
        }
        assert_eq!(host.docker(&["node", "ls", "-q"])?.lines().count(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_host_that_is_still_booting_is_waited_for() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.swarm_init()?;
    fill(&host)?;
    site.set_up_manager(&host)?;
    agent_json(&host, 0, &["backup"])?;
    let before = describe_swarm(&host)?;
    host.destroy()?;

    // No unit of the engine yet, no way to the vault, another address.
    let host = site.lab.boot(HostSpec::new("fresh", Engine::E26_1, addr(15)))?;
    site.set_up_restorer(&host)?;
    host.sh("systemctl stop docker.socket docker.service
         mkdir /root/units; mv $(systemctl show -P FragmentPath docker.service docker.socket) /root/units
         rm -f /etc/init.d/docker # of which systemd would make a unit of the same name
         systemctl daemon-reload; ip route add blackhole 10.77.0.1/32")?;
    let running = host.spawn(&[&["swarmdr-agent"], &RESTORE[..], &["--wait", "5m"]].concat())?;
    let waits_for = |what: &str| {
        wait_for(&format!("it to wait for: {what}"), LIMIT, || {
            let waiting = running.stderr()?.lines().any(|line| line.contains("waiting up to") && line.contains(what));
            ensure!(waiting, "it said: {}", running.stderr()?);
            Ok(Some(()))
        })
    };
    waits_for("systemd knows no unit docker.service")?;
    host.sh("mv /root/units/* /usr/lib/systemd/system; systemctl daemon-reload")?;
    waits_for("no usable backup was found")?;
    host.sh("ip route del blackhole 10.77.0.1/32")?;
    waits_for("no interface of this host has 10.77.0.11")?;
    host.sh("ip address add 10.77.0.11/24 dev host0")?;
    let ended = running.wait(LIMIT)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    println!("{}", ended.stderr);
    assert_eq!(describe_swarm(&host)?, before);
    // What is late for longer than it may be is an error, and says which.
    host.sh("systemctl stop docker.socket docker.service; ip address del 10.77.0.11/24 dev host0; rm -rf /var/lib/docker/swarm /var/lib/docker/.swarmdr")?;
    let refused = agent_json(&host, 4, &[&RESTORE[..], &["--wait-for-ip", "1s"]].concat())?;
    assert!(text(&refused, "/error")?.contains("this host has 10.77.0.15"), "{refused:#}");
    Ok(())
}

#[tokio::test]
async fn unusual_addresses_and_places_come_back_as_they_were() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let unusual = "ip address add fd00:77::11/64 dev host0 nodad";
    let data_path = "ip address add 10.88.0.11/24 dev host0";
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.sh(&format!(
        "{unusual}; {data_path}
         docker swarm init --advertise-addr '[fd00:77::11]:2377' --listen-addr '[::]:2377' --data-path-addr 10.88.0.11"
    ))?;
    host.wait_manager()?;
    fill(&host)?;
    site.set_up_manager(&host)?;
    let sixth = agent_json(&host, 0, &["backup"])?;
    let sixth_before = describe_swarm(&host)?;
    // And one behind a translated address, of which the host knows nothing.
    host.sh("docker swarm leave --force
         docker swarm init --advertise-addr 203.0.113.7 --listen-addr 10.77.0.11:2377")?;
    host.wait_manager()?;
    fill(&host)?;
    let translated = agent_json(&host, 0, &["backup"])?;
    let translated_before = describe_swarm(&host)?;
    host.destroy()?;

    let host = site.lab.boot(HostSpec::new("fresh", Engine::E26_1, addr(15)))?;
    site.set_up_restorer(&host)?;
    host.write_file("/etc/docker/daemon.json", r#"{"data-root": "/var/lib/elsewhere"}"#)?;
    host.sh("systemctl restart docker.service")?;
    let restore = ["restore", text(&sixth, "/id")?, "--identity", IDENTITY];
    let refused = agent_json(&host, 4, &restore)?;
    assert!(text(&refused, "/error")?.contains("lives at fd00:77::11"), "{refused:#}");
    host.sh(unusual)?;
    let refused = agent_json(&host, 4, &restore)?;
    assert!(text(&refused, "/error")?.contains("goes through 10.88.0.11"), "{refused:#}");
    host.sh(data_path)?;
    let report = agent_json(&host, 0, &restore)?;
    assert!(report["notes"].to_string().contains("/var/lib/elsewhere"), "{report:#}");
    assert_eq!(describe_swarm(&host)?, sixth_before);
    let state: Value = serde_json::from_str(&host.read_file("/var/lib/elsewhere/swarm/docker-state.json")?)?;
    assert_eq!((text(&state, "/DataPathAddr")?, text(&state, "/AdvertiseAddr")?), ("10.88.0.11", "[fd00:77::11]:2377"));
    host.sh("test ! -e /var/lib/docker/swarm/docker-state.json")?;

    let restore = ["restore", text(&translated, "/id")?, "--identity", IDENTITY, "--force"];
    let refused = agent_json(&host, 4, &restore)?;
    assert!(refused["to_do"].to_string().contains("--address-elsewhere"), "{refused:#}");
    host.sh("ip address del 10.88.0.11/24 dev host0; ip address del fd00:77::11/64 dev host0")?;
    agent_json(&host, 0, &[&restore[..], &["--address-elsewhere"]].concat())?;
    assert_eq!(describe_swarm(&host)?, translated_before);
    let listening = host.sh("ss -Hlnt 'sport = :2377'")?;
    assert!(listening.contains("10.77.0.15:2377"), "{listening}");
    Ok(())
}
