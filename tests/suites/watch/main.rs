//! Status, metrics, hooks, pings and the journal, on a host that is set up as an operator would do it.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, addr},
    s3::{ForwardProxy, PROXY_PASSWORD, Release},
    scenario::{IDENTITY, Site, VAULT, agent, agent_json, journal_entry},
    switch::Switch,
};

const HOOKS: &str = "/etc/swarmdr/hooks.d";
const METRICS: &str = "/var/lib/prometheus/swarmdr.prom";

fn hook(host: &Host, name: &str, script: &str) -> Result<()> {
    host.write_file(&format!("{HOOKS}/{name}"), format!("#!/bin/sh\n{script}\n"))?;
    host.sh(&format!("chmod 755 {HOOKS}/{name}"))?;
    Ok(())
}

#[tokio::test]
async fn the_outside_learns_how_things_stand() -> Result<()> {
    let site = Site::new(Release::V20).await?;
    let host = site.lab.boot(HostSpec::new("m1", Engine::E26_1, addr(11)))?;
    host.swarm_init()?;
    site.set_up_manager(&host)?;
    let switch = Switch::listen(&site.lab)?;
    host.sh("mkdir -p /var/lib/prometheus")?;
    let watch = format!("\n[watch]\ntextfile_dir = \"/var/lib/prometheus\"\nping_url = \"{}\"\n", switch.url);
    let proxy = ForwardProxy::in_lab(&site.lab)?;
    let config = site.config(VAULT) + "\n[schedule]\ncron = \"0 0 1 1 *\"\n" + &watch + &only_way_out(&host, &proxy)?;
    site.configure(&host, &config)?;

    nothing_is_stored_yet(&host)?;
    a_backup_is_told_to_everybody(&host, &switch)?;
    a_hook_can_forbid_a_backup(&host, &switch)?;
    the_journal_can_be_searched(&host)?;
    what_is_wrong_is_said(&site, &host, &config)?;
    all_of_it_went_through_the_proxy(&site, &host, &config, proxy)
}

/// Makes a proxy with a login the only way out for everything in this file from here on. Returns the settings for it.
fn only_way_out(host: &Host, proxy: &ForwardProxy) -> Result<String> {
    let (_, port) =
        proxy.url().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).context("a port")?;
    host.sh(&format!("iptables -A OUTPUT -o host0 -p tcp ! --dport {port} --syn -j REJECT"))?;
    host.write_file("/etc/swarmdr/proxy-login", ForwardProxy::login())?;
    host.sh("chmod 600 /etc/swarmdr/proxy-login")?;
    Ok(format!("\n[network]\nproxy = \"{}\"\nproxy_login_file = \"/etc/swarmdr/proxy-login\"\n", proxy.url()))
}

fn all_of_it_went_through_the_proxy(site: &Site, host: &Host, config: &str, proxy: ForwardProxy) -> Result<()> {
    let url = proxy.url();
    site.write_identity(host)?;
    for (verb, exits) in [
        (&["list"][..], &[0][..]),
        (&["verify", "--latest", "--identity", IDENTITY], &[0]),
        (&["inspect", "--latest", "--identity", IDENTITY], &[0]),
        (&["prune", "--keep-last", "1", "--dry-run"], &[0]),
        (&["status"], &[0, 6]),
        // The host has the state that it would restore, or the restore is refused: in both cases the backup was found
        // and read.
        (&["restore", "--latest", "--identity", IDENTITY, "--dry-run"], &[0, 4]),
    ] {
        let output = agent(host, verb)?;
        let code = output.status.code().context("an exit code")?;
        ensure!(exits.contains(&code), "{verb:?} exited {code}: {}{}", output.stdout, output.stderr);
    }
    let doctor = agent(host, &["doctor"])?.stdout;
    ensure!(doctor.contains(&format!("reached through the proxy {url} (`proxy`), with a login")), "{doctor}");
    let log = proxy.log();
    for way in [format!("{}/vault", site.rgw.endpoint()), "/4711/start".to_owned()] {
        ensure!(log.contains(&way), "{way} did not go through the proxy: {log}");
    }

    // The environment variables alone are enough as well.
    site.configure(host, config.split("\n[network]").next().context("the settings before")?)?;
    host.sh(&format!("HTTP_PROXY={} swarmdr-agent list", proxy.url_with_login()))?;

    // The proxy is down: each command names it, and its password is nowhere.
    site.configure(host, config)?;
    drop(proxy);
    for verb in [&["list"][..], &["backup"], &["verify", "--latest"], &["doctor"]] {
        let output = agent(host, verb)?;
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(!output.status.success() && said.contains(&url), "{verb:?}: {said}");
        ensure!(!said.contains(PROXY_PASSWORD), "{verb:?}: {said}");
    }
    ensure!(!host.sh("cat /var/lib/swarmdr/history.json")?.contains(PROXY_PASSWORD));
    Ok(())
}

fn nothing_is_stored_yet(host: &Host) -> Result<()> {
    let empty = agent(host, &["status"])?;
    ensure!(empty.status.code() == Some(5), "{}{}", empty.stdout, empty.stderr);
    let plugin = agent(host, &["status", "--nagios"])?;
    ensure!(plugin.status.code() == Some(2) && plugin.stdout.starts_with("SWARMDR CRITICAL - "), "{}", plugin.stdout);
    Ok(())
}

fn a_backup_is_told_to_everybody(host: &Host, switch: &Switch) -> Result<()> {
    let note = "env | grep ^SWARMDR_HOOK_ | sort >> /root/hooks; echo >> /root/hooks";
    for name in ["pre-backup", "post-backup", "failed-backup"] {
        hook(host, name, note)?;
    }
    // A hook can call the agent: the variables that the hook gets are no settings.
    hook(host, "post-backup", &format!("{note}; swarmdr-agent list --json > /root/listed"))?;
    let made = agent_json(host, 0, &["backup", "--if-due"])?;
    let id = made["id"].as_str().context("an id")?;
    let told = host.read_file("/root/hooks")?;
    let blocks: Vec<&str> = told.split("\n\n").collect();
    ensure!(blocks.len() == 2, "{told}");
    ensure!(blocks[0].contains("NAME=pre-backup") && blocks[0].contains(&format!("BACKUP_ID={id}")), "{told}");
    ensure!(blocks[1].contains("NAME=post-backup") && blocks[1].contains("RESULT=done"), "{told}");
    ensure!(blocks[1].contains("VAULTS=s3://vault/prod"), "{told}");
    ensure!(host.read_file("/root/listed")?.contains(id));
    assert_eq!(switch.take(), ["/4711/start", "/4711"]);

    agent_json(host, 3, &["backup", "--if-due"])?;
    assert_eq!(switch.take(), [""; 0], "nothing was due, so nothing is told");
    for name in ["pre-verify", "post-verify"] {
        hook(host, name, "echo $SWARMDR_HOOK_NAME:$SWARMDR_HOOK_RESULT >> /root/verified")?;
    }
    agent_json(host, 0, &["verify"])?;
    assert_eq!(host.read_file("/root/verified")?, "pre-verify:\npost-verify:done");
    assert_eq!(switch.take(), [""; 0], "the switch is for backups");
    let page = host.read_file(METRICS)?;
    for line in [
        "swarmdr_status_level 0",
        "swarmdr_vault_up{vault=\"s3://vault/prod\"} 1",
        "swarmdr_newest_backup_proven{vault=\"s3://vault/prod\"} 1",
        "swarmdr_runs_total{verb=\"backup\",result=\"done\"} 1",
        "swarmdr_runs_total{verb=\"backup\",result=\"not-our-turn\"} 1",
        "swarmdr_last_proof_good 1",
        "swarmdr_hook_failures_total 0",
    ] {
        ensure!(page.lines().any(|it| it == line), "`{line}` is not in:\n{page}");
    }
    assert_eq!(agent(host, &["status", "--prometheus"])?.stdout.lines().count(), page.lines().count());
    let status = agent_json(host, 0, &["status"])?;
    assert_eq!((&status["level"], &status["vaults"][0]["newest"]["id"]), (&Value::from("ok"), &made["id"]));
    assert_eq!(status["vaults"][0]["newest"]["lock"]["mode"], "COMPLIANCE");
    let plugin = agent(host, &["status", "--nagios"])?;
    ensure!(plugin.status.code() == Some(0) && plugin.stdout.starts_with("SWARMDR OK - "), "{}", plugin.stdout);
    println!("{}\n{}", agent(host, &["status"])?.stdout, plugin.stdout);
    Ok(())
}

fn a_hook_can_forbid_a_backup(host: &Host, switch: &Switch) -> Result<()> {
    host.sh(&format!("rm -r {HOOKS} /root/hooks"))?;
    hook(host, "pre-backup/10-forbids", "echo not now >&2; exit 1")?;
    hook(host, "failed-backup", "echo $SWARMDR_HOOK_RESULT: $SWARMDR_HOOK_ERROR > /root/hooks")?;
    let since = host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?;
    let stopped = agent(host, &["backup"])?;
    ensure!(stopped.status.code() == Some(1) && stopped.stderr.contains("not now"), "{}", stopped.stderr);
    assert_eq!(host.sh("systemctl show -p ActiveEnterTimestampMonotonic docker.service")?, since);
    assert_eq!(host.read_file("/root/hooks")?.trim(), "failed: a pre-backup hook failed, so nothing was touched");
    assert_eq!(switch.take(), ["/4711/start", "/4711/fail"]);
    ensure!(host.read_file(METRICS)?.contains("swarmdr_hook_failures_total 1\n"));
    // The backups are fine, but the failed run needs attention.
    let status = agent_json(host, 6, &["status"])?;
    ensure!(status["reasons"].to_string().contains("a pre-backup hook failed"), "{status:#}");

    // A failed restore runs its hook too, and a hook can forbid a restore: nothing is touched.
    hook(host, "pre-restore", "exit 1")?;
    a_failed_restore_is_told(host)?;
    host.sh(&format!("rm -r {HOOKS}"))?;
    Ok(())
}

/// Checks that a restore which cannot even be planned runs its failed hook and leaves the host alone.
fn a_failed_restore_is_told(host: &Host) -> Result<()> {
    hook(host, "failed-restore", "echo $SWARMDR_HOOK_EXIT > /root/restore-hook")?;
    let refused = agent(host, &["restore", "--latest", "--identity", IDENTITY])?;
    let code = refused.status.code().context("an exit code")?;
    ensure!(code != 0, "{}", refused.stdout);
    assert_eq!(host.read_file("/root/restore-hook")?.trim(), code.to_string());
    Ok(())
}

/// Message id of the entry for a stored backup, as in the shipped catalog.
const BACKUP_STORED: &str = "547802e086d0469bb1c056ae86314b59";

fn the_journal_can_be_searched(host: &Host) -> Result<()> {
    let run = host.run(&["systemd-run", "--wait", "--quiet", "--unit=by-hand", "swarmdr-agent", "backup"])?;
    ensure!(run.status.success(), "{}{}", run.stdout, run.stderr);
    let entry = journal_entry(host, BACKUP_STORED)?;
    let newest = agent_json(host, 0, &["list"])?["backups"][0]["id"].clone();
    assert_eq!(
        (&entry["BACKUP_ID"], &entry["RESULT"], &entry["VERB"]),
        (&newest, &Value::from("done"), &Value::from("backup"))
    );
    assert_eq!(entry["_SYSTEMD_UNIT"], "by-hand.service");
    let catalog = include_str!("../../../packaging/journal/swarmdr.catalog");
    host.write_file("/usr/lib/systemd/catalog/swarmdr.catalog", catalog)?;
    host.sh("journalctl --update-catalog")?;
    let explained = host.sh(&format!("journalctl --catalog --no-pager MESSAGE_ID={}", BACKUP_STORED))?;
    ensure!(explained.contains("A backup of the swarm is stored"), "{explained}");
    Ok(())
}

fn what_is_wrong_is_said(site: &Site, host: &Host, config: &str) -> Result<()> {
    // By a changed schedule the backup, which is minutes old, is late: one was due each second since.
    let late = config.replace("0 0 1 1 *", "* * * * * *").replace("[watch]", "[watch]\ngrace = 1");
    site.configure(host, &late)?;
    thread::sleep(Duration::from_secs(3));
    let status = agent_json(host, 1, &["status"])?;
    ensure!(status["reasons"].to_string().contains("too old"), "{status:#}");
    site.configure(host, config)?;
    site.rgw.kill_gateway()?;
    let plugin = agent(host, &["status", "--nagios"])?;
    ensure!(plugin.status.code() == Some(2), "{}", plugin.stdout);
    let failed = agent_json(host, 1, &["backup"])?;
    ensure!(failed["error"].to_string().contains("the engine was not touched"), "{failed:#}");
    ensure!(host.read_file(METRICS)?.contains("swarmdr_vault_up{vault=\"s3://vault/prod\"} 0\n"));
    site.rgw.restart_gateway()?;
    Ok(())
}
