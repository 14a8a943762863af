//! Archives of format 1 that every later version must open, and exactly what is in them.

use std::{fmt::Write as _, fs, path::PathBuf};

use swarmdr_archive::{
    Contents, Digest, EntryKind, FileEntry, HEAD_LIMIT, Limits, TrustedKeys,
    reader::{self, Body, Head, Visitor},
};

use super::{
    forge::pieces_of,
    state::{State, test_identity, test_key},
};

pub const PLAIN: &[u8] = include_bytes!("../testkit/golden/plain.swarmdr");
pub const ENCRYPTED: &[u8] = include_bytes!("../testkit/golden/encrypted.swarmdr");
const LISTING: &str = include_str!("../testkit/golden/listing.txt");

/// Writes down everything that it is shown.
#[derive(Default)]
struct Listing(String);

impl Visitor for Listing {
    fn contents(&mut self, _: &Head, contents: &Contents) -> std::io::Result<()> {
        for left_out in &contents.left_out {
            writeln!(self.0, "left out {}: {}", left_out.path, left_out.why).unwrap();
        }
        writeln!(self.0, "inventory {}", contents.inventory).unwrap();
        Ok(())
    }

    fn entry(&mut self, entry: &FileEntry, body: &mut Body<'_>) -> std::io::Result<()> {
        let FileEntry { path, mode, uid, gid, size, mtime, .. } = entry;
        let kind = if entry.kind == EntryKind::Dir { 'd' } else { '-' };
        let extents = body.extents().data().to_vec();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(body, &mut bytes)?;
        writeln!(self.0, "{kind} {mode:04o} {uid}:{gid} {size} {mtime} {path} {extents:?} {}", Digest::of(&bytes))
            .unwrap();
        Ok(())
    }
}

fn listing(archive: &[u8]) -> String {
    let trusted = TrustedKeys::from(test_key().public());
    let mut listing = Listing::default();
    let unpacked = reader::unpack(archive, &trusted, &test_identity(), &Limits::default(), &mut listing).unwrap();
    let mut manifest = unpacked.head.manifest;
    // The two archives hold one state; their stored bytes cannot be the same.
    manifest.payload.name.clear();
    manifest.payload.recipients.clear();
    manifest.payload.size = 0;
    manifest.payload.sha256 = Digest::of(b"");
    format!("{}\n{}", serde_json::to_string_pretty(&manifest).unwrap(), listing.0)
}

/// One of each thing that format 1 can hold.
pub fn state() -> State {
    let mut state = State::small();
    let mut hole_at_end = vec![7; 5000];
    hole_at_end.resize(300_000, 0);
    // 26 extents: the header holds 4 and each block behind it 21.
    let mut many = vec![0; 69_632 * 26];
    many.chunks_mut(69_632).for_each(|chunk| chunk[0] = 1);
    let long = format!("swarm/{}/{}", "d".repeat(120), "f".repeat(200));
    for (path, bytes) in [
        ("swarm/raft/hole-at-end", hole_at_end),
        ("swarm/raft/all-hole", vec![0; 100_000]),
        ("swarm/raft/many-extents", many),
        ("swarm/empty", vec![]),
        ("swarm/ünï cödé", b"name".to_vec()),
        (&format!("swarm/{}/", "d".repeat(120)), vec![]),
        (&long, b"long name".to_vec()),
        (&format!("swarm/{}", "n".repeat(94)), b"100 bytes of name".to_vec()),
        (&format!("swarm/{}", "n".repeat(95)), b"101 bytes of name".to_vec()),
    ] {
        state.files.insert(path.to_owned(), bytes);
    }
    state
}

#[test]
fn golden_archives_open_with_their_exact_listing() {
    assert_eq!(listing(PLAIN), LISTING);
    assert_eq!(listing(ENCRYPTED), LISTING);
    assert!(PLAIN.len() < 10_000 && ENCRYPTED.len() < 10_000);
}

#[test]
fn head_of_a_golden_archive_needs_only_its_first_bytes() {
    let trusted = TrustedKeys::from(test_key().public());
    for golden in [PLAIN, ENCRYPTED] {
        let start = &golden[..golden.len().min(HEAD_LIMIT as usize)];
        let head = reader::read_head(start).unwrap().verify(&trusted).unwrap();
        assert_eq!(head.archive_size, golden.len() as u64);
        let again = reader::read_head(&golden[..head.payload_offset as usize]).unwrap().verify(&trusted).unwrap();
        assert_eq!(again.manifest_digest, head.manifest_digest);
        assert_eq!(head.key_id, test_key().public().key_id());
    }
}

/// Not compared with the golden one: another version of zstd may pack more tightly.
#[test]
fn packing_is_deterministic() {
    assert_eq!(state().seal(&[]).0, state().seal(&[]).0);
}

/// Refuses to replace a golden archive: what was written once must be read forever.
#[test]
#[ignore = "writes the golden archives"]
fn write_golden() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testkit/golden");
    let (plain, _) = state().seal(&[]);
    let (encrypted, _) = state().seal(&test_identity().recipients());
    let listing = listing(&plain);
    let manifest = pieces_of(&plain)[0].body.trim_ascii_end().to_vec();
    fs::write(directory.join("../manifest.json"), [&manifest[..], b"\n"].concat()).unwrap();
    let files = [("plain.swarmdr", &plain[..]), ("encrypted.swarmdr", &encrypted), ("listing.txt", listing.as_bytes())];
    for (name, bytes) in files {
        let path = directory.join(name);
        assert_eq!(fs::metadata(&path).map_or(0, |file| file.len()), 0, "{name} exists and stays");
        fs::write(path, bytes).unwrap();
    }
}
