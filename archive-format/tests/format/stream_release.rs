//! Which bytes of a damaged stream are released: exactly what the chunks before the damage hold.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use swarmdr_archive::{Error, stream_archive::ListedStream};

use super::{
    state::{IDENTITY, test_identity},
    stream::{listed, noise, open, seal_in_chunks},
    stream_golden::{ENCRYPTED, PLAIN, held},
};

/// What stored bytes hold, as far as they go: decoded by the libraries alone.
fn decoded(stored: &[u8], encrypted: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let below: Box<dyn Read> = if encrypted {
        let identity = IDENTITY.lines().find(|line| !line.starts_with('#')).unwrap();
        let identity: age::x25519::Identity = identity.parse().unwrap();
        let Ok(decryptor) = age::Decryptor::new(stored) else { return out };
        Box::new(decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).unwrap())
    } else {
        Box::new(stored)
    };
    let mut decoder = zstd::Decoder::new(below).unwrap();
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = decoder.read(&mut buffer) {
        out.extend_from_slice(&buffer[..read]);
    }
    out
}

#[derive(Clone, Debug)]
enum Damage {
    /// One bit is another one.
    Flip(u8),
    /// Nothing follows.
    Cut,
    /// The chunk after this one stands here, and this one there.
    Swap,
    /// The chunk is that of another stream of the same size.
    Replace,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![(0..8u8).prop_map(Damage::Flip), Just(Damage::Cut), Just(Damage::Swap), Just(Damage::Replace)]
}

/// Damages the payload, and returns the first bad chunk.
fn damaged(payload: &mut Vec<u8>, stored: usize, size: usize, at: usize, damage: &Damage) -> usize {
    let chunk = at / size;
    let range = chunk * size..stored.min((chunk + 1) * size);
    match damage {
        Damage::Flip(bit) => payload[at] ^= 1 << bit,
        Damage::Cut => payload.truncate(at),
        Damage::Swap if stored / size >= 2 => {
            // Whole chunks only, and always two.
            let chunk = chunk.min(stored / size - 2);
            let (first, second) = payload[chunk * size..].split_at_mut(size);
            first.swap_with_slice(&mut second[..size]);
            return chunk;
        }
        Damage::Swap => payload[at] ^= 1,
        Damage::Replace => {
            let other = noise(at as u64 + 99, range.len());
            payload[range].copy_from_slice(&other);
        }
    }
    chunk
}

/// Data that compresses a bit, much, or not at all.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let run = (any::<u64>(), 0..120_000usize, 0..3u8).prop_map(|(seed, length, kind)| match kind {
        0 => noise(seed, length),
        1 => noise(seed, length).into_iter().map(|byte| byte & 3).collect(),
        _ => vec![seed as u8; length],
    });
    prop::collection::vec(run, 1..4).prop_map(|runs| runs.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_anywhere_releases_exactly_the_chunks_before_it(
        plain in data(), encrypted: bool, log in 12..17u32, place: prop::sample::Index, damage in damage(),
    ) {
        let (size, identity) = (1usize << log, test_identity());
        let recipients = if encrypted { identity.recipients() } else { Vec::new() };
        let (archive, sealed) = seal_in_chunks(&plain, &recipients, size as u32);
        let mut whole = Vec::new();
        let stream = open(&archive, &mut whole).unwrap();
        prop_assert!(whole == plain);

        let stored = sealed.sink.len();
        let mut payload = archive[stream.head().payload_offset as usize..].to_vec();
        let at = place.index(stored);
        let bad = damaged(&mut payload, stored, size, at, &damage);
        let mut out = Vec::new();
        match stream.unpack(&payload[..], &identity, &mut out) {
            Err(Error::BadChunk { chunk, offset, .. }) => {
                prop_assert_eq!(chunk, bad as u64);
                let expected = if matches!(damage, Damage::Cut) { at } else { bad * size };
                prop_assert_eq!(offset, expected as u64);
            }
            other => prop_assert!(false, "{other:?}"),
        }
        prop_assert!(plain.starts_with(&out));
        prop_assert!(out == decoded(&sealed.sink[..bad * size], encrypted), "chunk {bad}: {} bytes", out.len());
        let without_identity = stream.check(&payload[..]).unwrap_err();
        let same_chunk = matches!(without_identity, Error::BadChunk { chunk, .. } if chunk == bad as u64);
        prop_assert!(same_chunk, "{without_identity}");
    }

    #[test]
    fn any_data_round_trips(plain in data(), encrypted: bool, log in 12..23u32, room in 0..20_000u64) {
        let identity = test_identity();
        let recipients = if encrypted { identity.recipients() } else { Vec::new() };
        let draft = super::stream::draft();
        let mut writer = swarmdr_archive::stream_archive::StreamWriter::with_chunk_size(
            draft, &recipients, 1, Vec::new(), 1 << log).unwrap();
        for part in plain.chunks(7777) {
            writer.write_all(part).unwrap();
        }
        let sealed = writer.finish(super::stream::ending(), &super::state::test_key(), room).unwrap();
        let archive = [&sealed.head[..], &sealed.sink, &sealed.tail].concat();
        let mut out = Vec::new();
        let stream = open(&archive, &mut out).unwrap();
        prop_assert!(out == plain);
        prop_assert_eq!(&stream.head().manifest, &sealed.manifest);
        prop_assert_eq!(sealed.size, archive.len() as u64);
        for chunk in 0..sealed.manifest.chunks.count {
            let range = stream.chunk_range(chunk);
            stream.check_chunk(chunk, &archive[range.start as usize..range.end as usize]).unwrap();
        }
    }
}

/// Returns what a whole archive releases, and whether its end was proven.
fn released(archive: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let ended = open(archive, &mut out).is_ok();
    (out, ended)
}

/// Every byte of the head, and one in seven behind it, so that each bit of a byte has its turn.
fn positions(archive: &[u8]) -> impl Iterator<Item = usize> {
    let payload = listed(archive).unwrap().head().payload_offset as usize;
    (0..payload).chain((payload..archive.len()).step_by(7))
}

#[test]
fn flipped_bytes_of_an_archive_are_refused_or_harmless() {
    for golden in [PLAIN, ENCRYPTED] {
        let (held, mut harmless) = (held(), Vec::new());
        let mut altered = golden.to_vec();
        for at in positions(golden) {
            altered[at] ^= 1 << (at % 8);
            let (out, ended) = released(&altered);
            assert!(held.starts_with(&out), "byte {at} releases what was not signed");
            if ended {
                assert!(out == held, "byte {at}");
                harmless.push(at);
            }
            altered[at] = golden[at];
        }
        // Only the untrusted comment means nothing, and has no checksum.
        let comment = golden.windows(18).position(|window| window == b"untrusted comment:").unwrap();
        let line = comment + 19..comment + golden[comment..].iter().position(|&byte| byte == b'\n').unwrap();
        let strange: Vec<_> = harmless.into_iter().filter(|at| !line.contains(at)).collect();
        assert!(strange.is_empty(), "{strange:?} may change unseen");
    }
}

#[test]
fn an_archive_that_is_cut_never_ends_well() {
    for golden in [PLAIN, ENCRYPTED] {
        let held = held();
        for length in positions(golden) {
            let (out, ended) = released(&golden[..length]);
            assert!(!ended && held.starts_with(&out), "{length} bytes of {}", golden.len());
        }
    }
}

fn plain_stream() -> (ListedStream, Vec<u8>) {
    let stream = listed(PLAIN).unwrap();
    let payload = PLAIN[stream.head().payload_offset as usize..].to_vec();
    (stream, payload)
}

/// The error says where, so that a range can be fetched again.
#[test]
fn an_input_that_fails_is_named_with_its_place() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the line went dead"))
        }
    }
    let (stream, payload) = plain_stream();
    let mut out = Vec::new();
    let error = stream.unpack((&payload[..5000]).chain(Failing), &test_identity(), &mut out).unwrap_err();
    assert_eq!(error.to_string(), "cannot read chunk 1 of the stream, at byte 4096 of its payload");
    assert!(matches!(error, Error::ChunkUnread { source, .. } if source.to_string() == "the line went dead"));
    assert!(out == decoded(&payload[..4096], false));
}

#[test]
fn a_bad_chunk_is_named_with_its_place() {
    let (stream, mut payload) = plain_stream();
    payload[4096] ^= 1;
    let error = stream.unpack(&payload[..], &test_identity(), &mut Vec::new()).unwrap_err();
    let text = "chunk 1 of the stream, at byte 4096 of its payload, is not the signed one: it was altered or damaged; \
        fetch it again, or from another vault";
    assert_eq!(error.to_string(), text);
    let error = stream.unpack(&payload[..100], &test_identity(), &mut Vec::new()).unwrap_err();
    let text = "chunk 0 of the stream, at byte 100 of its payload, is cut off there; fetch it again";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_receiver_that_ends_is_told_apart_from_damage() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0).min(1000);
            self.0 -= taken;
            if taken == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (stream, payload) = plain_stream();
    let error = stream.unpack(&payload[..], &test_identity(), &mut Full(50_000)).unwrap_err();
    let Error::Output { released, source } = &error else { panic!("{error}") };
    assert_eq!((*released, source.kind()), (50_000, io::ErrorKind::BrokenPipe));
    assert_eq!(error.to_string(), "cannot hand on what the stream holds, after 50000 bytes");
}

#[test]
fn an_encrypted_stream_without_identity_asks_for_one() {
    let stream = listed(ENCRYPTED).unwrap();
    let error = stream.unpack(io::empty(), &swarmdr_archive::Identities::none(), &mut Vec::new()).unwrap_err();
    assert!(matches!(&error, Error::NeedsIdentity { .. }));
    assert!(error.to_string().contains(&test_identity().recipients()[0].to_string()));
}

/// Replies of ranges are judged one by one, in any order.
#[test]
fn chunks_are_checked_by_their_number() {
    let (stream, payload) = plain_stream();
    let (first, second) = (&payload[..4096], &payload[4096..8192]);
    stream.check_chunk(1, second).unwrap();
    stream.check_chunk(0, first).unwrap();
    assert!(matches!(stream.check_chunk(0, second), Err(Error::BadChunk { chunk: 0, offset: 0, .. })));
    assert!(matches!(stream.check_chunk(1, &second[..9]), Err(Error::BadChunk { chunk: 1, offset: 4105, .. })));
    assert!(matches!(stream.check_chunk(1, &payload[4096..8193]), Err(Error::BadChunk { chunk: 1, .. })));
}
