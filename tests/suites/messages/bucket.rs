//! Messages that only a bucket causes: locks, rights, lifecycle rules, servers that do not answer.

use anyhow::Result;
use swarmdr_tests::{s3::Lock, scenario::VAULT};

use super::desk::{Desk, OPEN};

const UNITS: [(&str, &str); 2] = [
    ("swarmdr-backup.service", include_str!("../../../systemd/swarmdr-backup.service")),
    ("swarmdr-backup.timer", include_str!("../../../systemd/swarmdr-backup.timer")),
];

pub async fn cases(desk: &mut Desk) -> Result<()> {
    let config = desk.site.config(VAULT).replace("trusted_keys", "#trusted_keys") + "[spool]\npatience = 1\n";
    for (name, text) in UNITS {
        desk.host.write_file(&format!("/etc/systemd/system/{name}"), text)?;
    }
    desk.host.sh("systemctl daemon-reload; systemctl enable --now swarmdr-backup.timer")?;
    desk.configure(&config)?;
    desk.terminal("backup", 0, "into a bucket", &["backup"])?;
    desk.terminal("list", 0, "a bucket", &["list"])?;
    desk.terminal("status", 1, "a bucket", &["status"])?;
    desk.terminal("verify", 0, "a bucket", &[&["verify"], &OPEN[..]].concat())?;
    desk.both("prune", 0, "a bucket", &["prune", "--dry-run", "--keep-daily", "7"])?;
    let own = desk.host.sh("tail -1 /var/lib/swarmdr/keys/signing.pub")?;
    desk.configure(&format!("trusted_keys = [\"{own}\"]\n{config}"))?;
    desk.terminal("doctor", 0, "a bucket, and all is well", &["doctor"])?;
    broken(desk, &config).await
}

async fn broken(desk: &mut Desk, config: &str) -> Result<()> {
    desk.configure(&config.replace(VAULT, "s3://nowhere/prod"))?;
    for verb in ["backup", "list", "doctor"] {
        desk.terminal(verb, if verb == "list" { 5 } else { 1 }, "a bucket that does not exist", &[verb])?;
    }
    desk.site.rgw.create_bucket("plain", Lock::VersionsOnly).await?;
    desk.configure(&config.replace(VAULT, "s3://plain"))?;
    desk.terminal("backup", 1, "a bucket without locks", &["backup"])?;
    desk.terminal("doctor", 1, "a bucket without locks", &["doctor"])?;
    desk.configure(config)?;
    desk.site.write_credentials_of(&desk.host, &desk.site.rgw.user("stranger")?)?;
    desk.terminal("backup", 1, "somebody else's keys", &["backup"])?;
    desk.terminal("list", 5, "somebody else's keys", &["list"])?;
    desk.terminal("restore", 5, "somebody else's keys", &["restore", "--latest"])?;
    desk.site.write_credentials(&desk.host)?;
    desk.configure(&config.replace(":7480", ":7481"))?;
    desk.terminal("backup", 1, "a server that does not answer", &["backup"])?;
    desk.terminal("list", 5, "a server that does not answer", &["list"])?;
    desk.terminal("status", 5, "a server that does not answer", &["status"])?;
    desk.terminal("restore", 5, "a server that does not answer", &["restore", "--latest"])?;
    desk.configure(config)
}
