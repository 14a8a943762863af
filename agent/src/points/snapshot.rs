//! Lets another tool make a snapshot, and records it in a recovery point.

use std::fmt;

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{ClusterId, point::ExternalPart, stream_archive::StreamName, untrusted::shown};

use super::{
    Occasion, PointNote, after,
    external::{Tool, run_tool},
};
use crate::{
    host::name,
    keys::signing,
    outcome::{exit::Exit, failure::Failure},
    run::Run,
    vaults::Shared,
};

/// A snapshot to be made.
#[derive(Debug, Clone)]
pub struct Order {
    pub cluster: ClusterId,
    pub name: StreamName,
    pub tool: Tool,
    /// Time of the data, if it is not that of the start.
    pub as_of: Option<Timestamp>,
}

/// The stable JSON form of `put --json` for an external snapshot.
#[derive(Debug, Serialize)]
pub struct SnapshotReport {
    pub result: &'static str,
    pub name: String,
    /// Id that the tool gave its snapshot.
    pub external_id: String,
    pub cluster: String,
    pub as_of: String,
    /// The recovery point that names it.
    pub point: PointNote,
    /// Findings for the operator, although the snapshot is made and recorded.
    pub attention: Vec<String>,
}

/// Runs the tool, and makes a point with what it says. Fails if the tool fails, or if no vault took the point: nobody
/// would find the snapshot then.
pub async fn snapshot(run: &Run<'_>, vaults: &Shared, order: &Order) -> Result<SnapshotReport> {
    // Before the tool makes something that could not be recorded.
    signing::require_trusted_signer(run.config, run.now)?;
    signing::load_or_make(run.config)?;
    let as_of = order.as_of.unwrap_or_else(Timestamp::now);
    let id = run_tool(&order.tool, run.shutdown).await?;
    let external = ExternalPart { name: order.name.clone(), id: id.clone(), as_of, host: name::hostname() };
    let made = after(run, vaults, &order.cluster, Occasion { external: Some(external), ..Occasion::default() }).await;
    let Some(point) = made.point else {
        let what = format!("the snapshot {} of {} was made, and no vault recorded it", shown(&id), order.name);
        let failure = Failure::failed(what).because(anyhow!(made.attention.join("; ")));
        return Err(failure.advice("repair the vault, and run it again").into());
    };
    Ok(SnapshotReport {
        result: exit(&made.attention).word(),
        name: order.name.to_string(),
        external_id: id,
        cluster: order.cluster.to_string(),
        as_of: as_of.to_string(),
        point,
        attention: made.attention,
    })
}

fn exit(attention: &[String]) -> Exit {
    Exit::with_attention(!attention.is_empty())
}

impl SnapshotReport {
    pub fn exit(&self) -> Exit {
        exit(&self.attention)
    }
}

impl fmt::Display for SnapshotReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "external snapshot {} made: {}", self.name, shown(&self.external_id))?;
        writeln!(f, "  {}", self.point)?;
        for finding in &self.attention {
            writeln!(f, "  attention: {}", shown(finding))?;
        }
        Ok(())
    }
}
