//! What is found out about a backup before it is needed: that it can be restored, boots, and finds its images.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Standby;
use crate::{
    archive::{
        fetched::Fetched,
        inspection::{Inspector, Subject},
        proof::ProofResult,
        scratch::Scratch,
        source::{Choice, Found, Source},
        specs::Specs,
    },
    restore::{
        drill::Drill,
        images::{
            check::{self, Options, PATIENCE},
            line::Line,
            logins::Logins,
            need,
        },
    },
};

impl Standby<'_> {
    /// Repeats the whole proof. Returns what has to be looked after.
    pub(super) async fn prove(&self, local: &Found) -> Result<Option<String>> {
        let room = local.head.manifest.payload.tar_size;
        let scratch = Scratch::make(self.run.config, room)?;
        let fetched = Fetched::get(&self.run, local, scratch.path()).await?;
        let proven = fetched.reprove(scratch, &self.keyring).await;
        Ok(match proven.with_context(|| format!("backup {} cannot be proven", local.head.manifest.id))? {
            ProofResult::Proven => None,
            ProofResult::Sealed => {
                Some("it is autolocked, and its unlock key is not on this host: name it on the day".to_owned())
            }
            ProofResult::WrongUnlockKey(why) => Some(format!("the unlock key of this host does not open it: {why}")),
            ProofResult::Unproven(why) => Some(format!("its raft log breaks, as its manifest says: {why}")),
        })
    }

    /// Boots the backup as `drill` does. Returns what has to be looked after.
    pub(super) async fn drill(&self, found: &Found) -> Vec<String> {
        let drill = Drill { run: self.run, keyring: self.keyring.clone() };
        match drill.rehearse(found).await {
            Ok(report) if report.is_proven() => report.attention,
            Ok(report) => vec![format!("it failed the drill: {}", report.receipt.problem.unwrap_or_default())],
            Err(error) => vec![format!("no drill was held: {error:#}")],
        }
    }

    /// Asks for the images that the backup's services need. Returns a line for each that a promotion would miss.
    pub(super) async fn images(&self, local: &Found) -> Vec<String> {
        let asked = async {
            let path = match &local.source {
                Source::File(path) => path.clone(),
                Source::Vault { .. } => anyhow::bail!("it is not on this host"),
            };
            let inspector = Inspector { run: self.run, keyring: self.keyring.clone(), specs: Specs::Read };
            let state = inspector.open_state(&Subject::Backup(Choice::File(path))).await?;
            let needs = need::of(&state, &Logins::new(self.run.config, Duration::ZERO)).await?;
            Ok(check::run(self.run.config, &needs, &Options::of(&self.run.config.images), PATIENCE).await)
        };
        match self.run.shutdown.or_interrupted(asked).await {
            Ok(lines) => {
                let told = |line: &Line| match line.trouble() {
                    Some(trouble) => Some(format!("an image cannot be pulled: {trouble}")),
                    None if line.unknown.is_empty() => None,
                    None => Some(format!(
                        "it is not known whether {} can be pulled: {}",
                        line.name(),
                        line.unknown.join("; ")
                    )),
                };
                lines.iter().filter_map(told).collect()
            }
            Err(error) => vec![format!("its images were not asked for: {error:#}")],
        }
    }
}
