//! The commit index in a raft log, which an engine with peers writes late.
//!
//! A leader writes an entry to its log before it sends it to the others. It learns that the entry is committed when
//! they have answered. The new commit index goes into etcd's write buffer, and reaches the file with the next entry or
//! when the engine stops (`wal.Save` syncs only for entries, terms and votes: `raft.MustSync`, etcd). So the log of a
//! frozen engine contains the entries that were acknowledged last, but does not say that they are committed. With
//! `--force-new-cluster` dockerd drops every entry after the commit index (swarmkit `manager/state/raft/storage.go`:
//! "discarding uncommitted WAL entries"). Seen on 28.5.2 with three managers: 1 to 3 acknowledged secrets were missing
//! in 4 copies of a frozen leader.
//!
//! [`missing_mark`] returns the bytes to append to a *copy* so that these entries count, as the engine itself would
//! have written them a moment later. This is sound if the last entry is of the current term. Then the whole log is that
//! of the leader of this term, and no other manager can have another committed entry in its place (Raft, Log Matching).
//! An entry that was not yet committed is one whose client has no answer yet. A log that ends in an older term may
//! contain entries that were replaced elsewhere, so nothing is appended to it.

use std::path::Path;

use super::{Error, examine::Log, state_dir::StateDir, wal::HardState};

/// State record that a log lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingCommit {
    /// Path of the last segment below the state directory.
    pub file: String,
    /// Offset in the segment at which the bytes belong: after the last record.
    pub offset: u64,
    /// Frame of the state record to append.
    pub bytes: Vec<u8>,
    /// Number of entries that count with it.
    pub entries: u64,
}

/// Returns the record that the log of a state directory lacks; `None` if all entries count already, or must not count.
/// Needs no key.
pub fn missing_commit(dir: &Path) -> Result<Option<MissingCommit>, Error> {
    let Log { segments, scan, .. } = Log::read(&StateDir::open(dir)?)?;
    let entries = scan.last_index.saturating_sub(scan.state.commit);
    let (Some(end), true) = (scan.end, entries > 0 && scan.last_term == scan.state.term) else {
        return Ok(None);
    };
    let bytes = end.frame(HardState { commit: scan.last_index, ..scan.state });
    let offset = end.at.offset;
    Ok(Some(MissingCommit { file: segments[end.at.segment].file.clone(), offset, bytes, entries }))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt};

    use super::*;
    use crate::testkit::states::{Log, LogWriter};

    fn missing(log: &Log) -> Option<MissingCommit> {
        missing_commit(log.open.root()).unwrap()
    }

    #[test]
    fn the_bytes_are_those_that_an_engine_writes() {
        let log = LogWriter::new().entry(1, 1, b"").state(1, 1).entry(1, 2, b"").entry(1, 3, b"");
        let at = log.len();
        let found = missing(&log.finish()).unwrap();
        assert_eq!((found.offset, found.entries), (at, 2));
        let marked = LogWriter::new().entry(1, 1, b"").state(1, 1).entry(1, 2, b"").entry(1, 3, b"");
        assert_eq!(found.bytes, marked.state(1, 3).bytes()[at as usize..]);
    }

    #[test]
    fn nothing_is_missing_afterwards() {
        let log = LogWriter::new().entry(1, 1, b"").state(1, 1).cut(2).entry(1, 2, b"").finish();
        let found = missing(&log).unwrap();
        assert!(found.file.contains("0000000000000001-"), "{found:?}");
        let file = File::options().write(true).open(log.path(&found.file)).unwrap();
        file.write_all_at(&found.bytes, found.offset).unwrap();
        assert_eq!(missing(&log), None);
    }

    #[test]
    fn what_another_leader_may_have_replaced_does_not_count() {
        let log = LogWriter::new().entry(1, 1, b"").state(1, 1).entry(1, 2, b"").state(2, 1).finish();
        assert_eq!(missing(&log), None);
        // As soon as the new leader's own entry follows, all entries before it are the new leader's.
        let log = LogWriter::new().entry(1, 1, b"").state(1, 1).entry(1, 2, b"").state(2, 1);
        assert_eq!(missing(&log.entry(2, 3, b"").finish()).unwrap().entries, 2);
    }
}
