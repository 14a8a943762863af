//! What comes after the restore: the swarm's services and managers, and the note that all is done.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::{Progress, PromoteReport, Promotion};
use crate::{
    archive::kept::{Kept, Shelf},
    host::engine::Engine,
    nodes::grow::Grow,
    outcome::failpoint,
    standby::{replicas, running},
};

/// Time that a worker gets to become a manager that keeps up.
const GROWN_LIMIT: Duration = Duration::from_secs(180);

impl Promotion<'_> {
    /// Does what comes after the restore, and returns whether all of it was done. Safe to repeat; failures are told and
    /// undo nothing.
    pub async fn finish(&self, report: &mut PromoteReport) -> bool {
        match self.run.shutdown.or_interrupted(self.afterwards(report)).await {
            Ok(is_done) => is_done,
            Err(error) => {
                report
                    .attention
                    .push(format!("the swarm is here, but not all was done that comes after that: {error:#}"));
                false
            }
        }
    }

    async fn afterwards(&self, report: &mut PromoteReport) -> Result<bool> {
        let restore = self.restore(self.keyring.clone(), self.claiming(false));
        let owed = restore.label_late().await?;
        let objects = Engine::at(&self.run.config.engine.socket).objects().await?;
        let (scaled, failed) = replicas::scale_back(&objects).await?;
        failpoint::reach("scaled");
        report.scaled = scaled;
        let is_done = owed.is_empty() && failed.is_empty();
        report.attention.extend(owed.into_iter().chain(failed));
        if let Some(managers) = self.terms.managers {
            self.grow(managers, report).await;
        }
        report.attention.extend(running::settle(&objects, self.terms.settle).await?);
        Ok(is_done)
    }

    /// Makes more managers of the workers that are there. Those that come later are for `node grow`.
    async fn grow(&self, managers: usize, report: &mut PromoteReport) {
        let only = self.run.config.grow.label();
        let grow = Grow {
            run: self.run,
            managers,
            spread: None,
            only: only.as_ref(),
            again: false,
            wait: Duration::ZERO,
            limit: GROWN_LIMIT,
            dry_run: false,
        };
        match grow.run().await {
            Ok(grown) => report.grown = Some(grown),
            Err(error) => report.attention.push(format!(
                "the swarm has no more managers than before: {error:#}; `swarmdr-agent node grow --managers {managers}` once workers are there"
            )),
        }
    }

    /// Notes that this promotion is done: what is kept is history, and a later run has nothing to do.
    pub fn close(&self, report: &mut PromoteReport) {
        let config = self.run.config;
        let closed = || -> Result<()> {
            if let Some(progress) = Progress::read(config) {
                Progress { is_done: true, ..progress }.write(config)?;
            }
            let shelf = Shelf::of(config);
            if let Some(kept) = shelf.read()?.filter(Kept::waits) {
                shelf.replace(&Kept { promoted_at: Some(Timestamp::now()), formed: None, ..kept })?;
            }
            Ok(())
        };
        if let Err(error) = closed() {
            report.attention.push(format!("{error:#}; the next run does again what comes after the restore"));
        }
    }

    /// True if there is something to do on a host that serves: an earlier promotion did not come to its end.
    pub fn is_unfinished(&self) -> bool {
        Progress::read(self.run.config).is_some_and(|progress| !progress.is_done)
    }
}
