//! Recovery of a lost quorum: a new cluster from the state of one manager that survived.
//!
//! It is a restore from a backup that this host makes of itself first, with the same guards, the same journal and the
//! same undo. The only changes that are lost are those that only the dead managers had in their logs.

mod checks;
mod plan;
mod ready;
mod report;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{
    archive::stage,
    backup::{self, Backup, QuorumLossBackup, Sent, Uploader},
    downtime::{
        engine_units::EngineControl,
        failsafe::Failsafe,
        pause,
        run_note::{RunNote, Stage},
    },
    host::{
        files::{key_file, placement::Placement},
        systemd::UnitState,
    },
    outcome::phases::Phases,
    restore::{Change, Restore, interrupted::unfinished, journal},
};
pub use plan::RecoveryPlan;
pub use ready::{Ready, Step};
pub use report::RecoveryReport;

/// Time for copying and sealing, in addition to the stop timeout of the engine; after it the failsafe starts the
/// engine.
const SEALING: Duration = Duration::from_secs(600);

/// A recovery run and its context.
#[derive(Debug)]
pub struct Recovery<'a> {
    pub restore: Restore<'a>,
    pub backup: Backup<'a>,
    /// True if the operator vouches that the other managers are gone.
    pub fenced: bool,
    /// True if no interface of this host needs to have the manager's address.
    pub address_elsewhere: bool,
}

/// A backup of a stopped engine, and the change that forms the new cluster from its copy.
struct Sealed<'a> {
    made: QuorumLossBackup,
    change: Change<'a>,
    /// State of the unit after the stop.
    stopped: UnitState,
}

impl Recovery<'_> {
    /// Seals a backup, forms the new cluster, and stores the backup. If the cluster cannot be formed, the old state is
    /// put back.
    pub async fn run(&self, ready: Ready) -> Result<RecoveryReport> {
        let mut phases = Phases::new();
        let mut uploader = Uploader::open(&self.backup.run, &self.backup.vaults).await?;
        let control = EngineControl::connect(self.restore.run.config).await?;
        unfinished::note_data_root(self.restore.run.config, &ready.facts.data_root);
        let mut note = RunNote::write(self.restore.run.config, backup::note(&ready.backup))?;
        let delay = self.restore.run.config.engine.stop_timeout.duration() + SEALING;
        let failsafe = Failsafe::arm(control.systemd(), &ready.backup.id.to_string(), &control.rescue(), delay).await?;
        phases.begin("quiesce");
        note.advance(Stage::EngineDown);
        let sealed = self.stop_and_seal(&ready, &control, (&failsafe, delay), &mut uploader, &mut phases).await;
        let Sealed { made, mut change, stopped } = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                control.start().await?;
                failsafe.disarm().await?;
                note.advance(Stage::EngineBack);
                return Err(error.context("nothing was changed; the engine runs again"));
            }
        };
        change.take_on(failsafe, stopped);
        let restored = change.carry_out(&mut phases).await;
        note.advance(Stage::Sealed);
        phases.begin("store");
        let backup = self.store(&made, &mut uploader).await;
        let mut restored = restored?;
        restored.attention.extend(backup.missing.iter().map(|why| {
            format!("the backup from before is not in every vault ({why}); it waits in {}", made.spooled.path.display())
        }));
        restored.phases = phases.finish();
        Ok(RecoveryReport { backup, restored })
    }

    /// Stops the engine, seals a backup of its state, and stages the copy.
    async fn stop_and_seal<'s>(
        &'s self,
        ready: &Ready,
        control: &EngineControl,
        (failsafe, delay): (&Failsafe, Duration),
        uploader: &mut Uploader,
        phases: &mut Phases,
    ) -> Result<Sealed<'s>> {
        let deadline = pause::deadline(failsafe.fires_at(), delay);
        let stopped = self.restore.run.shutdown.or_interrupted(control.stop()).await?;
        phases.begin("backup");
        let held = async || control.check_stopped(&stopped).await;
        let sealing = self.backup.seal_quorum_loss_backup(&ready.backup, self.key(), uploader, deadline, held);
        let limit = failsafe.fires_at().saturating_duration_since(Instant::now());
        let sealed = tokio::time::timeout(limit, sealing).await;
        let made = sealed.with_context(|| {
            format!("the backup was not sealed within {} s, after which the engine is started", limit.as_secs())
        })??;
        let change = async {
            // An engine that was started meanwhile may have found its leader; then the copy is not the newest state any
            // more.
            control.check_stopped(&stopped).await?;
            if !self.fenced {
                self.fence(&ready.others).await?;
            }
            self.change(ready, &made).await
        };
        let change = change.await.inspect_err(|_| drop(std::fs::remove_dir_all(&made.copy)))?;
        Ok(Sealed { made, change, stopped })
    }

    /// Stores the backup in the vaults. It is sealed and on this host: the next run sends what this one cannot.
    async fn store(&self, made: &QuorumLossBackup, uploader: &mut Uploader) -> Sent {
        let delivered = self.backup.deliver_quorum_loss_backup(made, uploader).await;
        delivered.unwrap_or_else(|error| Sent {
            id: made.manifest.id,
            kept: Vec::new(),
            missing: vec![format!("{error:#}")],
        })
    }

    /// Stages the copy and writes the first record of the journal.
    async fn change<'s>(&'s self, ready: &Ready, made: &QuorumLossBackup) -> Result<Change<'s>> {
        let placement = Placement::new(&ready.facts.data_root, &made.manifest.id.to_string())?;
        let staging = placement.adopt(&made.copy)?;
        stage::take_out_engine_state(&staging)?;
        stage::flush_tree(&staging)?;
        let aside = placement.aside().map(std::path::Path::to_owned);
        let (counts, inventory) = (made.manifest.counts, made.inventory.clone());
        let mut record = journal::Record::new(self.restore.run.now, ready.restore.clone(), aside, counts, inventory);
        record.locked_key = key_file::locked_text(&staging)?;
        let journal = journal::Journal::begin(&ready.facts.data_root, record)?;
        Change::new(&self.restore, placement, journal).await
    }
}
