//! Finds a stored stream.

use std::sync::Arc;

use anyhow::Result;
use swarmdr_archive::{TrustedKeys, stream_archive::StreamName};
use swarmdr_vault::catalog::{self, CatalogError, Filter};

use super::get::Chosen;
use crate::{
    outcome::{exit::Exit, failure::Failure},
    run::Run,
    vaults::Shared,
};

/// Finds the newest stream of this name that verifies and that the filter admits; reads heads only. The error has exit
/// code 5 if there is none, or if a vault that may hold it could not be searched.
pub async fn find(
    run: &Run<'_>,
    vaults: &Shared,
    name: &StreamName,
    filter: &Filter,
    keys: &TrustedKeys,
) -> Result<Chosen> {
    let vaults = vaults.clients(run.config).await?;
    let search = async { Ok(catalog::find_latest_stream(&vaults, name, filter, keys, run.now).await) };
    let latest = match run.shutdown.or_interrupted(search).await? {
        Ok(latest) => latest,
        Err(cause) => return Err(not_found(name, cause).into()),
    };
    let vault = Arc::clone(&vaults[latest.vault]);
    Ok(Chosen { vault, at: latest.at, head: latest.head, findings: latest.findings.lines() })
}

fn not_found(name: &StreamName, cause: CatalogError<catalog::StreamSeries>) -> Failure {
    let failure = |what: String| Failure::new(Exit::NothingUsable, what);
    match &cause {
        CatalogError::NothingGood { .. } => failure(format!("there is no stream {name} that verifies"))
            .advice("`swarmdr-agent list --streams` shows what there is")
            .advice("if it was signed by another key: --trust KEY"),
        CatalogError::SeveralClusters { .. } => {
            Failure::usage(format!("which stream {name} is meant is not known")).advice("name its swarm: --cluster ID")
        }
        CatalogError::Unanswered { other, .. } => {
            let failure =
                failure(format!("the newest stream {name} is not known, since not every vault could be searched"));
            match other {
                Some(_) => failure.advice("if the newest one of the others is good enough: --any-vault"),
                None => failure.advice("repair the vault, or remove it from the configuration of this host"),
            }
        }
    }
    .because(cause)
}
