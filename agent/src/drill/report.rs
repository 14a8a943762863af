//! What a drill tells.

use std::fmt;

use serde::Serialize;

use super::receipt::{Outcome, Receipt};
use crate::{
    exit::Exit,
    host::space::human_bytes,
    inspection::plain,
    report::{Phase, human_counts, human_ms},
    terminal::shown,
};

/// The stable JSON form of `drill --json`.
#[derive(Debug, Serialize)]
pub struct DrillReport {
    /// As it was signed, if it was.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// Where the archive was.
    pub source: String,
    /// The key of the receipt in the vault; absent if it was not stored.
    pub stored_as: Option<String>,
    /// Why there was nothing to store, or nothing to sign it with.
    pub not_stored: Option<&'static str>,
    /// From the start of the second engine to a swarm that works.
    pub booted_ms: Option<u64>,
    /// Bytes; the most that a process of the second engine had.
    pub peak_memory: Option<u64>,
    pub attention: Vec<String>,
    /// What else was met in the vaults.
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
        writeln!(f, "  swarm    {}: {}", plain(&receipt.cluster_id), human_counts(&receipt.counts))?;
        if let Some(booted) = self.booted_ms {
            let memory =
                self.peak_memory.map_or_else(String::new, |bytes| format!(", {} of memory", human_bytes(bytes)));
            writeln!(f, "  engine   {}: a working swarm after {}{memory}", plain(&receipt.engine), human_ms(booted))?;
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
    /// Oldest first.
    pub drills: Vec<DrillReport>,
    /// Backups that could not be tried, and why.
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
        writeln!(f, "{proven} of {} boot.", self.drills.len() + self.not_tried.len())
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::{BackupId, Digest};

    use super::{super::receipt, *};
    use crate::terminal::tests::{assert_tame, forged};

    fn report(text: &str) -> DrillReport {
        let id = |text: &str| text.parse::<BackupId>().expect("is an id");
        let receipt = Receipt {
            version: receipt::VERSION,
            id: id("20261121T120000Z-00000002"),
            backup: id("20261121T033000Z-00000001"),
            cluster_id: "c".to_owned(),
            manifest_digest: Digest::of(b"manifest"),
            at: "2026-11-21T12:00:00Z".parse().expect("is a time"),
            host: "h".to_owned(),
            agent: "0".to_owned(),
            engine: "28.5.2".to_owned(),
            outcome: Outcome::Failed,
            problem: Some("it did not boot".to_owned()),
            seconds: 1.0,
            counts: Default::default(),
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
