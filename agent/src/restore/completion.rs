//! The completion of a restore: ends the journal once the swarm is proven to be back, and takes the steps that follow.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::Result;
use futures_util::FutureExt;

use super::{
    RestoreReport, change::Change, claim::claimed::ClaimReport, dead_nodes, images::followed::Followed,
    journal::Record, report::Confirmed, strictness::Strictness,
};
use crate::{
    host::{files::key_file, network, wait},
    outcome::{failpoint, memory::peak_memory},
};

/// Port on which the nodes of an overlay network gossip (libnetwork `networkdb`).
const GOSSIP_PORT: u16 = 7946;

/// Limit for steps that a manager takes by itself soon after its start.
const CONVERGENCE_LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(200);

impl Change<'_> {
    /// Completes the journal: from here on the swarm is back. Steps that are only awaited or optional follow; they add
    /// warnings to the report and undo nothing.
    pub(super) async fn finish(mut self, confirmed: Confirmed) -> RestoreReport {
        let aside = self.placement.aside().filter(|aside| aside.exists()).map(std::path::Path::to_owned);
        let before = self.record().clone();
        failpoint::reach("done");
        let mut attention = confirmed.attention.clone();
        attention.extend(before.claim.iter().flat_map(|claimed| claimed.attention.clone()));
        self.restore.note_follow(&mut self.journal.record);
        if let Err(error) = self.journal.finish() {
            attention.push(format!("{error:#}; the next run looks at the swarm once more, and changes nothing"));
        }
        failpoint::reach("finished");
        self.placement.tidy();
        let mut report = self.report(confirmed);
        report.aside = aside.filter(|aside| aside.exists());
        let shutdown = self.restore.run.shutdown;
        let after = shutdown.or_interrupted(self.afterwards(&before, &mut report, &mut attention));
        let after = AssertUnwindSafe(after).catch_unwind().await;
        if let Err(error) = after.unwrap_or_else(|_| Err(anyhow::anyhow!("a panic"))) {
            attention.push(format!("the swarm is back, but not all was done that comes after that: {error:#}"));
        }
        report.attention = attention;
        report
    }

    fn report(&self, confirmed: Confirmed) -> RestoreReport {
        let record = self.record();
        RestoreReport {
            result: "done",
            finished_earlier_run: confirmed.strictness == Strictness::Late,
            autolocked: record.plan.init.auto_lock_managers,
            counts: record.counts,
            differences: confirmed.differences,
            aside: None,
            dead_nodes: Vec::new(),
            attention: Vec::new(),
            findings: Vec::new(),
            phases: Vec::new(),
            peak_memory: peak_memory(),
            readdressed: confirmed.readdressed,
            images: None,
            pullable: None,
            claim: record.claim.as_ref().and_then(|claimed| claimed.made.as_ref()).map(ClaimReport::of),
            plan: record.plan.clone(),
        }
    }

    /// Waits for the steps that the new manager takes by itself, lets services follow their images, and removes old
    /// managers if that was asked for. `before` is the record that the completed one has replaced.
    async fn afterwards(
        &mut self,
        before: &Record,
        report: &mut RestoreReport,
        attention: &mut Vec<String>,
    ) -> Result<()> {
        let old = before.plan.node_id.as_str();
        report.dead_nodes = before.recorded.as_ref().map(|it| dead_nodes::dead_nodes(it, old)).unwrap_or_default();
        attention.extend(self.label().await);
        let converged = self.converge(before.locked_key.is_some()).await;
        match self.follow().await {
            Ok(followed) => {
                attention.extend(followed.iter().flat_map(Followed::attention));
                report.images = followed;
            }
            Err(error) => attention.push(format!(
                "services do not follow their images, and logins are not renewed: {error:#}; run the same command again"
            )),
        }
        attention.extend(converged?);
        if let Some(target) = &before.plan.readdress {
            attention.extend(self.converge_elsewhere(target).await?);
        }
        if self.restore.prune_dead {
            dead_nodes::managers(&self.engine, &self.restore.run.config.restore, &mut report.dead_nodes, attention)
                .await?;
        }
        Ok(())
    }

    /// Waits for the steps that the new manager takes by itself: locking its key again, and opening the overlay
    /// networks. Returns a warning for each that did not happen.
    async fn converge(&self, was_locked: bool) -> Result<Vec<String>> {
        let mut attention = Vec::new();
        let state_dir = self.placement.state_dir();
        if was_locked && !self.wait_until(|| key_file::is_locked_in(&state_dir)).await? {
            attention.push(format!(
                "the engine has not locked {} again: anyone who can read this disk can read the swarm; `docker swarm unlock-key --rotate` makes it try",
                state_dir.display()
            ));
        }
        if let Some(key) = &self.open_key
            && !self.wait_until(|| key.scrub()).await?
        {
            attention.push("the open key could not be overwritten; the next run of the agent tries again".to_owned());
        }
        if !self.wait_until(|| network::is_listening(GOSSIP_PORT)).await? {
            attention.push(format!(
                "nothing listens on port {GOSSIP_PORT}, so overlay networks carry nothing to other nodes: restart the engine"
            ));
        }
        Ok(attention)
    }

    pub(super) async fn wait_until(&self, done: impl Fn() -> Result<bool>) -> Result<bool> {
        let probe = async || done().map(|is_done| is_done.then_some(())).transpose();
        Ok(wait::poll(CONVERGENCE_LIMIT, POLL, probe).await.transpose()?.is_some())
    }
}
