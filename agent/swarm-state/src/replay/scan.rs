//! The first pass over a log: its chain, its commit, and which entries were replaced.

use crate::{
    Damage, DamageKind, Error,
    membership::RaftMember,
    state_dir::{StateDir, WAL_DIR},
    wal::{End, Entry, HardState, Position, Reader, Record, Segment, SnapshotMark},
};

/// Maximum number of replacements. Entries are replaced when the leader changes, a few at a time. 24 bytes are
/// kept for each.
const REPLACEMENTS_MAX: usize = 100_000;

/// Result of a pass over the log, with entries still encrypted.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Manager that wrote the log, with the address that it had at first.
    pub(crate) member: RaftMember,
    pub(crate) state: HardState,
    pub(crate) last_index: u64,
    /// Term of the last entry; 0 if there is none.
    pub(crate) last_term: u64,
    /// Position at which the log could be continued.
    pub(crate) end: Option<End>,
    /// End of a log without preallocated space; see [`Reader::short_end`].
    pub(crate) end_without_preallocation: Option<(String, u64)>,
    /// Number of entries after the snapshot, including replaced ones.
    pub(crate) entries: u64,
    /// Size of all checked records in bytes.
    pub(crate) bytes: u64,
    pub(super) replacements: Replacements,
}

/// Positions in the log at which an entry has the index of an earlier one. That earlier entry and those after it
/// were never committed.
#[derive(Debug, Default)]
pub(crate) struct Replacements(pub(super) Vec<(Position, u64)>);

/// State of the first pass.
struct Scanner<'s> {
    segments: &'s [Segment],
    start: SnapshotMark,
    metadata: Option<Vec<u8>>,
    /// Index and term of the last entry or snapshot mark.
    last: Option<(u64, u64)>,
    marked: bool,
    scan: Scan,
}

impl Scan {
    /// Checks the log from a snapshot on. Both fields of `start` are 0 if there is none.
    pub(crate) fn run(dir: &StateDir, segments: &[Segment], start: SnapshotMark) -> Result<Self, Error> {
        let scan = Self {
            member: RaftMember::default(),
            state: HardState::default(),
            last_index: start.index,
            last_term: 0,
            end: None,
            end_without_preallocation: None,
            entries: 0,
            bytes: 0,
            replacements: Replacements::default(),
        };
        let mut scanner = Scanner { segments, start, metadata: None, last: None, marked: false, scan };
        let mut reader = Reader::new(dir, segments);
        let mut end = Position { segment: 0, offset: 0 };
        while let Some((position, record)) = reader.next()? {
            scanner.take(position, record)?;
            end = position;
        }
        scanner.scan.bytes = reader.bytes();
        scanner.scan.end = reader.end();
        scanner.scan.end_without_preallocation =
            reader.end_without_preallocation().map(|(file, offset)| (file.to_owned(), offset));
        Ok(scanner.finish(end)?)
    }
}

impl Scanner<'_> {
    fn take(&mut self, position: Position, record: Record<'_>) -> Result<(), Damage> {
        match record {
            Record::Metadata(bytes) => self.metadata(position, bytes),
            Record::Entry(entry) => self.entry(position, &entry),
            Record::State(state) => self.state(position, state),
            Record::Snapshot(mark) => self.mark(position, mark),
        }
    }

    fn metadata(&mut self, position: Position, bytes: &[u8]) -> Result<(), Damage> {
        match &self.metadata {
            None => {
                let member = prost::Message::decode(bytes);
                let why = "the metadata does not name a raft member";
                self.scan.member = member.map_err(|_| self.corrupt(position, why))?;
                self.metadata = Some(bytes.to_vec());
                Ok(())
            }
            Some(first) if first == bytes => Ok(()),
            Some(_) => Err(self.corrupt(position, "the segment belongs to another manager's log")),
        }
    }

    fn entry(&mut self, position: Position, entry: &Entry<'_>) -> Result<(), Damage> {
        let (last_index, last_term) = self.last.unwrap_or((self.start.index, 0));
        if entry.index > last_index.saturating_add(1) {
            let why = format!("entry {} follows entry {last_index}: those between are missing", entry.index);
            return Err(self.incomplete(position, why));
        }
        if entry.term < last_term {
            let why = format!("entry {} is of term {}, after one of term {last_term}", entry.index, entry.term);
            return Err(self.corrupt(position, why));
        }
        if self.last.is_some() && entry.index <= last_index {
            self.replacement(position, entry.index)?;
        }
        if entry.index > self.start.index {
            self.scan.entries += 1;
        }
        self.last = Some((entry.index, entry.term));
        Ok(())
    }

    fn replacement(&mut self, position: Position, index: u64) -> Result<(), Damage> {
        if index <= self.scan.state.commit {
            let why = format!("entry {index} comes again after it was committed");
            return Err(self.corrupt(position, why));
        }
        if self.scan.replacements.0.len() == REPLACEMENTS_MAX {
            let why = format!("more than {REPLACEMENTS_MAX} entries were replaced");
            let file = &self.segments[position.segment].file;
            return Err(Damage::new(DamageKind::BeyondLimit, file, position.offset, why));
        }
        self.scan.replacements.0.push((position, index));
        Ok(())
    }

    fn state(&mut self, position: Position, state: HardState) -> Result<(), Damage> {
        let before = self.scan.state;
        if state.commit < before.commit || state.term < before.term {
            return Err(self.corrupt(position, "the state of raft goes back"));
        }
        if let Some((last, _)) = self.last.filter(|(last, _)| state.commit > *last) {
            let why = format!("entries up to {} are committed, but {last} is the last one here", state.commit);
            return Err(self.incomplete(position, why));
        }
        self.scan.state = state;
        Ok(())
    }

    /// Checks a snapshot mark. A mark beyond the last entry is where a manager that lagged behind received
    /// the leader's snapshot.
    fn mark(&mut self, position: Position, mark: SnapshotMark) -> Result<(), Damage> {
        if mark.index == self.start.index {
            if mark.term != self.start.term {
                let why = format!("the snapshot at index {} is of another term", mark.index);
                return Err(self.corrupt(position, why));
            }
            self.marked = true;
        }
        if self.last.is_none_or(|(last, _)| mark.index > last) {
            if mark.index > self.start.index {
                let why = format!("the log goes on from a snapshot at index {}, which is missing", mark.index);
                return Err(self.incomplete(position, why));
            }
            self.last = Some((mark.index, mark.term));
        }
        Ok(())
    }

    /// Completes the scan. `end` is the position of the last record.
    fn finish(mut self, end: Position) -> Result<Scan, Damage> {
        let (last, term) = self.last.unwrap_or((self.start.index, 0));
        self.scan.last_term = term;
        self.scan.last_index = last.max(self.start.index);
        let commit = self.scan.state.commit;
        if !self.marked {
            let why = format!(
                "the log does not know the snapshot at index {}: they are from different moments",
                self.start.index
            );
            return Err(Damage::incomplete(WAL_DIR, 0, why));
        }
        if commit > self.scan.last_index || commit < self.start.index {
            let why = format!(
                "entries up to {commit} are committed, but the log holds {} to {}",
                self.start.index + 1,
                self.scan.last_index
            );
            return Err(self.incomplete(end, why));
        }
        self.scan.replacements.close();
        Ok(self.scan)
    }

    fn corrupt(&self, position: Position, why: impl Into<String>) -> Damage {
        Damage::corrupt(&self.segments[position.segment].file, position.offset, why)
    }

    fn incomplete(&self, position: Position, why: impl Into<String>) -> Damage {
        Damage::incomplete(&self.segments[position.segment].file, position.offset, why)
    }
}

impl Replacements {
    /// Replaces each index by the lowest one from there to the end, so that a single comparison shows whether an
    /// entry was replaced.
    fn close(&mut self) {
        let mut lowest = u64::MAX;
        for (_, index) in self.0.iter_mut().rev() {
            lowest = lowest.min(*index);
            *index = lowest;
        }
    }
}
