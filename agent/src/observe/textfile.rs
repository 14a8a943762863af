//! The metrics of this host for the textfile collector: when they are written.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;

use super::{metrics, status};
use crate::{config::Config, keys::signing};

/// Age from which metrics are written again, although nothing was done.
const REFRESH: Duration = Duration::from_mins(15);

/// Writes the metrics again if they are older than those of a run of the timer of backups would be: on a host that makes
/// none, nobody else writes them.
pub async fn refresh(config: &Config) {
    let is_fresh = |dir: &PathBuf| metrics::age(dir).is_some_and(|age| age < REFRESH);
    if config.watch.textfile_dir.as_ref().is_some_and(|dir| !is_fresh(dir)) {
        write(config).await;
    }
}

/// Writes the metrics, if the configuration wants them. That they cannot be written fails no run.
pub async fn write(config: &Config) {
    let Some(dir) = &config.watch.textfile_dir else { return };
    let write = async {
        let keys = signing::trusted_for_watching(config)?;
        metrics::write(dir, &status::gather(config, &keys, None, Timestamp::now()).await?)
    };
    if let Err(error) = write.await {
        tracing::warn!("{error:#}");
    }
}
