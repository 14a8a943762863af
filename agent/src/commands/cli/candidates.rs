//! Ids and clusters of the stored backups, as candidates to complete a command line.

use std::{ffi::OsString, time::Duration};

use anyhow::Result;
use clap_complete::CompletionCandidate;
use swarmdr_archive::{BackupId, ClusterId};
use swarmdr_vault::{Vault, object_name::ObjectName};

use crate::{
    config::{Loaded, Sources},
    vaults,
};

/// Time limit of a completion: a user does not wait longer for a list to choose from.
const PATIENCE: Duration = Duration::from_secs(4);

/// Number of ids that are offered, the newest ones; more would fill the screen.
const MOST_IDS: usize = 50;

/// Number of listing pages that are read of a vault. If it has more, only the first keys are offered: in order of the
/// clusters' ids, and the oldest of a cluster first.
const MOST_PAGES: usize = 20;

/// Ids of stored backups, newest first.
pub fn backup_ids() -> Vec<CompletionCandidate> {
    let mut ids = stored_names();
    ids.sort_by_key(|name| std::cmp::Reverse(name.id()));
    ids.dedup_by_key(|name| name.id());
    ids.iter().take(MOST_IDS).map(candidate).collect()
}

/// Candidates for an operand of `diff`, except paths: `latest`, and the ids of stored backups.
pub fn operands() -> Vec<CompletionCandidate> {
    let latest = CompletionCandidate::new("latest").help(Some("the newest backup that verifies".into()));
    std::iter::once(latest).chain(backup_ids()).collect()
}

/// Clusters that have stored backups.
pub fn clusters() -> Vec<CompletionCandidate> {
    let mut clusters: Vec<ClusterId> = stored_names().iter().map(|name| name.cluster().clone()).collect();
    clusters.sort();
    clusters.dedup();
    clusters.iter().map(|cluster| CompletionCandidate::new(cluster.as_str())).collect()
}

fn candidate(name: &ObjectName) -> CompletionCandidate {
    CompletionCandidate::new(name.id().to_string()).help(Some(describe(name.id(), name.cluster()).into()))
}

fn describe(id: BackupId, cluster: &ClusterId) -> String {
    format!("{} of {cluster}", id.created_at().strftime("%a %d %b %Y %H:%M"))
}

/// Lists the names only; the verb checks whether a backup is good. A vault that cannot be listed offers nothing, since
/// an error message would appear in the middle of the user's command line.
fn stored_names() -> Vec<ObjectName> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    // What was found within the time limit is still useful.
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

/// Value of `--config`, or of the variable in its place. To `undelete` that is a config of the swarm.
fn named_config(mut words: impl Iterator<Item = OsString>) -> Option<OsString> {
    let mut flag = "--config";
    while let Some(word) = words.next() {
        if word == "undelete" {
            flag = "--agent-config";
        }
        if word == flag {
            return words.next();
        }
        let file = word.to_str().and_then(|word| word.strip_prefix(flag)?.strip_prefix('='));
        if let Some(file) = file {
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
        assert_eq!(named(&["--", "swarmdr-agent", "undelete", "--config", "conf"]), None);
        assert_eq!(named(&["--", "swarmdr-agent", "undelete", "--agent-config", "/c"]), Some("/c".into()));
    }
}
