//! The chapter of FORMAT.md on streams against stock `tar`, `minisign`, `age`, `zstd` and coreutils.

use std::{fs, io::Write};

use swarmdr_archive::{
    Digest, HEAD_LIMIT, PublicKey, TrustedKeys, limits,
    stream_archive::{self, StreamWriter},
};

use super::{
    by_hand::{commands, run, run_to_failure},
    forge::tar_of,
    state::{IDENTITY, test_identity, test_key},
    stream::{self, noise},
    stream_golden,
};

/// A directory with a stream of three chunks of the size that the agent makes, and what it holds.
fn stream_of_three_chunks(encrypted: bool) -> (tempfile::TempDir, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let plain = noise(1, 9 << 20);
    let recipients = if encrypted { test_identity().recipients() } else { Vec::new() };
    let (archive, sealed) = stream::seal_in_chunks(&plain, &recipients, limits::CHUNK_SIZE);
    assert_eq!(sealed.manifest.chunks.count, 3);
    fs::write(directory.path().join("S.stream"), archive).unwrap();
    fs::write(directory.path().join("identity.txt"), IDENTITY).unwrap();
    (directory, plain)
}

/// The commands for streams, encrypted or not.
fn stream_commands(encrypted: bool) -> String {
    commands(if encrypted { "stream.zst.age >chunks.txt" } else { "stream.zst >chunks.txt" })
}

#[test]
fn commands_of_the_format_text_open_a_stream() {
    for encrypted in [true, false] {
        let (directory, plain) = stream_of_three_chunks(encrypted);
        let said = run(directory.path(), &stream_commands(encrypted));
        assert!(said.contains("Signature and comment signature verified"), "{said}");
        assert!(said.contains(stream::COMMENT), "{said}");
        assert!(said.contains("chunks.sha256: OK") && said.contains("data: OK"), "{said}");
        assert!(fs::read(directory.path().join("data")).unwrap() == plain);
    }
}

/// A list that was padded to a room changes nothing for them.
#[test]
fn commands_of_the_format_text_open_a_stream_with_room_in_its_head() {
    let (directory, _) = stream_of_three_chunks(true);
    let recipients = test_identity().recipients();
    let room = stream_archive::room(&stream::draft(), &recipients, 1 << 30).unwrap();
    let mut writer = StreamWriter::new(stream::draft(), &recipients, 1, Vec::new()).unwrap();
    writer.write_all(b"few").unwrap();
    let sealed = writer.finish(stream::ending(), &test_key(), room).unwrap();
    fs::write(directory.path().join("S.stream"), [&sealed.head[..], &sealed.sink, &sealed.tail].concat()).unwrap();
    run(directory.path(), &stream_commands(true));
    assert_eq!(fs::metadata(directory.path().join("chunks.sha256")).unwrap().len(), 8192);
    assert_eq!(fs::read(directory.path().join("data")).unwrap(), b"few");
}

/// The signature covers the list only through the manifest, and the payload only through the list.
#[test]
fn commands_of_the_format_text_see_an_altered_list_and_an_altered_chunk() {
    for encrypted in [true, false] {
        let (directory, _) = stream_of_three_chunks(encrypted);
        let path = directory.path().join("S.stream");
        let right = fs::read(&path).unwrap();
        let head = stream::listed(&right[..]).unwrap().head().clone();
        for (at, seen) in
            [(head.list_offset + 70, "chunks.sha256: FAILED"), (head.payload_offset + (5 << 20), "differ")]
        {
            let mut altered = right.clone();
            altered[at as usize] ^= 1;
            fs::write(&path, altered).unwrap();
            let said = run_to_failure(directory.path(), &stream_commands(encrypted));
            assert!(said.contains(seen), "{said}");
            assert!(!directory.path().join("data").exists());
        }
    }
}

#[test]
fn reader_accepts_a_stream_that_stock_tools_signed_and_packed() {
    let (directory, plain) = stream_of_three_chunks(true);
    run(directory.path(), &stream_commands(true));
    run(directory.path(), "minisign -G -W -p minisign.pub -s minisign.key");
    run(directory.path(), &commands("S2.stream"));
    let public: PublicKey = fs::read_to_string(directory.path().join("minisign.pub")).unwrap().parse().unwrap();
    let archive = fs::read(directory.path().join("S2.stream")).unwrap();
    let mut input = &archive[..];
    let head = stream_archive::read_head(&mut input).unwrap().verify(&TrustedKeys::from(public)).unwrap();
    let mut out = Vec::new();
    head.with_list(&mut input).unwrap().unpack(input, &test_identity(), &mut out).unwrap();
    assert!(out == plain);
}

/// By stock tools alone, and in chunks that only tests make.
#[test]
fn stock_tools_open_the_golden_streams() {
    for (golden, encrypted) in [(stream_golden::PLAIN, false), (stream_golden::ENCRYPTED, true)] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("S.stream"), golden).unwrap();
        fs::write(directory.path().join("identity.txt"), IDENTITY).unwrap();
        let commands = stream_commands(encrypted);
        assert!(commands.contains("-b 4194304"));
        run(directory.path(), &commands.replace("-b 4194304", "-b 4096"));
        assert!(fs::read(directory.path().join("data")).unwrap() == stream_golden::held());
    }
}

/// A payload beyond what octal digits hold, of which only the head exists; the rest is a hole.
#[test]
fn stock_tar_understands_a_payload_of_nine_gibibytes() {
    const SIZE: u64 = 9 << 30;
    let directory = tempfile::tempdir().unwrap();
    let chunk = u64::from(limits::CHUNK_SIZE);
    let list = vec![7; (SIZE / chunk * 32) as usize];
    let mut forge = stream::StreamForge::new();
    forge.manifest["payload"]["size"] = SIZE.into();
    forge.manifest["chunks"] = serde_json::json!({
        "size": chunk, "count": SIZE / chunk, "list_size": list.len(), "list_sha256": Digest::of(&list),
    });
    let mut members = stream::signed_stream(&forge.manifest_bytes(), &list, "stream.zst", b"", &test_key());
    let last = &mut members[3].header;
    *last = tar::Header::new_gnu();
    last.set_path("stream.zst").unwrap();
    last.set_entry_type(tar::EntryType::Regular);
    last.set_mode(0o644);
    last.set_size(SIZE);
    last.set_cksum();
    let packed = tar_of(&members);
    let head = &packed[..packed.len() - 1024];
    let listed = stream::listed(head).unwrap();
    assert_eq!(listed.head().payload_offset, head.len() as u64);
    assert_eq!(listed.chunk_range(2303).end, listed.head().payload_offset + SIZE);
    let at_first = &head[..HEAD_LIMIT as usize];
    assert_eq!(stream_archive::read_head(at_first).unwrap().claims().unwrap(), listed.head().manifest);

    fs::write(directory.path().join("S.stream"), head).unwrap();
    let file = fs::OpenOptions::new().write(true).open(directory.path().join("S.stream")).unwrap();
    file.set_len(listed.head().archive_size).unwrap();
    let listing = run(directory.path(), "tar tvf S.stream");
    assert!(listing.contains("9663676416") && listing.contains("stream.zst"), "{listing}");
}
