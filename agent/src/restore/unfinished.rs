//! A restore that was cut short, as other verbs report it: only `restore` and `recover-quorum` end it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::journal::{Journal, Phase};
use crate::{config::Config, whole_file};

/// Below the agent's own directory: where the engine keeps its data. It is there for `status`, which never asks the
/// engine.
const DATA_ROOT: &str = "data-root";

/// Where an engine keeps its data unless it is told otherwise.
const USUAL: &str = "/var/lib/docker";

/// A sentence about the journal in this data root, with what to do; `None` if there is none or it is a receipt.
pub fn in_data_root(data_root: &Path) -> Option<String> {
    match Journal::read(data_root) {
        Ok(journal) => {
            let record = journal.filter(|journal| journal.record.phase != Phase::Done)?.record;
            Some(format!(
                "a restore of backup {}, begun at {}, was cut short in phase `{}`: `swarmdr-agent restore --latest` ends it",
                record.plan.id,
                record.begun_at,
                record.phase.word()
            ))
        }
        Err(error) => Some(format!("a restore was cut short, and its journal does not help: {error:#}")),
    }
}

/// The same without an engine to ask.
pub fn on_this_host(config: &Config) -> Option<String> {
    let noted = fs::read_to_string(config.state_dir.join(DATA_ROOT)).ok();
    in_data_root(&noted.map_or_else(|| PathBuf::from(USUAL), |path| PathBuf::from(path.trim_end())))
}

/// Notes for [`on_this_host`] where the journal lies. Best effort: it is a matter of words only.
pub(crate) fn note_data_root(config: &Config, data_root: &Path) {
    let path = config.state_dir.join(DATA_ROOT);
    let content = format!("{}\n", data_root.display());
    if fs::read_to_string(&path).is_ok_and(|noted| noted == content) {
        return;
    }
    let written =
        fs::create_dir_all(&config.state_dir).and_then(|()| whole_file::replace(&path, content.as_bytes(), 0o600));
    if let Err(error) = written {
        tracing::warn!(%error, "{} could not be written", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_found_where_the_engine_keeps_its_data() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().join("state"), ..Config::default() };
        let data_root = dir.path().join("data");
        note_data_root(&config, &data_root);
        assert_eq!(on_this_host(&config), None);
        let work_dir = crate::host::placement::work_dir(&data_root);
        fs::create_dir_all(&work_dir).expect("makes");
        fs::write(work_dir.join("restore.json"), "{").expect("writes");
        let said = on_this_host(&config).expect("there is one");
        assert!(said.contains("restore.json"), "{said}");
    }
}
