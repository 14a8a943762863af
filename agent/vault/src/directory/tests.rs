use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    sync::Arc,
};

use nix::fcntl::{FallocateFlags, fallocate};

use super::*;
use crate::{
    NO_PROGRESS, store,
    testkit::conformance::{self, Abilities},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn upload(directory: &Path, key: &str) -> Upload {
    let file = directory.join("sealed");
    fs::write(&file, "archive").unwrap();
    Upload::of_file(key, &file, Timestamp::UNIX_EPOCH).unwrap()
}

#[tokio::test]
async fn conforms() {
    let directory = tempfile::tempdir().unwrap();
    let can = Abilities {
        create_only: true,
        create_only_in_a_race: true,
        verifies_checksum: true,
        locks: false,
        locks_parts: false,
        multipart_from: None,
        stream_part: 100_000,
    };
    conformance::run(Arc::new(DirectoryVault::own(directory.path().join("vault"))), can).await;
}

#[tokio::test]
async fn files_and_directories_are_for_the_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let vault = DirectoryVault::own(directory.path().join("vault"));
    store(&vault, &upload(directory.path(), "c/a"), NO_PROGRESS).await.unwrap();
    let root = directory.path().join("vault");
    assert_eq!([mode(&root), mode(&root.join("c")), mode(&root.join("c/a"))], [0o700, 0o700, 0o600]);
}

#[tokio::test]
async fn a_disk_that_is_not_mounted_is_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("mnt/vault");
    let vault = DirectoryVault::own(&root);
    let error = store(&vault, &upload(directory.path(), "c/a"), NO_PROGRESS).await.unwrap_err();
    assert!(error.to_string().contains("its parent does not exist"), "{error}");
    assert!(vault.check().await.is_err());
    assert!(!root.exists());
}

#[tokio::test]
async fn leftovers_of_a_dead_run_are_reported_and_never_listed() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("c")).unwrap();
    fs::write(directory.path().join("c/.a.swarmdr.Xy12.part"), "half").unwrap();
    fs::write(directory.path().join("c/a.swarmdr"), "whole").unwrap();
    symlink("a.swarmdr", directory.path().join("c/b.swarmdr")).unwrap();
    let vault = DirectoryVault::new(directory.path());
    let listed = vault.list_versions("", None).await.unwrap().versions;
    assert_eq!(listed.iter().map(|version| version.at.key.as_str()).collect::<Vec<_>>(), ["c/a.swarmdr"]);
    assert_eq!(vault.unfinished().await.unwrap(), ["c/.a.swarmdr.Xy12.part"]);
    let linked = VersionRef::new("c/b.swarmdr", "null");
    assert!(vault.open(&linked, 0..1).await.is_err(), "links are not followed");
}

#[tokio::test]
async fn keys_cannot_leave_the_directory_or_hide_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let vault = DirectoryVault::new(directory.path());
    for key in ["", "/etc/passwd", "../a", "c/../../a", "c/.a", "c//a", "c/"] {
        let error = vault.put(&upload(directory.path(), key), NO_PROGRESS).await.unwrap_err();
        assert!(matches!(error, VaultError::InvalidKey { .. }), "{key}: {error}");
    }
}

#[tokio::test]
async fn a_full_disk_is_reported_with_its_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let vault = DirectoryVault::new(directory.path());
    let upload = Upload { size: u64::MAX / 2, ..upload(directory.path(), "c/a") };
    let error = vault.put(&upload, NO_PROGRESS).await.unwrap_err();
    assert!(matches!(&error, VaultError::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains("9223372036854775807 bytes needed"), "{error}");
}

#[tokio::test]
async fn a_directory_that_an_operator_makes_is_never_made_by_a_backup() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("vault");
    let vault = DirectoryVault::new(&root);
    let upload = upload(directory.path(), "c/a");
    // A missing directory is not an empty one.
    let listed = vault.list_versions("", None).await.err();
    for error in [listed, vault.check().await.err(), vault.put(&upload, NO_PROGRESS).await.err()] {
        let error = error.unwrap().to_string();
        assert!(error.contains("it is not there; mount its disk"), "{error}");
    }
    assert!(!root.exists());
    fs::create_dir(&root).unwrap();
    store(&vault, &upload, NO_PROGRESS).await.unwrap();
}

/// Parts of two blocks, and a first part of whole blocks or not: room is inserted for it, or the rest is copied.
#[tokio::test]
async fn a_first_part_of_any_length_comes_before_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let vault = DirectoryVault::new(directory.path());
    let inserts = {
        let file = tempfile::tempfile_in(directory.path()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 8192], 0).unwrap();
        fallocate(&file, FallocateFlags::FALLOC_FL_INSERT_RANGE, 0, 4096).is_ok()
    };
    for first in [0, 1, 4095, 4096, 4097, 3 * 4096] {
        let draft = Draft { key: format!("s/{first}"), metadata: Vec::new(), now: Timestamp::UNIX_EPOCH };
        let parts = vault.begin(&draft).await.unwrap();
        let (mut sent, mut whole) = (Vec::new(), Vec::new());
        for (number, offset, size) in [(3, 8192, 100), (2, 0, 8192), (1, 0, first)] {
            let bytes = vec![b'a' + number as u8; size];
            whole.splice(0..0, bytes.clone());
            let source = crate::Source::Memory(vec![bytes.into()]);
            let sha256 = source.sha256().await.unwrap();
            sent.insert(0, parts.put(&crate::Part { number, offset, source, sha256 }, NO_PROGRESS).await.unwrap());
        }
        let number_of = |key: &str| fs::metadata(directory.path().join(key)).unwrap().ino();
        let written = number_of(&vault.unfinished().await.unwrap()[0]);
        parts.complete(&sent).await.unwrap().unwrap();
        assert!(fs::read(directory.path().join(&draft.key)).unwrap() == whole, "{first}");
        assert_eq!(mode(&directory.path().join(&draft.key)), 0o600);
        let aligned = first > 0 && first % 4096 == 0;
        assert_eq!(number_of(&draft.key) == written, inserts && aligned, "{first}: the same file if room is inserted");
    }
    assert_eq!(vault.unfinished().await.unwrap(), [""; 0]);
}

/// A byte that the disk changed meanwhile.
#[tokio::test]
async fn a_part_that_is_not_on_the_disk_as_it_was_sent_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let vault = DirectoryVault::new(directory.path());
    let draft = Draft { key: "s/a".into(), metadata: Vec::new(), now: Timestamp::UNIX_EPOCH };
    let parts = vault.begin(&draft).await.unwrap();
    let mut sent = Vec::new();
    for number in [2, 1] {
        let source = crate::Source::Memory(vec![vec![number as u8; 5000].into()]);
        let sha256 = source.sha256().await.unwrap();
        sent.insert(0, parts.put(&crate::Part { number, offset: 0, source, sha256 }, NO_PROGRESS).await.unwrap());
    }
    let unfinished = vault.unfinished().await.unwrap();
    let file = fs::OpenOptions::new().write(true).open(directory.path().join(&unfinished[0])).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 77).unwrap();
    let error = parts.complete(&sent).await.unwrap_err();
    assert!(matches!(error, VaultError::ChecksumMismatch { .. }), "{error:?}");
    assert_eq!(vault.list_versions("", None).await.unwrap().versions, []);
    assert_eq!(vault.unfinished().await.unwrap(), [""; 0]);
}
