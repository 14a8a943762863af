//! What is stored, as words that fit a command line that is being typed.

use std::{ffi::OsString, time::Duration};

use anyhow::Result;
use clap_complete::CompletionCandidate;
use swarmdr_archive::BackupId;

use crate::{
    config::{Loaded, Sources},
    vault::{Vault, object_name::ObjectName},
    vaults,
};

/// Nobody waits longer for a list to choose from.
const PATIENCE: Duration = Duration::from_secs(4);

/// The newest that are offered; more fill the screen.
const MOST_IDS: usize = 50;

/// Listing pages that are read; a vault with more has its oldest keys offered only.
const MOST_PAGES: usize = 20;

/// Ids of stored backups, newest first.
pub fn backup_ids() -> Vec<CompletionCandidate> {
    let mut ids = stored_names();
    ids.sort_by_key(|name| std::cmp::Reverse(name.id()));
    ids.dedup_by_key(|name| name.id());
    ids.iter().take(MOST_IDS).map(candidate).collect()
}

/// The same and what else an operand of `diff` understands, short of paths.
pub fn operands() -> Vec<CompletionCandidate> {
    let latest = CompletionCandidate::new("latest").help(Some("the newest backup that verifies".into()));
    std::iter::once(latest).chain(backup_ids()).collect()
}

/// Clusters that have stored backups.
pub fn clusters() -> Vec<CompletionCandidate> {
    let mut clusters: Vec<String> = stored_names().iter().map(|name| name.cluster().to_owned()).collect();
    clusters.sort();
    clusters.dedup();
    clusters.into_iter().map(CompletionCandidate::new).collect()
}

fn candidate(name: &ObjectName) -> CompletionCandidate {
    CompletionCandidate::new(name.id().to_string()).help(Some(describe(name.id(), name.cluster()).into()))
}

fn describe(id: BackupId, cluster: &str) -> String {
    format!("{} of {cluster}", id.created_at().strftime("%a %d %b %Y %H:%M"))
}

/// Names only: whether a backup is good is for the verb to say. A vault that cannot be listed offers nothing, and a
/// message here would land in the middle of somebody's command line.
fn stored_names() -> Vec<ObjectName> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    // What was found before time is up is still of use.
    let _ = runtime.block_on(async { tokio::time::timeout(PATIENCE, collect(&mut names)).await });
    names
}

async fn collect(names: &mut Vec<ObjectName>) -> Result<()> {
    let loaded = Loaded::read(&sources())?;
    for connected in vaults::connect(&loaded.config).await? {
        let _ = collect_from(connected.vault.as_ref(), names).await;
    }
    Ok(())
}

async fn collect_from(vault: &dyn Vault, names: &mut Vec<ObjectName>) -> Result<()> {
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let page = vault.list_versions("", after.as_ref()).await?;
        names.extend(page.versions.iter().filter_map(|version| ObjectName::parse(&version.at.key).ok()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(())
}

/// The configuration that the command being typed will read.
fn sources() -> Sources {
    let installed = Sources::installed();
    match named_config(std::env::args_os().skip_while(|word| word != "--")) {
        Some(file) => installed.with_file(file),
        None => installed,
    }
}

/// What follows `--config`, or the variable that stands for it.
fn named_config(mut words: impl Iterator<Item = OsString>) -> Option<OsString> {
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next();
        }
        if let Some(file) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(file.into());
        }
    }
    std::env::var_os("SWARMDR_CONFIG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_the_one_that_is_being_typed() {
        let named = |words: &[&str]| named_config(words.iter().map(OsString::from));
        assert_eq!(named(&["--", "swarmdr-agent", "--config", "/a", "restore", ""]), Some("/a".into()));
        assert_eq!(named(&["--", "swarmdr-agent", "restore", "--config=/b", ""]), Some("/b".into()));
        assert_eq!(named(&["--", "swarmdr-agent", "restore", "--config"]), None);
    }
}
