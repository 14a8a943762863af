//! What a reader of streams must refuse: one broken thing each, under the name of its damage.

use std::io::Write;

use ring::rand::SystemRandom;
use serde_json::{Value, json};
use swarmdr_archive::{Digest, Identities, SecretKey, signature};
use tar::EntryType;

use super::{
    forge::{Forge, Piece, compress, tar_of},
    state::{test_identity, test_key},
    stream::{CHUNK, COMMENT, StreamForge, list_of, noise, seal, signed_stream},
    vectors::{Add, Vector, age_to_test, with_passphrase},
};

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
    manifests_of_chunks(&mut add);
    lists(&mut add);
    chunks(&mut add);
    payloads(&mut add);
    encryption(&mut add);
    vectors
}

fn foreign(add: Add<'_>) {
    add("archive_empty", "NotAnArchive", Vec::new());
    add("archive_is_text", "NotAnArchive", b"hello world\n".repeat(100));
    add("archive_is_its_payload", "NotAnArchive", StreamForge::new().stored);
    add("archive_is_a_backup", "OtherKind", Forge::new().archive());
}

fn cut(add: Add<'_>) {
    let archive = StreamForge::new().archive();
    let members = StreamForge::new().members();
    let payload = archive.len() - 1024 - members[3].body.len().next_multiple_of(512);
    let list = payload - 1024;
    let mut cut = |name, error, length| add(name, error, archive[..length].to_vec());
    cut("cut_in_first_header", "NotAnArchive", 511);
    cut("cut_in_manifest", "Truncated", 700);
    cut("cut_in_signature", "Truncated", list - 700);
    cut("cut_before_list_header", "Truncated", list - 512);
    cut("cut_before_list", "Truncated", list);
    cut("cut_in_list", "Truncated", list + 33);
    cut("cut_before_payload_header", "Truncated", payload - 512);
    cut("cut_in_payload_header", "Truncated", payload - 1);
    cut("cut_before_payload", "BadChunk", payload);
    cut("cut_in_first_chunk", "BadChunk", payload + 100);
    cut("cut_between_chunks", "BadChunk", payload + CHUNK as usize);
    cut("cut_in_last_chunk", "BadChunk", payload + members[3].body.len() - 1);
    cut("cut_in_padding", "Truncated", payload + members[3].body.len() + 1);
    cut("cut_before_end", "Truncated", archive.len() - 1024);
    cut("cut_in_end", "Truncated", archive.len() - 1);
}

fn members(add: Add<'_>) {
    let mut change = |name, error, change: fn(&mut Vec<Piece>)| {
        let mut members = StreamForge::new().members();
        change(&mut members);
        add(name, error, tar_of(&members));
    };
    change("member_extra", "UnexpectedMember", |m| m.push(Piece::member("extra", b"x")));
    change("member_twice", "UnexpectedMember", |m| m.push(m[3].clone()));
    change("member_signature_missing", "UnexpectedMember", |m| drop(m.remove(1)));
    change("member_list_missing", "UnexpectedMember", |m| drop(m.remove(2)));
    change("member_list_last", "UnexpectedMember", |m| m.swap(2, 3));
    change("member_list_renamed", "UnexpectedMember", |m| m[2] = Piece::member("chunks.sha512", &m[2].body));
    change("member_list_is_symlink", "UnexpectedMember", |m| m[2].change(|h| h.set_entry_type(EntryType::Symlink)));
    change("member_list_is_gnu", "UnexpectedMember", |m| m[2].change(be_gnu));
    change("member_payload_renamed", "UnexpectedMember", |m| m[3] = Piece::member("stream.zst.age", &m[3].body));
    change("member_payload_unknown", "UnexpectedMember", |m| m[3] = Piece::member("stream.gz", &m[3].body));
    change("member_payload_of_a_backup", "UnexpectedMember", |m| m[3] = Piece::member("state.tar.zst", &m[3].body));
    change("member_payload_is_small_and_gnu", "UnexpectedMember", |m| m[3].change(be_gnu));
    change("member_payload_size_is_binary", "UnexpectedMember", |m| {
        let size = (m[3].body.len() as u64).to_be_bytes();
        m[3].change(|h| {
            h.as_old_mut().size = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            h.as_old_mut().size[4..].copy_from_slice(&size);
        });
    });
    change("member_payload_size_is_binary_and_gnu", "UnexpectedMember", |m| {
        let size = (m[3].body.len() as u64).to_be_bytes();
        m[3].change(|h| {
            be_gnu(h);
            h.as_old_mut().size = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            h.as_old_mut().size[4..].copy_from_slice(&size);
        });
    });
    change("member_payload_size_is_negative", "UnexpectedMember", |m| {
        m[3].change(|h| {
            be_gnu(h);
            h.as_old_mut().size = [0xff; 12];
        });
    });
    change("member_payload_size_over_the_format", "LimitExceeded", |m| {
        m[3].change(|h| {
            be_gnu(h);
            h.set_size((1 << 40) + 1);
        });
    });
    change("member_payload_size_not_signed", "SizeMismatch", |m| {
        let longer = [&m[3].body[..], &b"x"[..]].concat();
        m[3] = Piece::member("stream.zst", &longer);
    });
    change("member_payload_is_sparse", "UnexpectedMember", |m| {
        m[3].change(|h| {
            be_gnu(h);
            h.set_entry_type(EntryType::GNUSparse);
        });
    });
    change("member_list_size_not_signed", "SizeMismatch", |m| {
        let longer = [&m[2].body[..], &[0; 32][..]].concat();
        m[2] = Piece::member("chunks.sha256", &longer);
    });
    change("member_list_oversize", "LimitExceeded", |m| m[2].change(|h| h.set_size((8 << 20) + 1)));
    change("member_checksum_wrong", "UnexpectedMember", |m| m[3].header.as_old_mut().mode[0] ^= 1);
    change("member_is_pax_header", "UnexpectedMember", |m| {
        let mut pax = Piece::member("stream.zst", b"20 path=other\n");
        pax.change(|h| h.set_entry_type(EntryType::XHeader));
        m.insert(3, pax);
    });
    change("manifest_oversize", "LimitExceeded", |m| m[0].change(|h| h.set_size(65537)));
    change("signature_oversize", "LimitExceeded", |m| m[1].change(|h| h.set_size(2049)));
}

/// Makes the header one of GNU tar.
fn be_gnu(header: &mut tar::Header) {
    let ustar = header.as_ustar_mut().unwrap();
    (ustar.magic, ustar.version) = (*b"ustar ", *b" \0");
}

fn padding(add: Add<'_>) {
    let archive = StreamForge::new().archive();
    let members = StreamForge::new().members();
    let mut at = 0;
    let names = ["padding_after_manifest", "padding_after_signature", "padding_after_list", "padding_after_payload"];
    for (name, member) in names.into_iter().zip(&members) {
        let end = at + 512 + member.body.len();
        at = end.next_multiple_of(512);
        let mut dirty = archive.clone();
        dirty[at - 1] = 1;
        assert!(end < at, "{name}: the member has padding");
        add(name, "TrailingBytes", dirty);
    }
    add("trailing_byte", "TrailingBytes", [&archive[..], &b"x"[..]].concat());
    add("trailing_zero_block", "TrailingBytes", [&archive[..], &[0; 512][..]].concat());
    add("trailing_archive", "TrailingBytes", [&archive[..], &archive[..]].concat());
    let mut dirty = archive.clone();
    dirty[archive.len() - 1] = 1;
    add("trailing_byte_in_end", "TrailingBytes", dirty);
}

fn signatures(add: Add<'_>) {
    let members = StreamForge::new().members();
    let [manifest, _, list, stored] = [0, 1, 2, 3].map(|member: usize| &members[member].body[..]);
    let stranger = SecretKey::generate(&SystemRandom::new()).unwrap();
    let by_stranger = signed_stream(manifest, list, "stream.zst", stored, &stranger);
    add("signature_of_unknown_key", "UnknownKey", tar_of(&by_stranger));

    let mut put = |name, signature: String| {
        let mut members = members.clone();
        members[1] = Piece::member("manifest.json.minisig", signature.as_bytes());
        add(name, "BadSignature", tar_of(&members));
    };
    let sign = |comment: &str| signature::sign(&test_key(), manifest, comment);
    put("signature_comment_of_another_stream", sign(&COMMENT.replace("shop-db", "shop-db2")));
    put("signature_comment_of_another_cluster", sign(&COMMENT.replace("cluster w", "cluster x")));
    put("signature_comment_of_a_backup", sign(&COMMENT.replace("stream shop-db", "backup")));
    put("signature_comment_altered", sign(COMMENT).replace(COMMENT, "swarmdr"));
    put("signature_of_another_manifest", signature::sign(&test_key(), b"{}", "x"));

    let mut altered = members.clone();
    let text = String::from_utf8(manifest.to_vec()).unwrap().replace("worker-1", "worker-2");
    altered[0] = Piece::member("manifest.json", text.as_bytes());
    add("manifest_altered", "BadSignature", tar_of(&altered));
}

fn manifests(add: Add<'_>) {
    let mut edit = |name, error, edit: fn(&mut Value)| add(name, error, StreamForge::new().archive_but(edit));
    edit("manifest_format_1", "UnsupportedVersion", |m| m["format"] = json!(1));
    edit("manifest_format_3", "UnsupportedVersion", |m| m["format"] = json!(3));
    edit("manifest_kind_unknown", "InvalidManifest", |m| m["kind"] = json!("volume"));
    edit("manifest_kind_missing", "InvalidManifest", |m| drop(m.as_object_mut().unwrap().remove("kind")));
    edit("manifest_name_missing", "InvalidManifest", |m| drop(m.as_object_mut().unwrap().remove("name")));
    edit("manifest_name_climbs", "InvalidManifest", |m| m["name"] = json!("../shop-db"));
    edit("manifest_name_in_upper_case", "InvalidManifest", |m| m["name"] = json!("Shop-db"));
    edit("manifest_cluster_id_with_slash", "InvalidManifest", |m| m["cluster_id"] = json!("a/b"));
    edit("manifest_id_of_another_time", "InvalidManifest", |m| m["started_at"] = json!("2026-01-02T03:04:06Z"));
    edit("manifest_id_malformed", "InvalidManifest", |m| m["id"] = json!("latest"));
    edit("manifest_end_before_start", "InvalidManifest", |m| m["ended_at"] = json!("2026-01-02T03:04:04Z"));
    edit("manifest_exit_status_is_text", "InvalidManifest", |m| m["exit_status"] = json!("0"));
    edit("manifest_command_is_text", "InvalidManifest", |m| m["command"] = json!("pg_dump shop"));
    edit("manifest_compression_unknown", "InvalidManifest", |m| m["payload"]["compression"] = json!("gzip"));
    edit("manifest_recipients_of_a_plain_payload", "InvalidManifest", |m| {
        m["payload"]["recipients"] = json!(["age1x"]);
    });
    edit("manifest_recipients_too_many", "LimitExceeded", |m| {
        m["payload"]["recipients"] = json!(vec!["age1x"; 65]);
        m["payload"]["name"] = json!("stream.zst.age");
    });
    edit("manifest_plain_size_over_the_format", "LimitExceeded", |m| m["payload"]["plain_size"] = json!(1u64 << 53));

    // The comment names the place too, so an honest signer of another place leaves it out here.
    let mut put = |name, key: &str, value: Value| {
        let mut members = StreamForge::new().members();
        let mut manifest: Value = serde_json::from_slice(&members[0].body).unwrap();
        manifest[key] = value;
        let manifest = manifest.to_string();
        let signature = signature::sign(&test_key(), manifest.as_bytes(), "of another place");
        members[0] = Piece::member("manifest.json", manifest.as_bytes());
        members[1] = Piece::member("manifest.json.minisig", signature.as_bytes());
        add(name, "Misplaced", tar_of(&members));
    };
    put("place_of_another_name", "name", json!("shop-db2"));
    put("place_of_another_cluster", "cluster_id", json!("anothercluster"));
    put("place_of_another_id", "id", json!("20260102T030405Z-00000000"));

    let members = StreamForge::new().members();
    let mut rewrite = |name, rewrite: fn(String) -> String| {
        let text = rewrite(String::from_utf8(members[0].body.clone()).unwrap());
        let [list, stored] = [2, 3].map(|member: usize| &members[member].body[..]);
        let members = signed_stream(text.as_bytes(), list, "stream.zst", stored, &test_key());
        add(name, "InvalidManifest", tar_of(&members));
    };
    rewrite("manifest_not_json", |_| "format = 2".to_owned());
    rewrite("manifest_followed_by_text", |text| text + "{}");
    rewrite("manifest_key_twice", |text| text.replacen('{', "{\"name\": \"shop-db2\",", 1));
    rewrite("manifest_format_twice", |text| text.replacen('{', "{\"format\": 1,", 1));
}

fn manifests_of_chunks(add: Add<'_>) {
    let mut edit = |name, error, edit: fn(&mut Value)| add(name, error, StreamForge::new().archive_but(edit));
    edit("chunks_of_no_size", "InvalidManifest", |m| m["chunks"]["size"] = json!(0));
    edit("chunks_too_small", "InvalidManifest", |m| m["chunks"]["size"] = json!(2048));
    edit("chunks_too_large", "InvalidManifest", |m| m["chunks"]["size"] = json!(8 << 20));
    edit("chunks_of_an_odd_size", "InvalidManifest", |m| m["chunks"]["size"] = json!(6000));
    edit("chunks_none", "InvalidManifest", |m| m["chunks"]["count"] = json!(0));
    edit("chunks_too_many", "InvalidManifest", |m| m["chunks"]["count"] = json!(3));
    edit("chunks_too_few", "InvalidManifest", |m| m["chunks"]["count"] = json!(1));
    edit("chunks_beyond_counting", "InvalidManifest", |m| m["chunks"]["count"] = json!(u64::MAX));
    edit("chunks_with_a_list_too_short", "InvalidManifest", |m| m["chunks"]["list_size"] = json!(63));
    edit("chunks_with_a_list_too_long", "LimitExceeded", |m| m["chunks"]["list_size"] = json!((8 << 20) + 1));
    edit("chunks_of_no_payload", "InvalidManifest", |m| m["payload"]["size"] = json!(0));
    edit("chunks_of_a_payload_over_the_format", "InvalidManifest", |m| m["payload"]["size"] = json!(u64::MAX));
}

fn lists(add: Add<'_>) {
    let forge = StreamForge::new();
    let list = forge.list();
    let mut altered = forge.clone().members();
    altered[2].body[40] ^= 1;
    add("list_altered", "DigestMismatch", tar_of(&altered));
    let mut altered = forge.clone().members();
    altered[2].body.rotate_left(32);
    add("list_out_of_order", "DigestMismatch", tar_of(&altered));
    // Another stream of the same signer, of the same size.
    let mut replayed = forge.clone().members();
    replayed[2] = StreamForge::of(noise(2, 5000)).members().remove(2);
    add("list_of_another_stream", "DigestMismatch", tar_of(&replayed));
    add("list_with_a_byte_after_it", "TrailingBytes", forge.clone().archive_of_list(&[&list[..], &b"x"[..]].concat()));
    let dirty = [&list[..], &[0; 448], &[0, 1]].concat();
    add("list_with_a_byte_in_its_room", "TrailingBytes", forge.clone().archive_of_list(&dirty));
    // Signed, and still not that of the payload.
    add("list_signed_of_another_payload", "BadChunk", forge.archive_of_list(&list_of(&noise(3, 5010))));
}

fn chunks(add: Add<'_>) {
    let size = CHUNK as usize;
    let forge = StreamForge::of(noise(1, 9000));
    let other = StreamForge::of(noise(2, 9000));
    let mut change = |name, change: &dyn Fn(&mut [u8])| {
        let mut members = forge.clone().members();
        change(&mut members[3].body);
        add(name, "BadChunk", tar_of(&members));
    };
    change("chunk_altered_first", &|stored| stored[0] ^= 1);
    change("chunk_altered_second", &|stored| stored[size] ^= 0x80);
    change("chunk_altered_last", &|stored| *stored.last_mut().unwrap() ^= 1);
    change("chunk_swapped", &|stored| {
        let (first, second) = stored.split_at_mut(size);
        first.swap_with_slice(&mut second[..size]);
    });
    change("chunk_twice", &|stored| stored.copy_within(..size, size));
    change("chunk_of_another_stream", &|stored| stored[size..2 * size].copy_from_slice(&other.stored[size..2 * size]));
    change("chunks_all_of_another_stream", &|stored| stored.copy_from_slice(&other.stored));
}

fn payloads(add: Add<'_>) {
    let right = StreamForge::new();
    let mut edit = |name, error, edit: fn(&mut Value)| add(name, error, StreamForge::new().archive_but(edit));
    edit("plain_shorter_than_signed", "SizeMismatch", |m| m["payload"]["plain_size"] = json!(5001));
    edit("plain_longer_than_signed", "SizeMismatch", |m| m["payload"]["plain_size"] = json!(4999));
    edit("plain_digest_of_another", "DigestMismatch", |m| m["payload"]["plain_sha256"] = json!(Digest::of(b"x")));
    edit("payload_digest_of_another", "DigestMismatch", |m| m["payload"]["sha256"] = json!(Digest::of(b"x")));

    let mut put = |name, error, stored: Vec<u8>| add(name, error, StreamForge { stored, ..right.clone() }.archive());
    let frame = right.stored.clone();
    let mut checksum = frame.clone();
    *checksum.last_mut().unwrap() ^= 1;
    put("payload_checksum_wrong", "Damaged", checksum);
    put("payload_frame_cut", "Damaged", frame[..frame.len() - 1].to_vec());
    put("payload_not_compressed", "Damaged", right.plain.clone());
    put("payload_followed_by_text", "TrailingBytes", [&frame[..], &b"x"[..]].concat());
    put("payload_followed_by_a_chunk", "TrailingBytes", [&frame[..], &noise(4, 200_000)].concat()[..12_000].to_vec());
    put("payload_second_frame", "TrailingBytes", [&frame[..], &compress(b"more")].concat());
    put("payload_bomb", "SizeMismatch", compress(&vec![0; 64 << 20]));
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &frame].concat();
    put("payload_after_skippable_frame", "TrailingBytes", skippable);
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&right.plain).unwrap();
    put("payload_window_too_large", "LimitExceeded", encoder.finish().unwrap());
}

fn encryption(add: Add<'_>) {
    let plain = noise(1, 5000);
    let stranger = Identities::generate();
    add("encrypted_to_a_stranger", "WrongIdentity", seal(&plain, &stranger.recipients()).0);
    let recipients = test_identity().recipients();
    let stored = seal(&plain, &recipients).1.sink;
    let mut put = |name, error, stored: Vec<u8>| {
        let mut forge = StreamForge { stored, ..StreamForge::new() };
        forge.manifest["payload"]["name"] = json!("stream.zst.age");
        forge.manifest["payload"]["recipients"] = json!(recipients);
        add(name, error, forge.archive());
    };
    put("encrypted_in_name_only", "Damaged", compress(&plain));
    put("encrypted_payload_cut", "Damaged", stored[..stored.len() - 1].to_vec());
    put("encrypted_payload_followed_by_text", "Damaged", [&stored[..], &b"x"[..]].concat());
    let endless = "-> X25519 aaaa\nAAAA\n".repeat(1000);
    put("encrypted_header_endless", "LimitExceeded", format!("age-encryption.org/v1\n{endless}").into_bytes());
    put("encrypted_for_a_passphrase", "WrongIdentity", with_passphrase(b"x"));
    let frame = compress(&plain);
    put("encrypted_frame_followed_by_text", "TrailingBytes", age_to_test(&[&frame[..], &b"x"[..]].concat()));
    let filled = [&frame[..], &vec![b'x'; 65536 - frame.len()]].concat();
    put("encrypted_frame_followed_by_a_chunk", "TrailingBytes", age_to_test(&filled));
}
