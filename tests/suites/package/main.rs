//! The packages: their contents, and that they install, upgrade and go away like a distribution's own.

mod contents;
mod documents;
mod drop_ins;
mod papers;
mod rpm;

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    campaign,
    lab::{Engine, Host, HostSpec, addr},
    packages,
    s3::Release,
    scenario::{Site, agent_json, describe_swarm},
};

const TIMERS: [&str; 8] = [
    "swarmdr-backup.timer",
    "swarmdr-verify.timer",
    "swarmdr-drill.timer",
    "swarmdr-images.timer",
    "swarmdr-images-auth.timer",
    "swarmdr-life.timer",
    "swarmdr-standby.timer",
    "swarmdr-streams.timer",
];
const SERVICES: [&str; 10] = [
    "swarmdr-backup.service",
    "swarmdr-verify.service",
    "swarmdr-drill.service",
    "swarmdr-images.service",
    "swarmdr-images-auth.service",
    "swarmdr-life.service",
    "swarmdr-join.service",
    "swarmdr-on-change.service",
    "swarmdr-standby.service",
    "swarmdr-streams.service",
];
/// Drop-in that shortens the wait for the next run, as with `systemctl edit`.
const SOON: &str = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/5\nAccuracySec=1s\nRandomizedDelaySec=0\n";
/// Directory of node_exporter, and the drop-in that the guide gives for it.
const METRICS: &str = "/var/lib/prometheus/node-exporter";
const MAY_WRITE_METRICS: &str = "[Service]\nReadWritePaths=/var/lib/prometheus/node-exporter\n";

/// Reduced: on the newest engine; the upgrade below is on the oldest.
#[tokio::test]
async fn from_apt_install_to_a_locked_backup_and_to_purge() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let reduced = [Engine::E28_5];
    let engines = if campaign::full() { &Engine::ALL[..] } else { &reduced };
    for (engine, last) in engines.iter().zip(11..) {
        let host = site.lab.boot(HostSpec::new(&format!("m{last}"), *engine, addr(last)))?;
        host.swarm_init()?;
        host.create_secret("db-password", b"correct horse battery staple")?;
        let before = describe_swarm(&host)?;
        let told = host.apt_install(&packages::deb()?)?;
        assert!(told.contains("no backup is made yet"), "the package does not say what is missing: {told}");
        nothing_runs_unasked(&host)?;
        units_are_tight(&host)?;
        skipped_while_not_configured(&host)?;

        // Follows the guide: configuration, a key, `systemctl enable`.
        site.configure_manager(&host)?;
        site.configure(&host, &site.config(&format!("s3://vault/m{last}")))?;
        // The timer's quarter of an hour is shortened here. The schedule is the default, by which the first backup is
        // due at once.
        host.write_file("/etc/systemd/system/swarmdr-backup.timer.d/soon.conf", SOON)?;
        images_are_mirrored(&host)?;
        logins_are_renewed(&host)?;
        host.sh(&format!("systemctl daemon-reload; systemctl enable --now {}", TIMERS.join(" ")))?;
        let id = wait_locked_backup(&host)?;
        host.sh("systemctl stop swarmdr-backup.timer")?;
        host.wait_for("the last backup to end", Duration::from_secs(120), || {
            Ok((unit(&host, "swarmdr-backup.service", "ActiveState")? == "inactive").then_some(()))
        })?;
        assert_eq!(unit(&host, "swarmdr-backup.service", "Result")?, "success");
        host.wait_manager()?;
        assert_eq!(describe_swarm(&host)?, before, "a backup by the timer changed the swarm");
        not_due_is_no_failure(&site, &host, last)?;
        whoever_watches_sees_green(&host, &id)?;
        the_weekly_proof_works(&host)?;
        the_weekly_drill_works(&site, &host)?;
        completion_offers(&host, &id)?;
        removal_keeps_what_is_the_users(&host)?;
        println!("{engine:?}, systemd {}: installed, locked {id}, removed, back, purged", engine.systemd());
    }
    Ok(())
}

/// Checks that no timer is enabled or active, and that the configuration holds only defaults.
fn nothing_runs_unasked(host: &Host) -> Result<()> {
    for timer in TIMERS {
        assert_eq!(unit(host, timer, "UnitFileState")?, "disabled", "{timer}");
        assert_eq!(unit(host, timer, "ActiveState")?, "inactive", "{timer}");
    }
    assert_eq!(host.sh("ls -A /etc/swarmdr")?, "agent.toml");
    assert_eq!(host.sh("swarmdr-agent config | head -1")?.matches("/etc/").count(), 0, "it is all defaults");
    Ok(())
}

fn units_are_tight(host: &Host) -> Result<()> {
    let units = [&SERVICES[..], &TIMERS].concat().join(" ");
    // These hosts lack man-db, so every Documentation= would be a finding.
    let findings = host.sh(&format!("systemd-analyze verify --man=no {units} 2>&1 | grep swarmdr || true"))?;
    assert_eq!(findings, "");
    for service in SERVICES {
        let line = host.sh(&format!("systemd-analyze security --no-pager {service} | tail -1"))?;
        let exposure = line.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
        let exposure = exposure.with_context(|| format!("no exposure in `{line}`"))?;
        println!("{} {service}: exposure {exposure}", host.name());
        assert!(exposure <= 2.0, "{line}");
        let capabilities = if service == "swarmdr-streams.service" { "cap_kill" } else { "" };
        assert_eq!(unit(host, service, "CapabilityBoundingSet")?, capabilities);
    }
    Ok(())
}

fn skipped_while_not_configured(host: &Host) -> Result<()> {
    host.sh(&format!("mv /etc/swarmdr/agent.toml /root/; systemctl start {}", SERVICES.join(" ")))?;
    for service in SERVICES {
        assert_eq!(unit(host, service, "ConditionResult")?, "no");
        assert_eq!(unit(host, service, "ActiveState")?, "inactive");
    }
    let status = host.run(&["systemctl", "status", "--no-pager", "swarmdr-backup.service"])?.stdout;
    assert!(status.contains("/etc/swarmdr/agent.toml"), "it does not say what is missing:\n{status}");
    host.sh("mv /root/agent.toml /etc/swarmdr/")?;
    Ok(())
}

fn wait_locked_backup(host: &Host) -> Result<String> {
    let listed = host.wait_for("the timer to have made a backup", Duration::from_secs(180), || {
        let output = host.run(&["swarmdr-agent", "list", "--json"])?;
        Ok((output.status.code() == Some(0)).then_some(output.stdout))
    });
    let listed = listed.with_context(|| host.journal("swarmdr-backup.service", 40).unwrap_or_default())?;
    let listed: Value = serde_json::from_str(&listed)?;
    let backup = &listed["backups"][0];
    assert_eq!(backup["lock"]["mode"], "COMPLIANCE", "{listed:#}");
    assert_eq!(backup["proof"], "proven", "{listed:#}");
    Ok(backup["id"].as_str().context("the list has no id")?.to_owned())
}

fn not_due_is_no_failure(site: &Site, host: &Host, last: u8) -> Result<()> {
    let once_a_year = format!("\n[schedule]\ncron = \"0 0 1 1 *\"\n[watch]\ntextfile_dir = \"{METRICS}\"\n");
    site.configure(host, &(site.config(&format!("s3://vault/m{last}")) + &once_a_year))?;
    for service in ["swarmdr-backup", "swarmdr-verify", "swarmdr-drill"] {
        host.write_file(&format!("/etc/systemd/system/{service}.service.d/metrics.conf"), MAY_WRITE_METRICS)?;
    }
    host.sh(&format!("mkdir -p {METRICS}; systemctl daemon-reload"))?;
    let started = host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?;
    host.sh("systemctl start swarmdr-backup.service")?;
    assert_eq!(unit(host, "swarmdr-backup.service", "ExecMainStatus")?, "3");
    assert_eq!(unit(host, "swarmdr-backup.service", "Result")?, "success");
    assert_eq!(host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?, started);
    Ok(())
}

/// Checks that all is green in `status`, in its plugin output, for Prometheus (whose format another parser reads), and
/// in the journal with its catalog.
fn whoever_watches_sees_green(host: &Host, id: &str) -> Result<()> {
    let status = agent_json(host, 0, &["status"])?;
    assert_eq!(status["level"], "ok", "{status:#}");
    let plugin = host.run(&["swarmdr-agent", "status", "--nagios"])?;
    assert!(plugin.status.code() == Some(0) && plugin.stdout.starts_with("SWARMDR OK"), "{}", plugin.stdout);

    // Written by the unit, in its sandbox, where the drop-in allows it.
    let page = host.read_file(&format!("{METRICS}/swarmdr.prom"))?;
    let scrape = prometheus_parse::Scrape::parse(page.lines().map(|line| Ok(line.to_owned())))?;
    let lines = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(scrape.samples.len(), lines, "the parser passed over lines of:\n{page}");
    ensure!(lines > 10, "{page}");
    let level = scrape.samples.iter().find(|sample| sample.metric == "swarmdr_status_level");
    let level = level.with_context(|| format!("no level in:\n{page}"))?;
    assert!(matches!(level.value, prometheus_parse::Value::Gauge(value) if value == 0.0), "{level:?}");

    let stored = "MESSAGE_ID=547802e086d0469bb1c056ae86314b59";
    let explained = host.sh(&format!("journalctl --catalog --no-pager -u swarmdr-backup.service {stored}"))?;
    assert!(explained.contains("A backup of the swarm is stored") && explained.contains(id), "{explained}");
    println!("{lines} metrics, and the journal explains {id}");
    Ok(())
}

/// Copies the images of the swarm in the hardened unit: into a directory, with the drop-in of the guide. The copies
/// themselves are tried elsewhere; here the unit has to read the state of the engine, and to write.
fn images_are_mirrored(host: &Host) -> Result<()> {
    const UNIT: &str = "swarmdr-images.service";
    let run = || host.run(&["systemctl", "start", UNIT]);
    ensure!(!run()?.status.success(), "without images.mirror, somebody could believe in copies");
    assert_eq!(unit(host, UNIT, "ExecMainStatus")?, "2");
    let journal = host.journal(UNIT, 20)?;
    ensure!(journal.contains("images.mirror"), "it does not say what to write: {journal}");

    host.write_file("/etc/swarmdr/agent.d/20-images.toml", "[images]\nmirror = \"oci:/srv/images\"\n")?;
    let guide = fs::read_to_string(packages::checkout().join("packaging/docs/images.md"))?;
    let drop_in = "[Service]\nReadWritePaths=/srv/images\n";
    ensure!(drop_in.lines().all(|line| guide.contains(line)), "the guide has another drop-in");
    host.write_file(&format!("/etc/systemd/system/{UNIT}.d/place.conf"), drop_in)?;
    host.sh("install -d -m 700 /srv/images; systemctl daemon-reload; systemctl reset-failed")?;
    let output = run()?;
    ensure!(output.status.success(), "{}{}", output.stderr, host.journal(UNIT, 20)?);
    assert_eq!(unit(host, UNIT, "ExecMainStatus")?, "0");
    ensure!(host.journal(UNIT, 20)?.contains("images at oci:/srv/images"), "{}", host.journal(UNIT, 20)?);
    Ok(())
}

/// Renews logins in the hardened unit, of which this swarm has none.
fn logins_are_renewed(host: &Host) -> Result<()> {
    const UNIT: &str = "swarmdr-images-auth.service";
    let run = || host.run(&["systemctl", "start", UNIT]);
    ensure!(!run()?.status.success(), "no login is configured");
    let journal = host.journal(UNIT, 20)?;
    ensure!(journal.contains("images.registry"), "it does not say what to write: {journal}");
    host.write_file("/etc/swarmdr/registry-login", "user:password\n")?;
    let settings = "[[images.registry]]\nhost = \"registry.example\"\nlogin_file = \"/etc/swarmdr/registry-login\"\n";
    host.write_file("/etc/swarmdr/agent.d/30-logins.toml", settings)?;
    host.sh("systemctl reset-failed")?;
    let output = run()?;
    ensure!(output.status.success(), "{}{}", output.stderr, host.journal(UNIT, 20)?);
    assert_eq!(unit(host, UNIT, "ExecMainStatus")?, "0");
    ensure!(host.journal(UNIT, 20)?.contains("Logins in the services"), "{}", host.journal(UNIT, 20)?);
    Ok(())
}

fn the_weekly_proof_works(host: &Host) -> Result<()> {
    host.sh("systemctl start swarmdr-verify.service")
        .with_context(|| host.journal("swarmdr-verify.service", 40).unwrap_or_default())?;
    assert_eq!(unit(host, "swarmdr-verify.service", "Result")?, "success");
    Ok(())
}

/// Runs a drill in its hardened unit, which gets the identity as a credential.
fn the_weekly_drill_works(site: &Site, host: &Host) -> Result<()> {
    host.write_file("/etc/credstore/swarmdr.identity", site.identity())?;
    host.sh("chmod 600 /etc/credstore/swarmdr.identity; systemctl start swarmdr-drill.service")
        .with_context(|| host.journal("swarmdr-drill.service", 40).unwrap_or_default())?;
    assert_eq!(unit(host, "swarmdr-drill.service", "ExecMainStatus")?, "0");
    // With the identity, the weekly proof decrypts the archive that it reads back.
    host.sh("systemctl start swarmdr-verify.service")?;
    let proof = host.sh("journalctl --no-pager -o cat -u swarmdr-verify.service | grep 'raft log replayed'")?;
    assert!(proof.starts_with("good"), "{proof}");
    let status = agent_json(host, 0, &["status"])?;
    assert_eq!(status["drills"]["last"]["proven"], true, "{status:#}");
    assert_eq!(host.sh("ls -A /var/lib/swarmdr/second 2>/dev/null || true")?, "");
    host.sh("rm -r /etc/credstore/swarmdr.identity")?;
    Ok(())
}

/// Checks the offers of the Tab key, with the script from the package.
fn completion_offers(host: &Host, id: &str) -> Result<()> {
    for verb in ["restore", "inspect"] {
        let script = format!(
            ". /usr/share/bash-completion/completions/swarmdr-agent; COMP_WORDS=(swarmdr-agent {verb} 20); COMP_CWORD=2; \
             COMP_TYPE=9; _clap_complete_swarmdr_agent swarmdr-agent 20; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let offered = host.run(&["bash", "-c", &script])?;
        assert!(offered.stdout.lines().any(|line| line == id), "{verb}: {}{}", offered.stdout, offered.stderr);
    }
    Ok(())
}

fn removal_keeps_what_is_the_users(host: &Host) -> Result<()> {
    // After a new installation the timers run again, and each run is recorded in the history.
    let files = "find /var/lib/swarmdr /etc/swarmdr -type f ! -name history.json -exec sha256sum {} + | sort -k2";
    let mine = |host: &Host| host.sh(files);
    host.write_file("/var/lib/swarmdr/spool/damaged/20261121T031500Z-00000001.swarmdr", "nobody touches it")?;
    let before = mine(host)?;
    host.apt(&["remove", "swarmdr-agent"])?;
    assert_eq!(mine(host)?, before);
    assert_ne!(host.run(&["test", "-e", "/usr/bin/swarmdr-agent"])?.status.code(), Some(0));
    assert_eq!(unit(host, TIMERS[0], "ActiveState")?, "inactive");

    // After a new installation, the timers that were enabled are enabled.
    host.apt_install(&packages::deb()?)?;
    for timer in TIMERS {
        assert_eq!(unit(host, timer, "UnitFileState")?, "enabled", "{timer}");
        assert_eq!(unit(host, timer, "ActiveState")?, "active", "{timer}");
    }
    assert_eq!(mine(host)?, before);

    let said = host.apt(&["purge", "swarmdr-agent"])?;
    assert!(said.contains("/var/lib/swarmdr is kept"), "{said}");
    // The purge removes the conffile, as Debian's policy requires, and nothing else.
    let kept: Vec<&str> = before.lines().filter(|line| !line.ends_with(" /etc/swarmdr/agent.toml")).collect();
    assert_eq!(mine(host)?.lines().collect::<Vec<_>>(), kept);
    assert_eq!(host.sh("find /etc/systemd/system -name 'swarmdr*.timer' | wc -l")?, "0", "links are left");
    Ok(())
}

#[tokio::test]
async fn an_upgrade_keeps_configuration_spool_and_vault_at_work() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E20_10, addr(11)))?;
    host.swarm_init()?;
    host.apt_install(&packages::earlier_deb(site.lab.dir())?)?;
    assert_eq!(host.sh("dpkg-query -W -f '${Version}' swarmdr-agent")?, "0.0.9-1");
    site.configure_manager(&host)?;
    let local = "\n[[vault]]\nurl = \"file:///var/lib/swarmdr/vault\"\n";
    let config = site.config("s3://vault/prod") + local;
    // With keys that may only read, one vault takes the backup, and for the other it waits.
    site.configure(&host, &config)?;
    host.sh("install -d -m 700 /var/lib/swarmdr /var/lib/swarmdr/vault")?;
    site.write_credentials_of(&host, &site.rgw.reader()?)?;
    host.sh("systemctl enable --now swarmdr-backup.timer")?;
    let first = agent_json(&host, 1, &["backup"])?;
    let waiting = host.sh("ls /var/lib/swarmdr/spool").with_context(|| format!("no spool: {first:#}"))?;
    assert!(waiting.contains(".swarmdr"), "nothing waits in the spool: {waiting}\n{first:#}");

    let running = host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?;
    host.apt_install(&packages::deb()?)?;
    assert_ne!(host.sh("dpkg-query -W -f '${Version}' swarmdr-agent")?, "0.0.9-1");
    assert_eq!(host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?, running);
    assert_eq!(unit(&host, TIMERS[0], "ActiveState")?, "active");
    assert_eq!(host.read_file("/etc/swarmdr/agent.toml")?, config.trim_end());
    assert_eq!(host.sh("ls /var/lib/swarmdr/spool")?, waiting);
    let offered = host.sh("ls /etc/swarmdr")?;
    assert!(offered.contains("agent.toml.dpkg-dist"), "the new defaults are nowhere to be seen: {offered}");

    site.write_credentials(&host)?;
    agent_json(&host, 0, &["backup"])?;
    assert_eq!(host.sh("ls /var/lib/swarmdr/spool | grep swarmdr || true")?, "");
    let listed = agent_json(&host, 0, &["list"])?;
    let ids = |vault: &str| {
        let rows = listed["backups"].as_array().into_iter().flatten();
        rows.filter(|row| row["vault"].as_str().is_some_and(|url| url.starts_with(vault))).count()
    };
    assert_eq!((ids("s3://"), ids("file://")), (2, 2), "{listed:#}");
    Ok(())
}

fn unit(host: &Host, unit: &str, property: &str) -> Result<String> {
    let value = host.sh(&format!("systemctl show --value -p {property} {unit}"))?;
    ensure!(!value.contains('\n'), "{unit} has several {property}");
    Ok(value)
}
