//! The copy that is made while the engine runs, and the check of the log in it.
//!
//! A running engine holds its swarm in memory and appends to its log; it never reads it. So it does not notice when
//! bytes of it rot, and after a stop it does not come back as a manager (seen on 26.1.5). A backup must not be what
//! stops such an engine: in cold mode the agent reads the copy before the stop, as an engine would read it at its
//! start.
//!
//! In a copy of files that are being written the end may be torn, and a snapshot may be newer than the log next to it:
//! that is no damage. It is gone, or at another place, in a copy made a moment later. An error at the same place in two
//! copies is on the disk.

use std::time::Duration;

use anyhow::{Context, Result};
use swarm_state::{self, Damage, DamageKind, Examined, Proof, UnlockKey, state_dir::SNAP_DIR};

use super::{
    Backup, BackupPlan,
    conclusion::Taken,
    examination::{check_identity, examine},
    snapshot::Snapshot,
};
use crate::{
    config::Mode,
    host::files::{copy::CopyLimits, mirror::Writer},
    outcome::failure::Failure,
};

/// Number of copies that are examined. A busy engine writes on between two of them.
const EXAMINATIONS: u32 = 3;
const BETWEEN_EXAMINATIONS: Duration = Duration::from_secs(1);

/// Result of the pre-copy.
pub enum Precopy {
    /// Nothing was found that would keep the engine from coming back. The copy itself is not consistent.
    Sound(Snapshot),
    /// The log on the disk is damaged: the engine must not be stopped.
    Broken(Box<Broken>),
}

/// The copy of the damaged state of an engine that must not be stopped, and its examination.
pub struct Broken {
    snapshot: Snapshot,
    examined: Examined,
    damage: Damage,
}

impl Backup<'_> {
    /// Copies the state while the engine runs; examines the copy if the engine is to be stopped.
    pub(super) async fn precopy(&self, plan: &BackupPlan, key: Option<&UnlockKey>) -> Result<Precopy> {
        let untouched = "no backup was made; the engine was not touched";
        let begin = Snapshot::begin(&plan.state_dir, &plan.snapshot_dir);
        let mut snapshot = self.copy_while_the_engine_runs(begin.context(untouched)?).await.context(untouched)?;
        if plan.mode == Mode::Freeze {
            return Ok(Precopy::Sound(snapshot));
        }
        let mut before: Option<String> = None;
        for left in (0..EXAMINATIONS).rev() {
            let looked;
            (snapshot, looked) = self.run.shutdown.or_interrupted(examine(snapshot, plan.mode, key.cloned())).await?;
            let now = match &looked {
                Ok(Examined { proof: Proof::Unproven(damage), .. }) => place(damage),
                Ok(_) => return Ok(Precopy::Sound(snapshot)),
                Err(swarm_state::Error::Damaged(damage)) => place(damage),
                Err(error) => error.to_string(),
            };
            if before.as_ref() == Some(&now) {
                return broken(snapshot, looked, plan);
            }
            tracing::debug!(at = now, left, "the copy that was made while the engine runs does not replay");
            before = Some(now);
            if left > 0 {
                tokio::time::sleep(BETWEEN_EXAMINATIONS).await;
                snapshot = self.copy_while_the_engine_runs(snapshot).await.context(untouched)?;
            }
        }
        Ok(Precopy::Sound(snapshot))
    }

    async fn copy_while_the_engine_runs(&self, mut snapshot: Snapshot) -> Result<Snapshot> {
        let shutdown = self.run.shutdown.clone();
        let copy = tokio::task::spawn_blocking(move || -> Result<Snapshot> {
            snapshot.copy(Writer::Running, &CopyLimits { shutdown: &shutdown, deadline: None })?;
            Ok(snapshot)
        });
        copy.await.context("the copy ended unexpectedly")?
    }
}

fn broken(snapshot: Snapshot, looked: Result<Examined, swarm_state::Error>, plan: &BackupPlan) -> Result<Precopy> {
    let examined = looked.map_err(|error| {
        let advice = match &error {
            swarm_state::Error::WrongUnlockKey { .. } => {
                "an engine takes its time to lock its files with a new unlock key: try again in a minute".to_owned()
            }
            _ => advice(&plan.hostname, false),
        };
        Failure::refused(
            "no backup was made; the engine was not stopped, since it could not start from what is on its disk",
        )
        .advice(advice)
        .because(error)
    })?;
    check_identity(&examined.identity, plan)?;
    let Proof::Unproven(damage) = examined.proof.clone() else { return Ok(Precopy::Sound(snapshot)) };
    Ok(Precopy::Broken(Box::new(Broken { snapshot, examined, damage })))
}

impl Broken {
    /// Returns the copy, to be stored as it is. It has no downtime, by which its manifest differs from that of a copy
    /// that was made in a pause.
    pub fn left_alone(self, plan: &BackupPlan) -> (Taken, Examined) {
        let attention = attention(&self.damage, &plan.hostname).to_vec();
        (Taken { snapshot: self.snapshot, downtime: None, notes: Vec::new(), attention, away: None }, self.examined)
    }
}

fn place(damage: &Damage) -> String {
    format!("{}, byte {}", damage.file, damage.offset)
}

/// Warning for the operator of a manager whose state is whole only in memory.
fn attention(damage: &Damage, hostname: &str) -> [String; 2] {
    let then = match damage.kind {
        DamageKind::TornTail => "at its next start it cuts the log off there, and what follows is lost",
        _ => "it may not come back as a manager",
    };
    [
        format!(
            "THE ENGINE WAS NOT STOPPED: its disk is damaged at {damage}. It runs on from memory; {then}. What is stored was \
             copied while it ran and cannot be relied on"
        ),
        advice(hostname, damage.file.starts_with(SNAP_DIR)),
    ]
}

/// Advice on the repair. Both ways were tried to their end on 26.1.5.
fn advice(hostname: &str, in_snapshot: bool) -> String {
    let first = "do not restart Docker or this host before this is repaired";
    if in_snapshot {
        return format!(
            "{first}: the next snapshot replaces the damaged one. Note the Snapshot Interval in `docker info`, have a snapshot \
             made (`docker swarm update --snapshot-interval 10`, then create and remove some configs), and set it back"
        );
    }
    format!(
        "{first}: make another node a manager (`docker node promote NODE`), wait until `docker node ls` shows it as \
         Reachable, `docker node demote {hostname}`, wait until that shows no manager status for it, and promote it again: \
         it gets a new log from the others"
    )
}
