//! The jobs of systemd: queued, and waited for until they have ended.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use zbus::OwnedObjectPath;

use super::{
    bus::{CALL_LIMIT, Systemd, limited},
    interfaces::{JobRemovedStream, Setting},
};

/// The type of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobType {
    Start,
    Stop,
}

impl JobType {
    fn word(self) -> &'static str {
        match self {
            JobType::Start => "start",
            JobType::Stop => "stop",
        }
    }
}

impl Systemd {
    /// Queues all jobs in one go, in the given order, and waits until every job is done.
    ///
    /// Jobs of one call run in systemd's own order, so stopping a socket together with its service leaves no moment in
    /// which the socket could start the service again. A job that does not end in `limit`, or not with `done`, is an
    /// error that names the unit; the other jobs go on.
    pub async fn run_jobs(&self, jobs: &[(JobType, &str)], limit: Duration) -> Result<()> {
        let run = async {
            // The signal stream must exist before the first job, else the end of a quick job is missed.
            let mut removed = self.manager.receive_job_removed().await?;
            let mut waiting: HashMap<OwnedObjectPath, &str> = HashMap::new();
            for (job_type, unit) in jobs {
                let job = match job_type {
                    JobType::Start => self.manager.start_unit(unit, start_mode(unit)).await,
                    JobType::Stop => self.manager.stop_unit(unit, "replace").await,
                };
                let job = job.with_context(|| format!("systemd refused to {} {unit}", job_type.word()))?;
                waiting.insert(job, unit);
            }
            await_jobs(&mut removed, waiting).await
        };
        match tokio::time::timeout(limit, run).await {
            Ok(result) => result,
            Err(_) => bail!(
                "systemd did not finish the jobs for {} within {} s",
                jobs.iter().map(|(_, unit)| *unit).collect::<Vec<_>>().join(", "),
                limit.as_secs()
            ),
        }
    }

    /// Asks for a start and does not wait for it.
    pub async fn ask_to_start(&self, unit: &str) -> Result<()> {
        limited(async { anyhow::Ok(self.manager.start_unit(unit, start_mode(unit)).await?) })
            .await
            .map(drop)
            .with_context(|| format!("failed to ask systemd to start {unit}"))
    }

    /// Makes and starts a unit that is in systemd's memory only, perhaps with a second one that it triggers.
    pub async fn start_transient(
        &self,
        (name, settings): (&str, &[Setting<'_>]),
        triggered: Option<(&str, &[Setting<'_>])>,
    ) -> Result<()> {
        let start = async {
            let mut removed = self.manager.receive_job_removed().await?;
            let job = self.manager.start_transient_unit(name, "fail", settings, triggered.as_slice()).await?;
            await_jobs(&mut removed, HashMap::from([(job, name)])).await
        };
        limited(start).await.with_context(|| format!("failed to make the transient unit {name}"))
    }

    /// Stops units and waits for it; a unit that does not exist is no error.
    pub async fn stop_if_there(&self, units: &[&str]) -> Result<()> {
        for unit in units {
            let there = limited(async { anyhow::Ok(self.manager.list_units_by_patterns(&[], &[unit]).await?) }).await?;
            if there.is_empty() {
                continue;
            }
            match self.run_jobs(&[(JobType::Stop, unit)], CALL_LIMIT).await {
                // It may have ended, and been forgotten, since it was listed.
                Err(error) if is_no_such_unit(&error) => {}
                result => result.with_context(|| format!("failed to remove {unit}"))?,
            }
        }
        Ok(())
    }
}

/// The job mode of a start. A target is started alone: with all that it wants, what an operator has stopped would be
/// started too.
fn start_mode(unit: &str) -> &'static str {
    if unit.ends_with(".target") { "ignore-dependencies" } else { "replace" }
}

/// Waits until each of the jobs, by path, has ended with `done`.
async fn await_jobs(removed: &mut JobRemovedStream, mut waiting: HashMap<OwnedObjectPath, &str>) -> Result<()> {
    while !waiting.is_empty() {
        let signal = removed.next().await.context("lost the connection to systemd")?;
        let args = signal.args()?;
        let Some(unit) = waiting.remove(&OwnedObjectPath::from(args.job().to_owned())) else {
            continue;
        };
        match *args.result() {
            "done" => {}
            "canceled" => bail!("the job for {unit} was canceled: another job for it replaced this one"),
            other => bail!("the job for {unit} ended with `{other}`"),
        }
    }
    Ok(())
}

fn is_no_such_unit(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<zbus::Error>() {
        Some(zbus::Error::MethodError(name, ..)) => name.as_str() == "org.freedesktop.systemd1.NoSuchUnit",
        _ => false,
    })
}
