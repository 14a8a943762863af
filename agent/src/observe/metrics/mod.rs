//! Status as metrics, in the text format of Prometheus, for node_exporter's textfile collector.
//!
//! Names and labels are a stable interface; `packaging/monitoring/` has alerts and a dashboard that use them.

mod streams;

use std::{
    fmt::{Display, Write},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use swarmdr_archive::manifest::Proof;

use crate::{
    claims::life::fresh_for,
    host::files::whole_file,
    observe::status::{Level, OwnSign, Status, VaultStatus},
    outcome::terminal::escaped,
};

/// File name in the collector's directory; the collector reads `*.prom` only.
const FILE: &str = "swarmdr.prom";

/// Replaces the file atomically: the collector must never read half of it.
pub fn write(dir: &Path, status: &Status) -> Result<()> {
    let path = dir.join(FILE);
    // node_exporter does not run as root.
    whole_file::replace(&path, render(status).as_bytes(), 0o644)
        .with_context(|| format!("failed to write the metrics {}", path.display()))
}

/// Returns how long ago the file was written; `None` if it was not.
pub fn age(dir: &Path) -> Option<Duration> {
    fs::metadata(dir.join(FILE)).ok()?.modified().ok()?.elapsed().ok()
}

/// File name of the metrics of the sign of life, which change every few minutes.
const LIFE_FILE: &str = "swarmdr-life.prom";

/// Replaces the file with the metrics of the sign of life, apart from the others: these would need a look into all vaults.
pub fn write_life(dir: &Path, sign: &OwnSign) -> Result<()> {
    let mut page = Page::default();
    of_sign(sign, &mut page);
    let path = dir.join(LIFE_FILE);
    whole_file::replace(&path, page.0.as_bytes(), 0o644)
        .with_context(|| format!("failed to write the metrics {}", path.display()))
}

/// Renders all metrics: those of the collector's two files.
pub fn render_all(status: &Status) -> String {
    let mut page = Page(render(status));
    status.sign_of_life.iter().for_each(|sign| of_sign(sign, &mut page));
    page.0
}

fn of_sign(sign: &OwnSign, page: &mut Page) {
    let at = sign.at.map_or(0.0, seconds);
    page.one("swarmdr_sign_of_life_timestamp_seconds", "When a vault took the last sign of life; 0 if none did.", at);
    let help = "Age in seconds from which other sites may take this one for dead.";
    page.one("swarmdr_sign_of_life_fresh_seconds", help, fresh_for(sign.every).as_secs());
}

/// Renders the metrics of a status, without those of the sign of life.
pub fn render(status: &Status) -> String {
    let mut page = Page::default();
    of_agent(status, &mut page);
    of_vaults(status, &mut page);
    streams::all(status, &mut page);
    of_points(status, &mut page);
    of_runs(status, &mut page);
    of_last_backup(status, &mut page);
    of_drills(status, &mut page);
    page.0
}

/// Recovery points; nothing where there is none.
fn of_points(status: &Status, page: &mut Page) {
    let Some(points) = &status.points else { return };
    if let Some(newest) = &points.newest {
        page.one(
            "swarmdr_newest_point_timestamp_seconds",
            "When the newest recovery point was made.",
            seconds(newest.made_at),
        );
        let help = "1 if nothing that its host expects is missing in it, or too old.";
        page.one("swarmdr_newest_point_complete", help, u8::from(newest.complete));
    }
    // 0 keeps an alert on the age from falling silent where none is complete.
    let complete = points.newest_complete.as_ref().map_or(0.0, |complete| seconds(complete.made_at));
    let help = "When the newest complete recovery point was made; 0 if there is none.";
    page.one("swarmdr_newest_complete_point_timestamp_seconds", help, complete);
}

fn of_agent(status: &Status, page: &mut Page) {
    page.gauge("swarmdr_build_info", "The agent that wrote this; always 1.");
    page.value("swarmdr_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.one("swarmdr_status_timestamp_seconds", "When this was found out.", seconds(status.at));
    let level = match status.level {
        Level::Ok => 0,
        Level::Warning => 1,
        Level::Critical => 2,
    };
    page.one("swarmdr_status_level", "What `swarmdr-agent status` says: 0 ok, 1 warning, 2 critical.", level);
    if let Some(due) = &status.schedule {
        page.one(
            "swarmdr_backup_stale",
            "1 if the newest backup is older than schedule and grace allow.",
            u8::from(due.stale),
        );
        if let Some(next) = due.next {
            page.one("swarmdr_backup_next_due_timestamp_seconds", "When the next backup is due.", seconds(next));
        }
    }
    let spool = &status.spool;
    page.one("swarmdr_spool_archives", "Sealed archives that wait for a vault.", spool.archives);
    page.one("swarmdr_spool_bytes", "Bytes of the archives that wait for a vault.", spool.bytes);
    page.one("swarmdr_spool_full", "1 if no further backup is made because too much waits.", u8::from(spool.full));
    page.one("swarmdr_spool_damaged", "Archives that were set aside because they are damaged.", spool.damaged);
    if let Some(images) = &status.images {
        page.one("swarmdr_images", "Images that the services of the swarm need.", images.images);
        let missing = "Images that cannot be pulled, or soon cannot, at the last check of this host.";
        page.one("swarmdr_images_missing", missing, images.missing.len());
        let unknown = "Images of which the last check of this host could not find out whether they can be pulled.";
        page.one("swarmdr_images_unknown", unknown, images.unknown.len());
        page.one("swarmdr_images_checked_timestamp_seconds", "When the images were checked.", seconds(images.at));
    }
    if let Some(claims) = &status.claims {
        let superseded = u8::from(claims.judged.superseded().is_some());
        page.one("swarmdr_superseded", "1 if another site has taken this swarm over.", superseded);
    }
    // Absent on a host that is no standby; 0 keeps an alert on the age from falling silent where nothing is kept.
    if let Some(standby) = &status.standby {
        let help = "When the backup that this standby host keeps was made; 0 if it keeps none.";
        page.one("swarmdr_standby_backup_timestamp_seconds", help, standby.created_at.map_or(0.0, seconds));
    }
    if let Some(removed) = &status.removed {
        page.one(
            "swarmdr_removed_objects",
            "Objects that the last backup has and the swarm no longer; absent if that is not known.",
            removed.objects.len(),
        );
    }
}

fn of_vaults(status: &Status, page: &mut Page) {
    type Figure = fn(&VaultStatus) -> Option<f64>;
    let figures: [(&str, &str, Figure); 7] = [
        ("swarmdr_vault_up", "1 if the vault could be looked into.", |it| {
            Some(f64::from(u8::from(it.error.is_none())))
        }),
        ("swarmdr_vault_required", "1 if a backup that the vault lacks has failed.", |it| {
            Some(f64::from(u8::from(it.required)))
        }),
        ("swarmdr_vault_findings", "Objects newer than the newest good backup that are forged or damaged.", |it| {
            Some(it.findings.len() as f64)
        }),
        ("swarmdr_newest_backup_timestamp_seconds", "When the newest good backup in the vault was made.", |it| {
            Some(seconds(it.freshest?.created_at()))
        }),
        ("swarmdr_newest_backup_size_bytes", "Bytes of the newest good backup in the vault.", |it| {
            Some(it.newest.as_ref()?.size as f64)
        }),
        ("swarmdr_newest_backup_proven", "1 if its raft log was replayed to the end when it was made.", |it| {
            Some(f64::from(u8::from(it.newest.as_ref()?.proof == Proof::Proven)))
        }),
        ("swarmdr_newest_backup_lock_end_timestamp_seconds", "Until when nobody can delete it.", |it| {
            Some(seconds(it.newest.as_ref()?.lock?.until))
        }),
    ];
    for (name, help, figure) in figures {
        let known: Vec<_> = status.vaults.iter().filter_map(|it| Some((it.url.as_str(), figure(it)?))).collect();
        page.gauges(name, help, known.into_iter().map(|(url, value)| (vec![("vault", url)], value)).collect());
    }
}

fn of_runs(status: &Status, page: &mut Page) {
    let history = &status.history;
    page.counter("swarmdr_runs_total", "Runs on this host by verb and result.");
    for (verb, runs) in history.runs.iter() {
        for (result, number) in &runs.ended {
            page.value("swarmdr_runs_total", &[("verb", verb.word()), ("result", result)], number);
        }
    }
    let last = || history.runs.iter().filter_map(|(verb, runs)| Some((verb.word(), runs.last.as_ref()?)));
    page.gauge("swarmdr_last_run_timestamp_seconds", "When the last run ended that had something to do.");
    last().for_each(|(verb, run)| page.value("swarmdr_last_run_timestamp_seconds", &[("verb", verb)], seconds(run.at)));
    page.gauge("swarmdr_last_run_exit_code", "Exit code of the last run that had something to do.");
    last().for_each(|(verb, run)| page.value("swarmdr_last_run_exit_code", &[("verb", verb)], u8::from(run.exit)));
    page.gauge("swarmdr_last_run_duration_seconds", "How long it took.");
    last().for_each(|(verb, run)| page.value("swarmdr_last_run_duration_seconds", &[("verb", verb)], run.seconds));
    page.gauge("swarmdr_last_success_timestamp_seconds", "When the last run ended well.");
    for (verb, runs) in history.runs.iter() {
        if let Some(at) = runs.last_good {
            page.value("swarmdr_last_success_timestamp_seconds", &[("verb", verb.word())], seconds(at));
        }
    }
    page.counter("swarmdr_hook_failures_total", "Hooks that failed or took too long.");
    page.value("swarmdr_hook_failures_total", &[], history.hook_failures);
    page.counter("swarmdr_ping_failures_total", "Pings that were not answered with success.");
    page.value("swarmdr_ping_failures_total", &[], history.ping_failures);
    if let Some(proof) = &history.proof {
        page.one(
            "swarmdr_last_proof_timestamp_seconds",
            "When stored backups were last read back here.",
            seconds(proof.at),
        );
        page.one("swarmdr_last_proof_good", "1 if all of them verified.", u8::from(proof.good));
        page.one("swarmdr_last_proof_backups", "How many were read back.", proof.checked);
    }
}

fn of_last_backup(status: &Status, page: &mut Page) {
    let Some(made) = &status.last_backup else { return };
    let of_ms = |ms: u64| ms as f64 / 1000.0;
    page.one("swarmdr_last_backup_timestamp_seconds", "When this host last made a backup.", seconds(made.at));
    page.one("swarmdr_last_backup_size_bytes", "Bytes of the archive.", made.size);
    page.one(
        "swarmdr_last_backup_engine_down_seconds",
        "How long the engine was down for it.",
        of_ms(made.engine_down_ms),
    );
    page.one("swarmdr_last_backup_own_down_seconds", "The agent's share of that.", of_ms(made.ours_ms));
    page.gauge("swarmdr_last_backup_phase_seconds", "How long each phase took.");
    for (phase, ms) in &made.phases {
        page.value("swarmdr_last_backup_phase_seconds", &[("phase", phase)], of_ms(*ms));
    }
}

fn of_drills(status: &Status, page: &mut Page) {
    if let Some(last) = &status.drills.last {
        page.one("swarmdr_last_drill_timestamp_seconds", "When a backup was last booted in a drill.", seconds(last.at));
        page.one("swarmdr_last_drill_good", "1 if everything recorded was there.", u8::from(last.proven));
    }
    if let Some(proven) = &status.drills.proven {
        page.one(
            "swarmdr_last_drill_proven_timestamp_seconds",
            "When a drill last proved a backup.",
            seconds(proven.at),
        );
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}

/// A page in the text format of Prometheus, version 0.0.4.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str) {
        self.family(name, help, "gauge");
    }

    fn counter(&mut self, name: &str, help: &str) {
        self.family(name, help, "counter");
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes the values of one gauge, with their labels; nothing if there is none.
    fn gauges(&mut self, name: &str, help: &str, values: Vec<(Vec<(&str, &str)>, f64)>) {
        if !values.is_empty() {
            self.gauge(name, help);
        }
        for (labels, value) in values {
            self.value(name, &labels, value);
        }
    }

    fn one(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauge(name, help);
        self.value(name, &[], value);
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// Escapes a label value. The format knows three escapes, and any other would make the whole page unreadable, so
/// control characters are written as text.
fn escape(value: &str) -> String {
    escaped(value).replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
