//! Restores: refused, planned, failed, interrupted, done, and done again.

use anyhow::{Context, Result};

use super::desk::{Desk, OPEN};

const UNITS: &str = "systemctl stop docker.socket docker.service";
const START: &str = "systemctl reset-failed docker.socket docker.service; systemctl start docker.socket docker.service";

pub fn cases(desk: &mut Desk) -> Result<()> {
    let latest = [&["restore", "--latest"], &OPEN[..]].concat();
    let dry = [&latest[..], &["--dry-run"]].concat();
    desk.both("restore", 0, "what it would restore works already", &latest)?;
    let last = desk.backups()?.last().context("there is one")?.clone();
    desk.terminal(
        "restore",
        0,
        "to go back: the plan",
        &[&["restore", &last, "--force", "--dry-run"], &OPEN[..]].concat(),
    )?;
    desk.host.docker(&["swarm", "leave", "--force"])?;
    desk.both("restore", 0, "the plan", &dry)?;
    choices(desk, &latest)?;
    hosts(desk, &latest)?;

    desk.host.swarm_init()?;
    desk.host.create_secret("of-the-new-swarm", b"x")?;
    desk.both("restore", 4, "another swarm is active here", &latest)?;
    let forced = [&latest[..], &["--force"]].concat();
    desk.terminal("restore", 0, "over another swarm: the plan", &[&forced[..], &["--dry-run"]].concat())?;
    desk.terminal(
        "restore",
        1,
        "fails, and what was there is back",
        &[&["SWARMDRTEST_FAULT=panic@init-noted"], &forced[..]].concat(),
    )?;
    desk.host.wait_manager()?;
    desk.terminal(
        "restore",
        1,
        "interrupted by a signal",
        &[&["SWARMDRTEST_FAULT=term@start-noted"], &forced[..]].concat(),
    )?;
    desk.host.wait_manager()?;
    desk.terminal("restore", 137, "killed", &[&["SWARMDRTEST_FAULT=kill@place-noted"], &forced[..]].concat())?;
    desk.terminal("backup", 4, "a restore was cut short here", &["backup"])?;
    desk.terminal("restore", 0, "the plan, after one that was killed", &[&forced[..], &["--dry-run"]].concat())?;
    desk.terminal("restore", 0, "after one that was killed", &forced)?;
    desk.host.wait_manager()?;
    desk.terminal("restore", 0, "the second run", &latest)?;
    desk.terminal("doctor", 6, "after a restore", &["doctor"])?;
    desk.host.docker(&["swarm", "leave", "--force"])?;
    desk.host.sh(UNITS)?;
    desk.host.sh("rm -rf /var/lib/docker/swarm /var/lib/docker/.swarmdr")?;
    desk.host.sh(START)?;
    desk.host.wait_engine()?;
    desk.json("restore", 0, "done", &latest)?;
    desk.host.wait_manager()
}

fn choices(desk: &mut Desk, latest: &[&str]) -> Result<()> {
    desk.both("restore", 2, "encrypted, without an identity", &["restore", "--latest"])?;
    desk.terminal(
        "restore",
        1,
        "identities of somebody else",
        &["restore", "--latest", "--identity", "/root/stranger.txt"],
    )?;
    desk.terminal("restore", 5, "an id that is not there", &["restore", "20200101T000000Z-00000000"])?;
    desk.terminal("restore", 5, "none that is old enough", &["restore", "--latest", "--before", "2020-01-01"])?;
    desk.terminal("restore", 5, "none of this cluster", &["restore", "--latest", "--cluster", "none"])?;
    desk.terminal("restore", 5, "a file that is no archive", &["restore", "--file", "/root/text.swarmdr"])?;
    desk.terminal("restore", 2, "a key that nobody can read", &["restore", "--latest", "--trust", "/root/none.pub"])?;
    desk.terminal("restore", 2, "an unlock key that is none", &[latest, &["--unlock-key", "/etc/hostname"]].concat())
}

fn hosts(desk: &mut Desk, latest: &[&str]) -> Result<()> {
    desk.host.sh("ip address del 10.77.0.11/24 dev host0; ip address add 10.77.0.15/24 dev host0")?;
    desk.both("restore", 4, "the address is on another host", latest)?;
    desk.terminal("restore", 4, "the address does not come", &[latest, &["--wait-for-ip", "1s"]].concat())?;
    desk.terminal(
        "restore",
        0,
        "to the address of this host: the plan",
        &[latest, &["--readdress", "--dry-run"]].concat(),
    )?;
    desk.host.sh("ip address del 10.77.0.15/24 dev host0; ip address add 10.77.0.11/24 dev host0")?;
    desk.terminal(
        "restore",
        0,
        "a data path that this host does not have: the plan",
        &[latest, &["--data-path-addr", "10.99.0.1", "--dry-run"]].concat(),
    )?;
    desk.host.sh(UNITS)?;
    desk.terminal("restore", 1, "an engine that is stopped: the plan", &[latest, &["--dry-run"]].concat())?;
    desk.host
        .sh("mkdir -p /root/units; mv $(systemctl show -P FragmentPath docker.service docker.socket) /root/units
         mv /etc/init.d/docker /root/units/init 2>/dev/null || true; systemctl daemon-reload")?;
    desk.both("restore", 1, "no engine is installed", latest)?;
    desk.host.sh("mv /root/units/init /etc/init.d/docker 2>/dev/null || true; mv /root/units/* /usr/lib/systemd/system; systemctl daemon-reload")?;
    desk.host.sh(START)?;
    desk.host.wait_engine()
}
