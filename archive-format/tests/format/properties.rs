//! Round trips of states that nobody thought of.

use std::{
    collections::BTreeMap,
    io::{Cursor, Seek},
};

use proptest::prelude::*;
use swarmdr_archive::{
    FileEntry, Identities, Limits, TrustedKeys,
    reader::{self, Body, Visitor},
};

use super::state::{State, Taken, test_identity, test_key};

/// Files that are runs of data and zeros around the sizes that matter: blocks, grains, holes.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![0..3usize, 510..514usize, 4094..4098usize, 65534..65538usize, 0..300_000usize];
    let run = (any::<u8>(), any::<bool>(), length);
    prop::collection::vec(run, 0..5).prop_map(|runs| {
        let runs = runs.into_iter().map(|(byte, hole, length)| vec![if hole { 0 } else { byte }; length]);
        runs.collect::<Vec<_>>().concat()
    })
}

/// Names of up to 255 bytes, so that paths fall on both sides of what fits a tar header.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9._ -]{1,20}", "[a-zé]{90,110}", "[a-z]{200,255}"]
        .prop_filter("a name of its own", |name| name != "." && name != "..")
        .prop_map(|name| {
            name.chars()
                .scan(0, |length, c| {
                    *length += c.len_utf8();
                    (*length <= 255).then_some(c)
                })
                .collect()
        })
}

fn state() -> impl Strategy<Value = State> {
    let file = (prop::collection::vec(name(), 1..4), content());
    prop::collection::vec(file, 0..6).prop_map(|files| {
        let mut state = State::new(&[("swarm/", b"")]);
        for (names, bytes) in files {
            let mut path = "swarm".to_owned();
            for (index, name) in names.iter().enumerate() {
                path = format!("{path}/{name}");
                let directory = index + 1 < names.len();
                let (own, other) = (format!("{path}/"), path.clone());
                let (key, conflict) = if directory { (own, other) } else { (other, own) };
                if path.len() > 1024 || state.files.contains_key(&conflict) {
                    break;
                }
                state.files.entry(key).or_insert_with(|| if directory { vec![] } else { bytes.clone() });
            }
        }
        state
    })
}

/// Takes files through the sparse copy.
#[derive(Default)]
struct Sparse(BTreeMap<String, Vec<u8>>);

impl Visitor for Sparse {
    fn entry(&mut self, entry: &FileEntry, body: &mut Body<'_>) -> std::io::Result<()> {
        let mut file = Cursor::new(Vec::new());
        let data: u64 = body.extents().data().iter().map(|range| range.end - range.start).sum();
        assert_eq!(body.copy_sparse_to(&mut file)?, data);
        assert_eq!(file.stream_position()?, entry.size);
        let mut bytes = file.into_inner();
        bytes.resize(entry.size as usize, 0);
        self.0.insert(entry.path.to_string(), bytes);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_state_round_trips(state in state(), encrypted: bool) {
        let identity = if encrypted { test_identity() } else { Identities::none() };
        let (archive, sealed) = state.seal(&identity.recipients());
        let trusted = TrustedKeys::from(test_key().public());
        let limits = Limits::default();
        let mut taken = Taken::default();
        let unpacked = reader::unpack(&archive[..], &trusted, &identity, &limits, &mut taken).unwrap();
        prop_assert_eq!(&taken.files, &state.files);
        prop_assert_eq!(unpacked.head.manifest, sealed.manifest);
        prop_assert_eq!(unpacked.head.archive_size, sealed.size);
        let mut sparse = Sparse::default();
        reader::unpack(&archive[..], &trusted, &identity, &limits, &mut sparse).unwrap();
        let without_slash = state.files.iter().map(|(path, bytes)| (path.trim_end_matches('/').to_owned(), bytes.clone()));
        prop_assert_eq!(sparse.0, without_slash.collect());
        // What the visitor does not read is checked all the same.
        reader::unpack(&archive[..], &trusted, &identity, &limits, &mut ()).unwrap();
    }
}
