//! Damaged archives: always an error or the same contents, and never a panic. Also a short, seeded stand-in for the fuzzer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::LazyLock,
    time::{Duration, Instant},
};

use swarmdr_archive::{Contents, Digest, Identities, Limits, Manifest, TrustedKeys, reader, stream_archive};

use super::{
    forge::{Forge, compress, tar_of},
    golden::{ENCRYPTED, PLAIN},
    state::{test_identity, test_key},
    stream, stream_golden, stream_vectors, vectors,
};
use crate::fuzz;

/// All that an archive says, the digest of every file included.
fn open(archive: &[u8]) -> Option<(Manifest, Contents)> {
    static KEYS: LazyLock<(TrustedKeys, Identities)> =
        LazyLock::new(|| (TrustedKeys::from(test_key().public()), test_identity()));
    let unpacked = reader::unpack(archive, &KEYS.0, &KEYS.1, &Limits::default(), &mut ()).ok()?;
    Some((unpacked.head.manifest, unpacked.contents))
}

#[test]
fn flipped_bytes_are_refused_or_harmless() {
    for golden in [PLAIN, ENCRYPTED] {
        let said = open(golden).unwrap();
        let mut harmless = Vec::new();
        let mut altered = golden.to_vec();
        for at in 0..golden.len() {
            let mask = 1 << (at % 8);
            altered[at] ^= mask;
            if let Some(now) = open(&altered) {
                assert_eq!(now, said, "byte {at}");
                harmless.push(at);
            }
            altered[at] ^= mask;
        }
        // Only what means nothing may change: the untrusted comment, and owner, mode, time of the three members under a right checksum.
        let comment = golden.windows(18).position(|window| window == b"untrusted comment:").unwrap();
        let line = comment + 19..comment + golden[comment..].iter().position(|&byte| byte == b'\n').unwrap();
        let strange: Vec<_> = harmless.into_iter().filter(|at| !line.contains(at)).collect();
        assert!(strange.is_empty(), "{strange:?} may change unseen");
    }
}

#[test]
fn cut_archives_are_refused() {
    for golden in [PLAIN, ENCRYPTED] {
        for length in 0..golden.len() {
            assert!(open(&golden[..length]).is_none(), "{length} bytes of {}", golden.len());
        }
    }
}

/// Else the fuzzer would only see how archives are refused.
#[test]
fn what_the_fuzzer_signs_opens() {
    let stored = Forge::new().right_members().remove(2).body;
    let tar = zstd::decode_all(&*stored).unwrap();
    let archive = fuzz::sign(&stored, tar.len() as u64, Digest::of(&tar), false);
    reader::unpack(&*archive, &test_key().public().into(), &test_identity(), &Limits::default(), &mut ()).unwrap();
}

#[test]
fn what_the_fuzzer_signs_as_a_stream_opens() {
    let plain = stream::noise(1, 9000);
    let archive = fuzz::sign_stream(&compress(&plain), (9000, Digest::of(&plain)), false);
    let mut input = &archive[..];
    let head = stream_archive::read_head(&mut input).unwrap().verify(&test_key().public().into()).unwrap();
    let mut out = Vec::new();
    head.with_list(&mut input).unwrap().unpack(input, &Identities::none(), &mut out).unwrap();
    assert!(out == plain);
}

type Target = (&'static str, fn(&[u8]));

/// Seeded, so that a failure comes back; ended by time, so that it stays short.
#[test]
fn mutated_inputs_never_panic() {
    let targets: [Target; 6] = [
        ("archive", fuzz::archive),
        ("payload", fuzz::payload),
        ("state_tar", fuzz::state_tar),
        ("stream", fuzz::stream),
        ("stream_payload", fuzz::stream_payload),
        ("texts", fuzz::texts),
    ];
    let mut corpus: Vec<Vec<u8>> = vec![PLAIN.to_vec(), ENCRYPTED.to_vec(), tar_of(&Forge::new().entries)];
    corpus.extend(vectors::all().into_iter().map(|vector| vector.bytes));
    corpus.extend([stream_golden::PLAIN.to_vec(), stream_golden::ENCRYPTED.to_vec()]);
    corpus.extend(stream_vectors::all().into_iter().map(|vector| vector.bytes));
    corpus.extend(Forge::new().right_members().into_iter().map(|member| member.body));
    corpus.push(include_bytes!("../testkit/test.key").to_vec());
    corpus.push(include_bytes!("../testkit/test.identity").to_vec());
    corpus.retain(|bytes| bytes.len() < 64 << 10);
    let mut random = Random(0x5eed);
    let end = Instant::now() + Duration::from_secs(8);
    let mut round = 0;
    while Instant::now() < end || round < 200 {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        for _ in 0..random.below(8) {
            mutate(&mut bytes, &corpus, &mut random);
        }
        let (name, target) = targets[random.below(targets.len())];
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        assert!(outcome.is_ok(), "{name} panics in round {round} on {:02x?}", bytes);
        round += 1;
    }
}

fn mutate(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let length = 1 + random.below(64);
    match random.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.below(256) as u8),
        2 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            bytes.splice(at..at, other[from..other.len().min(from + length)].iter().copied());
        }
        3 => drop(bytes.drain(at..bytes.len().min(at + length))),
        4 => bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = random.below(256) as u8),
        _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
    }
}

/// xorshift64: enough to shuffle bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
