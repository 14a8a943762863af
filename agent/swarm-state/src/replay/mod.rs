//! Replays a raft log as an engine does when it starts, without changing anything.
//!
//! There are two passes. [`Scan::run`] checks the chain, and finds how far the log is committed and which entries were
//! replaced. [`apply`] decrypts the entries and applies those that count. So no entry is held in memory until it is
//! known whether it counts.

mod scan;

use zeroize::Zeroizing;

use super::{
    Damage, Error,
    data_key::DataKey,
    envelope::Envelope,
    membership::Membership,
    state_dir::{NODE_KEY, StateDir},
    store::{Outcome, Store},
    wal::{Entry, EntryKind, Reader, Record, Segment, SnapshotMark},
};

pub(crate) use scan::Scan;

/// Results of [`apply`] apart from the state itself.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) refused: Option<Refused>,
    /// See [`Examined::uncommitted_of_leaders`](crate::Examined::uncommitted_of_leaders).
    pub(crate) uncommitted_of_leaders: u64,
}

/// Transactions that an engine drops.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    /// Position of the first one, and the reason why it is dropped.
    pub(crate) first: Damage,
}

/// Decrypts every entry after the snapshot, and applies those that are committed and were not replaced.
pub(crate) fn apply(
    dir: &StateDir,
    segments: &[Segment],
    (start, scan): (SnapshotMark, &Scan),
    keys: &[DataKey],
    (store, membership): (&mut Store, &mut Membership),
) -> Result<Applied, Error> {
    let mut applied = Applied::default();
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
        let text = decrypt(&entry, keys).map_err(damaged)?;
        if replacements.peek().is_some_and(|(_, index)| *index <= entry.index) {
            continue;
        }
        if entry.index > scan.state.commit {
            let by_leader = !is_removal(&entry, &text, scan.member.raft_id);
            applied.uncommitted_of_leaders += u64::from(by_leader);
            continue;
        }
        if text.is_empty() {
            continue;
        }
        match entry.kind {
            EntryKind::ConfChange => membership.apply(&text).map_err(|error| damaged(error.to_string()))?,
            EntryKind::Normal => match store.apply(&text).map_err(|error| damaged(error.0))? {
                Outcome::Applied => {}
                Outcome::Refused(why) => applied.refuse(|| damaged(why)),
            },
        }
    }
    Ok(applied)
}

fn decrypt(entry: &Entry<'_>, keys: &[DataKey]) -> Result<Zeroizing<Vec<u8>>, String> {
    let envelope = Envelope::parse(entry.data).map_err(|bad| bad.why.to_owned())?;
    envelope.open(keys).map_err(|_| format!("does not open with the keys in {NODE_KEY}"))
}

/// Whether the entry removes another member: an engine appends such entries without a leader too.
fn is_removal(entry: &Entry<'_>, text: &[u8], own_raft_id: u64) -> bool {
    entry.kind == EntryKind::ConfChange && Membership::removes_other(text, own_raft_id)
}

impl Applied {
    fn refuse(&mut self, first: impl FnOnce() -> Damage) {
        self.refused.get_or_insert_with(|| Refused { count: 0, first: first() }).count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DamageKind,
        inventory::Raft,
        state_dir::WAL_DIR,
        testkit::states::{Log, LogWriter, bytes, datum, key, number, transaction},
        wal,
    };

    const NONE: SnapshotMark = SnapshotMark { index: 0, term: 0 };
    const CREATE: u64 = 1;
    const REMOVE: u64 = 3;
    const SECRET: u32 = 7;
    const CLUSTER: u32 = 6;

    /// Final ids of the secrets, the scan, and the refused transactions.
    type Replayed = (Vec<String>, Scan, Option<Refused>);

    fn replay(log: &Log, start: SnapshotMark, keys: &[DataKey]) -> Result<Replayed, Error> {
        let segments = wal::segments(&log.open, start.index)?;
        let scan = Scan::run(&log.open, &segments, start)?;
        let (mut store, mut membership) = (Store::default(), Membership::default());
        store.put(crate::store::Kind::Cluster, &bytes(1, b"cluster")).unwrap();
        let into = (&mut store, &mut membership);
        let refused = apply(&log.open, &segments, (start, &scan), keys, into)?.refused;
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

        // Later segments alone are read if a snapshot covers those before them.
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
        // Entries before the snapshot are not decrypted: their key may no longer exist.
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
            // Removing and creating it again in one transaction is allowed.
            .entry(1, 2, &transaction(&[(REMOVE, SECRET, &a), (CREATE, SECRET, &a)]))
            // The second action is impossible, so the first is not applied either.
            .entry(1, 3, &transaction(&[(CREATE, SECRET, &b), (CREATE, SECRET, &a)]))
            .entry(1, 4, &transaction(&[(REMOVE, SECRET, &b)]))
            .entry(1, 5, &transaction(&[(CREATE, CLUSTER, &bytes(1, b"cluster"))]))
            // A kind of object that this reader does not know.
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

    /// The `*.broken` file that an engine makes before it truncates a log may be missing.
    #[test]
    fn a_log_that_was_cut_off_behind_a_record_ends_there() {
        let log = LogWriter::new().entry(1, 1, &create("a")).state(1, 1);
        let end = log.len();
        for (len, short) in [(end, Some((segment(0, 0), end))), (end + 8, None)] {
            let log = LogWriter::new().entry(1, 1, &create("a")).state(1, 1).finish_with_len(len);
            let (secrets, scan, _) = replay_all(&log);
            assert_eq!((secrets, scan.end_without_preallocation), (vec!["a".to_owned()], short));
        }
        // Entries that are known to be committed must still be there.
        let log = LogWriter::new().entry(1, 1, &create("a")).state(1, 2);
        let end = log.len();
        assert!(damage(&log.finish_with_len(end)).why.contains("entries up to 2 are committed"));
    }

    fn change(kind: u64, id: u64, context: &[u8]) -> Vec<u8> {
        [number(1, 5), number(2, kind), number(3, id), bytes(4, context)].concat()
    }

    #[test]
    fn entries_of_leaders_are_counted_after_the_commit_if_they_stand() {
        let begin = || LogWriter::new().entry(1, 1, b"").entry(1, 2, &create("a")).state(1, 2);
        let removal = |id| change(1, id, b"");
        for (log, expected) in [
            (begin(), 0),
            // What an engine writes at force-new-cluster before any of it counts.
            (begin().conf_change(1, 3, &removal(43)).conf_change(1, 4, &removal(44)), 0),
            (begin().conf_change(1, 3, &removal(43)).state(5, 2), 0),
            (begin().entry(2, 3, b""), 1),
            (begin().conf_change(1, 3, &removal(43)).entry(2, 4, b"").entry(2, 5, &create("b")), 2),
            // The removal of this node itself (42), or an addition: only a leader does that.
            (begin().conf_change(1, 3, &change(1, 42, b"")), 1),
            (begin().conf_change(1, 3, &change(0, 45, b"")), 1),
            // Those that were there already are replaced.
            (begin().entry(1, 3, &create("b")).entry(1, 4, &create("c")).conf_change(1, 3, &removal(43)), 0),
        ] {
            let log = log.finish();
            let segments = wal::segments(&log.open, 0).unwrap();
            let scan = Scan::run(&log.open, &segments, NONE).unwrap();
            let (mut store, mut membership) = (Store::default(), Membership::default());
            let into = (&mut store, &mut membership);
            let applied = apply(&log.open, &segments, (NONE, &scan), &[key(7)], into).unwrap();
            assert_eq!(applied.uncommitted_of_leaders, expected);
        }
    }

    #[test]
    fn members_come_and_go() {
        let member = |id, addr: &[u8]| [number(1, id), bytes(2, b"n"), bytes(3, addr)].concat();
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
