//! What the writer refuses, and what it promises beside the format.

use std::{
    io::{self, Cursor},
    ops::ControlFlow,
};

use swarmdr_archive::{
    Digest, Error, Limits, Result, TrustedKeys,
    manifest::Payload,
    reader,
    writer::{self, Packing, Phase, Progress, Sealed, SourceEntry, SourceFile},
};

use super::state::{State, source_entry, test_identity, test_key};

fn seal(edit: impl FnOnce(&mut Packing<'_>)) -> Result<Sealed> {
    let (state, key) = (State::small(), test_key());
    let mut packing = state.packing(&[], &key);
    edit(&mut packing);
    let mut out = Cursor::new(Vec::new());
    writer::seal(packing, |entry| state.open(entry), |_| ControlFlow::Continue(()), &mut out)
}

/// Packs a state whose WAL is `again` from the second time that it is opened.
fn seal_changing(again: io::Result<Vec<u8>>) -> Result<Sealed> {
    let (state, key) = (State::small(), test_key());
    let mut opened = 0;
    let open = |entry: &SourceEntry| {
        let mut bytes = state.files[entry.path.as_str()].clone();
        if entry.path.as_str().ends_with(".wal") {
            opened += 1;
            if opened == 2 {
                bytes = again.as_ref().map_err(|error| error.kind())?.clone();
            }
        }
        let whole = 0..u64::MAX;
        Ok(SourceFile { file: Cursor::new(bytes), data: [whole].into() })
    };
    writer::seal(state.packing(&[], &key), open, |_| ControlFlow::Continue(()), &mut Cursor::new(Vec::new()))
}

#[test]
fn changed_and_vanished_files_are_named() {
    let wal = "swarm/raft/wal-v3-encrypted/0000000000000000-0000000000000000.wal";
    let right = State::small().files[wal].clone();
    let mut other = right.clone();
    other[100] ^= 1;
    let longer = [&right[..], &b"x"[..]].concat();
    let shorter = right[..300_050].to_vec();
    for (again, wanted) in [(other, "another"), (longer, "longer"), (shorter, "shorter")] {
        match seal_changing(Ok(again)).map(drop).unwrap_err() {
            Error::SourceChanged { path, what } => assert!(path == wal && what.contains(wanted), "{what}"),
            error => panic!("{error:?}"),
        }
    }
    match seal_changing(Err(io::ErrorKind::NotFound.into())).map(drop).unwrap_err() {
        Error::Source { path, source } => assert!(path == wal && source.kind() == io::ErrorKind::NotFound),
        error => panic!("{error:?}"),
    }
    seal_changing(Ok(right)).unwrap();
}

/// Holes that the source tells of and zeros that it does not give the same archive.
#[test]
fn archive_depends_on_the_content_alone() {
    let (state, key) = (State::small(), test_key());
    let open_sparse = |entry: &SourceEntry| {
        let mut source = state.open(entry)?;
        if entry.path.as_str().ends_with(".wal") {
            source.data = vec![0..6000, 300_000..300_050, 300_050..300_100];
        }
        Ok(source)
    };
    let mut out = Cursor::new(Vec::new());
    let mut packing = state.packing(&[], &key);
    packing.entries.reverse();
    writer::seal(packing, open_sparse, |_| ControlFlow::Continue(()), &mut out).unwrap();
    assert_eq!(out.into_inner(), state.seal(&[]).0);
}

#[test]
fn progress_reaches_its_total_and_can_stop_each_phase() {
    let (state, key) = (State::small(), test_key());
    let mut seen: Vec<Progress> = Vec::new();
    let mut out = Cursor::new(Vec::new());
    let note = |progress| {
        seen.push(progress);
        ControlFlow::Continue(())
    };
    writer::seal(state.packing(&[], &key), |entry| state.open(entry), note, &mut out).unwrap();
    for phase in [Phase::Scan, Phase::Pack, Phase::Check] {
        let steps: Vec<_> = seen.iter().filter(|progress| progress.phase == phase).collect();
        assert!(steps.is_sorted_by_key(|step| step.done), "{phase:?}");
        assert_eq!(steps.last().unwrap().done, steps[0].total, "{phase:?}");
        let stop = |progress: Progress| match progress.phase == phase {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let mut out = Cursor::new(Vec::new());
        let stopped = writer::seal(state.packing(&[], &key), |entry| state.open(entry), stop, &mut out);
        assert!(matches!(stopped, Err(Error::Cancelled)), "{phase:?}");
    }
}

#[test]
fn input_that_no_reader_would_take_is_refused() {
    let refused = |edit: fn(&mut Packing<'_>)| seal(edit).map(drop).unwrap_err();
    assert!(matches!(refused(|p| p.level = 0), Error::InvalidInput { .. }));
    assert!(matches!(refused(|p| p.level = 20), Error::InvalidInput { .. }));
    assert!(matches!(refused(|p| p.manifest.format = 2), Error::UnsupportedVersion { .. }));
    assert!(matches!(refused(|p| p.manifest.hostname = "x".repeat(65536)), Error::LimitExceeded { .. }));
    assert!(matches!(refused(|p| p.entries.clear()), Error::InvalidContents { .. }));
    assert!(matches!(refused(|p| drop(p.entries.remove(1))), Error::InvalidContents { .. }));
    assert!(matches!(refused(|p| p.entries.push(p.entries[2].clone())), Error::InvalidContents { .. }));
    assert!(matches!(refused(|p| p.entries[2].mode = 0o100_644), Error::InvalidContents { .. }));
    assert!(matches!(refused(|p| p.entries[2].size = 8 << 30), Error::LimitExceeded { .. }));
    assert!(matches!(refused(|p| p.entries[2].size += 1), Error::SourceChanged { .. }));
    assert!(matches!(refused(|p| p.inventory = "x".repeat(17 << 20).into()), Error::LimitExceeded { .. }));
    assert!(matches!(refused(|p| p.entries.push(source_entry("swarm/zz", 1))), Error::Source { .. }));
    let mut many = vec![test_identity().recipients().remove(0); 65];
    let state = State::small();
    let mut out = Cursor::new(Vec::new());
    let key = test_key();
    let sealed = writer::seal(state.packing(&many, &key), |e| state.open(e), |_| ControlFlow::Continue(()), &mut out);
    assert!(matches!(sealed, Err(Error::LimitExceeded { limit: 64, .. })));
    many.pop();
    let (archive, _) = state.seal(&many);
    let trusted = TrustedKeys::from(key.public());
    reader::unpack(&archive[..], &trusted, &test_identity(), &Limits::default(), &mut ()).unwrap();
}

/// A manifest that just fits is still read by everyone who reads [`swarmdr_archive::HEAD_LIMIT`] bytes.
#[test]
fn largest_manifest_fits_the_head() {
    let mut room = 65536;
    let sealed = loop {
        match seal(|packing| packing.manifest.hostname = "x".repeat(room)) {
            Ok(sealed) => break sealed,
            Err(Error::LimitExceeded { .. }) => room -= 16,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(room > 60_000);
    let (state, key) = (State::small(), test_key());
    let mut packing = state.packing(&[], &key);
    packing.manifest.hostname = "x".repeat(room);
    let mut out = Cursor::new(Vec::new());
    writer::seal(packing, |entry| state.open(entry), |_| ControlFlow::Continue(()), &mut out).unwrap();
    let archive = out.into_inner();
    let start = &archive[..archive.len().min(swarmdr_archive::HEAD_LIMIT as usize)];
    let head = swarmdr_archive::reader::read_head(start).unwrap().verify(&key.public().into()).unwrap();
    assert_eq!(head.manifest, sealed.manifest);
}

#[test]
fn sealed_tells_the_truth_about_the_archive() {
    let (archive, sealed) = State::small().seal(&[]);
    assert_eq!((sealed.size, sealed.sha256), (archive.len() as u64, Digest::of(&archive)));
    let Payload { size, sha256, .. } = &sealed.manifest.payload;
    let head = swarmdr_archive::reader::read_head(&archive[..]).unwrap().verify(&test_key().public().into()).unwrap();
    let start = head.payload_offset as usize;
    assert_eq!(Digest::of(&archive[start..start + *size as usize]), *sha256);
    assert_eq!(head.manifest_digest, sealed.manifest_digest);
}
