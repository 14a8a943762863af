//! `list --claims`, and the hidden verb `claim`.

use std::{collections::BTreeSet, fmt};

use anyhow::Result;
use comfy_table::{Table, presets};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_archive::{BackupId, ClusterId, untrusted::shown};

use super::Context;
use crate::{
    archive::source::Source,
    claims::{
        self, Carried, ClaimId, Demand, Draft, Ended, Fenced, Made, Outcome, PromotedFrom, Query, Reading, Record,
        Stage, Status, Terms, Verb, judge,
    },
    commands::cli::{ClaimArgs, ListArgs},
    keys::{identities, promoter::Promoter},
    outcome::exit::Exit,
    vaults,
};

/// Shows the claims in all vaults. Exits 6 if a vault cannot be read, or if something lies there that is no claim.
pub async fn list(context: &Context, args: &ListArgs) -> Result<Exit> {
    let config = context.config();
    let promoter = Promoter::find(config, &identities::find(&args.trust.identities, config)?)?;
    let mut report = Report::default();
    if promoter.trusted.is_empty() {
        report.notes.push(
            "no promoter is known here, so no claim counts: name them in standby.promoters, or an age identity with --identity".to_owned(),
        );
    }
    let vaults = vaults::connect(config).await?;
    let work = async {
        let mut clusters = BTreeSet::new();
        match &args.among.cluster {
            Some(cluster) => drop(clusters.insert(cluster.clone())),
            None => {
                for connected in &vaults {
                    match claims::clusters(connected.vault.as_ref()).await {
                        Ok(found) => clusters.extend(found),
                        Err(error) => report.findings.push(format!("{}: {error:#}", connected.settings.url)),
                    }
                }
            }
        }
        for cluster in clusters {
            report.add(claims::read_all(&vaults, Query::new(&cluster, &promoter.trusted, context.now)).await);
        }
        anyhow::Ok(())
    };
    context.shutdown.or_interrupted(work).await?;
    context.output.print(&report)?;
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::Attention })
}

/// The stable JSON form of `list --claims --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Newest first.
    claims: Vec<Row>,
    /// Objects that are no claim that counts, and vaults that could not be read.
    findings: Vec<String>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    epoch: u32,
    claim_id: ClaimId,
    cluster_id: ClusterId,
    /// When the vault got it, by its clock.
    stored_at: Timestamp,
    site: String,
    addresses: Vec<String>,
    backup: BackupId,
    verb: Verb,
    reason: Option<String>,
    /// True if the state was formed beforehand.
    formed: bool,
    /// How each old manager was dealt with.
    fence: Vec<Fenced>,
    /// Id of the key that signed it.
    signer: String,
    /// `holds`, `stepped-down`, `undone` or `void`: another one was there first.
    state: &'static str,
    /// The claim that was there first.
    void_by: Option<ClaimId>,
    vault: String,
}

impl Report {
    fn add(&mut self, readings: Vec<Result<Reading>>) {
        for error in readings.iter().filter_map(|reading| reading.as_ref().err()) {
            self.findings.push(format!("{error:#}"));
        }
        let read: Vec<Reading> = readings.into_iter().flatten().collect();
        let ended = Ended::of(&read);
        for reading in &read {
            self.findings.extend(reading.findings());
            for entry in judge(reading, &ended).into_iter().rev() {
                let (state, void_by) = match entry.status {
                    Status::Holds => ("holds", None),
                    Status::SteppedDown => ("stepped-down", None),
                    Status::Released => ("undone", None),
                    Status::Void { by } => ("void", Some(by)),
                };
                let claim = entry.seen.claim;
                self.claims.push(Row {
                    epoch: claim.epoch,
                    claim_id: claim.claim_id,
                    cluster_id: claim.cluster_id,
                    stored_at: entry.seen.stored,
                    site: claim.site,
                    addresses: claim.addresses.iter().map(ToString::to_string).collect(),
                    backup: claim.promoted_from.backup,
                    verb: claim.verb,
                    reason: claim.reason,
                    formed: claim.formed,
                    fence: claim.fence,
                    signer: entry.seen.signer.to_string(),
                    state,
                    void_by,
                    vault: reading.vault.clone(),
                });
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.claims.is_empty() {
            true => writeln!(f, "No claim that counts.")?,
            false => writeln!(f, "{}", table(&self.claims))?,
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

impl Row {
    /// Describes what made the claim, and why.
    fn by(&self) -> String {
        let formed = if self.formed { ", formed beforehand" } else { "" };
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        format!("{}{formed}{reason}", self.verb.word())
    }

    /// Describes how the old managers were dealt with; those that met the same are named together.
    fn fence(&self) -> String {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for Fenced { address, how } in &self.fence {
            match groups.iter_mut().find(|(known, _)| known == how) {
                Some((_, addresses)) => addresses.push(address),
                None => groups.push((how, vec![address])),
            }
        }
        let told = groups.iter().map(|(how, addresses)| format!("{}: {how}", addresses.join(", ")));
        told.collect::<Vec<_>>().join("; ")
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "EPOCH", "SINCE", "SITE", "ADDRESS", "BACKUP", "BY", "FENCE", "STATE", "SIGNER", "SWARM", "VAULT",
    ]);
    for row in rows {
        let cells = [
            row.epoch.to_string(),
            row.stored_at.to_string(),
            row.site.clone(),
            row.addresses.join(", "),
            row.backup.to_string(),
            row.by(),
            row.fence(),
            row.state.to_owned(),
            row.signer.clone(),
            row.cluster_id.to_string(),
            row.vault.clone(),
        ];
        table.add_row(cells.iter().map(|cell| shown(cell).to_string()));
    }
    table
}

/// Makes a claim and nothing else: for programs that raise a site by their own means, and for tests of races.
pub async fn make(context: &Context, args: &ClaimArgs) -> Result<Exit> {
    let config = context.config();
    let keys = context.trusted(&args.trust)?;
    let choice = args.choice.meant(context.now);
    let found = Source::find(config, &choice, &keys, context.now);
    let found = context.shutdown.or_interrupted(found).await?;
    let promoter = Promoter::find(config, &identities::find(&args.trust.identities, config)?)?;
    let manifest = &found.head.manifest;
    let draft = Draft {
        cluster_id: manifest.cluster_id.clone(),
        site: claims::site(config),
        addresses: args.addresses.clone(),
        promoted_from: PromotedFrom { backup: manifest.id, manifest_digest: found.head.manifest_digest },
        verb: Verb::Promote,
        reason: args.reason.clone(),
        fence: Vec::new(),
        formed: false,
    };
    let terms = Terms { fenced: args.fenced, carried: Carried::Nothing, demand: Demand::Always, limit: None };
    let vaults = vaults::connect(config).await?;
    let begun_at = context.now - SignedDuration::from_mins(args.begun_ago.into());
    let outcome = claims::make(config, &vaults, &promoter, &draft, &terms, begun_at).await?;
    let Outcome::Made(made) = outcome else { return Err(anyhow::anyhow!("no vault took the claim")) };
    // The program that asked for it stands behind it.
    Record::advance(config, made.id(), Stage::Used)?;
    context.output.print(&Claimed { made: &made })?;
    Ok(if made.attention.is_empty() { Exit::Done } else { Exit::Attention })
}

#[derive(Serialize)]
struct Claimed<'a> {
    #[serde(flatten)]
    made: &'a Made,
}

impl fmt::Display for Claimed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Claimed swarm {} with epoch {}.", self.made.claim.cluster_id, self.made.claim.epoch)?;
        self.made.attention.iter().try_for_each(|attention| writeln!(f, "! {}", shown(attention)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claims::testkit::{claim, reading, seen},
        outcome::terminal::tests::assert_tame,
    };

    #[test]
    fn claims_are_listed_newest_first_with_what_they_are_worth() {
        let first = || seen(claim(1, 1, None), 0);
        let claims = vec![first(), seen(claim(2, 2, Some(&first())), 5), seen(claim(2, 3, Some(&first())), 4)];
        let mut report = Report::default();
        report.add(vec![Ok(reading("a", claims)), Err(anyhow::anyhow!("no answer"))]);
        let rows: Vec<_> = report.claims.iter().map(|row| (row.epoch, row.state)).collect();
        assert_eq!(rows, [(2, "holds"), (2, "void"), (1, "holds")]);
        assert_eq!(report.findings, ["no answer"]);
        assert_eq!(Report::default().to_string(), "No claim that counts.\n");
    }

    #[test]
    fn a_claim_tells_whether_its_state_was_formed_and_how_the_old_site_was_fenced() {
        let fenced = |address: &str, how: &str| Fenced { address: address.to_owned(), how: how.to_owned() };
        let mut claim = claim(1, 1, None);
        claim.formed = true;
        claim.fence = vec![fenced("a:1", "cut off"), fenced("b:1", "did not answer"), fenced("c:1", "cut off")];
        let mut report = Report::default();
        report.add(vec![Ok(reading("v", vec![seen(claim, 0)]))]);
        let shown = report.to_string();
        assert!(shown.contains("restore, formed beforehand"), "{shown}");
        assert!(shown.contains("a:1, c:1: cut off; b:1: did not answer"), "{shown}");
        let json = serde_json::to_value(&report).expect("is JSON");
        assert_eq!(json["claims"][0]["formed"], true);
        assert_eq!(json["claims"][0]["fence"][1]["how"], "did not answer");
    }

    #[test]
    fn texts_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let mut report = Report::default();
            let mut claim = claim(1, 1, None);
            (claim.site, claim.reason) = (text.to_owned(), Some(text.to_owned()));
            claim.fence = vec![Fenced { address: text.to_owned(), how: text.to_owned() }];
            report.add(vec![Ok(reading(text, vec![seen(claim, 0)]))]);
            report.findings.push(text.to_owned());
            report.notes.push(text.to_owned());
            report
        });
    }
}
