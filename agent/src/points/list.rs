//! Shows recovery points.

use std::{cmp::Reverse, collections::BTreeSet, fmt};

use anyhow::Result;
use comfy_table::{Table, presets};
use serde::Serialize;
use swarmdr_archive::{
    TrustedKeys,
    point::{ExternalPart, ImagesPart, Point, StatePart, StreamPart},
    untrusted::shown,
};
use swarmdr_vault::{
    Lock,
    catalog::{Filter, Found, PointSeries, Survey},
};

use super::note::reasons;
use crate::{
    outcome::{count::count, exit::Exit},
    run::Run,
    vaults::{self, Connected},
};

/// The stable JSON form of `list --points --json`.
#[derive(Debug, Default, Serialize)]
pub struct PointList {
    /// Newest first.
    pub points: Vec<Row>,
    pub findings: Vec<String>,
    pub notes: Vec<String>,
    /// Vaults that could not be searched: they may hold more, and newer ones.
    pub silent: Vec<String>,
}

/// One point in one vault.
#[derive(Debug, Serialize)]
pub struct Row {
    pub vault: String,
    pub cluster_id: String,
    pub id: String,
    pub sequence: u64,
    pub made_at: String,
    pub hostname: String,
    pub complete: bool,
    /// Why it is not complete.
    pub missing: Vec<String>,
    pub state: Option<StatePart>,
    pub streams: Vec<StreamPart>,
    pub external: Vec<ExternalPart>,
    pub images: Option<ImagesPart>,
    pub left_out: u64,
    /// Time of its oldest part.
    pub from: Option<String>,
    /// Time of its newest part.
    pub to: Option<String>,
    pub seconds_apart: Option<u64>,
    pub lock: Option<Lock>,
    /// How far apart its parts are, in words.
    #[serde(skip)]
    apart: String,
}

/// Lists the good points that the filter admits, newest first.
pub async fn list(run: &Run<'_>, filter: &Filter, keys: &TrustedKeys) -> Result<PointList> {
    list_in(run, &vaults::connect(run.config).await?, filter, keys).await
}

pub(super) async fn list_in(
    run: &Run<'_>,
    vaults: &[Connected],
    filter: &Filter,
    keys: &TrustedKeys,
) -> Result<PointList> {
    let mut survey = Survey::of_points(filter, keys, run.now);
    let mut points = Vec::new();
    for connected in vaults {
        let work = async {
            let mut visit = survey.vault(connected.vault.as_ref()).await;
            while let Some(found) = visit.next().await {
                points.push(Row::new(&connected.settings.url, found));
            }
            Ok(())
        };
        run.shutdown.or_interrupted(work).await?;
    }
    points.sort_by_key(|row| (row.cluster_id.clone(), Reverse(row.id.clone()), row.vault.clone()));
    let surveyed = survey.end();
    Ok(PointList { points, findings: surveyed.findings, notes: surveyed.notes, silent: surveyed.silent })
}

impl Row {
    fn new(vault: &str, found: Found<PointSeries>) -> Self {
        let point: Point = found.head.point;
        let span = point.span();
        Self {
            vault: vault.to_owned(),
            cluster_id: point.cluster_id.to_string(),
            id: point.id.to_string(),
            sequence: point.sequence,
            made_at: point.made_at.to_string(),
            complete: point.is_complete(),
            missing: reasons(&point),
            from: span.map(|span| span.from.to_string()),
            to: span.map(|span| span.to.to_string()),
            seconds_apart: span.map(|span| span.seconds()),
            apart: span.map_or_else(|| "-".to_owned(), |span| span.to_string()),
            hostname: point.hostname,
            state: point.state,
            streams: point.streams,
            external: point.external,
            images: point.images,
            left_out: point.left_out,
            lock: found.lock,
        }
    }

    fn holds(&self) -> String {
        let state = if self.state.is_some() { "state, " } else { "" };
        let streams = count(self.streams.len() as u64, "stream");
        let images = if self.images.is_some() { ", images" } else { "" };
        format!("{state}{streams}, {} external{images}", self.external.len())
    }
}

impl PointList {
    /// 5 if there is no good point, 6 if there is something to look at.
    pub fn exit(&self) -> Exit {
        match (self.points.is_empty(), self.findings.is_empty()) {
            (true, _) => Exit::NothingUsable,
            (false, false) => Exit::Attention,
            (false, true) => Exit::Done,
        }
    }
}

impl fmt::Display for PointList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.points.is_empty(), self.silent.is_empty()) {
            (false, _) => writeln!(f, "{}", table(&self.points))?,
            (true, true) => writeln!(f, "No recovery point that verifies.")?,
            (true, false) => writeln!(f, "Unknown: {} could not be searched.", shown(self.silent.join(", ")))?,
        }
        for finding in &self.findings {
            writeln!(f, "! {}", shown(finding))?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        if !self.points.is_empty() {
            writeln!(f, "  note: whether parts that are apart in time fit each other, only the application knows")?;
        }
        Ok(())
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let swarms: BTreeSet<&String> = rows.iter().map(|row| &row.cluster_id).collect();
    let several = swarms.len() > 1;
    let mut header = vec!["POINT", "COMPLETE", "HOLDS", "ITS PARTS ARE", "HOST", "LOCKED UNTIL", "VAULT"];
    header.extend(several.then_some("SWARM"));
    table.set_header(header);
    for row in rows {
        let complete = match row.complete {
            true => "yes".to_owned(),
            false => format!("NO: {}", shown(row.missing.join(", "))),
        };
        let lock = row.lock.map_or_else(|| "-".to_owned(), |lock| lock.until.strftime("%Y-%m-%d").to_string());
        let (host, vault) = (shown(&row.hostname).to_string(), shown(&row.vault).to_string());
        let mut cells = vec![row.id.clone(), complete, row.holds(), row.apart.clone(), host, lock, vault];
        cells.extend(several.then(|| row.cluster_id.clone()));
        table.add_row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::terminal::tests::assert_tame;

    #[test]
    fn a_vault_that_is_silent_is_not_an_empty_one() {
        assert_eq!(PointList::default().to_string(), "No recovery point that verifies.\n");
        let silent = PointList { silent: vec!["s3://a/b".to_owned()], ..PointList::default() };
        assert_eq!(silent.to_string(), "Unknown: s3://a/b could not be searched.\n");
    }

    #[test]
    fn texts_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let own = || text.to_owned();
            let row = Row {
                vault: own(),
                cluster_id: "c".to_owned(),
                id: "20261121T033000Z-00000001".to_owned(),
                sequence: 1,
                made_at: own(),
                hostname: own(),
                complete: false,
                missing: vec![own()],
                state: None,
                streams: Vec::new(),
                external: Vec::new(),
                images: None,
                left_out: 0,
                from: None,
                to: None,
                seconds_apart: None,
                lock: None,
                apart: "-".to_owned(),
            };
            PointList { points: vec![row], findings: vec![own()], notes: vec![own()], silent: vec![own()] }
        });
    }
}
