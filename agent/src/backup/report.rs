//! What a backup did, for a person or a script.

use std::{fmt, path::PathBuf};

use serde::Serialize;
use swarmdr_archive::{manifest::Counts, writer::Sealed};

use super::{
    deliver::{Delivery, Sent},
    plan::BackupPlan,
};
use crate::{
    config::Mode,
    exit::Exit,
    host::{quiesce::Downtime, space::human_bytes},
    report::{Phase, human_counts, human_ms, peak_memory},
    terminal::shown,
    vaults::Kept,
};

/// The stable JSON form of `backup --json`.
#[derive(Debug, Serialize)]
pub struct BackupReport {
    pub result: &'static str,
    #[serde(skip)]
    pub exit: Exit,
    #[serde(flatten)]
    pub plan: BackupPlan,
    pub sequence: u64,
    pub counts: Counts,
    /// Bytes of the archive.
    pub size: u64,
    /// SHA-256 of the archive.
    pub sha256: String,
    /// None if the engine was left alone.
    pub downtime: Option<Downtime>,
    pub kept: Vec<Kept>,
    /// Archives of earlier runs that were waiting, and what became of them.
    pub sent: Vec<Sent>,
    pub signing_key: KeyNote,
    pub phases: Vec<Phase>,
    /// Bytes.
    pub peak_memory: u64,
    /// What a person should look at although the backup is good.
    pub attention: Vec<String>,
}

/// The key that signed, and where it lies.
#[derive(Debug, Serialize)]
pub struct KeyNote {
    /// This run made it.
    pub made: bool,
    pub secret: PathBuf,
    pub public: String,
    pub public_path: PathBuf,
}

impl BackupReport {
    pub fn new(
        plan: BackupPlan,
        sealed: Sealed,
        downtime: Option<Downtime>,
        kept: Vec<Kept>,
        phases: Vec<Phase>,
        signing_key: KeyNote,
        attention: Vec<String>,
    ) -> Self {
        let exit = if !attention.is_empty() { Exit::Attention } else { Exit::Done };
        Self {
            result: exit.word(),
            exit,
            attention,
            sequence: sealed.manifest.sequence,
            counts: sealed.manifest.counts,
            size: sealed.size,
            sha256: sealed.sha256.to_string(),
            plan,
            downtime,
            kept,
            sent: Vec::new(),
            signing_key,
            phases,
            peak_memory: peak_memory(),
        }
    }

    /// Adds what became of earlier archives; one that still waits wants attention.
    #[must_use]
    pub fn with_sent(mut self, sent: Vec<Delivery>) -> Self {
        self.attention.extend(still_waiting(&sent));
        if !self.attention.is_empty() {
            self.exit = Exit::Attention;
            self.result = self.exit.word();
        }
        self.sent = sent.into_iter().map(Delivery::into_sent).collect();
        self
    }

    /// True if a vault on this very host is the only one.
    fn is_local_only(&self) -> bool {
        self.kept.iter().all(|kept| kept.vault.starts_with("file://"))
    }
}

impl fmt::Display for BackupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.plan;
        writeln!(f, "Backup {} of manager {} is stored.", plan.id, shown(&plan.hostname))?;
        writeln!(
            f,
            "  swarm     {} at {}, engine {}",
            shown(&plan.cluster_id),
            plan.raft_addr,
            shown(&plan.engine_version)
        )?;
        writeln!(f, "  holds     {}", human_counts(&self.counts))?;
        write_downtime(f, plan.mode, self.downtime.as_ref())?;
        writeln!(f, "  archive   {}, SHA-256 {}", human_bytes(self.size), self.sha256)?;
        for kept in &self.kept {
            let (vault, key) = (shown(&kept.vault), shown(&kept.key));
            match &kept.lock {
                Some(lock) => writeln!(f, "  kept in   {vault}/{key}, locked ({}) until {}", lock.mode, lock.until)?,
                None => writeln!(f, "  kept in   {vault}/{key}, not locked")?,
            }
        }
        let spent: Vec<String> =
            self.phases.iter().map(|phase| format!("{} {}", phase.name, human_ms(phase.ms))).collect();
        writeln!(f, "  spent     {}", spent.join(", "))?;
        write_sent(f, &self.sent)?;
        for note in &plan.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        for attention in &self.attention {
            writeln!(f, "  ATTENTION: {}", shown(attention))?;
        }
        let key = &self.signing_key;
        if key.made {
            writeln!(f, "  note: a signing key was made: {}", shown(key.secret.display()))?;
            writeln!(
                f,
                "        a restoring host must trust its public half: {} ({})",
                shown(&key.public),
                shown(key.public_path.display())
            )?;
            writeln!(f, "        keep a copy of both off this host, with your disaster runbook")?;
        }
        if self.is_local_only() {
            writeln!(
                f,
                "  note: the backup lies on this host only and dies with it: copy it away, or configure an S3 vault"
            )?;
        }
        Ok(())
    }
}

/// The stable JSON form of `backup --if-due --json` where nothing was due but something was waiting.
#[derive(Debug, Serialize)]
pub struct SentReport {
    pub result: &'static str,
    #[serde(skip)]
    pub exit: Exit,
    pub sent: Vec<Sent>,
    /// Why no backup was made.
    pub because: String,
    pub attention: Vec<String>,
}

impl SentReport {
    pub fn new(sent: Vec<Delivery>, why: &anyhow::Error, mut attention: Vec<String>) -> Self {
        attention.extend(still_waiting(&sent));
        let exit = match (sent.iter().all(Delivery::is_stored), attention.is_empty()) {
            (false, _) => Exit::Failed,
            (true, false) => Exit::Attention,
            (true, true) => Exit::Done,
        };
        let sent = sent.into_iter().map(Delivery::into_sent).collect();
        Self { result: exit.word(), exit, sent, because: why.to_string(), attention }
    }

    /// Adds what a person should look at before the next one.
    #[must_use]
    pub fn with_attention(mut self, attention: Vec<String>) -> Self {
        if self.exit == Exit::Done && !attention.is_empty() {
            self.exit = Exit::Attention;
            self.result = self.exit.word();
        }
        self.attention.extend(attention);
        self
    }
}

impl fmt::Display for SentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "No backup was made: {}.", shown(&self.because))?;
        write_sent(f, &self.sent)?;
        for attention in &self.attention {
            writeln!(f, "  ATTENTION: {}", shown(attention))?;
        }
        Ok(())
    }
}

fn still_waiting(sent: &[Delivery]) -> impl Iterator<Item = String> {
    let waiting = sent.iter().filter(|delivery| !delivery.is_complete());
    waiting.map(|delivery| format!("{} still waits in the spool: {}", delivery.id, delivery.complaints().join("; ")))
}

fn write_downtime(f: &mut fmt::Formatter<'_>, mode: Mode, down: Option<&Downtime>) -> fmt::Result {
    let (name, there, back) = match mode {
        Mode::Cold => ("downtime", "stop", "start"),
        Mode::Freeze => ("pause", "freeze", "thaw"),
    };
    let Some(down) = down else {
        return writeln!(f, "  {name:9} none: the engine was left alone");
    };
    let [all, stopping, ours, starting] =
        [down.total_ms, down.stopping_ms, down.ours_ms, down.starting_ms].map(human_ms);
    writeln!(f, "  {name:9} {all} in all: {stopping} to {there}, {ours} ours, {starting} to {back}")
}

fn write_sent(f: &mut fmt::Formatter<'_>, sent: &[Sent]) -> fmt::Result {
    for one in sent {
        for kept in one.kept.iter().filter(|kept| kept.new) {
            writeln!(f, "  sent      {}, which was waiting, to {}", one.id, shown(&kept.vault))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::Fault,
        host::as_found::AsFound,
        terminal::tests::{assert_tame, forged},
    };

    #[test]
    fn a_run_that_makes_no_backup_tells_what_an_earlier_one_left() {
        let why = || Fault::new(Exit::NotOurTurn, "no backup is due before then").into();
        let report = SentReport::new(Vec::new(), &why(), Vec::new());
        assert_eq!(report.exit, Exit::Done);
        let report = report.with_attention(vec!["app.service is failed".to_owned()]);
        assert_eq!((report.exit, report.result), (Exit::Attention, Exit::Attention.word()));
        let said = report.to_string();
        assert!(said.contains("no backup is due") && said.contains("ATTENTION: app.service is failed"), "{said}");
    }

    fn plan(text: &str) -> BackupPlan {
        let own = || text.to_owned();
        let found = AsFound {
            engine: vec!["docker.socket".into()],
            dependents: vec!["x.service".into()],
            ..AsFound::default()
        };
        BackupPlan {
            id: "20261121T033000Z-00000001".parse().expect("is an id"),
            created_at: "2026-11-21T03:30:00Z".parse().expect("is a time"),
            hostname: own(),
            engine_version: own(),
            cluster_id: own(),
            node_id: own(),
            raft_addr: "10.0.0.4:2377".parse().expect("is an address"),
            raft_addr_local: true,
            autolock: false,
            mode: Mode::Cold,
            units: vec![own()],
            found: forged(&found, text),
            state_dir: text.into(),
            snapshot_dir: text.into(),
            spool_file: text.into(),
            vaults: vec![own()],
            recipients: Vec::new(),
            notes: vec![own()],
        }
    }

    fn kept(text: &str) -> Kept {
        let own = || text.to_owned();
        Kept { vault: own(), key: own(), version: own(), size: 1, lock: None, new: true }
    }

    #[test]
    fn names_of_the_host_do_not_steer_the_terminal() {
        assert_tame(plan);
        assert_tame(|text| BackupReport {
            result: "done",
            exit: Exit::Done,
            plan: plan(text),
            sequence: 1,
            counts: Counts::default(),
            size: 1,
            sha256: String::new(),
            downtime: None,
            kept: vec![kept(text)],
            sent: vec![sent(text)],
            signing_key: KeyNote { made: true, secret: text.into(), public: text.into(), public_path: text.into() },
            phases: Vec::new(),
            peak_memory: 0,
            attention: vec![text.to_owned()],
        });
        assert_tame(|text| SentReport {
            result: "done",
            exit: Exit::Done,
            sent: vec![sent(text)],
            because: text.to_owned(),
            attention: vec![text.to_owned()],
        });
    }

    fn sent(text: &str) -> Sent {
        let id = "20261121T033000Z-00000001".parse().expect("is an id");
        Sent { id, kept: vec![kept(text)], missing: vec![text.to_owned()] }
    }
}
