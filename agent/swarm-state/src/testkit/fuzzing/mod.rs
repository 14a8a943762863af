//! Fuzz targets: each function accepts any bytes. A panic, a hang or high memory use is a finding.
//!
//! Checksums and encryption would keep a fuzzer away from the code behind them. So the parsers are called without
//! them, or with correct ones computed for the input. Used by `agent/swarm-state/fuzz` and by the tests below, which
//! need no special compiler.

pub mod seeds;

use std::{
    fs::File,
    os::{fd::AsFd, unix::fs::FileExt},
};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::{
    certificate::{Certificate, chains_to},
    envelope::Envelope,
    fernet, identity,
    inventory::{self, ObjectKind},
    keys::{KeyFile, UnlockKey},
    membership::Membership,
    replay::{self, Scan},
    snapshot_file,
    specs::{Item, differences},
    store::{Kind, Store},
    testkit::states::LogWriter,
    wal::{self, SnapshotMark},
};

/// Parses keys, certificates and the two JSON files.
pub fn files_in_clear(data: &[u8]) {
    if let Ok(chain) = Certificate::parse_pem("fuzzed", data) {
        let _ = chains_to(&chain, &chain);
        let _ = identity::Identity::from_certificate("fuzzed", &chain[0]);
    }
    if let Ok(key) = KeyFile::parse(data) {
        let unlock_key: UnlockKey = UNLOCK_KEY.parse().expect("the key is well-formed");
        let _ = key.open(None).map(|keys| assert!(!keys.data_keys.is_empty()));
        let _ = key.open(Some(&unlock_key));
        let _ = crate::keys::unlocked(data, &unlock_key);
        let _ = key.facts();
    }
    let _ = identity::parse_engine_state(data);
    let _ = identity::parse_managers(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = text.parse::<UnlockKey>();
    let _ = identity::usable(text);
}

const UNLOCK_KEY: &str = "SWMKEY-1-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Parses a segment of the log without checking its checksums.
pub fn segment(data: &[u8]) {
    wal::fuzz(data);
    let _ = Envelope::parse(data).map(|envelope| envelope.in_clear());
    let _ = fernet::open(&[0; 32], data);
}

/// Parses a snapshot file without checking its checksum.
pub fn snapshot(data: &[u8]) {
    snapshot_file::fuzz_layout(&in_memory(data), data.len() as u64);
}

/// Fills a store from the decrypted content of a snapshot.
pub fn snapshot_text(data: &[u8]) {
    let (mut store, mut membership) = (Store::default(), Membership::default());
    let mut text = snapshot_file::fuzz_text(data);
    while let Ok(Some(part)) = text.next() {
        match part {
            snapshot_file::Part::Membership(bytes) => drop(membership.restore(&bytes)),
            snapshot_file::Part::Object(tag, bytes) => {
                let Some(kind) = Kind::in_snapshot(tag) else { continue };
                let _ = store.put(kind, &bytes);
            }
        }
    }
    list(store);
}

/// Applies decrypted log entries in order. Each is preceded by its length in two bytes.
pub fn entries(data: &[u8]) {
    let (mut store, mut membership) = (Store::default(), Membership::default());
    let mut rest = data;
    while let Some((len, behind)) = rest.split_first_chunk() {
        let (entry, behind) = behind.split_at(behind.len().min(u16::from_le_bytes(*len).into()));
        let _ = store.apply(entry);
        let _ = membership.apply(entry);
        rest = behind;
    }
    list(store);
}

/// Reads one object with its spec. The first byte selects its kind.
pub fn specs(data: &[u8]) {
    let Some((kind, object)) = data.split_first() else { return };
    let kind = SPEC_KINDS[usize::from(*kind) % SPEC_KINDS.len()];
    let Some(item) = Item::read(kind, "id", object) else { return };
    assert_eq!(differences(&item.spec, &item.spec), []);
    serde_json::to_string(&item).expect("an item is JSON");
    let _ = item.unknown_parts();
}

/// The kinds of objects that have specs, in the order of the first byte of the target `specs`.
const SPEC_KINDS: [ObjectKind; 5] =
    [ObjectKind::Service, ObjectKind::Network, ObjectKind::Secret, ObjectKind::Config, ObjectKind::Volume];

/// Replays a log of any records in any order, each with its correct checksum. The first two bytes are the snapshot to
/// start from. Then each record is one byte for its kind and two for its numbers.
pub fn log(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let mut number = || match bytes.next()? {
        // Numbers near the maximum of 64 bits too.
        byte @ 0xf0.. => Some(u64::MAX - u64::from(byte & 0x0f)),
        byte => Some(u64::from(byte)),
    };
    let start = SnapshotMark { index: number().unwrap_or(0), term: number().unwrap_or(0) };
    let mut log = LogWriter::new();
    while let (Some(kind), Some(first), Some(second)) = (number(), number(), number()) {
        log = match kind % 7 {
            0 => log.entry(first, second, b""),
            1 => log.entry(first, second, &SECRET),
            2 => log.conf_change(first, second, &[0x10, (first % 4) as u8, 0x18, (second % 4) as u8]),
            3 => log.state(first, second),
            4 => log.mark(first, second),
            5 => log.cut(first),
            _ => log.drop_last((first % 16) as usize),
        };
    }
    let len = log.len() + 4096;
    let log = log.finish_with_len(len);
    let Ok(segments) = wal::segments(&log.open, start.index) else { return };
    let Ok(scan) = Scan::run(&log.open, &segments, start) else { return };
    assert!(scan.state.commit <= scan.last_index, "{scan:?}");
    let (mut store, mut membership) = (Store::default(), Membership::default());
    let into = (&mut store, &mut membership);
    replay::apply(&log.open, &segments, (start, &scan), std::slice::from_ref(&log.key), into)
        .expect("what was checked and closed with this key opens");
    list(store);
}

/// A transaction that creates a secret: request 99, one action, verb 1, an object with the id `s`.
const SECRET: [u8; 11] = [0x08, 99, 0x12, 7, 0x08, 1, 0x3a, 3, 0x0a, 1, b's'];

/// Makes an inventory, compares it with itself and turns it into JSON and back.
fn list(mut store: Store) {
    const CLUSTER: [u8; 3] = [0x0a, 1, b'c'];
    store.put(Kind::Cluster, &CLUSTER).expect("a cluster may be all but empty");
    let inventory = store.into_inventory("c", inventory::Raft::default()).expect("the cluster is there");
    assert_eq!(inventory::diff(&inventory, &inventory), []);
    let json = serde_json::to_string(&inventory).expect("an inventory is JSON");
    assert_eq!(serde_json::from_str::<inventory::Inventory>(&json).expect("it reads its own"), inventory);
}

fn in_memory(data: &[u8]) -> File {
    let file = memfd_create(c"fuzzed", MFdFlags::MFD_CLOEXEC).expect("memory takes all");
    let file = File::from(file.as_fd().try_clone_to_owned().expect("descriptors are left"));
    file.write_all_at(data, 0).expect("memory takes all");
    file
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::testkit::states::{bytes, datum, number, transaction};

    type Target = (&'static str, fn(&[u8]));
    const TARGETS: [Target; 7] = [
        ("files_in_clear", files_in_clear),
        ("segment", segment),
        ("snapshot", snapshot),
        ("snapshot_text", snapshot_text),
        ("entries", entries),
        ("log", log),
        ("specs", specs),
    ];

    /// Well-formed input for each target.
    fn seeds() -> Vec<Vec<u8>> {
        let secret = datum("id", "name", b"value");
        let log = LogWriter::new().entry(1, 1, b"text").state(1, 1).conf_change(1, 2, b"").mark(2, 1);
        let metadata = [bytes(1, &number(1, 42)), number(2, 7), number(3, 1)].concat();
        let inner = [bytes(1, &[number(1, 1), bytes(2, &[0; 40]), bytes(3, &[0; 24])].concat()), bytes(2, &metadata)];
        let request = transaction(&[(1, 7, &secret), (1, 10, &secret), (1, 3, &bytes(1, b"id")), (3, 7, &secret)]);
        let length = u16::try_from(request.len()).unwrap().to_le_bytes();
        let objects: Vec<_> = (1..=10).flat_map(|tag| bytes(tag, &secret)).collect();
        // A record of 32 zeros that is not encrypted.
        let dek = format!("EiA{}==", "A".repeat(43));
        let head = format!("kek-version: 3\nraft-dek: {dek}\nraft-dek-pending: {dek}");
        let key = format!("-----BEGIN PRIVATE KEY-----\n{head}\n\nAAAA\n-----END PRIVATE KEY-----\n");
        vec![
            key.into(),
            log.bytes().to_vec(),
            [number(1, 5), bytes(2, &inner.concat())].concat(),
            [bytes(2, &[bytes(1, &number(1, 42)), number(2, 43)].concat()), bytes(3, &objects)].concat(),
            [&length[..], &request].concat(),
            vec![0, 0, 1, 1, 1, 3, 1, 1, 5, 2, 0, 2, 1, 2, 4, 2, 1, 3, 1, 2],
            [&[2][..], &secret].concat(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_bytes_are_taken(data in prop::collection::vec(any::<u8>(), 0..300)) {
            TARGETS.iter().for_each(|(_, target)| target(&data));
        }

        #[test]
        fn altered_input_is_taken(
            which in 0..TARGETS.len(),
            changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..6),
        ) {
            let mut data = seeds().swap_remove(which);
            for (at, byte, how) in changes {
                let at = at.index(data.len());
                match how {
                    0 => data[at] = byte,
                    1 => data.insert(at, byte),
                    2 if data.len() > 1 => drop(data.remove(at)),
                    _ => data.truncate(at.max(1)),
                }
            }
            TARGETS[which].1(&data);
        }
    }

    /// Runs the seeds of the fuzzer and the inputs that it once found.
    #[test]
    fn the_kept_corpus_is_taken() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
        for (name, target) in TARGETS {
            let files = fs::read_dir(corpus.join(name)).unwrap().map(|file| file.unwrap().path());
            let taken = files.map(|file| target(&fs::read(file).unwrap())).count();
            assert!(taken > 0, "{name}");
        }
    }

    #[test]
    fn the_seeds_reach_their_parsers() {
        let seeds = seeds();
        KeyFile::parse(&seeds[0]).unwrap();
        assert_eq!(wal::fuzz(&seeds[1]), 7);
        assert!(snapshot_file::fuzz_layout(&in_memory(&seeds[2]), seeds[2].len() as u64));
        let mut text = snapshot_file::fuzz_text(&seeds[3]);
        let mut parts = 0;
        while let Some(_part) = text.next().unwrap() {
            parts += 1;
        }
        assert_eq!(parts, 11);
        let outcome = Store::default().apply(&seeds[4][2..]).unwrap();
        assert_eq!(outcome, crate::store::Outcome::Applied);
    }
}
