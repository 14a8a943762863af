//! The only manager of a swarm: its backups, and everything that keeps them from being made.

use std::time::Duration;

use anyhow::Result;
use swarmdr_tests::lab::wait_for;

use super::desk::{Desk, VAULT};

/// Program that a failpoint runs.
const PROGRAM: &str = "/root/fault";
const NEEDED: &str = "/var/lib/docker/swarm/certificates/swarm-root-ca.crt";
const STRAY: &str = "/var/lib/docker/swarm/pipe";
const HOOKS: &str = "/etc/swarmdr/hooks.d";
const LIMIT: Duration = Duration::from_secs(60);

const RUN: &str = "SWARMDRTEST_RUN=/root/fault";

pub fn cases(desk: &mut Desk) -> Result<()> {
    let config = desk.config();
    desk.both("backup", 0, "the plan", &["backup", "--dry-run"])?;
    desk.terminal("backup", 0, "the first", &["backup"])?;
    desk.json("backup", 0, "the second", &["backup"])?;
    schedules(desk)?;
    refusals(desk)?;
    desk.configure(&config)?;
    spool(desk)?;
    hooks(desk)?;
    desk.configure(&config)?;
    desk.terminal("backup", 1, "interrupted by a signal", &["SWARMDRTEST_FAULT=term@examine", "backup"])?;
    autolock(desk)?;
    desk.configure(&(config + "[backup]\nmode = \"freeze\"\n"))?;
    desk.terminal("backup", 0, "of a frozen engine: the plan", &["backup", "--dry-run"])?;
    desk.terminal("backup", 0, "of a frozen engine", &["backup"])?;
    desk.configure(&desk.config())
}

fn schedules(desk: &mut Desk) -> Result<()> {
    for (title, exit, schedule) in [
        ("not due yet", 3, "cron = \"0 0 1 1 *\""),
        ("no schedule", 2, "cron = \"off\""),
        ("a schedule that ends", 3, "cron = \"0 0 31 2 *\""),
    ] {
        desk.configure(&format!("{}[schedule]\n{schedule}\ntimezone = \"UTC\"\n", desk.config()))?;
        desk.both("backup", exit, title, &["backup", "--if-due"])?;
    }
    Ok(())
}

fn refusals(desk: &mut Desk) -> Result<()> {
    let config = desk.config();
    desk.configure(&format!("trusted_keys = [\"{}\"]\n{config}", desk.site.public_key))?;
    desk.both("backup", 2, "its own key is not trusted", &["backup"])?;
    desk.configure(&config)?;
    desk.host.sh(&format!("mv {NEEDED} /root/needed; ln -s /root/needed {NEEDED}"))?;
    desk.both("backup", 4, "a file that no archive takes", &["backup"])?;
    desk.host.sh(&format!("mv /root/needed {NEEDED}; mkfifo {STRAY}"))?;
    desk.terminal("backup", 0, "a file that no engine wrote: the plan", &["backup", "--dry-run"])?;
    desk.both("backup", 6, "a file that no engine wrote", &["backup"])?;
    desk.host.sh(&format!("rm {STRAY}"))?;
    desk.host.sh("mkdir -p /var/lib/swarmdr/spool; mount -t tmpfs -o size=16k tmpfs /var/lib/swarmdr/spool")?;
    desk.both("backup", 1, "a disk that is full", &["backup"])?;
    desk.host.sh("umount /var/lib/swarmdr/spool")?;
    desk.configure(&(config.clone() + "[engine]\nsocket = \"/run/none.sock\"\n"))?;
    desk.terminal("backup", 1, "no engine at the socket", &["backup"])?;
    desk.configure(&(config.clone() + "[engine]\nservice = \"dockerd.service\"\n"))?;
    desk.terminal("backup", 4, "a unit that does not exist", &["backup"])?;
    desk.configure(&config)?;
    let running = desk.host.spawn(&["env", "SWARMDRTEST_FAULT=hang@pre-copy", "swarmdr-agent", "backup"])?;
    wait_for("a run that holds the lock", LIMIT, || Ok(running.stderr()?.contains("fault: ").then_some(())))?;
    desk.both("backup", 3, "another run holds the lock", &["backup"])?;
    desk.terminal("restore", 3, "another run holds the lock", &["restore", "--latest"])?;
    drop(running);
    Ok(())
}

fn spool(desk: &mut Desk) -> Result<()> {
    program(desk, &format!("#!/bin/sh\nmv {VAULT} /srv/lost\n"))?;
    desk.terminal("backup", 1, "the vault went away meanwhile", &["SWARMDRTEST_FAULT=run@pack", RUN, "backup"])?;
    desk.terminal("status", 5, "an archive waits in the spool, and the vault is gone", &["status"])?;
    desk.host.sh(&format!("mv /srv/lost {VAULT}"))?;
    desk.terminal("status", 6, "an archive waits in the spool", &["status"])?;
    desk.configure(&desk.config().replace("patience = 1", "patience = 1\nmax_count = 1"))?;
    desk.terminal("status", 1, "the spool is full", &["status"])?;
    desk.plain("status", 2, "the spool is full", &["status", "--nagios"])?;
    desk.configure(&desk.config())?;
    desk.terminal("backup", 0, "what waited is sent first", &["backup"])
}

fn hooks(desk: &mut Desk) -> Result<()> {
    hook(desk, "pre-backup", "echo not now >&2; exit 1")?;
    desk.both("backup", 1, "a hook forbids it", &["backup"])?;
    desk.terminal("status", 6, "the last run failed", &["status"])?;
    desk.host.sh(&format!("rm {HOOKS}/pre-backup"))?;
    hook(desk, "post-backup", "echo the mail server is down >&2; exit 1")?;
    desk.terminal("backup", 0, "a hook fails afterwards", &["backup"])?;
    desk.host.sh(&format!("rm -r {HOOKS}")).map(drop)
}

fn hook(desk: &Desk, name: &str, script: &str) -> Result<()> {
    let path = format!("{HOOKS}/{name}");
    desk.host.write_file(&path, format!("#!/bin/sh\n{script}\n"))?;
    desk.host.sh(&format!("chmod 755 {path}")).map(drop)
}

fn autolock(desk: &mut Desk) -> Result<()> {
    desk.host.docker(&["swarm", "update", "--autolock=true"])?;
    desk.terminal("backup", 0, "autolocked: the plan", &["backup", "--dry-run"])?;
    desk.terminal("backup", 0, "autolocked", &["backup"])?;
    let key = desk.host.docker(&["swarm", "unlock-key", "-q"])?;
    desk.host.write_file("/root/unlock-key", &key)?;
    desk.host.write_file("/root/other-key", "SWMKEY-1-UsqZOYGGFSFkKCK4xPxCJ8vZTkmyoE4nSjZKNnB/4Mc\n")?;
    desk.host.sh("chmod 600 /root/unlock-key /root/other-key")?;
    for (title, exit, more) in [
        ("autolocked, without the key", 0, &[][..]),
        ("autolocked, with the key", 0, &["--unlock-key", "/root/unlock-key"]),
        ("autolocked, with another key", 6, &["--unlock-key", "/root/other-key"]),
    ] {
        desk.terminal("verify", exit, title, &[&["verify", "--latest"], &super::desk::OPEN[..], more].concat())?;
        desk.terminal("inspect", exit, title, &[&["inspect", "--latest"], &super::desk::OPEN[..], more].concat())?;
    }
    desk.terminal("doctor", 6, "autolocked", &["doctor"])?;
    desk.host.docker(&["swarm", "update", "--autolock=false"]).map(drop)
}

pub fn program(desk: &Desk, script: &str) -> Result<()> {
    desk.host.write_file(PROGRAM, script)?;
    desk.host.sh(&format!("chmod 755 {PROGRAM}")).map(drop)
}
