//! Archives that the writer would never make, signed all the same.

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use swarmdr_archive::{BackupId, Digest, SecretKey, signature};
use tar::{EntryType, Header};

use super::state::{State, test_key};

/// A member or entry: header and body. Public so that vectors can damage either.
#[derive(Clone)]
pub struct Piece {
    pub header: Header,
    pub body: Vec<u8>,
}

impl Piece {
    pub fn member(name: &str, body: &[u8]) -> Self {
        Self::new(Header::new_ustar(), name, EntryType::Regular, 0o644, body)
    }

    pub fn entry(name: &str, kind: EntryType, mode: u32, body: &[u8]) -> Self {
        let mut piece = Self::new(Header::new_gnu(), name, kind, mode, body);
        piece.change(|header| header.set_mtime(1_767_322_000));
        piece
    }

    fn new(mut header: Header, name: &str, kind: EntryType, mode: u32, body: &[u8]) -> Self {
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(body.len() as u64);
        header.set_cksum();
        Self { header, body: body.to_vec() }
    }

    /// Changes the header and makes its checksum right again.
    pub fn change(&mut self, change: impl FnOnce(&mut Header)) {
        change(&mut self.header);
        self.header.set_cksum();
    }

    pub fn name(&self) -> String {
        String::from_utf8(self.header.path_bytes().into_owned()).unwrap()
    }
}

/// Writes a tar with its end.
pub fn tar_of(pieces: &[Piece]) -> Vec<u8> {
    let mut tar = Vec::new();
    for piece in pieces {
        tar.extend_from_slice(piece.header.as_bytes());
        tar.extend_from_slice(&piece.body);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// Splits a tar into its pieces. Understands no extensions.
pub fn pieces_of(tar: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = tar;
    while rest[..512] != [0; 512] {
        let header = Header::from_byte_slice(&rest[..512]).clone();
        let size = header.entry_size().unwrap() as usize;
        pieces.push(Piece { header, body: rest[512..512 + size].to_vec() });
        rest = &rest[512 + size.next_multiple_of(512)..];
    }
    pieces
}

pub fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive in parts. Change what should be wrong, then put it together.
pub struct Forge {
    pub manifest: Value,
    pub entries: Vec<Piece>,
}

impl Forge {
    /// A right one, with two files.
    pub fn new() -> Self {
        let state = State::new(&[("swarm/", b""), ("swarm/a", b"first"), ("swarm/b", b"second")]);
        let (archive, _) = state.seal(&[]);
        let members = pieces_of(&archive);
        let manifest = serde_json::from_slice(&members[0].body).unwrap();
        let tar = zstd::decode_all(Cursor::new(&members[2].body)).unwrap();
        Self { manifest, entries: pieces_of(&tar) }
    }

    pub fn contents(&self) -> Value {
        serde_json::from_slice(&self.entries[0].body).unwrap()
    }

    /// Puts other bytes in the place of `contents.json`.
    pub fn set_contents(&mut self, bytes: &[u8]) {
        self.entries[0].body = bytes.to_vec();
        self.entries[0].change(|header| header.set_size(bytes.len() as u64));
    }

    pub fn edit_contents(&mut self, edit: impl FnOnce(&mut Value)) {
        let mut contents = self.contents();
        edit(&mut contents);
        self.set_contents(&serde_json::to_vec(&contents).unwrap());
    }

    /// The entry of this name.
    pub fn entry(&mut self, name: &str) -> &mut Piece {
        self.entries.iter_mut().find(|entry| entry.name() == name).unwrap()
    }

    /// The whole archive around the entries.
    pub fn archive(self) -> Vec<u8> {
        let tar = tar_of(&self.entries);
        self.archive_of_tar(&tar)
    }

    /// The whole archive around other bytes than the entries make.
    pub fn archive_of_tar(self, tar: &[u8]) -> Vec<u8> {
        self.archive_of_stored(tar, &compress(tar))
    }

    /// The whole archive around a payload that claims to be `tar`.
    pub fn archive_of_stored(self, tar: &[u8], stored: &[u8]) -> Vec<u8> {
        tar_of(&self.members(tar, stored))
    }

    /// The members of a right archive.
    pub fn right_members(self) -> Vec<Piece> {
        let tar = tar_of(&self.entries);
        self.members(&tar, &compress(&tar))
    }

    /// The three members, the manifest telling the truth about the payload and signed with the test key.
    pub fn members(mut self, tar: &[u8], stored: &[u8]) -> Vec<Piece> {
        let payload = self.manifest["payload"].as_object_mut().unwrap();
        payload.insert("size".into(), json!(stored.len()));
        payload.insert("sha256".into(), json!(Digest::of(stored)));
        payload.insert("tar_size".into(), json!(tar.len()));
        payload.insert("tar_sha256".into(), json!(Digest::of(tar)));
        let name = self.manifest["payload"]["name"].as_str().unwrap().to_owned();
        signed(&self.manifest_bytes(), &name, stored, &test_key())
    }

    pub fn manifest_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).unwrap()
    }
}

/// The three members around manifest bytes that may be anything.
pub fn signed(manifest: &[u8], name: &str, stored: &[u8], key: &SecretKey) -> Vec<Piece> {
    let comment = signature::trusted_comment(test_id(), &"w1ymnkr1qaqfdkyvdpgekypgb".parse().unwrap());
    let signature = signature::sign(key, manifest, &comment);
    vec![
        Piece::member("manifest.json", manifest),
        Piece::member("manifest.json.minisig", signature.as_bytes()),
        Piece::member(name, stored),
    ]
}

/// The id in [`super::state::draft`].
pub fn test_id() -> BackupId {
    "20260102T030405Z-0a1b2c3d".parse().unwrap()
}
