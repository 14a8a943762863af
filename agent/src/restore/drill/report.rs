//! The report of a drill.

use std::fmt;

use serde::Serialize;
use swarmdr_archive::untrusted::shown;

use super::{
    items::ItemsOutcome,
    receipt::{Outcome, Receipt},
};
use crate::{
    archive::inspection::plain,
    host::files::space::human_bytes,
    outcome::{count::human_counts, elapsed::human_ms, exit::Exit, phases::Phase},
};

/// The stable JSON form of `drill --json`.
#[derive(Debug, Serialize)]
pub struct DrillReport {
    /// The receipt as it was signed, if it was.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// Address of the vault, or path of the file.
    pub source: String,
    /// Key of the receipt in the vault; absent if it was not stored.
    pub stored_as: Option<String>,
    /// Reason why nothing was stored or signed.
    pub not_stored: Option<&'static str>,
    /// Time from the start of the second engine to a working swarm.
    pub booted_ms: Option<u64>,
    /// Peak memory of a process of the second engine, in bytes.
    pub peak_memory: Option<u64>,
    pub attention: Vec<String>,
    /// Other findings in the vaults.
    pub findings: Vec<String>,
    pub phases: Vec<Phase>,
}

impl DrillReport {
    pub fn new(receipt: Receipt, source: String, findings: Vec<String>) -> Self {
        Self {
            receipt,
            source,
            stored_as: None,
            not_stored: None,
            booted_ms: None,
            peak_memory: None,
            attention: Vec::new(),
            findings,
            phases: Vec::new(),
        }
    }

    pub fn is_proven(&self) -> bool {
        self.receipt.outcome == Outcome::Proven
    }

    pub fn exit(&self) -> Exit {
        if !self.is_proven() {
            Exit::Failed
        } else if self.attention.is_empty() && self.findings.is_empty() {
            Exit::Done
        } else {
            Exit::Attention
        }
    }
}

impl fmt::Display for DrillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let receipt = &self.receipt;
        match receipt.outcome {
            Outcome::Proven => {
                writeln!(f, "Backup {} boots, and everything recorded is there.", shown(&receipt.backup))?
            }
            Outcome::Failed => writeln!(f, "Backup {} FAILED the drill.", shown(&receipt.backup))?,
        }
        if let Some(problem) = &receipt.problem {
            writeln!(f, "  failed   {}", plain(problem))?;
        }
        writeln!(f, "  from     {}", plain(&self.source))?;
        writeln!(f, "  swarm    {}: {}", receipt.cluster_id, human_counts(&receipt.counts))?;
        if let Some(booted) = self.booted_ms {
            let memory =
                self.peak_memory.map_or_else(String::new, |bytes| format!(", {} of memory", human_bytes(bytes)));
            writeln!(f, "  engine   {}: a working swarm after {}{memory}", plain(&receipt.engine), human_ms(booted))?;
        }
        if receipt.items == Some(ItemsOutcome::Proven) {
            writeln!(f, "  items    each spec is the one that the engine returns")?;
        }
        writeln!(f, "  took     {:.1} s; nothing of it is left on this host", receipt.seconds)?;
        match &self.stored_as {
            Some(key) => writeln!(f, "  receipt  {}", plain(key))?,
            None => writeln!(f, "  receipt  not stored: {}", self.not_stored.unwrap_or("see below"))?,
        }
        for line in self.attention.iter().chain(&self.findings) {
            writeln!(f, "! {}", plain(line))?;
        }
        Ok(())
    }
}

/// The stable JSON form of `verify --boot --json`.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Reports of the drills, oldest first.
    pub drills: Vec<DrillReport>,
    /// Backups that could not be drilled, and why.
    pub not_tried: Vec<String>,
    pub findings: Vec<String>,
}

impl Summary {
    pub fn exit(&self) -> Exit {
        if self.drills.iter().any(|drill| !drill.is_proven()) {
            Exit::Failed
        } else if self.drills.is_empty() && self.not_tried.is_empty() {
            Exit::NothingUsable
        } else if self.not_tried.is_empty()
            && self.findings.is_empty()
            && self.drills.iter().all(|drill| drill.exit() == Exit::Done)
        {
            Exit::Done
        } else {
            Exit::Attention
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for drill in &self.drills {
            let receipt = &drill.receipt;
            let word = if drill.is_proven() { "boots" } else { "FAILED" };
            write!(f, "{word:<8}  {}  {}  {:.1} s", shown(&receipt.backup), shown(&drill.source), receipt.seconds)?;
            match &receipt.problem {
                Some(problem) => writeln!(f, ": {}", plain(problem))?,
                None => writeln!(f, "  engine {}: {}", plain(&receipt.engine), human_counts(&receipt.counts))?,
            }
        }
        for line in self.not_tried.iter().chain(&self.findings) {
            writeln!(f, "! {}", plain(line))?;
        }
        for line in self.drills.iter().flat_map(|drill| &drill.attention) {
            writeln!(f, "! {}", plain(line))?;
        }
        let proven = self.drills.iter().filter(|drill| drill.is_proven()).count();
        writeln!(f, "{proven} of {} booted.", self.drills.len() + self.not_tried.len())
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::{BackupId, Digest};

    use super::*;
    use crate::{
        outcome::terminal::tests::{assert_tame, forged},
        restore::drill::receipt,
    };

    fn report(text: &str) -> DrillReport {
        let id = |text: &str| text.parse::<BackupId>().expect("is an id");
        let receipt = Receipt {
            version: receipt::VERSION,
            id: id("20261121T120000Z-00000002"),
            backup: id("20261121T033000Z-00000001"),
            cluster_id: "c".parse().expect("is an id"),
            manifest_digest: Digest::of(b"manifest"),
            at: "2026-11-21T12:00:00Z".parse().expect("is a time"),
            host: "h".to_owned(),
            agent: "0".to_owned(),
            engine: "28.5.2".to_owned(),
            outcome: Outcome::Failed,
            problem: Some("it did not boot".to_owned()),
            seconds: 1.0,
            counts: Default::default(),
            items: None,
        };
        let mut report = DrillReport::new(forged(&receipt, text), text.to_owned(), vec![text.to_owned()]);
        report.stored_as = Some(text.to_owned());
        report.booted_ms = Some(1);
        report.attention = vec![text.to_owned()];
        report
    }

    #[test]
    fn a_receipt_of_others_does_not_steer_the_terminal() {
        assert_tame(report);
        assert_tame(|text| {
            let mut proven = report(text);
            proven.receipt.outcome = Outcome::Proven;
            proven.receipt.problem = None;
            let told = || vec![text.to_owned()];
            Summary { drills: vec![report(text), proven], not_tried: told(), findings: told() }
        });
    }
}
