//! What is fuzzed. Each target takes any bytes; a panic, a hang or much memory is a finding.
//!
//! An archive that was altered fails at its signature, so [`payload`], [`state_tar`] and [`stream_payload`] sign the bytes first and reach what is behind it.

use std::io::{self, Write};

use swarmdr_archive::{
    Digest, Identities, Limits, Manifest, PublicKey, Recipient, SecretKey, TrustedKeys, reader, signature,
    stream_archive::{self, StreamManifest},
};

const SECRET_KEY: &str = include_str!("../../tests/testkit/test.key");
const IDENTITY: &str = include_str!("../../tests/testkit/test.identity");
const MANIFEST: &str = include_str!("../../tests/testkit/manifest.json");
const STREAM_MANIFEST: &str = include_str!("../../tests/testkit/streams/golden/manifest.json");

/// The bytes are a whole archive.
pub fn archive(data: &[u8]) {
    let key = SecretKey::from_minisign_str(SECRET_KEY).expect("the test key is good");
    let trusted = TrustedKeys::from(key.public());
    let identity = Identities::parse_file(IDENTITY).expect("the test identity is good");
    if let Ok(head) = reader::read_head(data) {
        let _ = head.claims();
    }
    let stored = reader::verify_stored(data, &trusted).is_ok();
    let unpacked = reader::unpack(data, &trusted, &identity, &limits(), &mut ()).is_ok();
    assert!(stored || !unpacked, "what unpacks also verifies");
}

/// The bytes are the stored payload of a well-signed archive: the first byte chooses whether it is called encrypted.
pub fn payload(data: &[u8]) {
    let Some((first, stored)) = data.split_first() else { return };
    archive(&sign(stored, 1 << 20, Digest::of(stored), first % 2 == 1));
}

/// The bytes are the tar in a well-signed archive.
pub fn state_tar(data: &[u8]) {
    let stored = zstd::encode_all(data, 1).expect("memory takes all");
    archive(&sign(&stored, data.len() as u64, Digest::of(data), false));
}

/// The bytes are a whole stream archive.
pub fn stream(data: &[u8]) {
    let key = SecretKey::from_minisign_str(SECRET_KEY).expect("the test key is good");
    let identity = Identities::parse_file(IDENTITY).expect("the test identity is good");
    let mut input = data;
    let Ok(head) = stream_archive::read_head(&mut input) else { return };
    let _ = head.claims();
    let Ok(head) = head.verify(&TrustedKeys::from(key.public())) else { return };
    let Ok(listed) = head.with_list(&mut input) else { return };
    let (checked, mut out) = (listed.check(input).is_ok(), Capped(0));
    let unpacked = listed.unpack(input, &identity, &mut out).is_ok();
    assert!(checked || !unpacked, "what unpacks also verifies");
    assert!(out.0 <= listed.head().manifest.payload.plain_size, "no more is released than was signed");
}

/// Counts what a stream releases, and ends it before it takes long.
struct Capped(u64);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        if self.0 > 16 << 20 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes are the stored payload of a well-signed stream, which says that it holds no end of data. The first byte
/// chooses whether it is called encrypted.
pub fn stream_payload(data: &[u8]) {
    let Some((first, stored)) = data.split_first() else { return };
    stream(&sign_stream(stored, (1 << 40, Digest::of(b"")), first % 2 == 1));
}

/// The bytes are each text that the crate reads.
pub fn texts(data: &[u8]) {
    let _ = Manifest::parse(data);
    let _ = StreamManifest::parse(data);
    let _ = signature::Signature::parse(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = SecretKey::from_minisign_str(text);
    let _ = text.parse::<PublicKey>().map(|key| assert_eq!(key.to_string().parse::<PublicKey>().ok(), Some(key)));
    let _ = text.parse::<swarmdr_archive::BackupId>().map(|id| assert_eq!(id.to_string(), text));
    let _ = text.parse::<swarmdr_archive::ClusterId>().map(|id| assert_eq!(id.as_str(), text));
    let _ = text.parse::<swarmdr_archive::EntryPath>().map(|path| assert_eq!(path.as_str(), text));
    let _ = text.parse::<stream_archive::StreamName>().map(|name| assert_eq!(name.as_str(), text));
    let _ = text.parse::<stream_archive::StreamKey>().map(|key| assert_eq!(key.to_string(), text));
    let _ = Recipient::parse_file(text);
    let _ = Identities::parse_file(text);
}

/// Small enough that an input which passes them all is still quick.
fn limits() -> Limits {
    Limits { total_bytes: 64 << 20, contents_bytes: 1 << 20, free_expansion: 16 << 20, ..Limits::default() }
}

/// Wraps a stored payload into an archive that the test key signed.
pub fn sign(stored: &[u8], tar_size: u64, tar_digest: Digest, encrypted: bool) -> Vec<u8> {
    let mut manifest: serde_json::Value = serde_json::from_str(MANIFEST).expect("the test manifest is JSON");
    let name = if encrypted { "state.tar.zst.age" } else { "state.tar.zst" };
    let recipients: &[&str] = if encrypted { &["age1x"] } else { &[] };
    manifest["payload"] = serde_json::json!({
        "name": name, "size": stored.len(), "sha256": Digest::of(stored), "tar_size": tar_size, "tar_sha256": tar_digest,
        "recipients": recipients, "compression": "zstd",
    });
    let manifest = manifest.to_string();
    signed_tar(&manifest, &[(name, stored)])
}

/// Wraps a stored payload into a stream archive that the test key signed. `plain` is size and digest of what it says it
/// holds.
pub fn sign_stream(stored: &[u8], plain: (u64, Digest), encrypted: bool) -> Vec<u8> {
    const CHUNK: usize = 4096;
    let mut manifest: serde_json::Value = serde_json::from_str(STREAM_MANIFEST).expect("the test manifest is JSON");
    let name = if encrypted { "stream.zst.age" } else { "stream.zst" };
    let recipients: &[&str] = if encrypted { &["age1x"] } else { &[] };
    let list: Vec<u8> = stored.chunks(CHUNK).flat_map(|chunk| *Digest::of(chunk).as_bytes()).collect();
    manifest["payload"] = serde_json::json!({
        "name": name, "size": stored.len(), "sha256": Digest::of(stored), "plain_size": plain.0, "plain_sha256": plain.1,
        "recipients": recipients, "compression": "zstd",
    });
    manifest["chunks"] = serde_json::json!({
        "size": CHUNK, "count": list.len() / 32, "list_size": list.len(), "list_sha256": Digest::of(&list),
    });
    signed_tar(&manifest.to_string(), &[("chunks.sha256", &list), (name, stored)])
}

/// Signs a manifest, and packs it with more members.
fn signed_tar(manifest: &str, members: &[(&str, &[u8])]) -> Vec<u8> {
    let key = SecretKey::from_minisign_str(SECRET_KEY).expect("the test key is good");
    let signature = signature::sign(&key, manifest.as_bytes(), "fuzzed");
    let mut archive = tar::Builder::new(Vec::new());
    let signed = [("manifest.json", manifest.as_bytes()), ("manifest.json.minisig", signature.as_bytes())];
    for (name, body) in signed.iter().chain(members) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(body.len() as u64);
        archive.append_data(&mut header, name, *body).expect("memory takes all");
    }
    archive.into_inner().expect("memory takes all")
}
