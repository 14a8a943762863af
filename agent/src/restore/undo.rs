//! The undo of a restore: puts the old state back and starts the engine on it.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{
    change::Change,
    journal::{Phase, Reserve},
};
use crate::{
    host::files::key_file,
    outcome::{failpoint, failure::Failure},
};

impl Change<'_> {
    /// Puts the old state back and starts the engine. Returns the error to report.
    pub(super) async fn undo(mut self, cause: anyhow::Error) -> anyhow::Error {
        tracing::warn!("the restore failed; putting back what was there: {cause:#}");
        let undone = self.put_back().await;
        let state = self.placement.state_dir();
        match undone {
            Ok(kept) => {
                let mut failure =
                    Failure::failed("the restore failed; what was there before is back and the engine runs");
                if let Some(kept) = kept {
                    failure =
                        failure.advice(format!("the state that failed is kept in {} for examination", kept.display()));
                }
                let claim = self.restore.give_up_claim_of(self.record()).await;
                for complaint in self.undo_complaints.iter().cloned().chain(claim) {
                    failure = failure.advice(complaint);
                }
                if let Err(error) = self.journal.forget() {
                    tracing::warn!("{error:#}");
                }
                self.placement.tidy();
                failure.because(cause).into()
            }
            Err(second) => {
                let mut failure = Failure::failed(format!("the restore failed ({cause:#}), and so did undoing it"));
                failure = failure.advice("run the same command again: it goes on with the undoing first");
                if let Some(aside) = self.placement.aside().filter(|aside| aside.exists()) {
                    failure = failure.advice(format!(
                        "or stop the engine, move {} away, rename {} to it, start the engine",
                        state.display(),
                        aside.display()
                    ));
                }
                failure.because(second).into()
            }
        }
    }

    /// Puts the old state back and starts the engine. Safe to repeat from any point at which it was interrupted.
    /// Returns the directory that the state that did not work was moved to.
    ///
    /// A failsafe is armed before the engine is stopped, and the engine is asked to start on every way out: any state
    /// in place may be started. A journal record that cannot be written is reported and does not stop the undo, since
    /// renames and starts need no space.
    pub(super) async fn put_back(&mut self) -> Result<Option<PathBuf>> {
        if let Err(error) = self.journal.enter(Phase::Undo) {
            tracing::error!("{error:#}; going on without the note");
        }
        failpoint::reach("undo-noted");
        let placed = self.replace_back().await;
        failpoint::reach("undone");
        self.journal.release(Reserve::Start);
        let started = self.control.start().await.context("failed to start the engine on the old state");
        if started.is_ok()
            && let Err(error) = self.disarm().await
        {
            tracing::warn!("the failsafe could not be removed; it will find nothing to do: {error:#}");
        }
        let kept = placed?;
        started?;
        Ok(kept)
    }

    /// The part of the undo for which the engine is stopped.
    async fn replace_back(&mut self) -> Result<Option<PathBuf>> {
        if !self.placement.has_moved() {
            return Ok(None);
        }
        match self.arm().await {
            Err(error) if self.failsafe.is_some() => tracing::warn!("{error:#}; the earlier failsafe is armed still"),
            armed => armed?,
        }
        failpoint::reach("undo-armed");
        self.control.stop().await.context("failed to stop the engine to put the old state back")?;
        failpoint::reach("undo-stopped");
        let closed = self.close_key();
        let kept = self.placement.put_back()?;
        // A failure here does not keep the old state from coming back.
        if let Err(error) = closed {
            tracing::error!("{error:#}");
            let at = kept.as_deref().unwrap_or(&self.placement.work_dir()).display().to_string();
            self.undo_complaints.push(format!(
                "the key of the autolocked state may be unencrypted in {at} ({error:#}): destroy that directory with `shred`, or let nobody read this disk"
            ));
        }
        Ok(kept)
    }

    /// Encrypts the key file of the restored state, which is moved away, and overwrites the decrypted one.
    fn close_key(&self) -> Result<()> {
        if let Some(locked) = &self.record().locked_key {
            key_file::close(&self.placement.state_dir(), locked)?;
        }
        key_file::sweep(&self.placement.open_key())?;
        Ok(())
    }
}
