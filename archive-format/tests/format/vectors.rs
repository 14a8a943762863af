//! What a reader must refuse: one broken thing each, under the name of its damage.

use std::io::Write;

use ring::rand::SystemRandom;
use serde_json::{Value, json};
use swarmdr_archive::{Digest, SecretKey, signature};
use tar::EntryType;

use super::{
    forge::{Forge, Piece, compress, pieces_of, signed, tar_of, test_id},
    state::{State, test_identity, test_key},
    stream::StreamForge,
};

/// A refused archive, and the variant of `Error` that says why.
pub struct Vector {
    pub name: &'static str,
    pub error: &'static str,
    pub bytes: Vec<u8>,
}

/// All of them. Those with encryption differ from run to run.
pub fn all() -> Vec<Vector> {
    let mut vectors = Vec::new();
    let mut add = |name, error, bytes| vectors.push(Vector { name, error, bytes });
    foreign(&mut add);
    cut(&mut add);
    members(&mut add);
    padding(&mut add);
    signatures(&mut add);
    manifests(&mut add);
    payloads(&mut add);
    encryption(&mut add);
    tars(&mut add);
    contents(&mut add);
    entries(&mut add);
    sparse_maps(&mut add);
    vectors
}

pub type Add<'a> = &'a mut dyn FnMut(&'static str, &'static str, Vec<u8>);

fn foreign(add: Add<'_>) {
    add("archive_empty", "NotAnArchive", Vec::new());
    add("archive_is_text", "NotAnArchive", b"hello world\n".repeat(100));
    add("archive_is_another_tar", "NotAnArchive", tar_of(&[Piece::member("etc/passwd", b"root")]));
    add("archive_is_its_payload", "NotAnArchive", Forge::new().right_members()[2].body.clone());
    add("archive_is_a_stream", "OtherKind", StreamForge::new().archive());
}

fn cut(add: Add<'_>) {
    let archive = Forge::new().archive();
    let members = Forge::new().right_members();
    let payload = archive.len() - 1024 - members[2].body.len().next_multiple_of(512);
    let mut cut = |name, error, length| add(name, error, archive[..length].to_vec());
    cut("cut_in_first_header", "NotAnArchive", 511);
    cut("cut_in_manifest", "Truncated", 700);
    cut("cut_in_signature", "Truncated", payload - 600);
    cut("cut_before_payload_header", "Truncated", payload - 512);
    cut("cut_in_payload_header", "Truncated", payload - 1);
    cut("cut_before_payload", "Truncated", payload);
    cut("cut_in_payload", "Truncated", payload + 100);
    cut("cut_in_padding", "Truncated", payload + members[2].body.len() + 1);
    cut("cut_before_end", "Truncated", archive.len() - 1024);
    cut("cut_in_end", "Truncated", archive.len() - 1);
}

fn members(add: Add<'_>) {
    let mut change = |name, error, change: fn(&mut Vec<Piece>)| {
        let mut members = Forge::new().right_members();
        change(&mut members);
        add(name, error, tar_of(&members));
    };
    change("member_extra", "UnexpectedMember", |m| m.push(Piece::member("extra", b"x")));
    change("member_twice", "UnexpectedMember", |m| m.push(m[2].clone()));
    change("member_signature_missing", "UnexpectedMember", |m| drop(m.remove(1)));
    change("member_signature_last", "UnexpectedMember", |m| m.swap(1, 2));
    change("member_signature_first", "NotAnArchive", |m| m.swap(0, 1));
    change("member_payload_renamed", "UnexpectedMember", |m| m[2] = Piece::member("state.tar.zst.age", &m[2].body));
    change("member_payload_unknown", "UnexpectedMember", |m| m[2] = Piece::member("state.tar.gz", &m[2].body));
    change("member_is_symlink", "UnexpectedMember", |m| m[2].change(|h| h.set_entry_type(EntryType::Symlink)));
    change("member_has_link_name", "UnexpectedMember", |m| m[0].change(|h| h.set_link_name("x").unwrap()));
    change("member_has_prefix", "UnexpectedMember", |m| m[0].change(|h| h.as_ustar_mut().unwrap().prefix[0] = b'x'));
    change("member_has_name_after_nul", "UnexpectedMember", |m| m[1].change(|h| h.as_old_mut().name[50] = b'x'));
    change("member_is_gnu", "UnexpectedMember", |m| m[1].change(|h| h.as_ustar_mut().unwrap().magic = *b"ustar "));
    change("member_is_pax_header", "UnexpectedMember", |m| {
        let pax = Piece::member("manifest.json.minisig", b"20 path=other\n");
        m.insert(1, pax);
        m[1].change(|h| h.set_entry_type(EntryType::XHeader));
    });
    change("member_size_is_binary", "UnexpectedMember", |m| {
        let size = m[1].body.len() as u8;
        m[1].change(|h| h.as_old_mut().size = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, size]);
    });
    change("member_size_is_no_number", "LimitExceeded", |m| m[1].change(|h| h.as_old_mut().size = *b"99999999999\0"));
    change("member_checksum_wrong", "UnexpectedMember", |m| m[2].header.as_old_mut().mode[0] ^= 1);
    change("manifest_oversize", "LimitExceeded", |m| {
        let manifest = [&m[0].body[..], &[b'\n'; 65536]].concat();
        m[0] = Piece::member("manifest.json", &manifest);
    });
    change("signature_oversize", "LimitExceeded", |m| {
        m[1] = Piece::member("manifest.json.minisig", &[b'\n'; 2049]);
    });
    change("payload_size_not_signed", "SizeMismatch", |m| {
        let longer = [&m[2].body[..], &b"x"[..]].concat();
        m[2] = Piece::member("state.tar.zst", &longer);
    });
}

fn padding(add: Add<'_>) {
    let archive = Forge::new().archive();
    let members = Forge::new().right_members();
    let mut at = 0;
    let names = ["padding_after_manifest", "padding_after_signature", "padding_after_payload"];
    for (name, member) in names.into_iter().zip(&members) {
        let end = at + 512 + member.body.len();
        at = end.next_multiple_of(512);
        let mut dirty = archive.clone();
        dirty[at - 1] = 1;
        assert!(end < at, "{name}: the member has padding");
        add(name, "TrailingBytes", dirty);
    }
    add("trailing_byte", "TrailingBytes", [&archive[..], &b"x"[..]].concat());
    add("trailing_zero", "TrailingBytes", [&archive[..], &[0][..]].concat());
    add("trailing_zero_block", "TrailingBytes", [&archive[..], &[0; 512][..]].concat());
    add("trailing_archive", "TrailingBytes", [&archive[..], &archive[..]].concat());
    let mut dirty = archive.clone();
    dirty[archive.len() - 1] = 1;
    add("trailing_byte_in_end", "TrailingBytes", dirty);
}

fn signatures(add: Add<'_>) {
    let members = Forge::new().right_members();
    let (manifest, stored) = (&members[0].body[..], &members[2].body[..]);
    let stranger = SecretKey::generate(&SystemRandom::new()).unwrap();
    let by_stranger = signed(manifest, "state.tar.zst", stored, &stranger);
    add("signature_of_unknown_key", "UnknownKey", tar_of(&by_stranger));

    // A stranger's key under the id of the test key.
    let mut text = test_key().to_minisign_string().to_string();
    let id = data_encoding::BASE64.decode(text.lines().nth(1).unwrap().as_bytes()).unwrap()[54..62].to_vec();
    text = stranger.to_minisign_string().to_string();
    let mut bytes = data_encoding::BASE64.decode(text.lines().nth(1).unwrap().as_bytes()).unwrap();
    bytes[54..62].copy_from_slice(&id);
    let twin = SecretKey::from_minisign_str(&data_encoding::BASE64.encode(&bytes)).unwrap();
    add("signature_of_forged_key_id", "BadSignature", tar_of(&signed(manifest, "state.tar.zst", stored, &twin)));

    let comment = signature::trusted_comment(test_id(), &"anothercluster".parse().unwrap());
    let right = String::from_utf8(members[1].body.clone()).unwrap();
    let mut put = |name, signature: String| {
        let mut members = members.clone();
        members[1] = Piece::member("manifest.json.minisig", signature.as_bytes());
        add(name, "BadSignature", tar_of(&members));
    };
    put("signature_comment_of_another_backup", signature::sign(&test_key(), manifest, &comment));
    put("signature_comment_altered", right.replace("swarmdr backup", "swarmdr Backup"));
    put("signature_of_another_manifest", signature::sign(&test_key(), b"{}", "x"));
    put("signature_algorithm_unknown", right.replacen("\nRU", "\nRV", 1));
    put("signature_line_missing", right.lines().take(3).collect::<Vec<_>>().join("\n"));
    put("signature_line_extra", format!("{right}more\n"));
    put("signature_not_base64", right.replacen("\nRU", "\n**", 1));
    put("signature_empty", String::new());

    let mut altered = members.clone();
    let text = String::from_utf8(manifest.to_vec()).unwrap().replace("10.0.0.4", "10.0.0.5");
    altered[0] = Piece::member("manifest.json", text.as_bytes());
    add("manifest_altered", "BadSignature", tar_of(&altered));
}

fn manifests(add: Add<'_>) {
    let mut edit = |name, error, edit: fn(&mut Value)| {
        let mut forge = Forge::new();
        edit(&mut forge.manifest);
        add(name, error, forge.archive());
    };
    edit("manifest_format_2", "UnsupportedVersion", |m| m["format"] = json!(2));
    edit("manifest_format_0", "UnsupportedVersion", |m| m["format"] = json!(0));
    edit("manifest_format_is_text", "InvalidManifest", |m| m["format"] = json!("1"));
    edit("manifest_key_missing", "InvalidManifest", |m| drop(m.as_object_mut().unwrap().remove("cluster_id")));
    edit("manifest_id_of_another_time", "InvalidManifest", |m| m["created_at"] = json!("2026-01-02T03:04:06Z"));
    edit("manifest_id_malformed", "InvalidManifest", |m| m["id"] = json!("latest"));
    edit("manifest_cluster_id_with_line_feed", "InvalidManifest", |m| m["cluster_id"] = json!("a\nb"));
    edit("manifest_node_id_empty", "InvalidManifest", |m| m["node_id"] = json!(""));
    edit("manifest_raft_addr_without_port", "InvalidManifest", |m| m["raft_addr"] = json!("10.0.0.4"));
    edit("manifest_proof_unknown", "InvalidManifest", |m| m["proof"] = json!("certain"));
    edit("manifest_compression_unknown", "InvalidManifest", |m| m["payload"]["compression"] = json!("gzip"));
    edit("manifest_recipients_of_a_plain_payload", "InvalidManifest", |m| {
        m["payload"]["recipients"] = json!(["age1x"])
    });
    edit("manifest_payload_name_encrypted", "InvalidManifest", |m| m["payload"]["name"] = json!("state.tar.zst.age"));
    edit("manifest_recipients_too_many", "LimitExceeded", |m| {
        m["payload"]["recipients"] = json!(vec!["age1x"; 65]);
        m["payload"]["name"] = json!("state.tar.zst.age");
    });

    let members = Forge::new().right_members();
    let mut rewrite = |name, error, rewrite: fn(String) -> String| {
        let text = rewrite(String::from_utf8(members[0].body.clone()).unwrap());
        add(name, error, tar_of(&signed(text.as_bytes(), "state.tar.zst", &members[2].body, &test_key())));
    };
    rewrite("manifest_not_json", "InvalidManifest", |_| "format = 1".to_owned());
    rewrite("manifest_empty", "InvalidManifest", |_| String::new());
    rewrite("manifest_followed_by_text", "InvalidManifest", |text| text + "{}");
    rewrite("manifest_key_twice", "InvalidManifest", |text| text.replacen('{', "{\"hostname\": \"other\",", 1));
    rewrite("manifest_tar_size_of_a_bomb", "LimitExceeded", |text| {
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["payload"]["tar_size"] = json!(1u64 << 40);
        manifest.to_string()
    });
    rewrite("manifest_payload_size_over_the_format", "LimitExceeded", |text| {
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["payload"]["size"] = json!(8u64 << 30);
        manifest.to_string()
    });
}

fn payloads(add: Add<'_>) {
    let tar = tar_of(&Forge::new().entries);
    let right = compress(&tar);
    let mut altered = Forge::new().right_members();
    altered[2].body[20] ^= 1;
    add("payload_altered", "DigestMismatch", tar_of(&altered));

    let mut put = |name, error, stored: &[u8]| add(name, error, Forge::new().archive_of_stored(&tar, stored));
    let last = right.len() - 1;
    let mut checksum = right.clone();
    checksum[last] ^= 1;
    put("payload_checksum_wrong", "Damaged", &checksum);
    put("payload_frame_cut", "Damaged", &right[..last]);
    put("payload_empty", "Damaged", b"");
    put("payload_not_compressed", "Damaged", &tar);
    put("payload_followed_by_text", "TrailingBytes", &[&right[..], &b"x"[..]].concat());
    put("payload_second_frame", "TrailingBytes", &[&right[..], &compress(b"more")].concat());
    // A frame of zeros that claims to be the small tar.
    put("payload_bomb", "UnexpectedEntry", &compress(&vec![0; 64 << 20]));
    let longer = [&tar[..], &vec![0; 8 << 20]].concat();
    put("payload_longer_than_signed", "SizeMismatch", &compress(&longer));
    put("payload_shorter_than_signed", "SizeMismatch", &compress(&tar[..tar.len() - 512]));
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &right].concat();
    put("payload_after_skippable_frame", "SizeMismatch", &skippable);

    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&tar).unwrap();
    put("payload_window_too_large", "LimitExceeded", &encoder.finish().unwrap());

    let mut members = Forge::new().members(&tar, &right);
    let text = String::from_utf8(members[0].body.clone()).unwrap();
    let text = text.replace(&Digest::of(&tar).to_string(), &Digest::of(b"another").to_string());
    members = signed(text.as_bytes(), "state.tar.zst", &members[2].body, &test_key());
    add("tar_digest_of_another", "DigestMismatch", tar_of(&members));
}

fn encryption(add: Add<'_>) {
    let state = State::new(&[("swarm/", b""), ("swarm/a", b"first")]);
    let stranger = swarmdr_archive::Identities::generate();
    add("encrypted_to_a_stranger", "WrongIdentity", state.seal(&stranger.recipients()).0);
    let identity = test_identity();
    let recipients = identity.recipients();
    let right = pieces_of(&state.seal(&recipients).0);
    let stored = &right[2].body;

    let mut put = |name, error, stored: &[u8]| {
        let mut forge = Forge::new();
        forge.manifest["payload"]["name"] = json!("state.tar.zst.age");
        forge.manifest["payload"]["recipients"] = json!(recipients);
        let tar = tar_of(&forge.entries);
        add(name, error, forge.archive_of_stored(&tar, stored));
    };
    put("encrypted_in_name_only", "Damaged", &compress(b"x"));
    put("encrypted_payload_cut", "Damaged", &stored[..stored.len() - 1]);
    put("encrypted_payload_followed_by_text", "Damaged", &[&stored[..], &b"x"[..]].concat());
    let mut header = stored.clone();
    // Another letter in the share of the first recipient, which stands behind `age-encryption.org/v1` and `-> X25519 `.
    header[40] = if header[40] == b'A' { b'B' } else { b'A' };
    put("encrypted_header_altered", "WrongIdentity", &header);
    let endless = "-> X25519 aaaa\nAAAA\n".repeat(1000);
    put("encrypted_header_endless", "LimitExceeded", format!("age-encryption.org/v1\n{endless}").as_bytes());
    put("encrypted_for_a_passphrase", "WrongIdentity", &with_passphrase(b"x"));
    let frame = compress(&tar_of(&Forge::new().entries));
    put("encrypted_frame_followed_by_text", "TrailingBytes", &age_to_test(&[&frame[..], &b"x"[..]].concat()));
    let filled = [&frame[..], &vec![b'x'; 65536 - frame.len()]].concat();
    put("encrypted_frame_followed_by_a_chunk", "TrailingBytes", &age_to_test(&filled));
}

/// Encrypts to the test identity.
pub fn age_to_test(plain: &[u8]) -> Vec<u8> {
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&age_recipient() as &dyn age::Recipient));
    let mut writer = encryptor.unwrap().wrap_output(Vec::new()).unwrap();
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn age_recipient() -> age::x25519::Recipient {
    test_identity().recipients()[0].to_string().parse().unwrap()
}

pub fn with_passphrase(plain: &[u8]) -> Vec<u8> {
    let mut recipient = age::scrypt::Recipient::new(age::secrecy::SecretString::from("secret"));
    recipient.set_work_factor(2);
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut writer = encryptor.wrap_output(Vec::new()).unwrap();
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn tars(add: Add<'_>) {
    let right = tar_of(&Forge::new().entries);
    let mut put = |name, error, tar: &[u8]| add(name, error, Forge::new().archive_of_tar(tar));
    put("tar_empty", "SizeMismatch", b"");
    put("tar_without_end", "SizeMismatch", &right[..right.len() - 1024]);
    put("tar_with_half_an_end", "SizeMismatch", &right[..right.len() - 512]);
    put("tar_followed_by_block", "SizeMismatch", &[&right[..], &[0; 512][..]].concat());
    let mut dirty = right.clone();
    *dirty.last_mut().unwrap() = 1;
    put("tar_end_not_zero", "Damaged", &dirty);
}

fn contents(add: Add<'_>) {
    let mut edit = |name, error, edit: fn(&mut Vec<Value>)| {
        let mut forge = Forge::new();
        forge.edit_contents(|contents| edit(contents["files"].as_array_mut().unwrap()));
        add(name, error, forge.archive());
    };
    edit("contents_path_absolute", "UnsafePath", |files| files[1]["path"] = json!("/etc/passwd"));
    edit("contents_path_climbs", "UnsafePath", |files| files[1]["path"] = json!("swarm/../../etc/passwd"));
    edit("contents_path_with_dot", "UnsafePath", |files| files[1]["path"] = json!("swarm/./a"));
    edit("contents_path_with_empty_component", "UnsafePath", |files| files[1]["path"] = json!("swarm//a"));
    edit("contents_path_with_nul", "UnsafePath", |files| files[1]["path"] = json!("swarm/a\0b"));
    edit("contents_path_with_backslash", "UnsafePath", |files| files[1]["path"] = json!("swarm\\a"));
    edit("contents_path_too_long", "UnsafePath", |files| files[1]["path"] = json!("swarm/".repeat(200) + "a"));
    edit("contents_path_empty", "UnsafePath", |files| files[1]["path"] = json!(""));
    edit("contents_outside_the_state", "InvalidContents", |files| files[1]["path"] = json!("etc"));
    edit("contents_over_itself", "InvalidContents", |files| files[1]["path"] = json!("contents.json"));
    edit("contents_path_twice", "InvalidContents", |files| files[2] = files[1].clone());
    edit("contents_out_of_order", "InvalidContents", |files| files.swap(1, 2));
    edit("contents_without_root", "InvalidContents", |files| drop(files.remove(0)));
    edit("contents_without_files", "InvalidContents", Vec::clear);
    edit("contents_parent_missing", "InvalidContents", |files| files[1]["path"] = json!("swarm/a/b"));
    edit("contents_parent_is_a_file", "InvalidContents", |files| files[2]["path"] = json!("swarm/a/b"));
    edit("contents_file_without_digest", "InvalidContents", |files| {
        files[1].as_object_mut().unwrap().remove("sha256");
    });
    edit("contents_directory_with_size", "InvalidContents", |files| files[0]["size"] = json!(1));
    edit("contents_mode_out_of_range", "InvalidContents", |files| files[1]["mode"] = json!("10644"));
    edit("contents_mode_not_octal", "InvalidContents", |files| files[1]["mode"] = json!("0800"));
    edit("contents_kind_unknown", "InvalidContents", |files| files[1]["kind"] = json!("symlink"));
    edit("contents_file_over_the_format", "LimitExceeded", |files| files[1]["size"] = json!(8u64 << 30));
    edit("contents_total_over_the_limit", "LimitExceeded", |files| {
        let mut file = files.remove(1);
        file["size"] = json!((8u64 << 30) - 1);
        let copies = (0..9).map(|index| {
            let mut copy = file.clone();
            copy["path"] = json!(format!("swarm/a{index}"));
            copy
        });
        files.splice(1..1, copies);
    });

    let mut rewrite = |name, error, rewrite: fn(&mut Forge)| {
        let mut forge = Forge::new();
        rewrite(&mut forge);
        add(name, error, forge.archive());
    };
    rewrite("contents_not_json", "InvalidContents", |forge| forge.set_contents(b"files"));
    rewrite("contents_empty", "InvalidContents", |forge| forge.set_contents(b""));
    rewrite("contents_missing", "UnexpectedEntry", |forge| drop(forge.entries.remove(0)));
    rewrite("contents_second", "UnexpectedEntry", |forge| forge.entries.swap(0, 1));
    rewrite("contents_is_symlink", "ForbiddenEntry", |forge| {
        forge.entries[0].change(|header| header.set_entry_type(EntryType::Symlink));
    });
    rewrite("contents_size_over_the_limit", "LimitExceeded", |forge| {
        forge.entries[0].change(|header| header.set_size((16 << 20) + 1));
    });
    rewrite("contents_size_over_the_tar", "SizeMismatch", |forge| {
        forge.entries[0].change(|header| header.set_size(16 << 20));
    });
}

fn entries(add: Add<'_>) {
    let mut change = |name, error, change: fn(&mut Forge)| {
        let mut forge = Forge::new();
        change(&mut forge);
        add(name, error, forge.archive());
    };
    change("entry_missing", "UnexpectedEntry", |forge| drop(forge.entries.pop()));
    change("entry_unlisted", "UnexpectedEntry", |forge| {
        forge.entries.push(Piece::entry("swarm/c", EntryType::Regular, 0o600, b"third"));
    });
    change("entry_twice", "UnexpectedEntry", |forge| forge.entries.insert(3, forge.entries[2].clone()));
    change("entry_out_of_order", "UnexpectedEntry", |forge| forge.entries.swap(2, 3));
    change("entry_renamed", "UnexpectedEntry", |forge| {
        forge.entries[2] = Piece::entry("swarm/../a", EntryType::Regular, 0o600, b"first");
    });
    for (name, kind) in [
        ("entry_is_symlink", EntryType::Symlink),
        ("entry_is_hard_link", EntryType::Link),
        ("entry_is_character_device", EntryType::Char),
        ("entry_is_block_device", EntryType::Block),
        ("entry_is_named_pipe", EntryType::Fifo),
        ("entry_is_contiguous", EntryType::Continuous),
        ("entry_is_pax_header", EntryType::XHeader),
        ("entry_is_global_pax_header", EntryType::XGlobalHeader),
        ("entry_is_long_link", EntryType::GNULongLink),
    ] {
        let mut forge = Forge::new();
        forge.entry("swarm/a").change(|header| header.set_entry_type(kind));
        add(name, "ForbiddenEntry", forge.archive());
    }
    let mut change = |name, error, change: fn(&mut Piece)| {
        let mut forge = Forge::new();
        change(forge.entry("swarm/a"));
        add(name, error, forge.archive());
    };
    change("entry_is_a_directory", "EntryMismatch", |a| a.change(|h| h.set_entry_type(EntryType::Directory)));
    change("entry_of_old_file_type", "EntryMismatch", |a| a.change(|h| h.as_old_mut().linkflag = [0]));
    change("entry_mode_not_listed", "EntryMismatch", |a| a.change(|h| h.set_mode(0o4755)));
    change("entry_owner_not_listed", "EntryMismatch", |a| a.change(|h| h.set_uid(1000)));
    change("entry_time_not_listed", "EntryMismatch", |a| a.change(|h| h.set_mtime(1)));
    change("entry_has_link_name", "EntryMismatch", |a| a.change(|h| h.set_link_name("x").unwrap()));
    change("entry_checksum_wrong", "Damaged", |a| a.header.as_old_mut().mode[0] ^= 1);
    change("entry_content_not_listed", "DigestMismatch", |a| a.body = b"other".to_vec());
    change("entry_size_not_listed", "EntryMismatch", |a| {
        a.body = b"longer".to_vec();
        a.change(|h| h.set_size(6));
    });
    let mut forge = Forge::new();
    forge.entry("swarm/a").body.resize(512, 1);
    forge.entry("swarm/a").body[..5].copy_from_slice(b"first");
    add("entry_padding_not_zero", "EntryMismatch", forge.archive());
    change_long_name(add);
}

fn change_long_name(add: Add<'_>) {
    let long = format!("swarm/{}", "n".repeat(120));
    let (archive, _) = State::new(&[("swarm/", b""), (&long, b"x")]).seal(&[]);
    let tar = zstd::decode_all(&pieces_of(&archive)[2].body[..]).unwrap();
    let entries = pieces_of(&tar);
    let forge = |change: fn(&mut Piece)| {
        let mut forge = Forge { entries: entries.clone(), ..Forge::new() };
        change(&mut forge.entries[2]);
        forge.archive()
    };
    add("entry_long_name_not_listed", "EntryMismatch", forge(|name| name.body[100] ^= 1));
    add("entry_long_name_oversize", "EntryMismatch", forge(|name| name.change(|h| h.set_size(1 << 30))));
}

fn sparse_maps(add: Add<'_>) {
    let mut file = vec![0; 256 * 1024];
    file[65536..65600].fill(1);
    let (archive, _) = State::new(&[("swarm/", b""), ("swarm/s", &file)]).seal(&[]);
    let tar = zstd::decode_all(&pieces_of(&archive)[2].body[..]).unwrap();
    let entries = pieces_of(&tar);
    let mut change = |name, change: fn(&mut tar::GnuHeader)| {
        let mut forge = Forge { entries: entries.clone(), ..Forge::new() };
        forge.entry("swarm/s").change(|header| change(header.as_gnu_mut().unwrap()));
        add(name, "EntryMismatch", forge.archive());
    };
    change("sparse_extent_past_the_end", |h| h.sparse[0].set_offset(256 * 1024));
    change("sparse_extents_overlap", |h| {
        h.sparse[1].set_offset(65536);
        h.sparse[1].set_length(4096);
    });
    change("sparse_extent_not_aligned", |h| h.sparse[0].set_offset(65536 + 512));
    change("sparse_extent_overflows", |h| h.sparse[0].offset = [0xff; 12]);
    change("sparse_map_without_end", |h| h.sparse[1] = tar::GnuSparseHeader { offset: [0; 12], numbytes: [0; 12] });
    change("sparse_map_of_a_whole_file", |h| {
        h.sparse[0].set_offset(0);
        h.sparse[0].set_length(256 * 1024);
        h.sparse[1] = tar::GnuSparseHeader { offset: [0; 12], numbytes: [0; 12] };
    });
    change("sparse_size_not_listed", |h| h.set_real_size(512 * 1024));
}
