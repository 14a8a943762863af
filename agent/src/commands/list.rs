//! `list`

use std::fmt;

use anyhow::Result;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::manifest::{Counts, Manifest, Proof};

use super::Context;
use crate::{
    cli::ListArgs,
    exit::Exit,
    host::space::human_bytes,
    report::{count, human_ms},
    vault::{
        Lock, Vault,
        catalog::{Filter, Strays, Verdict, Visibility, Walk},
    },
    vaults,
};

/// Unlistable vaults, forged or damaged objects make this exit 6; no good backup at all, 5.
pub async fn run(context: &Context, args: &ListArgs) -> Result<Exit> {
    let keys = context.trusted(&args.trust)?;
    let mut report = Report::default();
    for connected in vaults::connect(&context.loaded.config).await? {
        let vault = connected.vault.as_ref();
        let filter = Filter { cluster: args.cluster.clone(), ..Filter::default() };
        let mut walk = Walk::new(vault, filter, &keys);
        loop {
            match context.shutdown.or_interrupted(async { Ok(walk.next().await) }).await? {
                Ok(Some(entry)) if matches!(entry.verdict, Verdict::Good(_)) => {
                    if entry.visibility != Visibility::Plain {
                        report.findings.push(format!("{}: {entry}", vault.address()));
                    }
                    let lock = vault.head(&entry.at).await.ok().and_then(|head| head.lock);
                    if let Verdict::Good(head) = entry.verdict {
                        report.backups.push(Row::new(vault, &head.manifest, entry.size, lock));
                    }
                }
                Ok(Some(entry)) => report.findings.push(format!("{}: {entry}", vault.address())),
                Ok(None) => break,
                Err(error) => {
                    report.findings.push(error.to_string());
                    break;
                }
            }
        }
        if walk.strays() != Strays::default() {
            report.findings.push(format!("{}: {}", vault.address(), walk.strays()));
        }
    }
    report.backups.sort_by(|a, b| b.id.cmp(&a.id).then_with(|| a.vault.cmp(&b.vault)));
    context.output.print(&report)?;
    Ok(match (report.backups.is_empty(), report.findings.is_empty()) {
        (true, _) => Exit::NothingUsable,
        (false, false) => Exit::Attention,
        (false, true) => Exit::Done,
    })
}

/// The stable JSON form of `list --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Newest first.
    backups: Vec<Row>,
    /// What is in the vaults and should not be, or could not be read.
    findings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    id: String,
    created_at: Timestamp,
    vault: String,
    hostname: String,
    cluster_id: String,
    node_id: String,
    raft_addr: String,
    engine_version: String,
    sequence: u64,
    size: u64,
    encrypted: bool,
    autolock: bool,
    proof: Proof,
    engine_down_ms: u64,
    counts: Counts,
    /// The retention in effect; absent where the vault cannot lock.
    lock: Option<Lock>,
}

impl Row {
    fn new(vault: &dyn Vault, manifest: &Manifest, size: u64, lock: Option<Lock>) -> Self {
        Self {
            id: manifest.id.to_string(),
            created_at: manifest.created_at,
            vault: vault.address().to_owned(),
            hostname: manifest.hostname.clone(),
            cluster_id: manifest.cluster_id.clone(),
            node_id: manifest.node_id.clone(),
            raft_addr: manifest.raft_addr.to_string(),
            engine_version: manifest.engine_version.clone(),
            sequence: manifest.sequence,
            size,
            encrypted: manifest.is_encrypted(),
            autolock: manifest.autolock,
            proof: manifest.proof,
            engine_down_ms: manifest.snapshot.engine_down_ms,
            counts: manifest.counts,
            lock,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.backups.is_empty() {
            writeln!(f, "No backup that verifies.")?;
        } else {
            writeln!(f, "{}", table(&self.backups))?;
        }
        for finding in &self.findings {
            writeln!(f, "! {finding}")?;
        }
        Ok(())
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "HOST", "ADDRESS", "ENGINE", "HOLDS", "SIZE", "DOWN", "STATE", "LOCKED UNTIL", "VAULT"]);
    for row in rows {
        let counts = &row.counts;
        let state = match (row.proof, row.encrypted) {
            (Proof::Proven, true) => "proven, encrypted",
            (Proof::Proven, false) => "proven, in clear",
            (Proof::Unproven, _) => "UNPROVEN",
            (Proof::Sealed, _) => "autolocked",
            (Proof::Unchecked, _) => "unchecked",
        };
        table.add_row([
            row.id.clone(),
            row.hostname.clone(),
            row.raft_addr.clone(),
            row.engine_version.clone(),
            format!("{}, {}", count(counts.services, "service"), count(counts.secrets, "secret")),
            human_bytes(row.size),
            human_ms(row.engine_down_ms),
            state.to_owned(),
            row.lock.map_or_else(|| "not locked".to_owned(), |lock| lock.until.strftime("%Y-%m-%d").to_string()),
            row.vault.clone(),
        ]);
    }
    table
}
