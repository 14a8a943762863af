//! A host on which nothing was done yet: no keys, no swarm, no backup.

use anyhow::Result;

use super::desk::{Desk, VAULT};

pub fn cases(desk: &mut Desk) -> Result<()> {
    desk.both("list", 2, "no key is trusted", &["list"])?;
    desk.terminal("keygen", 0, "the first time", &["keygen"])?;
    desk.both("keygen", 0, "the second time", &["keygen"])?;
    desk.terminal(
        "keygen",
        1,
        "where there is a key already",
        &["keygen", "--out", "/var/lib/swarmdr/keys/signing.key"],
    )?;
    desk.terminal("keygen", 1, "where nothing can be made", &["keygen", "--out", "/proc/keys/signing.key"])?;
    desk.configure(&desk.config())?;
    desk.terminal("config", 0, "a file", &["config"])?;
    desk.both("backup", 4, "an engine without a swarm", &["backup"])?;
    desk.host.sh("systemctl stop docker.socket docker.service")?;
    desk.both("backup", 1, "an engine that is stopped", &["backup"])?;
    desk.terminal("recover-quorum", 4, "an engine that is stopped", &["recover-quorum"])?;
    desk.host.sh("systemctl start docker.socket docker.service")?;
    desk.host.wait_engine()?;
    desk.host.swarm_init()?;
    for name in ["db-password", "tls-key"] {
        desk.host.create_secret(name, b"correct horse battery staple")?;
    }
    desk.host.create_config("site.conf", b"listen 80;")?;
    without_a_vault(desk)?;
    without_a_backup(desk)
}

fn without_a_vault(desk: &mut Desk) -> Result<()> {
    desk.both("backup", 1, "a vault whose directory is not there", &["backup"])?;
    desk.terminal("backup", 1, "a vault whose directory is not there: dry run", &["backup", "--dry-run"])?;
    desk.both("list", 5, "a vault whose directory is not there", &["list"])?;
    desk.terminal("restore", 5, "a vault whose directory is not there", &["restore", "--latest"])?;
    desk.terminal("status", 5, "a vault whose directory is not there", &["status"])?;
    desk.plain("status", 2, "a vault whose directory is not there", &["status", "--nagios"])?;
    desk.terminal("verify", 5, "a vault whose directory is not there", &["verify"])?;
    desk.terminal("drill", 5, "a vault whose directory is not there", &["drill", "--latest"])?;
    desk.terminal("prune", 6, "a vault whose directory is not there", &["prune", "--keep-last", "1"])?;
    desk.terminal("inspect", 5, "a vault whose directory is not there", &["inspect", "--latest"])?;
    desk.both("doctor", 1, "before anything was done", &["doctor"])?;
    desk.terminal("doctor", 1, "with a directory for the vault", &["doctor", "--make-vault"])
}

fn without_a_backup(desk: &mut Desk) -> Result<()> {
    desk.both("list", 5, "an empty vault", &["list"])?;
    desk.both("restore", 5, "an empty vault", &["restore", "--latest"])?;
    desk.both("verify", 5, "an empty vault", &["verify"])?;
    desk.both("status", 5, "an empty vault", &["status"])?;
    desk.plain("status", 2, "an empty vault", &["status", "--nagios"])?;
    desk.terminal("drill", 5, "an empty vault", &["drill", "--latest"])?;
    desk.both("prune", 0, "an empty vault", &["prune", "--keep-last", "1"])?;
    desk.terminal("prune", 2, "no policy", &["prune"])?;
    desk.terminal("diff", 5, "an empty vault", &["diff", "latest", "/var/lib/docker/swarm"])?;
    desk.host.sh(&format!("ls -A {VAULT}")).map(drop)
}
