//! Goes through a raft log the way an engine does when it starts, without changing anything.
//!
//! Twice: [`Scan::run`] checks the chain and learns how far the log is committed and which entries were replaced;
//! [`apply`] opens the entries and applies those that count. So no entry is held in memory until its fate is known.

use super::data_key::DataKey;
use super::envelope::Envelope;
use super::membership::{Membership, RaftMember};
use super::state_dir::{NODE_KEY, StateDir, WAL_DIR};
use super::store::{Outcome, Store};
use super::wal::{End, Entry, EntryKind, HardState, Position, Reader, Record, Segment, SnapshotMark};
use super::{Damage, DamageKind, Error};

/// Entries are replaced when leaders change, a few at a time. 24 bytes are kept for each.
const REPLACEMENTS_MAX: usize = 100_000;

/// What a pass over the log found, entries unopened.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The manager that wrote the log, with the address that it had at first.
    pub(crate) member: RaftMember,
    pub(crate) state: HardState,
    pub(crate) last_index: u64,
    /// Term of the last entry; 0 if there is none.
    pub(crate) last_term: u64,
    /// Where the log could go on.
    pub(crate) end: Option<End>,
    /// See [`Reader::short_end`].
    pub(crate) short_end: Option<(String, u64)>,
    /// Entries behind the snapshot, replaced ones too.
    pub(crate) entries: u64,
    /// Bytes of all records that were checked.
    pub(crate) bytes: u64,
    replacements: Replacements,
}

/// Transactions that an engine drops.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    /// Place of the first one, and why it is dropped.
    pub(crate) first: Damage,
}

/// Places in the log where an entry has the index of an earlier one: that one and its followers never happened.
#[derive(Debug, Default)]
struct Replacements(Vec<(Position, u64)>);

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
    /// Checks the log from a snapshot on; `start` is 0 in both fields if there is none.
    pub(crate) fn run(dir: &StateDir, segments: &[Segment], start: SnapshotMark) -> Result<Self, Error> {
        let scan = Self {
            member: RaftMember::default(),
            state: HardState::default(),
            last_index: start.index,
            last_term: 0,
            end: None,
            short_end: None,
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
        scanner.scan.short_end = reader.short_end().map(|(file, offset)| (file.to_owned(), offset));
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

    /// A mark beyond the last entry is where a manager that lagged behind took over the leader's snapshot.
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

    /// `end` is where the last record begins.
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

/// Opens every entry behind the snapshot, and applies those that are committed and stand.
pub(crate) fn apply(
    dir: &StateDir,
    segments: &[Segment],
    (start, scan): (SnapshotMark, &Scan),
    keys: &[DataKey],
    (store, membership): (&mut Store, &mut Membership),
) -> Result<Option<Refused>, Error> {
    let mut refused: Option<Refused> = None;
    let mut reader = Reader::new(dir, segments);
    let mut replacements = scan.replacements.0.iter().peekable();
    while let Some((position, record)) = reader.next()? {
        let Record::Entry(entry) = record else {
            continue;
        };
        while replacements.next_if(|(at, _)| *at <= position).is_some() {}
        if entry.index <= start.index {
            continue;
        }
        let file = &segments[position.segment].file;
        let damaged = |why: String| {
            let why = format!("entry {}: {why}", entry.index);
            Damage::corrupt(file, position.offset, why)
        };
        let envelope = Envelope::parse(entry.data).map_err(|bad| damaged(bad.why.to_owned()))?;
        let text = envelope.open(keys);
        let text = text.map_err(|_| damaged(format!("does not open with the keys in {NODE_KEY}")))?;
        let replaced = replacements.peek().is_some_and(|(_, index)| *index <= entry.index);
        if replaced || entry.index > scan.state.commit || text.is_empty() {
            continue;
        }
        match entry.kind {
            EntryKind::ConfChange => {
                membership.apply(&text).map_err(|error| damaged(error.to_string()))?;
            }
            EntryKind::Normal => match store.apply(&text).map_err(|error| damaged(error.0))? {
                Outcome::Applied => {}
                Outcome::Refused(why) => {
                    let refused = refused.get_or_insert_with(|| Refused { count: 0, first: damaged(why) });
                    refused.count += 1;
                }
            },
        }
    }
    Ok(refused)
}

impl Replacements {
    /// Turns each index into the lowest one from there to the end, so that one look says whether an entry stands.
    fn close(&mut self) {
        let mut lowest = u64::MAX;
        for (_, index) in self.0.iter_mut().rev() {
            lowest = lowest.min(*index);
            *index = lowest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Log, LogWriter, bytes, datum, key, number, transaction};
    use super::super::wal;
    use super::*;
    use crate::swarm::inventory::Raft;

    const NONE: SnapshotMark = SnapshotMark { index: 0, term: 0 };
    const CREATE: u64 = 1;
    const REMOVE: u64 = 3;
    const SECRET: u32 = 7;
    const CLUSTER: u32 = 6;

    /// Ids of the secrets in the end, the scan, and what was refused.
    type Replayed = (Vec<String>, Scan, Option<Refused>);

    fn replay(log: &Log, start: SnapshotMark, keys: &[DataKey]) -> Result<Replayed, Error> {
        let segments = wal::segments(&log.open, start.index)?;
        let scan = Scan::run(&log.open, &segments, start)?;
        let (mut store, mut membership) = (Store::default(), Membership::default());
        store.put(super::super::store::Kind::Cluster, &bytes(1, b"cluster")).unwrap();
        let into = (&mut store, &mut membership);
        let refused = apply(&log.open, &segments, (start, &scan), keys, into)?;
        let inventory = store.into_inventory("cluster", Raft::default()).unwrap();
        Ok((inventory.secrets.into_iter().map(|secret| secret.id).collect(), scan, refused))
    }

    fn replay_all(log: &Log) -> Replayed {
        replay(log, NONE, std::slice::from_ref(&log.key)).unwrap()
    }

    fn damage(log: &Log) -> Damage {
        match replay(log, NONE, std::slice::from_ref(&log.key)) {
            Err(Error::Damaged(damage)) => damage,
            Err(error) => panic!("{error:?}"),
            Ok((secrets, ..)) => panic!("replayed {secrets:?}"),
        }
    }

    fn create(id: &str) -> Vec<u8> {
        transaction(&[(CREATE, SECRET, &datum(id, id, b"value"))])
    }

    fn segment(number: u64, first_index: u64) -> String {
        format!("{WAL_DIR}/{number:016x}-{first_index:016x}.wal")
    }

    #[test]
    fn entries_beyond_the_commit_are_opened_and_not_applied() {
        let log = LogWriter::new().entry(1, 1, b"").entry(1, 2, &create("a")).state(1, 2).entry(1, 3, &create("b"));
        let (secrets, scan, _) = replay_all(&log.finish());
        assert_eq!((secrets, scan.state.commit, scan.last_index), (vec!["a".to_owned()], 2, 3));

        let log = LogWriter::new().entry(1, 1, &create("a")).state(1, 1);
        let at = log.len();
        let log = log.with_key(key(8)).entry(1, 2, &create("b")).with_key(key(7)).finish();
        let damage = damage(&log);
        assert_eq!((damage.file, damage.offset), (segment(0, 0), at));
        assert!(damage.why.contains("entry 2: does not open"), "{}", damage.why);
    }

    #[test]
    fn an_entry_that_comes_again_replaces_the_first_and_its_followers() {
        let log = LogWriter::new()
            .entry(1, 1, &create("a"))
            .state(1, 1)
            .entry(1, 2, &create("lost-1"))
            .entry(1, 3, &create("lost-2"))
            .entry(1, 4, &create("lost-3"))
            .entry(2, 3, &create("lost-4"))
            .entry(3, 2, &create("b"))
            .state(3, 2)
            .entry(3, 3, &create("c"))
            .state(3, 3)
            .finish();
        let (secrets, scan, refused) = replay_all(&log);
        assert_eq!((secrets, scan.last_index), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], 3));
        assert!(refused.is_none());
    }

    #[test]
    fn what_was_committed_never_comes_again() {
        let log = LogWriter::new().entry(1, 1, b"").state(1, 1).entry(2, 1, &create("a")).finish();
        assert!(damage(&log).why.contains("entry 1 comes again after it was committed"));
    }

    #[test]
    fn gaps_are_placed() {
        let log = LogWriter::new().entry(1, 1, b"").entry(1, 3, b"").state(1, 3).finish();
        assert!(damage(&log).why.contains("entry 3 follows entry 1"));
        let log = LogWriter::new().entry(1, 1, b"");
        let at = log.len();
        let damage = damage(&log.state(1, 5).finish());
        assert_eq!((damage.kind, damage.offset), (DamageKind::Incomplete, at));
        assert!(damage.why.contains("entries up to 5 are committed, but 1 is the last one here"), "{damage}");
    }

    #[test]
    fn a_log_goes_on_through_its_segments() {
        let log = LogWriter::new()
            .entry(1, 1, &create("a"))
            .state(1, 1)
            .cut(2)
            .entry(1, 2, &create("b"))
            .state(1, 2)
            .cut(3)
            .entry(1, 3, &create("c"))
            .state(1, 3)
            .finish();
        assert_eq!(replay_all(&log).0, ["a", "b", "c"]);

        // A later segment alone is read when a snapshot covers what is before it.
        let start = SnapshotMark { index: 2, term: 1 };
        let error = replay(&log, start, std::slice::from_ref(&log.key)).unwrap_err();
        assert!(
            matches!(error, Error::Damaged(damage) if damage.why.contains("does not know the snapshot at index 2"))
        );

        std::fs::remove_file(log.path(&segment(1, 2))).unwrap();
        let gap = damage(&log);
        assert_eq!(gap.file, segment(0, 0));
        assert!(gap.why.contains("are missing"), "{gap}");
    }

    #[test]
    fn records_missing_at_the_end_of_a_segment_show_in_the_next() {
        let whole = LogWriter::new().entry(1, 1, b"").state(1, 1);
        let before = whole.len();
        let whole = whole.entry(1, 2, b"").state(1, 2);
        let log = whole.cut(3).entry(1, 3, b"").state(1, 3).finish();
        let first = std::fs::File::options().write(true).open(log.path(&segment(0, 0))).unwrap();
        first.set_len(before).unwrap();
        let damage = damage(&log);
        assert_eq!((damage.kind, &damage.file, damage.offset), (DamageKind::Incomplete, &segment(1, 3), 0));
        assert!(damage.why.contains(&segment(0, 0)), "{damage}");
    }

    #[test]
    fn a_snapshot_is_where_replay_begins() {
        let log = LogWriter::new()
            .with_key(key(9))
            .entry(1, 1, &create("old"))
            .entry(1, 2, &create("older"))
            .state(1, 2)
            .mark(2, 1)
            .with_key(key(7))
            .entry(1, 3, &create("new"))
            .state(1, 3)
            .finish();
        // Entries before it are not opened: their key may be gone.
        let (secrets, scan, _) = replay(&log, SnapshotMark { index: 2, term: 1 }, &[key(7)]).unwrap();
        assert_eq!((secrets, scan.entries), (vec!["new".to_owned()], 1));
        for (index, term, why) in [(2, 4, "of another term"), (3, 1, "does not know the snapshot at index 3")] {
            let error = replay(&log, SnapshotMark { index, term }, &[key(7)]).unwrap_err();
            assert!(matches!(&error, Error::Damaged(damage) if damage.why.contains(why)), "{error:?}");
        }
    }

    #[test]
    fn a_log_that_went_on_from_a_snapshot_needs_it() {
        let log = LogWriter::new().entry(1, 1, b"").state(1, 1).mark(40, 2).entry(2, 41, &create("a")).state(2, 41);
        let log = log.finish();
        assert!(damage(&log).why.contains("goes on from a snapshot at index 40, which is missing"));
        let (secrets, ..) = replay(&log, SnapshotMark { index: 40, term: 2 }, &[key(7)]).unwrap();
        assert_eq!(secrets, ["a"]);
    }

    #[test]
    fn entries_of_two_keys_open_with_both() {
        let log = LogWriter::new().entry(1, 1, &create("a")).with_key(key(8)).entry(1, 2, &create("b")).state(1, 2);
        let log = log.finish();
        assert_eq!(replay(&log, NONE, &[key(8), key(7)]).unwrap().0, ["a", "b"]);
        assert!(replay(&log, NONE, &[key(8)]).is_err());
    }

    #[test]
    fn a_transaction_counts_as_a_whole_or_not_at_all() {
        let (a, b) = (datum("a", "a", b""), datum("b", "b", b""));
        let log = LogWriter::new()
            .entry(1, 1, &create("a"))
            // Removed and made again in one go: fine.
            .entry(1, 2, &transaction(&[(REMOVE, SECRET, &a), (CREATE, SECRET, &a)]))
            // The second part cannot be done, so the first is not.
            .entry(1, 3, &transaction(&[(CREATE, SECRET, &b), (CREATE, SECRET, &a)]))
            .entry(1, 4, &transaction(&[(REMOVE, SECRET, &b)]))
            .entry(1, 5, &transaction(&[(CREATE, CLUSTER, &bytes(1, b"cluster"))]))
            // A sort of object that is not known here.
            .entry(1, 6, &transaction(&[(CREATE, SECRET, &b), (CREATE, 77, &b)]))
            .state(1, 6)
            .finish();
        let (secrets, _, refused) = replay_all(&log);
        let refused = refused.unwrap();
        assert_eq!((secrets, refused.count), (vec!["a".to_owned()], 4));
        assert_eq!(refused.first.why, "entry 3: Secret a exists already");
    }

    #[test]
    fn tails_are_told_apart() {
        let begin = || LogWriter::new().entry(1, 1, &create("a")).state(1, 1);
        let end = begin().len();
        let whole = |log: &Log| assert_eq!(replay_all(log).0, ["a"]);
        whole(&begin().finish());
        whole(&begin().finish_with_len(end + 8));

        let torn = DamageKind::TornTail;
        let second = || begin().entry(1, 2, &[0x12; 2000]);
        let cases = [
            ("within a length", begin().finish_with_len(end + 3), torn, "3 bytes into a length"),
            ("within a record", second().drop_last(200).finish_with_len(end + 1900), torn, "beyond the end"),
            ("a sector of zeros", second().drop_last(1200).finish(), torn, "the checksum"),
            ("data behind zeros", begin().raw(&[0; 64]).raw(&[1]).finish(), torn, "data follows at byte"),
            ("no record", begin().raw(&[0xff; 16]).finish(), DamageKind::Corrupt, "no length"),
        ];
        for (name, log, kind, why) in cases {
            let damage = damage(&log);
            assert_eq!(
                (damage.kind, damage.offset, damage.file.as_str()),
                (kind, end, segment(0, 0).as_str()),
                "{name}"
            );
            assert!(damage.why.contains(why), "{name}: {damage}");
        }
    }

    /// What an engine left beside it when it did so may be gone.
    #[test]
    fn a_log_that_was_cut_off_behind_a_record_ends_there() {
        let log = LogWriter::new().entry(1, 1, &create("a")).state(1, 1);
        let end = log.len();
        for (len, short) in [(end, Some((segment(0, 0), end))), (end + 8, None)] {
            let log = LogWriter::new().entry(1, 1, &create("a")).state(1, 1).finish_with_len(len);
            let (secrets, scan, _) = replay_all(&log);
            assert_eq!((secrets, scan.short_end), (vec!["a".to_owned()], short));
        }
        // What is known to have been agreed on must still be there.
        let log = LogWriter::new().entry(1, 1, &create("a")).state(1, 2);
        let end = log.len();
        assert!(damage(&log.finish_with_len(end)).why.contains("entries up to 2 are committed"));
    }

    #[test]
    fn members_come_and_go() {
        let member = |id, addr: &[u8]| [number(1, id), bytes(2, b"n"), bytes(3, addr)].concat();
        let change =
            |kind, id, context: &[u8]| [number(1, 5), number(2, kind), number(3, id), bytes(4, context)].concat();
        let log = LogWriter::new()
            .conf_change(1, 1, &change(0, 42, &member(42, b"10.0.0.1:2377")))
            .conf_change(1, 2, &change(0, 43, &member(43, b"10.0.0.2:2377")))
            .conf_change(1, 3, &change(2, 42, &member(42, b"10.0.0.9:2377")))
            .conf_change(1, 4, &change(1, 43, b""))
            .state(1, 4)
            .conf_change(1, 5, &change(0, 44, &member(44, b"10.0.0.3:2377")))
            .finish();
        let segments = wal::segments(&log.open, 0).unwrap();
        let scan = Scan::run(&log.open, &segments, NONE).unwrap();
        let (mut store, mut membership) = (Store::default(), Membership::default());
        apply(&log.open, &segments, (NONE, &scan), &[key(7)], (&mut store, &mut membership)).unwrap();
        let (members, removed) = membership.into_lists();
        assert_eq!(members.len(), 1);
        assert_eq!((members[0].raft_id, members[0].addr.as_deref()), (42, Some("10.0.0.9:2377")));
        assert_eq!(removed, [43]);
    }
}
