//! The suite that every vault passes: all that [`store`], [`fetch`] and the catalog rely on.
//!
//! Panics at the first broken promise. Differences between real servers are fields of [`Abilities`], so that they are
//! written down.

mod failures;
mod list;
mod put;
mod read;
mod streams;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tempfile::TempDir;

use crate::{NO_PROGRESS, Stored, Upload, Vault, VaultError, Version, fetch, store};

/// The abilities of a vault under test.
#[derive(Debug, Clone, Copy)]
pub struct Abilities {
    /// The second of two puts of one key is refused. Old RGW ignores `If-None-Match`.
    pub create_only: bool,
    /// Of several puts of one key at the same time, all but one are refused. RGW 20 lets several through.
    pub create_only_in_a_race: bool,
    /// A wrong SHA-256 is refused by the put itself. Old RGW ignores it; [`store`] notices.
    pub verifies_checksum: bool,
    /// Locks objects that were stored by a single put.
    pub locks: bool,
    /// Keeps the lock of an object that was sent in parts. RGW 16 and 18 lose it without an error.
    pub locks_parts: bool,
    /// Bytes from which a put is sent in parts; `None` if none is.
    pub multipart_from: Option<u64>,
    /// Bytes of a part of the streams that are put into it.
    pub stream_part: u64,
}

/// A vault under test and a directory for files.
struct Subject {
    vault: Arc<dyn Vault>,
    can: Abilities,
    directory: TempDir,
}

/// Runs the whole suite on an empty vault, and leaves objects in it.
pub async fn run(vault: Arc<dyn Vault>, can: Abilities) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let subject = Subject { vault, can, directory };
    let s = &subject;
    macro_rules! each {
        ($($part:ident::$test:ident),* $(,)?) => { $(
            let begun = Instant::now();
            $part::$test(s).await;
            println!("{}: {} {:.2?}", s.vault.address(), stringify!($test), begun.elapsed());
        )* };
    }
    each![
        list::an_empty_vault_lists_nothing,
        put::a_usable_vault_passes_its_check,
        put::a_stored_object_is_read_back_and_locked,
        put::an_empty_file_can_be_stored,
        put::a_key_is_created_once,
        put::storing_the_same_again_finds_it,
        put::progress_ends_at_the_size,
        put::a_wrong_checksum_is_an_error,
        put::a_missing_file_is_an_error_of_this_host,
        put::writers_of_the_same_bytes_all_succeed,
        put::writers_of_different_bytes_never_mix,
        put::a_large_archive_is_stored_whole,
        put::what_is_put_over_a_key_is_its_newest_version,
        read::ranges_are_exact,
        read::a_missing_object_is_not_found,
        read::a_locked_version_cannot_be_deleted,
        read::a_lock_resists_writers,
        read::the_clock_is_near_enough,
        list::odd_keys_come_back_as_they_are,
        list::prefixes_and_markers_are_respected,
        list::pages_follow_each_other,
        failures::a_lost_reply_leaves_one_version,
        failures::a_request_that_never_arrived_is_sent_again,
        failures::a_vault_that_stays_down_is_unreachable,
        failures::a_broken_download_goes_on_where_it_broke,
        failures::a_dropped_put_leaves_nothing,
        streams::streams_of_every_length_come_back_whole,
        streams::a_stream_becomes_visible_at_its_end_if_its_key_is_free_then,
        streams::a_taken_key_refuses_a_stream_before_it_is_produced,
        streams::a_stream_without_an_end_leaves_nothing,
        streams::a_dropped_put_of_a_stream_leaves_nothing,
        streams::a_part_that_fails_is_sent_again_from_memory,
        streams::a_part_that_never_arrives_ends_the_stream_and_leaves_nothing,
        streams::a_completion_whose_reply_is_lost_makes_one_version,
        streams::what_a_killed_run_left_is_removed_by_a_later_one,
        streams::ranges_come_in_order_over_connections_that_break,
    ];
}

impl Subject {
    fn vault(&self) -> &dyn Vault {
        self.vault.as_ref()
    }

    /// Makes a file of so many bytes, which depend on `seed` and do not repeat.
    fn file(&self, size: usize, seed: u64) -> PathBuf {
        let path = self.directory.path().join(format!("{size}-{seed}"));
        std::fs::write(&path, bytes(size, seed)).expect("a temporary file can be written");
        path
    }

    fn upload(&self, key: &str, size: usize, seed: u64) -> Upload {
        Upload::of_file(key, &self.file(size, seed), Timestamp::now()).expect("the file was just written")
    }

    async fn store(&self, upload: &Upload) -> Stored {
        store(self.vault(), upload, NO_PROGRESS).await.unwrap_or_else(|error| panic!("store {}: {error}", upload.key))
    }

    async fn read(&self, stored: &Stored) -> Vec<u8> {
        let mut content = Vec::new();
        let fetched = fetch(self.vault(), &stored.at, stored.size, &mut content, NO_PROGRESS).await;
        let fetched = fetched.unwrap_or_else(|error| panic!("fetch {}: {error}", stored.at.key));
        assert_eq!(fetched.size, content.len() as u64);
        content
    }

    /// Lists every version under a prefix, page after page.
    async fn versions(&self, under: &str) -> Vec<Version> {
        all_versions(self.vault(), under).await
    }

    /// Counts the versions of one key.
    async fn count(&self, key: &str) -> usize {
        self.versions(key).await.iter().filter(|version| version.at.key == key).count()
    }
}

async fn all_versions(vault: &dyn Vault, under: &str) -> Vec<Version> {
    let mut versions = Vec::new();
    let mut after = None;
    loop {
        let page = vault.list_versions(under, after.as_ref()).await.unwrap_or_else(|error| panic!("{error}"));
        versions.extend(page.versions);
        match page.next {
            Some(next) => after = Some(next),
            None => return versions,
        }
    }
}

/// Makes bytes by xorshift64: the same on every run, and no two sections alike.
fn bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[track_caller]
fn assert_error<T: std::fmt::Debug>(result: Result<T, VaultError>, is: fn(&VaultError) -> bool) {
    match result {
        Err(error) if is(&error) => {}
        other => panic!("not the error expected: {other:?}"),
    }
}

/// Polls until `done`, for effects that come after the call that caused them.
async fn eventually<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done().await {
        assert!(Instant::now() < deadline, "within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
