//! Managers with `swarmdr-on-change.service`, and what their vault holds.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, Lab, Output, addr},
    s3::Release,
    scenario::{IDENTITY, Site, VAULT, agent, agent_json, text},
};

pub const LIMIT: Duration = Duration::from_secs(240);

pub const UNIT: &str = "swarmdr-on-change.service";

/// Seconds between two backups after changes, at least.
pub const DISTANCE: u64 = 12;

/// What `schedule.on_change` is here.
pub fn settings() -> String {
    format!("[schedule]\ncron = \"0 0 1 1 *\"\non_change = {{ after = \"2s\", at_most_every = \"{DISTANCE}s\" }}\n")
}

pub async fn site() -> Result<Site> {
    Site::new(Release::V20).await
}

pub fn boot(lab: &Lab, engine: Engine, last: u8) -> Result<Host> {
    lab.boot(HostSpec::new(&format!("m{last}"), engine, addr(last)))
}

/// Configures a manager and installs the unit as the package does, without starting it.
pub fn set_up(site: &Site, host: &Host, settings: &str) -> Result<()> {
    site.set_up_manager(host)?;
    site.write_identity(host)?;
    site.configure(host, &format!("{}\n{settings}", site.config(VAULT)))?;
    let unit = include_str!("../../../systemd/swarmdr-on-change.service");
    host.write_file(&format!("/etc/systemd/system/{UNIT}"), unit)?;
    host.sh("systemctl daemon-reload").map(drop)
}

/// Returns the backups, newest first.
pub fn backups(host: &Host) -> Result<Vec<Value>> {
    let list = agent_json(host, 0, &["list"])?;
    Ok(list["backups"].as_array().context("a list")?.clone())
}

/// Returns the names of the secrets in the newest backup.
pub fn newest_secrets(host: &Host) -> Result<BTreeSet<String>> {
    let newest = agent_json(host, 0, &["inspect", "--latest", "--identity", IDENTITY])?;
    let secrets = newest["inventory"]["secrets"].as_array().context("secrets")?;
    secrets.iter().map(|secret| Ok(text(secret, "/name")?.to_owned())).collect()
}

/// Waits until the newest backup holds a secret.
pub fn wait_for_secret(host: &Host, name: &str) -> Result<()> {
    host.wait_for(&format!("a backup with the secret {name}"), LIMIT, || {
        Ok(newest_secrets(host)?.contains(name).then_some(()))
    })
}

/// Waits until there are as many backups.
pub fn wait_for_backups(host: &Host, count: usize) -> Result<()> {
    host.wait_for(&format!("{count} backups"), LIMIT, || Ok((backups(host)?.len() == count).then_some(())))
}

/// Runs a backup if something was changed.
pub fn if_changed(host: &Host) -> Result<Output> {
    agent(host, &["backup", "--if-changed"])
}
