//! The verb `list`.

use std::{collections::BTreeSet, fmt};

use anyhow::Result;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{
    BackupId, ClusterId, NodeId, TrustedKeys,
    manifest::{Counts, Proof},
    untrusted::shown,
};
use swarmdr_vault::{
    Lock, Vault,
    catalog::{Found, Place, Survey, Timing, order},
};

use super::{Context, claims};
use crate::{
    commands::cli::ListArgs,
    host::files::space::human_bytes,
    observe::status::Drill,
    outcome::{count::count, elapsed::human_ms, exit::Exit},
    points,
    restore::drill::receipts,
    streams, vaults,
};

/// Exits 6 if a vault cannot be listed, an object is forged or damaged, or the history has a gap; 5 if there is no good
/// backup at all.
pub async fn run(context: &Context, args: &ListArgs) -> Result<Exit> {
    if args.claims {
        return claims::list(context, args).await;
    }
    if args.streams {
        let keys = context.trusted_on_streams(&args.trust)?;
        let listed = streams::list(&context.run(), &args.among.filter(context.now), &keys).await?;
        context.output.print(&listed)?;
        return Ok(listed.exit());
    }
    let keys = context.trusted(&args.trust)?;
    if args.points {
        let listed = points::list(&context.run(), &args.among.filter(context.now), &keys).await?;
        context.output.print(&listed)?;
        return Ok(listed.exit());
    }
    let filter = args.among.filter(context.now);
    let mut survey = Survey::new(&filter, &keys, context.now);
    let mut backups = Vec::new();
    for connected in vaults::connect(&context.loaded.config).await? {
        let vault = connected.vault.as_ref();
        let work = async {
            let mut visit = survey.vault(vault).await;
            while let Some(found) = visit.next().await {
                backups.push(Row::new(vault, &found));
            }
            drop(visit);
            add_drills(vault, &keys, &mut backups).await
        };
        context.shutdown.or_interrupted(work).await?;
    }
    let backups = newest_first(backups);
    let surveyed = survey.end();
    let report = Report { backups, findings: surveyed.findings, notes: surveyed.notes, silent: surveyed.silent };
    context.output.print(&report)?;
    Ok(match (report.backups.is_empty(), report.findings.is_empty()) {
        (true, _) => Exit::NothingUsable,
        (false, false) => Exit::Attention,
        (false, true) => Exit::Done,
    })
}

fn newest_first(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| a.vault.cmp(&b.vault));
    let places: Vec<Place> = rows.iter().map(|row| row.place.clone()).collect();
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    order::ranked(&places).into_iter().filter_map(|index| rows[index].take()).collect()
}

/// Adds the newest drill to each row of this vault.
async fn add_drills(vault: &dyn Vault, keys: &TrustedKeys, rows: &mut [Row]) -> Result<()> {
    let mut own: Vec<&mut Row> = rows.iter_mut().filter(|row| row.vault == vault.address()).collect();
    let clusters: BTreeSet<ClusterId> = own.iter().map(|row| row.cluster_id.clone()).collect();
    for cluster in clusters {
        let of_cluster = own.iter().filter(|row| row.cluster_id == cluster);
        let wanted: BTreeSet<BackupId> = of_cluster.filter_map(|row| row.id.parse().ok()).collect();
        let found = receipts::by_backup(vault, &cluster, keys, &wanted).await?;
        for (backup, receipt) in found {
            let id = backup.to_string();
            let about =
                |row: &Row| row.cluster_id == cluster && row.id == id && row.place.digest == receipt.manifest_digest;
            if let Some(row) = own.iter_mut().find(|row| about(row)) {
                row.drill = Some(Drill::of(&receipt));
            }
        }
    }
    Ok(())
}

fn drilled(drill: &Drill) -> String {
    let day = drill.at.strftime("%Y-%m-%d");
    if drill.proven { day.to_string() } else { format!("FAILED {day}") }
}

/// The stable JSON form of `list --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Newest first.
    backups: Vec<Row>,
    /// Objects that should not be in the vaults, that are missing, or that could not be read.
    findings: Vec<String>,
    /// Facts that are worth knowing and no cause for alarm.
    notes: Vec<String>,
    /// Vaults that could not be searched: they may hold more, and newer ones.
    silent: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    id: String,
    created_at: Timestamp,
    /// When it was stored, by the vault's clock.
    stored_at: Timestamp,
    /// Whether it was stored long after the time in its id: it waited in a spool, or that time is wrong.
    late: bool,
    vault: String,
    hostname: String,
    cluster_id: ClusterId,
    node_id: NodeId,
    raft_addr: String,
    engine_version: String,
    sequence: u64,
    size: u64,
    encrypted: bool,
    autolock: bool,
    proof: Proof,
    engine_down_ms: u64,
    counts: Counts,
    /// The retention in effect; absent where the backup is not locked, and where `lock_unread`.
    lock: Option<Lock>,
    /// Whether the vault did not return what lock there is; an absent `lock` then means nothing.
    lock_unread: bool,
    /// The newest drill of this backup that left a receipt in this vault.
    drill: Option<Drill>,
    #[serde(skip)]
    place: Place,
}

impl Row {
    fn new(vault: &dyn Vault, found: &Found) -> Self {
        let manifest = &found.head.manifest;
        let place = Place::of(&found.head, found.stored);
        Self {
            id: manifest.id.to_string(),
            created_at: manifest.created_at,
            stored_at: found.stored,
            late: place.timing() == Timing::Late,
            vault: vault.address().to_owned(),
            hostname: manifest.hostname.clone(),
            cluster_id: manifest.cluster_id.clone(),
            node_id: manifest.node_id.clone(),
            raft_addr: manifest.raft_addr.to_string(),
            engine_version: manifest.engine_version.clone(),
            sequence: manifest.sequence,
            size: found.size,
            encrypted: manifest.is_encrypted(),
            autolock: manifest.autolock,
            proof: manifest.proof,
            engine_down_ms: manifest.snapshot.engine_down_ms,
            counts: manifest.counts,
            lock: found.lock,
            lock_unread: found.lock_unread,
            drill: None,
            place,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.backups.is_empty(), self.silent.is_empty()) {
            (false, _) => writeln!(f, "{}", table(&self.backups))?,
            (true, true) => writeln!(f, "No backup that verifies.")?,
            (true, false) => writeln!(f, "Unknown: {} could not be searched.", shown(self.silent.join(", ")))?,
        }
        for finding in &self.findings {
            writeln!(f, "! {}", shown(finding))?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        Ok(())
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let swarms: BTreeSet<&ClusterId> = rows.iter().map(|row| &row.cluster_id).collect();
    let several = swarms.len() > 1;
    let mut header =
        vec!["ID", "HOST", "ADDRESS", "ENGINE", "HOLDS", "SIZE", "DOWN", "STATE", "DRILL", "LOCKED UNTIL", "VAULT"];
    header.extend(several.then_some("SWARM"));
    table.set_header(header);
    for row in rows {
        let counts = &row.counts;
        let state = match (row.proof, row.encrypted) {
            (Proof::Proven, true) => "proven, encrypted",
            (Proof::Proven, false) => "proven, in clear",
            (Proof::Unproven, _) => "UNPROVEN",
            (Proof::Sealed, _) => "autolocked",
            (Proof::Unchecked, _) => "unchecked",
        };
        let late = row.late.then(|| format!(", stored {}", row.stored_at.strftime("%Y-%m-%d %H:%M")));
        let mut cells = vec![
            row.id.clone(),
            shown(&row.hostname).to_string(),
            shown(&row.raft_addr).to_string(),
            shown(&row.engine_version).to_string(),
            format!("{}, {}", count(counts.services, "service"), count(counts.secrets, "secret")),
            human_bytes(row.size),
            human_ms(row.engine_down_ms),
            state.to_owned() + &late.unwrap_or_default(),
            row.drill.as_ref().map_or_else(|| "-".to_owned(), |drill| shown(drilled(drill)).to_string()),
            lock_words(row.lock, row.lock_unread),
            shown(&row.vault).to_string(),
        ];
        cells.extend(several.then(|| shown(&row.cluster_id).to_string()));
        table.add_row(cells);
    }
    table
}

fn lock_words(lock: Option<Lock>, unread: bool) -> String {
    match lock {
        Some(lock) => lock.until.strftime("%Y-%m-%d").to_string(),
        None if unread => "not known".to_owned(),
        None => "not locked".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::terminal::tests::assert_tame;

    #[test]
    fn a_vault_that_is_silent_is_not_an_empty_one() {
        assert_eq!(Report::default().to_string(), "No backup that verifies.\n");
        let silent = Report { silent: vec!["s3://a/b".to_owned()], ..Report::default() };
        assert_eq!(silent.to_string(), "Unknown: s3://a/b could not be searched.\n");
    }

    #[test]
    fn a_lock_that_was_not_read_is_not_known() {
        let unread = |lock_unread| lock_words(None, lock_unread);
        assert_eq!([unread(true), unread(false)], ["not known", "not locked"]);
    }

    #[test]
    fn texts_of_others_do_not_steer_the_terminal() {
        let at = "2026-11-21T03:30:00Z".parse::<Timestamp>().expect("is a time");
        let id = "20261121T033000Z-00000001".parse::<BackupId>().expect("is an id");
        assert_tame(|text| {
            let own = || text.to_owned();
            let drill = Drill { at, backup: own(), engine: own(), host: own(), proven: false, problem: Some(own()) };
            let digest = swarmdr_archive::Digest::of(b"manifest");
            let row = Row {
                id: id.to_string(),
                created_at: at,
                stored_at: at,
                late: true,
                vault: own(),
                hostname: own(),
                cluster_id: "c".parse().expect("is an id"),
                node_id: "n".parse().expect("is an id"),
                raft_addr: own(),
                engine_version: own(),
                sequence: 1,
                size: 1,
                encrypted: true,
                autolock: false,
                proof: Proof::Proven,
                engine_down_ms: 1,
                counts: Counts::default(),
                lock: None,
                lock_unread: false,
                drill: Some(drill),
                place: Place {
                    id,
                    sequence: 1,
                    previous: None,
                    digest,
                    ended: id.created_at(),
                    stored: at,
                    specs: None,
                },
            };
            Report { backups: vec![row], findings: vec![own()], notes: vec![own()], silent: vec![own()] }
        });
    }
}
