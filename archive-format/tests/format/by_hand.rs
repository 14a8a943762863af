//! FORMAT.md against stock `tar`, `minisign`, `age` and `zstd`. Fails where one of them is missing: `apt install minisign age zstd`.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use ring::rand::SystemRandom;
use swarmdr_archive::{
    Error, Identities, Limits, PublicKey, SecretKey, TrustedKeys,
    point::{self, Point},
    reader, signature,
};

use super::{
    forge::{Piece, pieces_of, tar_of},
    state::{IDENTITY, State, Taken, test_identity, test_key},
};

/// The commands of FORMAT.md that begin like this.
pub fn commands(start: &str) -> String {
    let format = include_str!("../../FORMAT.md");
    let mut blocks = format.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.find(|block| block.contains(start)).unwrap_or_else(|| panic!("FORMAT.md has no `{start}`")).to_owned()
}

fn run_to_end(directory: &Path, commands: &str) -> (bool, String) {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", commands])
        .env("KEY", test_key().public().to_string())
        .current_dir(directory)
        .output()
        .expect("bash runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

pub fn run(directory: &Path, commands: &str) -> String {
    let (success, said) = run_to_end(directory, commands);
    assert!(success, "{commands}\n{said}");
    said
}

pub fn run_to_failure(directory: &Path, commands: &str) -> String {
    let (success, said) = run_to_end(directory, commands);
    assert!(!success, "{commands}\n{said}");
    said
}

/// Compares a directory that stock tools unpacked with the state that was packed.
fn assert_unpacked(directory: &Path, state: &State) {
    for (path, bytes) in &state.files {
        let place = directory.join(path);
        let file = fs::metadata(&place).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(file.mode() & 0o7777, if path.ends_with('/') { 0o700 } else { 0o600 }, "{path}");
        assert_eq!(file.mtime(), 1_767_322_000, "{path}");
        if !path.ends_with('/') {
            assert!(fs::read(&place).unwrap() == *bytes, "{path} has another content");
        }
        if bytes.len() > 100_000 && bytes.iter().filter(|&&byte| byte != 0).count() < 10_000 {
            assert!(file.blocks() * 512 < bytes.len() as u64 / 2, "{path} is not sparse: {} blocks", file.blocks());
        }
    }
}

#[test]
fn commands_of_the_format_text_open_an_encrypted_archive() {
    let directory = tempfile::tempdir().unwrap();
    let state = super::golden::state();
    fs::write(directory.path().join("B.swarmdr"), state.seal(&test_identity().recipients()).0).unwrap();
    fs::write(directory.path().join("identity.txt"), IDENTITY).unwrap();
    let said = run(directory.path(), &commands("age -d"));
    assert!(said.contains("Signature and comment signature verified"), "{said}");
    assert!(said.contains("swarmdr backup 20260102T030405Z-0a1b2c3d cluster w1ymnkr1qaqfdkyvdpgekypgb"), "{said}");
    assert!(said.contains("state.tar.zst.age: OK"), "{said}");
    assert_unpacked(directory.path(), &state);
    assert!(directory.path().join("contents.json").exists());
}

#[test]
fn commands_of_the_format_text_open_a_plain_archive() {
    let directory = tempfile::tempdir().unwrap();
    let state = super::golden::state();
    fs::write(directory.path().join("B.swarmdr"), state.seal(&[]).0).unwrap();
    let said = run(directory.path(), &commands("zstd -dc"));
    assert!(said.contains("state.tar.zst: OK"), "{said}");
    assert_unpacked(directory.path(), &state);
    let listed = run(directory.path(), "zstd -dc state.tar.zst | tar tv | wc -l");
    assert_eq!(listed.trim(), (state.files.len() + 1).to_string());
}

/// A state with owners, which tar restores only as root: numbers too large for octal included.
#[test]
fn stock_tar_understands_large_owners() {
    let directory = tempfile::tempdir().unwrap();
    let (state, key) = (State::small(), test_key());
    let mut packing = state.packing(&[], &key);
    packing.entries[2].uid = 4_000_000_000;
    packing.entries[2].gid = 2_097_152;
    let mut out = std::io::Cursor::new(Vec::new());
    let go_on = |_| std::ops::ControlFlow::Continue(());
    swarmdr_archive::writer::seal(packing, |entry| state.open(entry), go_on, &mut out).unwrap();
    fs::write(directory.path().join("B.swarmdr"), out.get_ref()).unwrap();
    let listed = run(directory.path(), "tar xf B.swarmdr && zstd -dc state.tar.zst | tar tv --numeric-owner");
    assert!(listed.contains("4000000000/2097152"), "{listed}");
    let trusted = TrustedKeys::from(key.public());
    reader::unpack(&out.get_ref()[..], &trusted, &Identities::none(), &Limits::default(), &mut ()).unwrap();
}

/// Claims, releases and the receipts of drills have the same container.
#[test]
fn commands_of_the_format_text_check_a_claim() {
    let directory = tempfile::tempdir().unwrap();
    let document = b"{\n  \"version\": 1,\n  \"epoch\": 7\n}";
    let packed = swarmdr_archive::receipt::seal(&test_key(), document, "claim 7 of cluster c", 1_767_322_000).unwrap();
    fs::write(directory.path().join("R.receipt"), packed).unwrap();
    let said = run(directory.path(), &commands("receipt.json"));
    assert!(said.contains("Signature and comment signature verified"), "{said}");
    assert!(said.contains("swarmdr receipt claim 7 of cluster c") && said.contains("\"epoch\": 7"), "{said}");
}

/// And what stock tools sign and pack is a point for a reader.
#[test]
fn commands_of_the_format_text_check_a_recovery_point() {
    let directory = tempfile::tempdir().unwrap();
    let made_at = "2026-11-21T03:05:00Z".parse().unwrap();
    let point = Point {
        version: point::VERSION,
        id: swarmdr_archive::BackupId::new(made_at, [1; 4]),
        cluster_id: "c1".parse().unwrap(),
        sequence: 1,
        previous: None,
        made_at,
        hostname: "m1".into(),
        agent_version: "0.1.0".into(),
        state: None,
        streams: Vec::new(),
        external: Vec::new(),
        images: None,
        gaps: Vec::new(),
        left_out: 0,
    };
    fs::write(directory.path().join("P.point"), point::seal(&point, &test_key()).unwrap()).unwrap();
    let said = run(directory.path(), &commands("P.point"));
    assert!(said.contains("Signature and comment signature verified"), "{said}");
    assert!(said.contains("swarmdr receipt point 20261121T030500Z-01010101 cluster c1"), "{said}");
    assert!(said.contains("\"version\":1") && said.contains("\"left_out\":0"), "{said}");
    run(directory.path(), "minisign -G -W -p minisign.pub -s minisign.key");
    run(directory.path(), "minisign -Sm receipt.json -s minisign.key -x receipt.json.minisig");
    let pack = "tar --format=ustar -b 1 -cf P2.point --owner=0 --group=0 receipt.json receipt.json.minisig";
    run(directory.path(), pack);
    let public: PublicKey = fs::read_to_string(directory.path().join("minisign.pub")).unwrap().parse().unwrap();
    let packed = fs::read(directory.path().join("P2.point")).unwrap();
    let signed = point::read(&packed).unwrap().verify(&TrustedKeys::from(public)).unwrap();
    assert_eq!(signed.point, point);
}

/// Signed anew with stock minisign and packed anew with stock tar, as FORMAT.md says.
#[test]
fn reader_accepts_an_archive_that_stock_tools_signed_and_packed() {
    let directory = tempfile::tempdir().unwrap();
    let state = State::small();
    fs::write(directory.path().join("B.swarmdr"), state.seal(&[]).0).unwrap();
    run(directory.path(), &commands("zstd -dc"));
    run(directory.path(), "minisign -G -W -p minisign.pub -s minisign.key");
    run(directory.path(), &commands("minisign -Sm"));
    let public: PublicKey = fs::read_to_string(directory.path().join("minisign.pub")).unwrap().parse().unwrap();
    let archive = fs::read(directory.path().join("B2.swarmdr")).unwrap();
    let mut taken = Taken::default();
    let limits = Limits::default();
    reader::unpack(&archive[..], &TrustedKeys::from(public), &Identities::none(), &limits, &mut taken).unwrap();
    assert_eq!(taken.files, state.files);
    let error = reader::verify_stored(&archive[..], &TrustedKeys::from(test_key().public())).unwrap_err();
    assert!(matches!(error, Error::UnknownKey { key_id, .. } if key_id == public.key_id()));
}

/// Both algorithms of stock minisign, and its default comment.
#[test]
fn reader_accepts_stock_signatures_of_both_kinds() {
    let members = pieces_of(&State::small().seal(&[]).0);
    for algorithm in ["", "-l"] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("manifest.json"), &members[0].body).unwrap();
        fs::write(directory.path().join("key"), test_key().to_minisign_string().as_bytes()).unwrap();
        run(directory.path(), &format!("minisign -S {algorithm} -s key -m manifest.json"));
        let signature = fs::read(directory.path().join("manifest.json.minisig")).unwrap();
        let mut signed = members.clone();
        signed[1] = Piece::member("manifest.json.minisig", &signature);
        let archive = tar_of(&signed);
        let trusted = TrustedKeys::from(test_key().public());
        reader::verify_stored(&archive[..], &trusted).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
    }
}

#[test]
fn stock_minisign_takes_our_keys_and_signatures() {
    let directory = tempfile::tempdir().unwrap();
    let key = SecretKey::generate(&SystemRandom::new()).unwrap();
    let message = b"any message";
    fs::write(directory.path().join("m"), message).unwrap();
    fs::write(directory.path().join("m.minisig"), signature::sign(&key, message, "our comment")).unwrap();
    fs::write(directory.path().join("pub"), key.public().to_minisign_string()).unwrap();
    fs::write(directory.path().join("sec"), key.to_minisign_string().as_bytes()).unwrap();
    let said = run(directory.path(), "minisign -V -m m -p pub");
    assert!(said.contains("Trusted comment: our comment"), "{said}");
    let said = run(directory.path(), &format!("minisign -V -m m -P {}", key.public()));
    assert!(said.contains("verified"), "{said}");
    run(directory.path(), "minisign -S -s sec -m m -x again && minisign -V -m m -p pub -x again");
    let said = run(directory.path(), "minisign -R -s sec -p pub2 && cat pub2");
    assert!(said.contains(&key.public().to_string()), "{said}");
}

/// A password cannot be typed by a timer, and the message says how to do without.
#[test]
fn protected_stock_key_is_refused_and_its_remedy_works() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), "printf 'pw\\npw\\n' | minisign -G -p pub -s sec");
    let read = || SecretKey::from_minisign_str(&fs::read_to_string(directory.path().join("sec")).unwrap());
    let message = read().unwrap_err().to_string();
    assert!(message.contains("minisign -C -W -s FILE"), "{message}");
    run(directory.path(), "printf 'pw\\n' | minisign -C -W -s sec");
    let public: PublicKey = fs::read_to_string(directory.path().join("pub")).unwrap().parse().unwrap();
    assert_eq!(read().unwrap().public(), public);
}

/// Golden archives too, by stock tools alone.
#[test]
fn stock_tools_open_the_golden_archives() {
    for (golden, commands_of) in [(super::golden::PLAIN, "zstd -dc"), (super::golden::ENCRYPTED, "age -d")] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("B.swarmdr"), golden).unwrap();
        fs::write(directory.path().join("identity.txt"), IDENTITY).unwrap();
        run(directory.path(), &commands(commands_of));
        assert_unpacked(directory.path(), &super::golden::state());
    }
}

/// The identity that the crate makes is one that stock age takes.
#[test]
fn stock_age_opens_what_our_identity_opens() {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identities::generate();
    let state = State::small();
    fs::write(directory.path().join("B.swarmdr"), state.seal(&identity.recipients()).0).unwrap();
    fs::write(directory.path().join("identity.txt"), identity.to_file_string().as_bytes()).unwrap();
    run(directory.path(), &commands("age -d"));
    assert_unpacked(directory.path(), &state);
}
