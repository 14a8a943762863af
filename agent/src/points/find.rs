//! Finds a recovery point.

use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use swarmdr_archive::{TrustedKeys, point::SignedPoint};
use swarmdr_vault::{
    Vault,
    catalog::{self, CatalogError, Filter, PointSeries},
};

use super::{Which, note::reasons};
use crate::{
    config::Config,
    outcome::{exit::Exit, failure::Failure},
    vaults::Shared,
};

/// A point that verifies.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub signed: SignedPoint,
    /// What the operator should look at in the vaults.
    pub findings: Vec<String>,
}

/// Finds the point over all vaults; the filter says which come into question. The error has exit code 5 if there is none,
/// or if a vault that may hold it could not be searched.
pub async fn find(
    config: &Config,
    vaults: &Shared,
    which: Which,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Chosen> {
    find_in(&vaults.clients(config).await?, which, filter, keys, now).await
}

/// Does what [`find`] does, in these vaults.
pub(super) async fn find_in(
    vaults: &[Arc<dyn Vault>],
    which: Which,
    filter: &Filter,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Chosen> {
    let id = match which {
        Which::Id(id) => Some(id),
        Which::Latest | Which::LatestComplete => None,
    };
    let filter = Filter { id, even_unusable: which != Which::LatestComplete, ..filter.clone() };
    let latest = match catalog::find_latest_point(vaults, &filter, keys, now).await {
        Ok(latest) => latest,
        Err(cause) => return Err(not_found(which, cause).into()),
    };
    let point = &latest.head.point;
    if which == Which::LatestComplete && !point.is_complete() {
        let (id, why) = (point.id, reasons(point).join(", "));
        return Err(Failure::new(Exit::NothingUsable, "there is no complete recovery point")
            .advice(format!("the newest is {id}, which is not complete: {why}"))
            .advice("to take it all the same, name its id, or `latest`")
            .into());
    }
    Ok(Chosen { signed: latest.head, findings: latest.findings.lines() })
}

fn not_found(which: Which, cause: CatalogError<PointSeries>) -> Failure {
    let failure = |what: String| Failure::new(Exit::NothingUsable, what);
    match &cause {
        CatalogError::NothingGood { .. } => {
            let what = match which {
                Which::Id(id) => format!("there is no recovery point {id} that verifies"),
                Which::Latest | Which::LatestComplete => "there is no recovery point that verifies".to_owned(),
            };
            failure(what)
                .advice("`swarmdr-agent list --points` shows what there is")
                .advice("points are made by `backup` and `put` where there are streams or external snapshots")
        }
        CatalogError::SeveralClusters { .. } => {
            Failure::usage("which swarm is meant is not known").advice("name it: --cluster ID")
        }
        CatalogError::Unanswered { other, .. } => {
            let failure =
                failure("the recovery point is not known, since not every vault could be searched".to_owned());
            match other {
                Some(id) => {
                    failure.advice(format!("or take {id}, the newest of the others, by its id or with --any-vault"))
                }
                None => failure.advice("repair the vault, or remove it from the configuration of this host"),
            }
        }
    }
    .because(cause)
}
