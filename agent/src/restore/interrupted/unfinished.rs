//! Reports an interrupted restore to other verbs; only `restore` and `recover-quorum` end it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    config::Config,
    host::{
        files::{key_file, mounts, placement, whole_file},
        second_engine,
    },
    outcome::failure::Failure,
    restore::journal::{Journal, Phase},
};

/// File below the agent's state directory that names the engine's data root, for `status`, which asks no engine for it.
const DATA_ROOT: &str = "data-root";

/// Default data root of an engine.
const USUAL: &str = "/var/lib/docker";

/// Describes the interrupted restore in this data root in a sentence with advice; `None` if there is none.
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

/// Describes the interrupted restore on this host without asking the engine.
pub fn on_this_host(config: &Config) -> Option<String> {
    in_data_root(&noted_data_root(config))
}

fn noted_data_root(config: &Config) -> PathBuf {
    let noted = fs::read_to_string(config.state_dir.join(DATA_ROOT)).ok();
    noted.and_then(|noted| Some(noted.lines().next()?.into())).unwrap_or_else(|| PathBuf::from(USUAL))
}

/// Refuses a data root that is on another filesystem than when this host was restored: with its disk not mounted it
/// would look like that of a fresh host.
pub(crate) fn require_mounted(config: &Config, data_root: &Path) -> Result<()> {
    let noted = fs::read_to_string(config.state_dir.join(DATA_ROOT)).unwrap_or_default();
    let mut lines = noted.lines();
    let (Some(root), Some(on)) = (lines.next(), lines.next().filter(|on| !on.is_empty())) else { return Ok(()) };
    let now = mounts::under(data_root)?.unwrap_or_default();
    if Path::new(root) != data_root || Path::new(on) == now {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "this host was restored with its engine's data on the filesystem at {on}, and {root} is on {} now",
        now.display()
    ))
    .advice(format!("if its disk is not mounted: stop the engine, mount {on}, and start the engine"))
    .advice("if it was moved there, or is gone for good, use --force")
    .into())
}

/// Removes what killed runs left of a restore that changed nothing or that is complete: unpacked states, a decrypted
/// key, reserved space. Returns a sentence for each. The caller holds the host's lock. Safe to repeat.
pub fn sweep(config: &Config) -> Vec<String> {
    let data_root = noted_data_root(config);
    let Ok(journal) = Journal::read(&data_root) else {
        // The operator who repairs the journal needs what it names.
        return Vec::new();
    };
    let open = journal.filter(|journal| journal.record.phase != Phase::Done).map(|journal| journal.record);
    let named = open.as_ref().map(|record| record.plan.id.to_string());
    let mut said = Vec::new();
    match placement::clear_staged(&placement::work_dir(&data_root), named.as_deref()) {
        Ok(cleared) => said.extend(
            cleared
                .iter()
                .map(|path| format!("an earlier restore left an unpacked state in {}, removed now", path.display())),
        ),
        Err(error) => said.push(format!("what an earlier restore had unpacked could not be removed: {error}")),
    }
    for mark in [placement::open_key_in(&data_root), second_engine::mark(config)] {
        match key_file::sweep(&mark) {
            Ok(true) => said.push("a key that an earlier run had left open was overwritten".to_owned()),
            Ok(false) => {}
            Err(error) => said.push(format!("{error:#}")),
        }
    }
    if open.is_none() {
        Journal::release_left(&data_root);
    }
    for sentence in &said {
        tracing::warn!("{sentence}");
    }
    said
}

/// Removes the note that [`note_data_root`] wrote.
pub(crate) fn forget_data_root(config: &Config) {
    if let Err(error) = fs::remove_file(config.state_dir.join(DATA_ROOT)) {
        tracing::debug!(%error, "there was no note of the data root");
    }
    // Fails if the directory holds anything else, as intended.
    let _ = fs::remove_dir(&config.state_dir);
}

/// Notes the data root for [`on_this_host`] and [`sweep`]; returns true if it was not known before. Best effort:
/// without the note both use the default.
pub(crate) fn note_data_root(config: &Config, data_root: &Path) -> bool {
    let path = config.state_dir.join(DATA_ROOT);
    let on = mounts::under(data_root).ok().flatten().unwrap_or_default();
    let content = format!("{}\n{}\n", data_root.display(), on.display());
    if fs::read_to_string(&path).is_ok_and(|noted| noted == content) {
        return false;
    }
    let written =
        fs::create_dir_all(&config.state_dir).and_then(|()| whole_file::replace(&path, content.as_bytes(), 0o600));
    if let Err(error) = written {
        tracing::warn!(%error, "{} could not be written", path.display());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_restore_left_is_swept_unless_a_journal_names_it() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().join("state"), ..Config::default() };
        let data_root = dir.path().join("data");
        fs::create_dir_all(&data_root).expect("makes");
        note_data_root(&config, &data_root);
        let recorded = swarm_state::Inventory::empty(swarm_state::inventory::Cluster::default());
        let plan = crate::restore::plan::tests::a_plan(&data_root);
        let (named, left) = (plan.id.to_string(), "20260101T000000Z-00000000");
        let work_dir = placement::work_dir(&data_root);
        let stage = || {
            for id in [named.as_str(), left] {
                fs::create_dir_all(work_dir.join(format!("restore-{id}/certificates"))).expect("makes");
                fs::write(work_dir.join(format!("restore-{id}/certificates/swarm-node.key")), "a key").expect("writes");
            }
        };
        stage();
        let now = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let record = crate::restore::journal::Record::new(now, plan, None, Default::default(), recorded);
        let mut journal = Journal::begin(&data_root, record).expect("writes");
        assert_eq!(sweep(&config).len(), 1);
        assert!(
            work_dir.join(format!("restore-{named}")).exists() && !work_dir.join(format!("restore-{left}")).exists()
        );
        assert!(work_dir.join("restore.reserve-start").exists(), "the way back needs it");

        journal.enter(Phase::Done).expect("writes");
        stage();
        assert_eq!(sweep(&config).len(), 2);
        let names: Vec<_> =
            fs::read_dir(&work_dir).expect("lists").map(|entry| entry.expect("lists").file_name()).collect();
        assert_eq!(names, ["restore.json"], "only the completed journal stays");
        assert!(sweep(&config).is_empty());
    }

    #[test]
    fn a_journal_is_found_where_the_engine_keeps_its_data() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().join("state"), ..Config::default() };
        let data_root = dir.path().join("data");
        note_data_root(&config, &data_root);
        require_mounted(&config, &data_root).expect("nothing is known of it yet");
        assert_eq!(on_this_host(&config), None);
        let work_dir = crate::host::files::placement::work_dir(&data_root);
        fs::create_dir_all(&work_dir).expect("makes");
        fs::write(work_dir.join("restore.json"), "{").expect("writes");
        assert!(note_data_root(&config, &data_root), "it lies somewhere now");
        require_mounted(&config, &data_root).expect("it lies where it lay");
        fs::write(config.state_dir.join(DATA_ROOT), format!("{}\n/nothing\n", data_root.display())).expect("writes");
        let error = require_mounted(&config, &data_root).expect_err("its disk is away");
        assert!(error.to_string().contains("on the filesystem at /nothing"), "{error:#}");
        require_mounted(&config, dir.path()).expect("another data root is another matter");
        let said = on_this_host(&config).expect("there is one");
        assert!(said.contains("restore.json"), "{said}");
    }
}
