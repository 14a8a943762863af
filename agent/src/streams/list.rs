//! Shows stored streams.

use std::{cmp::Reverse, fmt};

use anyhow::Result;
use comfy_table::{Table, presets};
use serde::Serialize;
use swarmdr_archive::{TrustedKeys, untrusted::shown};
use swarmdr_vault::{
    Lock,
    catalog::{Filter, Survey},
};

use crate::{host::files::space::human_bytes, outcome::exit::Exit, run::Run, vaults};

/// The stable JSON form of `list --streams --json`.
#[derive(Debug, Serialize)]
pub struct StreamList {
    pub streams: Vec<Row>,
    pub findings: Vec<String>,
    pub notes: Vec<String>,
}

/// One stream in one vault.
#[derive(Debug, Serialize)]
pub struct Row {
    pub vault: String,
    pub cluster_id: String,
    pub name: String,
    pub id: String,
    pub sequence: u64,
    pub as_of: String,
    pub ended_at: String,
    /// Bytes that the command wrote.
    pub size: u64,
    /// Bytes of the object.
    pub stored_size: u64,
    pub hostname: String,
    pub command: Vec<String>,
    pub exit_status: Option<i32>,
    pub encrypted: bool,
    pub lock: Option<Lock>,
}

/// Lists the good streams that the filter admits, by name and then newest first.
pub async fn list(run: &Run<'_>, filter: &Filter, keys: &TrustedKeys) -> Result<StreamList> {
    let mut survey = Survey::of_streams(None, filter, keys, run.now);
    let mut streams = Vec::new();
    for connected in vaults::connect(run.config).await? {
        let work = async {
            let mut visit = survey.vault(connected.vault.as_ref()).await;
            while let Some(found) = visit.next().await {
                let manifest = found.head.manifest;
                streams.push(Row {
                    vault: connected.settings.url.clone(),
                    cluster_id: manifest.cluster_id.to_string(),
                    name: manifest.name.to_string(),
                    id: manifest.id.to_string(),
                    sequence: manifest.sequence,
                    as_of: manifest.as_of.to_string(),
                    ended_at: manifest.ended_at.to_string(),
                    size: manifest.payload.plain_size,
                    stored_size: found.size,
                    hostname: manifest.hostname.clone(),
                    command: manifest.command.clone(),
                    exit_status: manifest.exit_status,
                    encrypted: manifest.is_encrypted(),
                    lock: found.lock,
                });
            }
            Ok(())
        };
        run.shutdown.or_interrupted(work).await?;
    }
    streams.sort_by_key(|row| (row.cluster_id.clone(), row.name.clone(), Reverse(row.id.clone()), row.vault.clone()));
    let surveyed = survey.end();
    Ok(StreamList { streams, findings: surveyed.findings, notes: surveyed.notes })
}

impl StreamList {
    /// 5 if there is no good stream, 6 if there is something to look at.
    pub fn exit(&self) -> Exit {
        match (self.streams.is_empty(), self.findings.is_empty()) {
            (true, _) => Exit::NothingUsable,
            (false, false) => Exit::Attention,
            (false, true) => Exit::Done,
        }
    }
}

impl fmt::Display for StreamList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["STREAM", "ID", "SIZE", "HOST", "LOCKED UNTIL", "VAULT"]);
        for row in &self.streams {
            let lock = row.lock.as_ref().map_or_else(|| "-".to_owned(), |lock| lock.until.to_string());
            let (host, vault) = (shown(&row.hostname).to_string(), shown(&row.vault).to_string());
            table.add_row([row.name.clone(), row.id.clone(), human_bytes(row.size), host, lock, vault]);
        }
        match self.streams.is_empty() {
            true => writeln!(f, "there is no stream that verifies")?,
            false => writeln!(f, "{table}")?,
        }
        for line in self.findings.iter().chain(&self.notes) {
            writeln!(f, "  {}", shown(line))?;
        }
        Ok(())
    }
}
