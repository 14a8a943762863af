//! Messages about stored backups, and about commands that use them.

use anyhow::{Context, Result};

use super::desk::{Desk, OPEN};

pub fn cases(desk: &mut Desk) -> Result<()> {
    let ids = desk.backups()?;
    let (first, last) = (ids.first().context("there is one")?.clone(), ids.last().context("there is one")?.clone());
    desk.both("list", 0, "several", &["list"])?;
    desk.both("list", 5, "none that is so old", &["list", "--before", "2020-01-01"])?;
    desk.terminal("inspect", 0, "without an identity", &["inspect", "--latest"])?;
    desk.both("inspect", 0, "with an identity", &[&["inspect", &last], &OPEN[..]].concat())?;
    desk.terminal("inspect", 0, "the directory of this host", &["inspect", "--dir", "/var/lib/docker/swarm"])?;
    desk.terminal("inspect", 1, "a directory that is none", &["inspect", "--dir", "/root/none"])?;
    desk.terminal("inspect", 1, "a directory that is no state", &["inspect", "--dir", "/etc"])?;
    desk.terminal("inspect", 5, "an id that is not there", &["inspect", "20200101T000000Z-00000000"])?;
    desk.host.create_secret("since-then", b"x")?;
    desk.host.docker(&["node", "update", "--label-add", "rack=7", "m1"])?;
    desk.both("diff", 0, "two backups", &[&["diff", &first, &last], &OPEN[..]].concat())?;
    desk.both(
        "diff",
        0,
        "the newest and this host",
        &[&["diff", "latest", "/var/lib/docker/swarm"], &OPEN[..]].concat(),
    )?;
    desk.terminal("diff", 2, "without an identity", &["diff", "latest", "/var/lib/docker/swarm"])?;
    desk.terminal("diff", 5, "a path that is not there", &["diff", "latest", "./none.swarmdr"])?;
    desk.both("verify", 0, "the newest, unopened", &["verify", "--latest"])?;
    desk.both("verify", 0, "the newest", &[&["verify", "--latest"], &OPEN[..]].concat())?;
    desk.terminal("verify", 0, "one", &[&["verify", &first], &OPEN[..]].concat())?;
    desk.terminal("verify", 5, "an id that is not there", &["verify", "20200101T000000Z-00000000"])?;
    desk.both("status", 0, "all is well", &["status"])?;
    desk.plain("status", 0, "all is well", &["status", "--nagios"])?;
    desk.plain("status", 0, "all is well", &["status", "--prometheus"])?;
    late(desk)?;
    drills(desk, &first)?;
    prunes(desk)?;
    desk.terminal("doctor", 6, "after backups", &["doctor"])
}

fn late(desk: &mut Desk) -> Result<()> {
    let schedule = "[schedule]\ncron = \"* * * * * *\"\n[watch]\ngrace = 1\n";
    desk.configure(&(desk.config() + schedule))?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    desk.both("status", 1, "no backup came", &["status"])?;
    desk.plain("status", 2, "no backup came", &["status", "--nagios"])?;
    desk.configure(&(desk.config() + "[drill]\nmax_age_days = 1\n"))?;
    desk.terminal("status", 6, "no drill was held", &["status"])?;
    desk.configure(&desk.config())
}

fn drills(desk: &mut Desk, first: &str) -> Result<()> {
    desk.terminal("drill", 0, "the newest", &[&["drill", "--latest"], &OPEN[..]].concat())?;
    desk.json("drill", 0, "the newest", &[&["drill", "--latest"], &OPEN[..]].concat())?;
    desk.terminal("verify", 0, "with a boot", &[&["verify", "--boot", first], &OPEN[..]].concat())?;
    desk.both("drill", 2, "without an identity", &["drill", "--latest"])?;
    desk.terminal(
        "drill",
        1,
        "cut short",
        &[&["SWARMDRTEST_FAULT=term@drill-staged", "drill", "--latest"], &OPEN[..]].concat(),
    )?;
    desk.terminal("list", 0, "after a drill", &["list"])?;
    desk.terminal("status", 0, "after a drill", &["status"])
}

fn prunes(desk: &mut Desk) -> Result<()> {
    desk.both("prune", 0, "nothing to remove", &["prune", "--keep-last", "100"])?;
    desk.both("prune", 0, "the plan", &["prune", "--dry-run", "--keep-last", "3"])?;
    desk.terminal("prune", 0, "some", &["prune", "--keep-last", "3", "--keep-daily", "2"])?;
    desk.json("prune", 0, "one more", &["prune", "--keep-last", "2"])
}
