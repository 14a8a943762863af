//! Streams in memory, as they are and as no writer would make them.

use std::io::{Read, Write};

use serde_json::{Value, json};
use swarmdr_archive::{
    BackupId, Digest, Recipient, Result, SecretKey, TrustedKeys, signature,
    stream_archive::{self, ListedStream, SealedStream, StreamDraft, StreamEnding, StreamKey, StreamWriter},
    writer::DEFAULT_LEVEL,
};

use super::{
    forge::{Piece, compress, tar_of},
    state::{test_identity, test_key},
};

/// Size of the chunks of most streams of the tests: the smallest, so that little data has several.
pub const CHUNK: u32 = 4096;

/// Place of the stream in [`draft`].
pub const PLACE: &str = "streams/w1ymnkr1qaqfdkyvdpgekypgb/shop-db/20260102T030405Z-0a1b2c3d.stream";

/// The trusted comment of the stream in [`draft`].
pub const COMMENT: &str = "swarmdr stream shop-db 20260102T030405Z-0a1b2c3d cluster w1ymnkr1qaqfdkyvdpgekypgb";

pub fn place() -> StreamKey {
    PLACE.parse().unwrap()
}

pub fn draft() -> StreamDraft {
    let started_at = "2026-01-02T03:04:05Z".parse().unwrap();
    StreamDraft {
        id: BackupId::new(started_at, [0x0a, 0x1b, 0x2c, 0x3d]),
        name: "shop-db".parse().unwrap(),
        cluster_id: "w1ymnkr1qaqfdkyvdpgekypgb".parse().unwrap(),
        node_id: Some("k5f1mbqj2p1zk3kvq8ijhd4wd".parse().unwrap()),
        hostname: "worker-1".into(),
        agent_version: "0.1.0".into(),
        started_at,
        as_of: "2026-01-02T03:04:00.5Z".parse().unwrap(),
        command: ["pg_dump", "-Fc", "-U", "shop", "shop"].map(str::to_owned).to_vec(),
    }
}

pub fn ending() -> StreamEnding {
    StreamEnding {
        sequence: 7,
        previous: Some(Digest::of(b"the manifest before")),
        ended_at: "2026-01-02T03:24:05.25Z".parse().unwrap(),
        exit_status: Some(0),
    }
}

/// Bytes that do not compress; another seed gives others.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    bytes.take(length).collect()
}

/// Packs a stream as the agent would, but for its small chunks. Returns the archive too.
pub fn seal(plain: &[u8], recipients: &[Recipient]) -> (Vec<u8>, SealedStream<Vec<u8>>) {
    seal_in_chunks(plain, recipients, CHUNK)
}

pub fn seal_in_chunks(plain: &[u8], recipients: &[Recipient], chunk: u32) -> (Vec<u8>, SealedStream<Vec<u8>>) {
    let mut writer = StreamWriter::with_chunk_size(draft(), recipients, DEFAULT_LEVEL, Vec::new(), chunk).unwrap();
    writer.write_all(plain).unwrap();
    let sealed = writer.finish(ending(), &test_key(), 0).unwrap();
    ([&sealed.head[..], &sealed.sink, &sealed.tail].concat(), sealed)
}

/// Reads head and list, as every reader of [`PLACE`] does first.
pub fn listed(mut input: impl Read) -> Result<ListedStream> {
    let head = stream_archive::read_head(&mut input)?.verify(&TrustedKeys::from(test_key().public()))?;
    head.require(&place())?;
    head.with_list(&mut input)
}

/// Opens a whole archive with the test identity. `out` keeps what was released before an error.
pub fn open(archive: &[u8], out: &mut Vec<u8>) -> Result<ListedStream> {
    let mut input = archive;
    let listed = listed(&mut input)?;
    listed.unpack(&mut input, &test_identity(), out)?;
    Ok(listed)
}

/// A stream in parts. Change what should be wrong, then put it together.
#[derive(Clone)]
pub struct StreamForge {
    pub manifest: Value,
    pub plain: Vec<u8>,
    pub stored: Vec<u8>,
}

impl StreamForge {
    /// A right one, of two chunks.
    pub fn new() -> Self {
        Self::of(noise(1, 5000))
    }

    pub fn of(plain: Vec<u8>) -> Self {
        let (_, sealed) = seal(&plain, &[]);
        Self { manifest: serde_json::to_value(&sealed.manifest).unwrap(), stored: compress(&plain), plain }
    }

    /// The list that tells the truth about the payload.
    pub fn list(&self) -> Vec<u8> {
        list_of(&self.stored)
    }

    /// The four members, the manifest telling the truth about the others and signed with the test key.
    pub fn members(mut self) -> Vec<Piece> {
        let list = self.list();
        self.tell_of_payload();
        self.tell_of_list(&list);
        signed_stream(&self.manifest_bytes(), &list, &self.name(), &self.stored, &test_key())
    }

    /// The whole archive.
    pub fn archive(self) -> Vec<u8> {
        tar_of(&self.members())
    }

    /// The whole archive around another list than the payload has, which the manifest signs.
    pub fn archive_of_list(mut self, list: &[u8]) -> Vec<u8> {
        self.tell_of_payload();
        self.tell_of_list(list);
        tar_of(&signed_stream(&self.manifest_bytes(), list, &self.name(), &self.stored, &test_key()))
    }

    /// The whole archive around the truth, of which `edit` then changes something before it is signed.
    pub fn archive_but(mut self, edit: impl FnOnce(&mut Value)) -> Vec<u8> {
        let list = self.list();
        self.tell_of_payload();
        self.tell_of_list(&list);
        let name = self.name();
        edit(&mut self.manifest);
        tar_of(&signed_stream(&self.manifest_bytes(), &list, &name, &self.stored, &test_key()))
    }

    fn tell_of_payload(&mut self) {
        let payload = self.manifest["payload"].as_object_mut().unwrap();
        payload.insert("size".into(), json!(self.stored.len()));
        payload.insert("sha256".into(), json!(Digest::of(&self.stored)));
        payload.insert("plain_size".into(), json!(self.plain.len()));
        payload.insert("plain_sha256".into(), json!(Digest::of(&self.plain)));
    }

    fn tell_of_list(&mut self, list: &[u8]) {
        let chunks = self.manifest["chunks"].as_object_mut().unwrap();
        chunks.insert("count".into(), json!(self.stored.len().div_ceil(CHUNK as usize)));
        chunks.insert("list_size".into(), json!(list.len()));
        chunks.insert("list_sha256".into(), json!(Digest::of(list)));
    }

    pub fn name(&self) -> String {
        self.manifest["payload"]["name"].as_str().unwrap().to_owned()
    }

    pub fn manifest_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).unwrap()
    }
}

/// The list of the chunks of a payload.
pub fn list_of(stored: &[u8]) -> Vec<u8> {
    stored.chunks(CHUNK as usize).flat_map(|chunk| *Digest::of(chunk).as_bytes()).collect()
}

/// The four members around bytes that may be anything.
pub fn signed_stream(manifest: &[u8], list: &[u8], name: &str, stored: &[u8], key: &SecretKey) -> Vec<Piece> {
    let signature = signature::sign(key, manifest, COMMENT);
    vec![
        Piece::member("manifest.json", manifest),
        Piece::member("manifest.json.minisig", signature.as_bytes()),
        Piece::member("chunks.sha256", list),
        Piece::member(name, stored),
    ]
}
