//! The mark up to where a raft log is committed, which an engine with peers writes late.
//!
//! A leader writes an entry to its log before it sends it to the others, and learns that it is committed when they have
//! answered. That mark goes into etcd's write buffer and reaches the file with the next entry, or when the engine stops
//! (`wal.Save` syncs for entries, terms and votes only: `raft.MustSync`, etcd). So the log of an engine that was frozen
//! holds what was acknowledged last, and does not say that it was. At `--force-new-cluster` dockerd drops every entry
//! behind the mark (swarmkit `manager/state/raft/storage.go`: "discarding uncommitted WAL entries"). Seen on 28.5.2 with
//! three managers: 1 to 3 acknowledged secrets missing in 4 copies of a frozen leader.
//!
//! [`missing_mark`] says what to append to a *copy* so that it counts these entries, as the engine would have by itself
//! a moment later. That is sound where the last entry is of the current term: then the whole log is the one of the
//! leader of this term, no other manager can hold another committed entry in its place (Raft, Log Matching), and an entry
//! that was not committed yet is one whose client has no answer yet. A log that ends in an older term may hold entries
//! that were replaced elsewhere; it is left alone.

use std::path::Path;

use super::Error;
use super::examine::Log;
use super::state_dir::StateDir;
use super::wal::HardState;

/// What a log lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingMark {
    /// Path of the last segment below the state directory.
    pub file: String,
    /// Where in it the bytes belong: behind the last record.
    pub offset: u64,
    pub bytes: Vec<u8>,
    /// So many entries count then.
    pub entries: u64,
}

/// Looks at the log of a state directory; `None` if all of it counts already, or must not. Needs no key.
pub fn missing_mark(dir: &Path) -> Result<Option<MissingMark>, Error> {
    let Log { segments, scan, .. } = Log::read(&StateDir::open(dir)?)?;
    let entries = scan.last_index.saturating_sub(scan.state.commit);
    let (Some(end), true) = (scan.end, entries > 0 && scan.last_term == scan.state.term) else {
        return Ok(None);
    };
    let bytes = end.frame(HardState { commit: scan.last_index, ..scan.state });
    let offset = end.at.offset;
    Ok(Some(MissingMark { file: segments[end.at.segment].file.clone(), offset, bytes, entries }))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::super::testing::{Log, LogWriter};
    use super::*;

    fn missing(log: &Log) -> Option<MissingMark> {
        missing_mark(log.open.root()).unwrap()
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
        // Once the new leader's own entry follows, all before it is the new leader's.
        let log = LogWriter::new().entry(1, 1, b"").state(1, 1).entry(1, 2, b"").state(2, 1);
        assert_eq!(missing(&log.entry(2, 3, b"").finish()).unwrap().entries, 2);
    }
}
