//! The outcome of a backup, for a person or a script.

use std::{fmt, path::PathBuf};

use serde::Serialize;
use swarmdr_archive::{manifest::Counts, untrusted::shown, writer::Sealed};

use super::{
    deliver::{Delivery, Sent},
    designation::NotOurTurn,
    plan::BackupPlan,
};
use crate::{
    archive::removals::removed::Removed,
    config::Mode,
    downtime::pause::Downtime,
    host::files::space::human_bytes,
    outcome::{count::human_counts, elapsed::human_ms, exit::Exit, memory::peak_memory, phases::Phase},
    points::{Made, PointNote},
    restore::images::memory::ImagesChecked,
    vaults::StoredBackup,
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
    /// `None` if the engine was left running.
    pub downtime: Option<Downtime>,
    pub kept: Vec<StoredBackup>,
    /// Archives of earlier runs that were waiting in the spool, and the results of sending them.
    pub sent: Vec<Sent>,
    pub signing_key: KeyNote,
    pub phases: Vec<Phase>,
    /// Peak resident memory of the agent, in bytes.
    pub peak_memory: u64,
    /// Findings for the operator, although the backup is stored.
    pub attention: Vec<String>,
    /// What was removed from the swarm since this host's backup before; absent without `watch.removals`, and if there
    /// is none to compare with.
    pub removed: Option<Removed>,
    /// Whether the images of the swarm can be pulled; absent without `images.check`, and if that could not be found out.
    pub images: Option<ImagesChecked>,
    /// The recovery point that names this backup; absent if no data belongs to the state, or none could be stored.
    pub point: Option<PointNote>,
}

/// The key that signed the archive, and its files.
#[derive(Debug, Serialize)]
pub struct KeyNote {
    /// True if this run made the key.
    pub made: bool,
    pub secret: PathBuf,
    pub public: String,
    pub public_path: PathBuf,
}

impl KeyNote {
    fn write_if_made(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.made {
            return Ok(());
        }
        writeln!(f, "  note: a signing key was made: {}", shown(self.secret.display()))?;
        writeln!(
            f,
            "        a restoring host must trust its public half: {} ({})",
            shown(&self.public),
            shown(self.public_path.display())
        )?;
        writeln!(f, "        keep a copy of both off this host, with your disaster runbook")
    }
}

impl BackupReport {
    pub fn new(
        plan: BackupPlan,
        sealed: Sealed,
        downtime: Option<Downtime>,
        kept: Vec<StoredBackup>,
        phases: Vec<Phase>,
        signing_key: KeyNote,
        attention: Vec<String>,
    ) -> Self {
        let exit = Exit::with_attention(!attention.is_empty());
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
            removed: None,
            images: None,
            point: None,
        }
    }

    /// Adds the deliveries of earlier archives; one that still waits needs attention.
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

    /// Adds what was removed since the backup before. It needs no attention of its own: somebody may have wanted it.
    #[must_use]
    pub fn with_removed(self, removed: Option<Removed>) -> Self {
        Self { removed, ..self }
    }

    /// Adds what was found out about the images; one that cannot be pulled needs attention.
    #[must_use]
    pub fn with_images(mut self, images: Option<ImagesChecked>) -> Self {
        if let Some(missing) = images.as_ref().and_then(ImagesChecked::words) {
            self.attention.push(missing);
            self.exit = Exit::Attention;
            self.result = self.exit.word();
        }
        self.images = images;
        self
    }

    /// Adds the recovery point that was made after it; one that could not be stored needs attention.
    #[must_use]
    pub fn with_point(mut self, made: Made) -> Self {
        self.attention.extend(made.attention);
        if !self.attention.is_empty() {
            self.exit = Exit::Attention;
            self.result = self.exit.word();
        }
        Self { point: made.point, ..self }
    }

    /// True if only directories of this host (`file://`) have the backup.
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
        write_removed(f, self.removed.as_ref())?;
        if let Some(images) = &self.images {
            writeln!(f, "  images    {images}")?;
        }
        if let Some(point) = &self.point {
            writeln!(f, "  point     {point}")?;
        }
        for note in &plan.notes {
            writeln!(f, "  note: {}", shown(note))?;
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        self.signing_key.write_if_made(f)?;
        if self.is_local_only() {
            writeln!(
                f,
                "  note: the backup is on this host only, and is lost with it: copy it away, or configure an S3 vault"
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
    /// The recovery point that was made about it; absent if there is no data that belongs to the state.
    pub point: Option<PointNote>,
    /// The reason why no backup was made.
    pub because: String,
    pub attention: Vec<String>,
}

impl SentReport {
    pub fn new(sent: Vec<Delivery>, why: &NotOurTurn, mut attention: Vec<String>) -> Self {
        attention.extend(still_waiting(&sent));
        let exit = match (sent.iter().all(Delivery::is_stored), attention.is_empty()) {
            (false, _) => Exit::Failed,
            (true, false) => Exit::Attention,
            (true, true) => Exit::Done,
        };
        let sent = sent.into_iter().map(Delivery::into_sent).collect();
        Self { result: exit.word(), exit, sent, point: None, because: why.to_string(), attention }
    }

    /// Adds findings for the operator.
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
        if let Some(point) = &self.point {
            writeln!(f, "  {point}")?;
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
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
    writeln!(f, "  {name:9} {all} in all: {stopping} to {there}, {ours} to copy, {starting} to {back}")
}

fn write_sent(f: &mut fmt::Formatter<'_>, sent: &[Sent]) -> fmt::Result {
    for one in sent {
        for kept in one.kept.iter().filter(|kept| kept.new) {
            writeln!(f, "  sent      {}, which was waiting, to {}", one.id, shown(&kept.vault))?;
        }
    }
    Ok(())
}

fn write_removed(f: &mut fmt::Formatter<'_>, removed: Option<&Removed>) -> fmt::Result {
    let Some(removed) = removed.filter(|removed| !removed.is_empty()) else { return Ok(()) };
    writeln!(f, "  removed   since backup {}: {}", removed.since, removed.words())?;
    match &removed.undelete {
        Some(undelete) => writeln!(f, "            to bring it back:  {undelete}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::removals::removed::tests::removed,
        downtime::running_before::RunningBefore,
        outcome::terminal::tests::{assert_tame, forged},
        restore::images::memory::tests::checked,
    };

    #[test]
    fn what_was_removed_is_told_and_needs_no_attention() {
        let told = report("m1").with_removed(Some(removed("shop_web", "tls_key")));
        assert_eq!(told.exit, Exit::Done);
        let text = told.to_string();
        let id = "20261121T031500Z-1a2b3c4d";
        for line in [
            format!("  removed   since backup {id}: service shop_web, secret tls_key"),
            format!("            to bring it back:  swarmdr-agent undelete {id} --stack shop --secret tls_key"),
        ] {
            assert!(text.lines().any(|told| told == line), "`{line}` is not in:\n{text}");
        }
        let nothing = Removed { objects: Vec::new(), undelete: None, ..removed("", "") };
        for quiet in [None, Some(nothing)] {
            let text = report("m1").with_removed(quiet).to_string();
            assert!(!text.contains("removed"), "{text}");
        }
    }

    #[test]
    fn an_image_that_cannot_be_pulled_needs_attention() {
        let told = report("m1").with_images(Some(checked(&["web"])));
        assert_eq!(told.exit, Exit::Attention);
        let text = told.to_string();
        for line in [
            "  images    3 checked: 1 missing",
            "! an image cannot be pulled, or soon cannot: web (old:5000/web:1): not there: manifest unknown",
        ] {
            assert!(text.lines().any(|told| told == line), "`{line}` is not in:\n{text}");
        }
        let quiet = report("m1").with_images(Some(checked(&[])));
        assert_eq!((quiet.exit, quiet.to_string().contains("  images    3 checked: all there")), (Exit::Done, true));
    }

    #[test]
    fn a_run_that_makes_no_backup_tells_what_an_earlier_one_left() {
        let why = NotOurTurn("no backup is due before then".to_owned());
        let report = SentReport::new(Vec::new(), &why, Vec::new());
        assert_eq!(report.exit, Exit::Done);
        let report = report.with_attention(vec!["app.service is failed".to_owned()]);
        assert_eq!((report.exit, report.result), (Exit::Attention, Exit::Attention.word()));
        let said = report.to_string();
        assert!(said.contains("no backup is due") && said.contains("! app.service is failed"), "{said}");
    }

    fn plan(text: &str) -> BackupPlan {
        let own = || text.to_owned();
        let found = RunningBefore {
            engine: vec!["docker.socket".into()],
            dependents: vec!["x.service".into()],
            ..RunningBefore::default()
        };
        BackupPlan {
            id: "20261121T033000Z-00000001".parse().expect("is an id"),
            created_at: "2026-11-21T03:30:00Z".parse().expect("is a time"),
            hostname: own(),
            engine_version: own(),
            cluster_id: "c".parse().expect("is an id"),
            node_id: "n".parse().expect("is an id"),
            raft_addr: "10.0.0.4:2377".parse().expect("is an address"),
            raft_addr_local: true,
            autolock: false,
            specs: None,
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

    fn kept(text: &str) -> StoredBackup {
        let own = || text.to_owned();
        StoredBackup { vault: own(), key: own(), version: own(), size: 1, lock: None, new: true }
    }

    #[test]
    fn names_of_the_host_do_not_steer_the_terminal() {
        assert_tame(plan);
        assert_tame(|text| BackupReport { attention: vec![text.to_owned()], ..report(text) });
        assert_tame(|text| SentReport {
            result: "done",
            exit: Exit::Done,
            sent: vec![sent(text)],
            point: None,
            because: text.to_owned(),
            attention: vec![text.to_owned()],
        });
    }

    fn report(text: &str) -> BackupReport {
        BackupReport {
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
            attention: Vec::new(),
            images: None,
            point: None,
            removed: Some(removed(text, text)),
        }
    }

    fn sent(text: &str) -> Sent {
        let id = "20261121T033000Z-00000001".parse().expect("is an id");
        Sent { id, kept: vec![kept(text)], missing: vec![text.to_owned()] }
    }
}
