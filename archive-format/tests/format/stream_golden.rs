//! Streams of format 2 that every later version must open, and exactly what is in them.

use std::{fs, path::PathBuf};

use swarmdr_archive::{
    Digest, HEAD_LIMIT, TrustedKeys, reader,
    stream_archive::{self, StreamManifest},
};

use super::{
    state::{test_identity, test_key},
    stream::{noise, open, seal},
};

pub const PLAIN: &[u8] = include_bytes!("../testkit/streams/golden/plain.stream");
pub const ENCRYPTED: &[u8] = include_bytes!("../testkit/streams/golden/encrypted.stream");
const MANIFEST: &str = include_str!("../testkit/streams/golden/manifest.json");

/// What both hold.
pub fn held() -> Vec<u8> {
    [noise(11, 6000), vec![0; 64 << 10], noise(12, 3000)].concat()
}

/// The manifest without what differs between the two.
fn common(mut manifest: StreamManifest) -> String {
    manifest.payload.name.clear();
    manifest.payload.recipients.clear();
    (manifest.payload.size, manifest.payload.sha256) = (0, Digest::of(b""));
    manifest.chunks.list_sha256 = Digest::of(b"");
    serde_json::to_string_pretty(&manifest).unwrap() + "\n"
}

#[test]
fn golden_streams_open_with_exactly_what_they_hold() {
    for golden in [PLAIN, ENCRYPTED] {
        let mut out = Vec::new();
        let listed = open(golden, &mut out).unwrap();
        assert!(out == held());
        assert_eq!(common(listed.head().manifest.clone()), MANIFEST);
        assert_eq!(listed.head().archive_size, golden.len() as u64);
        listed.check(&golden[listed.head().payload_offset as usize..]).unwrap();
        assert!(golden.len() < 20_000);
    }
}

#[test]
fn head_of_a_golden_stream_needs_only_its_first_bytes() {
    let trusted = TrustedKeys::from(test_key().public());
    for golden in [PLAIN, ENCRYPTED] {
        let start = &golden[..golden.len().min(HEAD_LIMIT as usize)];
        let head = stream_archive::read_head(start).unwrap().verify(&trusted).unwrap();
        let again = stream_archive::read_head(&golden[..head.list_offset as usize]).unwrap();
        assert_eq!(again.claims().unwrap(), head.manifest);
        assert_eq!(again.verify(&trusted).unwrap().manifest_digest, head.manifest_digest);
        assert_eq!(head.signer, test_key().public());
        assert!(matches!(reader::read_head(start), Err(swarmdr_archive::Error::OtherKind { .. })));
    }
}

/// Refuses to replace a golden stream: what was written once must be read forever.
#[test]
#[ignore = "writes the golden streams"]
fn write_golden_streams() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testkit/streams/golden");
    let (plain, sealed) = seal(&held(), &[]);
    let (encrypted, _) = seal(&held(), &test_identity().recipients());
    let manifest = common(sealed.manifest);
    let files =
        [("plain.stream", &plain[..]), ("encrypted.stream", &encrypted), ("manifest.json", manifest.as_bytes())];
    for (name, bytes) in files {
        let path = directory.join(name);
        assert_eq!(fs::metadata(&path).map_or(0, |file| file.len()), 0, "{name} exists and stays");
        fs::write(path, bytes).unwrap();
    }
}
