//! The whole agent on real hosts: its backups and restores, and everything that it refuses.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Role, Service, addr},
    s3::Release,
    scenario::{
        IDENTITY, Site, agent, agent_json, describe_swarm, fingerprint, number, populate, text, wait_populated,
    },
};

const RESTORE: [&str; 4] = ["restore", "--latest", "--identity", IDENTITY];

/// A manager with a small production swarm on it.
fn manager(site: &Site, engine: Engine) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("m1", engine, addr(11)))?;
    host.swarm_init()?;
    populate(&host)?;
    site.set_up_manager(&host)?;
    Ok(host)
}

fn fresh(site: &Site, engine: Engine, last: u8) -> Result<Host> {
    let host = site.lab.boot(HostSpec::new("fresh", engine, addr(last)))?;
    host.load_image()?;
    site.set_up_restorer(&host)?;
    Ok(host)
}

#[tokio::test]
async fn same_engine_20_10_comes_back_on_a_fresh_host() -> Result<()> {
    comes_back(Engine::E20_10, Engine::E20_10).await
}

#[tokio::test]
async fn same_engine_26_1_comes_back_on_a_fresh_host() -> Result<()> {
    comes_back(Engine::E26_1, Engine::E26_1).await
}

#[tokio::test]
async fn from_engine_20_10_to_26_1() -> Result<()> {
    comes_back(Engine::E20_10, Engine::E26_1).await
}

async fn comes_back(old: Engine, new: Engine) -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, old)?;
    let before = describe_swarm(&host)?;
    let backup = agent_json(&host, 0, &["backup"])?;
    assert_eq!(text(&backup, "/result")?, "done");
    assert_eq!(number(&backup, "/counts/services")?, 3);
    assert_eq!(number(&backup, "/counts/secrets")?, 2);
    assert_eq!(text(&backup, "/kept/0/lock/mode")?, "COMPLIANCE");
    println!(
        "{old:?}: engine down {} ms in all, ours {} ms; archive {} bytes",
        number(&backup, "/downtime/total_ms")?,
        number(&backup, "/downtime/ours_ms")?,
        number(&backup, "/size")?
    );
    assert_eq!(describe_swarm(&host)?, before, "the backup changed the swarm");
    wait_populated(&host)?;
    writer_cannot_delete(&site, &backup).await?;

    host.destroy()?;
    let host = fresh(&site, new, 11)?;
    let listed = agent_json(&host, 0, &["list"])?;
    assert_eq!(text(&listed, "/backups/0/id")?, text(&backup, "/id")?);
    assert_eq!(text(&listed, "/backups/0/proof")?, "proven");
    agent_json(&host, 0, &["verify", "--latest", "--identity", IDENTITY])?;
    let restored = agent_json(&host, 0, &RESTORE)?;
    println!("{old:?} to {new:?}: {}", restored["phases"]);
    assert_eq!(describe_swarm(&host)?, before);
    wait_populated(&host)?;
    nothing_but_the_state_is_left(&host)?;
    let differing: Vec<_> =
        restored["differences"].as_array().into_iter().flatten().map(|it| &it["change"]["field"]).collect();
    assert_eq!(differing, ["hostname"], "{restored:#}");
    // Overlay networks work without another restart of the engine: gossip and VXLAN listen.
    for (flag, port) in [("t", 7946), ("u", 7946), ("u", 4789)] {
        let listening = host.sh(&format!("ss -Hln{flag} 'sport = :{port}' | wc -l"))?;
        assert_eq!(listening, "1", "port {port}/{flag}");
    }

    // Proof that the certificate authority and the tokens work: a new worker joins and runs a task.
    let worker = site.lab.boot(HostSpec::new("w1", new, addr(12)))?;
    worker.load_image()?;
    worker.join(&host, Role::Worker)?;
    host.docker(&["service", "scale", "--detach", "cron=4"])?;
    host.wait_for("a task on the new worker", Duration::from_secs(120), || {
        Ok((!worker.docker(&["ps", "-q"])?.is_empty()).then_some(()))
    })?;

    let again = agent_json(&host, 0, &RESTORE)?;
    assert_eq!(text(&again, "/result")?, "already-there");
    Ok(())
}

#[tokio::test]
async fn a_fresh_swarm_of_three_services_makes_a_small_archive() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    for (engine, last) in [(Engine::E20_10, 11), (Engine::E26_1, 12)] {
        let host = site.lab.boot(HostSpec::new(&format!("m{last}"), engine, addr(last)))?;
        host.swarm_init()?;
        host.load_image()?;
        site.set_up_manager(&host)?;
        for name in ["one", "two", "three"] {
            host.create_service(&Service { name, replicas: 1, ..Service::default() })?;
            host.wait_containers(name, 1)?;
        }
        let backup = agent_json(&host, 0, &["backup"])?;
        let (size, ours) = (number(&backup, "/size")?, number(&backup, "/downtime/ours_ms")?);
        println!("{engine:?}: three services make {size} bytes; ours of the downtime {ours} ms");
        assert!(size < 32 * 1024, "{size} bytes");

        let schedule = |cron: &str| site.config("s3://vault/prod") + &format!("\n[schedule]\ncron = \"{cron}\"\n");
        site.configure(&host, &schedule("0 0 1 1 *"))?;
        let early = agent_json(&host, 3, &["backup", "--if-due"])?;
        assert!(text(&early, "/error")?.contains("no backup is due before"), "{early}");
        site.configure(&host, &schedule("* * * * * *"))?;
        agent_json(&host, 0, &["backup", "--if-due"])?;
    }
    Ok(())
}

/// Checks that neither the writer's own credentials nor the owner's can delete what the writer stored.
async fn writer_cannot_delete(site: &Site, backup: &Value) -> Result<()> {
    let bucket = site.owner.by(&site.writer)?;
    let key = format!("prod/{}", text(backup, "/kept/0/key")?);
    let version = text(backup, "/kept/0/version")?;
    let refusal = bucket.delete_version(&key, version).await.err().context("the locked version was deleted")?;
    assert_eq!(refusal.status, 403, "{refusal:?}");
    let refusal = site.owner.delete_version(&key, version).await.err().context("the owner deleted it")?;
    assert_eq!(refusal.status, 403, "{refusal:?}");
    Ok(())
}

fn nothing_but_the_state_is_left(host: &Host) -> Result<()> {
    let left = host.sh("ls -A /var/lib/docker | grep -E '^(\\.swarmdr|swarm\\.)' || true; ls -A /var/lib/docker/.swarmdr 2>/dev/null || true")?;
    // The completed journal of a restore stays.
    assert!(["", ".swarmdr\nrestore.json"].contains(&left.as_str()), "left in the data root: {left}");
    Ok(())
}

#[tokio::test]
async fn another_address_is_refused_and_nothing_is_touched() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, Engine::E20_10)?;
    agent_json(&host, 0, &["backup"])?;
    host.destroy()?;

    let host = fresh(&site, Engine::E20_10, 15)?;
    let before = fingerprint(&host)?;
    let started = host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?;
    let refused = agent_json(&host, 4, &RESTORE)?;
    let said = text(&refused, "/error")?;
    assert!(said.contains("10.77.0.11") && said.contains("10.77.0.15"), "{said}");
    assert_eq!(fingerprint(&host)?, before);
    assert_eq!(host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?, started);
    Ok(())
}

#[tokio::test]
async fn no_configuration_at_all_still_makes_a_backup_that_restores() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.swarm_init()?;
    populate(&host)?;
    host.install(&swarmdr_tests::scenario::agent_binary()?)?;
    let output = agent(&host, &["backup"])?;
    ensure!(output.status.success(), "{}{}", output.stdout, output.stderr);
    for said in ["/var/lib/swarmdr/vault", "/var/lib/swarmdr/keys/signing.key", "off this host", "is lost with it"] {
        assert!(output.stdout.contains(said), "`{said}` is not in:\n{}", output.stdout);
    }
    let before = describe_swarm(&host)?;
    let archive = host.sh("find /var/lib/swarmdr/vault -name '*.swarmdr'")?;
    let public = host.sh("tail -1 /var/lib/swarmdr/keys/signing.pub")?;
    let saved = site.lab.dir().join("saved.swarmdr");
    std::fs::copy(host.var().join(archive.trim_start_matches("/var/")), &saved)?;
    assert_eq!(host.sh("stat -c %a /var/lib/swarmdr/keys/signing.key /var/lib/swarmdr/vault")?, "600\n700");
    host.destroy()?;

    let host = site.lab.boot(HostSpec::new("fresh", Engine::E26_1, addr(11)))?;
    host.load_image()?;
    host.install(&swarmdr_tests::scenario::agent_binary()?)?;
    host.write_file("/root/saved.swarmdr", std::fs::read(&saved)?)?;
    let nobody = agent_json(&host, 2, &["restore", "--file", "/root/saved.swarmdr"])?;
    assert!(text(&nobody, "/error")?.contains("no key is trusted"), "{nobody}");
    let planned = agent(&host, &["restore", "--file", "/root/saved.swarmdr", "--trust", &public, "--dry-run"])?;
    ensure!(planned.status.success() && planned.stdout.contains("5. init"), "{}{}", planned.stdout, planned.stderr);
    agent_json(&host, 0, &["restore", "--file", "/root/saved.swarmdr", "--trust", &public])?;
    assert_eq!(describe_swarm(&host)?, before);
    Ok(())
}

#[tokio::test]
async fn the_old_server_that_drops_locks_is_found_out() -> Result<()> {
    let site = Site::new(Release::Old).await?;
    let host = manager(&site, Engine::E20_10)?;
    // Every archive is uploaded in parts of 5 MiB, so one that is larger than that loses its lock there.
    let config = site.config("s3://vault/prod") + "multipart_threshold = 5242880\npart_size = 5242880\n";
    site.configure(&host, &config)?;
    host.sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do head -c 480000 /dev/urandom | docker secret create big$i - >/dev/null; done")?;
    let failed = agent_json(&host, 1, &["backup"])?;
    let because = failed["because"].to_string();
    assert!(because.contains("dropped the lock"), "{failed:#}");
    assert!(failed["to_do"].to_string().contains("/var/lib/swarmdr/spool/"), "{failed:#}");
    host.wait_manager()?;
    // The same server keeps the lock of a plain put, so the run that works sends the waiting archive too. Its first,
    // unlocked copy is below the other prefix.
    site.configure(&host, &site.config("s3://vault/other"))?;
    assert_eq!(host.sh("ls /var/lib/swarmdr/spool")?.lines().count(), 1);
    agent_json(&host, 0, &["backup"])?;
    assert_eq!(host.sh("ls /var/lib/swarmdr/spool")?, "");
    let listed = agent_json(&host, 0, &["list"])?;
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(2), "{listed:#}");
    Ok(())
}

#[tokio::test]
async fn whatever_ends_the_agent_the_engine_runs_and_nothing_is_left() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, Engine::E20_10)?;
    // A file is in the place of the directory for the copy, which begins before the engine is stopped.
    host.sh("touch /var/lib/docker/.swarmdr")?;
    let started = host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?;
    let failed = agent_json(&host, 1, &["backup"])?;
    assert!(text(&failed, "/error")?.contains("the engine was not touched"), "{failed:#}");
    assert_eq!(host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?, started);
    host.sh("rm /var/lib/docker/.swarmdr")?;
    for signal in ["INT", "TERM"] {
        // A stop that takes a while, so that the signal arrives while the engine is going down.
        host.sh("docker service create -d --name stubborn --no-resolve-image --network host lab/busybox:1 \
                 sh -c 'trap : TERM; while :; do sleep 1; done' >/dev/null")?;
        host.wait_containers("stubborn", 1)?;
        let running = host.spawn(&["swarmdr-agent", "backup"])?;
        host.wait_for("the engine to be stopping", Duration::from_secs(60), || {
            let state = host.run(&["systemctl", "is-active", "docker.service"])?.stdout;
            Ok((state.trim() == "deactivating").then_some(()))
        })?;
        running.signal(signal)?;
        let ended = running.wait(Duration::from_secs(120))?;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("interrupted by a signal"), "{}", ended.stderr);
        assert_eq!(host.sh("systemctl is-active docker.service docker.socket")?, "active\nactive");
        host.wait_manager()?;
        nothing_but_the_state_is_left(&host)?;
        assert_eq!(host.sh("find /var/lib/swarmdr/spool -type f 2>/dev/null | wc -l")?, "0");
        host.docker(&["service", "rm", "stubborn"])?;
    }
    agent_json(&host, 0, &["backup"])?;
    Ok(())
}

#[tokio::test]
async fn a_failing_restore_puts_back_what_was_there() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, Engine::E20_10)?;
    agent_json(&host, 0, &["backup"])?;
    host.destroy()?;

    let host = fresh(&site, Engine::E20_10, 11)?;
    host.swarm_init()?;
    host.create_secret("of-the-new-swarm", b"x")?;
    let before = describe_swarm(&host)?;
    let refused = agent_json(&host, 4, &RESTORE)?;
    assert!(text(&refused, "/error")?.contains("active node of swarm"), "{refused}");
    assert_eq!(describe_swarm(&host)?, before);

    // The restored state is placed without this file, so this engine starts on the old state only.
    start_condition(&host, "test -e /var/lib/docker/swarm/docker-state.json")?;
    let failed = agent_json(&host, 1, &[&RESTORE[..], &["--force"]].concat())?;
    assert!(text(&failed, "/error")?.contains("what was there before is back"), "{failed:#}");
    host.wait_manager()?;
    assert_eq!(describe_swarm(&host)?, before);

    // A signal in the middle of the change has the same effect.
    start_condition(&host, "test -e /var/lib/docker/swarm/docker-state.json || sleep 30")?;
    let running = host.spawn(&["swarmdr-agent", "restore", "--latest", "--identity", IDENTITY, "--force"])?;
    host.wait_for("the restored state to be placed", Duration::from_secs(60), || {
        Ok(host
            .run(&["test", "-e", "/var/lib/docker/swarm/docker-state.json"])?
            .status
            .code()
            .filter(|code| *code == 1))
    })?;
    running.signal("TERM")?;
    let ended = running.wait(Duration::from_secs(120))?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("what was there before is back"), "{}", ended.stderr);
    host.wait_manager()?;
    assert_eq!(describe_swarm(&host)?, before);
    let kept = host.sh("ls -d /var/lib/docker/swarm.failed-*")?;
    assert_eq!(kept.lines().count(), 2, "states that did not work are kept for a look: {kept}");
    Ok(())
}

/// Makes the engine's unit run this script before each start.
fn start_condition(host: &Host, script: &str) -> Result<()> {
    let unit = format!("[Service]\nExecStartPre=/bin/sh -c '{script}'\n");
    host.write_file("/etc/systemd/system/docker.service.d/condition.conf", unit)?;
    host.sh("systemctl daemon-reload")?;
    Ok(())
}

#[tokio::test]
async fn bad_input_gets_one_clear_answer() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    site.set_up_manager(&host)?;
    let says = |expected: i32, args: &[&str], wanted: &[&str]| -> Result<()> {
        let output = agent(&host, args)?;
        ensure!(
            output.status.code() == Some(expected),
            "{args:?} exited {:?}: {}",
            output.status.code(),
            output.stderr
        );
        for part in wanted {
            ensure!(output.stderr.contains(part), "{args:?} does not say `{part}`: {}", output.stderr);
        }
        ensure!(!output.stderr.contains("panicked"), "{}", output.stderr);
        Ok(())
    };
    says(4, &["backup"], &["not part of a swarm", "to do:"])?;
    says(5, &["restore", "--latest"], &["no usable backup was found"])?;
    host.swarm_init()?;
    host.create_secret("a", b"1")?;
    let started = host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?;

    let config = site.config("s3://vault/prod");
    site.configure(&host, &config.replace("recipients", "recipient"))?;
    says(2, &["backup"], &["/etc/swarmdr/agent.toml", "unknown field `recipient`"])?;
    let in_clear = config.lines().filter(|line| !line.starts_with("recipients")).collect::<Vec<_>>().join("\n");
    site.configure(&host, &in_clear)?;
    says(2, &["backup"], &["no recipients are named", "encryption = \"none\""])?;
    site.configure(&host, &config.replace("s3://vault/", "s3://no-such-bucket/"))?;
    says(1, &["backup"], &["no such bucket", "the engine was not touched"])?;
    site.configure(&host, &config)?;
    host.sh("cp /etc/swarmdr/credentials /root/c && sed -i 's/secret_access_key = .*/secret_access_key = wrong/' /etc/swarmdr/credentials")?;
    says(1, &["backup"], &["credentials do not work"])?;
    host.sh("cp /root/c /etc/swarmdr/credentials")?;
    host.sh("cp /var/lib/swarmdr/keys/signing.key /root/k && echo junk > /var/lib/swarmdr/keys/signing.key")?;
    says(1, &["backup"], &["failed to read the signing key"])?;
    host.sh("cp /root/k /var/lib/swarmdr/keys/signing.key")?;

    host.sh("mkdir -p /var/lib/swarmdr/spool && mount -t tmpfs -o size=16m tmpfs /var/lib/swarmdr/spool")?;
    says(1, &["backup"], &["not enough space", "/var/lib/swarmdr/spool", "free some space"])?;
    host.sh("umount /var/lib/swarmdr/spool")?;
    assert_eq!(host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?, started, "was stopped");

    let backup = agent_json(&host, 0, &["backup"])?;
    let whole = site.owner.get(&format!("prod/{}", text(&backup, "/kept/0/key")?), None).await;
    let whole = whole.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    host.write_file("/root/cut.swarmdr", &whole[..whole.len() - 600])?;
    says(5, &["restore", "--file", "/root/cut.swarmdr", "--dry-run"], &["/root/cut.swarmdr", "copy it again"])?;
    host.write_file("/root/junk.swarmdr", "not an archive at all")?;
    says(5, &["verify", "--file", "/root/junk.swarmdr"], &["/root/junk.swarmdr", "not a swarmdr archive"])?;
    site.configure(
        &host,
        &config.replace(&site.public_key, "RWSweysbNpqxcwcogR2I7HnfAYmqQytDIXVrC5MDxVad/kdjNMzqCkz3"),
    )?;
    says(5, &["restore", "--latest"], &["not trusted here"])?;
    site.configure(&host, &config)?;
    host.sh("docker swarm leave --force")?;
    host.sh("systemctl stop docker.socket docker.service")?;
    says(1, &["backup"], &["no Docker engine answers", "systemctl start docker"])?;
    Ok(())
}

#[tokio::test]
async fn two_managers_are_not_stopped_without_leave_and_a_living_one_is_never_cloned() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, Engine::E20_10)?;
    let second = site.lab.boot(HostSpec::new("m2", Engine::E20_10, addr(12)))?;
    second.join(&host, Role::Manager)?;
    let refused = agent_json(&host, 4, &["backup"])?;
    assert!(text(&refused, "/error")?.contains("majority"), "{refused}");
    agent_json(&host, 0, &["backup", "--allow-quorum-loss"])?;
    host.destroy()?;

    let host = fresh(&site, Engine::E20_10, 11)?;
    let before = fingerprint(&host)?;
    let refused = agent_json(&host, 4, &RESTORE)?;
    assert!(text(&refused, "/error")?.contains("10.77.0.12"), "{refused}");
    assert_eq!(fingerprint(&host)?, before);
    second.destroy()?;
    let restored = agent_json(&host, 0, &RESTORE)?;
    assert!(restored["dead_nodes"].to_string().contains("m2"), "{restored}");
    Ok(())
}

#[tokio::test]
async fn an_autolocked_manager_is_unlocked_again_and_not_restored_blindly() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.swarm_init()?;
    host.load_image()?;
    host.create_service(&Service { name: "cron", replicas: 1, ..Service::default() })?;
    site.set_up_manager(&host)?;
    host.docker(&["swarm", "update", "--autolock=true"])?;
    let key = host.docker(&["swarm", "unlock-key", "-q"])?;
    let backup = agent_json(&host, 0, &["backup"])?;
    assert_eq!(backup["autolock"], Value::Bool(true));
    assert!(!backup.to_string().contains(&key));
    // The manager that was up is up again, unlocked, and the state was proven with its key.
    host.wait_manager()?;
    let listed = agent_json(&host, 0, &["list"])?;
    assert_eq!(text(&listed, "/backups/0/proof")?, "proven");
    host.destroy()?;
    let host = fresh(&site, Engine::E26_1, 11)?;
    let before = fingerprint(&host)?;
    let refused = agent_json(&host, 4, &RESTORE)?;
    assert!(text(&refused, "/error")?.contains("autolocked"), "{refused}");
    assert_eq!(fingerprint(&host)?, before);
    Ok(())
}

#[tokio::test]
async fn inspect_and_diff_say_what_is_there_and_give_nothing_away() -> Result<()> {
    const LIVE: &str = "/var/lib/docker/swarm";
    const UNLOCK_KEY: &str = "/root/unlock-key";
    let site = Site::new(Release::V20).await?;
    let host = manager(&site, Engine::E26_1)?;
    let first = agent_json(&host, 0, &["backup"])?;
    let [first, archive] = [text(&first, "/id")?.to_owned(), text(&first, "/kept/0/key")?.to_owned()];
    host.create_service(&Service { name: "cache", replicas: 1, ..Service::default() })?;
    host.create_secret("db-password-v2", b"a planted value that was rotated in")?;
    host.docker(&["service", "update", "-d", "--secret-rm=db-password", "--secret-add=db-password-v2", "db"])?;
    host.docker(&["secret", "rm", "db-password"])?;
    host.docker(&["service", "scale", "--detach", "web=3"])?;
    host.wait_containers("web", 3)?;
    let second = agent_json(&host, 0, &["backup"])?;
    let second = text(&second, "/id")?.to_owned();

    // Runs a command with and without `--json`, keeps all output for the search at the end, and returns text and
    // document.
    let mut printed = String::new();
    let mut say = |args: &[&str]| -> Result<(String, Value)> {
        let human = agent(&host, args)?;
        let json = agent(&host, &[args, &["--json"]].concat())?;
        for output in [&human, &json] {
            ensure!(output.status.code() == Some(0), "{args:?}: {}{}", output.stdout, output.stderr);
            printed.extend([&*output.stdout, &*output.stderr]);
        }
        Ok((human.stdout, serde_json::from_str(&json.stdout)?))
    };
    let has = |text: &str, wanted: &[&str]| {
        for part in wanted {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
    };

    // The manager cannot open its own backups.
    let (human, clear) = say(&["inspect", "--latest"])?;
    has(&human, &[&second, "the unencrypted manifest only", "4 services, 2 secrets", "COMPLIANCE until"]);
    assert_eq!((text(&clear, "/basis")?, &clear["inventory"]), ("manifest", &Value::Null));
    let refused = agent_json(&host, 2, &["diff", &first, &second])?;
    has(text(&refused, "/error")?, &["cannot be compared", "no identity"]);

    site.set_up_restorer(&host)?;
    let (human, opened) = say(&["inspect", "--latest", "--identity", IDENTITY])?;
    println!("{human}");
    has(&human, &["as read from the raft log", "proven", "members: m1 10.77.0.11:2377", "the lock in the vault ends"]);
    has(&human, &["cache", "lab/busybox:1", "db-password-v2", "35 B", "site.conf", "backend", "manager"]);
    assert_eq!(text(&opened, "/basis")?, "log");
    assert_eq!(opened["restorable"]["until"], opened["backup"]["lock"]["until"]);
    assert_eq!(text(&opened, "/restorable/limits/0/what")?, "lock");
    assert_eq!(opened["inventory"]["services"].as_array().map(Vec::len), Some(4));

    // A running engine writes the mark that its last entry is committed only with the next entry.
    host.wait_for("the new service in the live directory", Duration::from_secs(60), || {
        let live = agent_json(&host, 0, &["inspect", "--dir", LIVE])?;
        Ok(live["inventory"]["services"].to_string().contains("cache").then_some(()))
    })?;
    let (human, live) = say(&["inspect", "--dir", LIVE])?;
    println!("{human}");
    has(&human, &["State directory /var/lib/docker/swarm", "cache", "then the root CA ends"]);
    assert!(number(&live, "/raft/commit")? >= number(&opened, "/raft/commit")?);

    let changes = [
        "+ service cache: lab/busybox:1, replicated, 1 replica",
        "~ service db: secrets db-password -> db-password-v2",
        "~ service web: replicas 2 -> 3",
        "~ secret db-password-v2: rotated from db-password (",
        "1 added, 0 removed, 2 changed, 1 rotated",
    ];
    let (human, differences) = say(&["diff", &first, &second, "--identity", IDENTITY])?;
    println!("{human}");
    has(&human, &changes);
    assert!(number(&differences, "/before/raft/commit")? < number(&differences, "/after/raft/commit")?);
    has(&human, &[&format!("index {}", number(&differences, "/after/raft/commit")?)]);
    let (human, _) = say(&["diff", &second, "latest", "--identity", IDENTITY])?;
    has(&human, &["No differences."]);
    std::fs::write(host.var().join("saved.swarmdr"), site.owner.get(&format!("prod/{archive}"), None).await?)?;
    let (human, _) = say(&["diff", "/var/saved.swarmdr", LIVE, "--identity", IDENTITY])?;
    has(&human, &changes);
    let (human, _) = say(&["inspect", "--file", "/var/saved.swarmdr", "--identity", IDENTITY])?;
    has(&human, &[&first, "not in a vault", "db-password "]);

    // The directory of an autolocked swarm is opened with the key and only with it; the archive still has its
    // inventory.
    host.docker(&["swarm", "update", "--autolock=true"])?;
    let key = host.docker(&["swarm", "unlock-key", "-q"])?;
    host.write_file(UNLOCK_KEY, format!("{key}\n"))?;
    agent_json(&host, 0, &["backup"])?;
    let (human, sealed) = say(&["inspect", "--dir", LIVE])?;
    has(&human, &["autolocked and was not opened", "autolocked"]);
    assert_eq!((text(&sealed, "/basis")?, &sealed["inventory"]), ("files", &Value::Null));
    let (human, unlocked) = say(&["inspect", "--dir", LIVE, "--unlock-key", UNLOCK_KEY])?;
    has(&human, &["db-password-v2", "as read from the raft log"]);
    assert_eq!(unlocked["autolock"], Value::Bool(true));
    let (human, _) = say(&["inspect", "--latest", "--identity", IDENTITY])?;
    has(&human, &["as recorded when the backup was made", "db-password-v2"]);
    let (human, _) = say(&["inspect", "--latest", "--identity", IDENTITY, "--unlock-key", UNLOCK_KEY])?;
    has(&human, &["as read from the raft log", "db-password-v2"]);
    let (human, _) = say(&["diff", &second, "latest", "--identity", IDENTITY, "--unlock-key", UNLOCK_KEY])?;
    has(&human, &["~ cluster default: autolock false -> true"]);
    host.write_file(UNLOCK_KEY, "not a key")?;
    let refused = agent(&host, &["inspect", "--dir", LIVE, "--unlock-key", UNLOCK_KEY])?;
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);

    let tokens = ["worker", "manager"].map(|role| host.docker(&["swarm", "join-token", "-q", role]));
    let [worker, manager] = tokens;
    for planted in [
        "correct horse battery staple",
        "a planted value that was rotated in",
        "BEGIN PRIVATE KEY",
        "listen 80;",
        "SWMTKN-",
        "SWMKEY-",
        key.trim_start_matches("SWMKEY-1-"),
        &worker?,
        &manager?,
    ] {
        assert!(!printed.contains(planted), "`{planted}` was printed");
    }
    ensure!(printed.len() > 10_000, "the search went over {} bytes only", printed.len());
    Ok(())
}
