//! Streams are stored whole, at their end, or not at all.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::{
    super::injector::{Call, Injected, InjectingVault, broken},
    Subject, assert_error, bytes, eventually,
};
use crate::{
    Closed, Draft, Ending, NO_PROGRESS, Part, PayloadSender, Ranges, Source, Stored, StreamSizes, StreamUpload, Vault,
    VaultError, payload, put_stream,
};

/// Bytes of the head and of the tail; neither is a multiple of anything.
const HEAD: usize = 1717;
const TAIL: usize = 333;

/// Pieces in which the payload is sent: several to a part of a server, several parts of a vault in memory to a piece.
const PIECE: usize = 300_007;

fn ending() -> Ending {
    Ending { head: bytes(HEAD, 91).into(), tail: bytes(TAIL, 92).into() }
}

/// The whole object of a payload.
fn whole(payload: &[u8]) -> Vec<u8> {
    [&bytes(HEAD, 91), payload, &bytes(TAIL, 92)].concat()
}

fn upload(s: &Subject, key: &str) -> StreamUpload {
    let part = s.can.stream_part;
    StreamUpload {
        key: key.to_owned(),
        metadata: vec![("swarmdr-id".to_owned(), "a".to_owned())],
        now: Timestamp::now(),
        longest: SignedDuration::from_hours(4),
        expect: None,
        sizes: StreamSizes { part, parallel: 3, memory: 6 * part },
        patience: Duration::from_secs(4),
    }
}

async fn send(sender: &PayloadSender, payload: &[u8]) -> Result<(), Closed> {
    for piece in payload.chunks(PIECE) {
        sender.send(piece.to_vec()).await?;
    }
    Ok(())
}

/// Stores a stream into this vault.
async fn stream(s: &Subject, vault: &dyn Vault, key: &str, bytes: &[u8]) -> Result<Stored, VaultError> {
    let (sender, payload) = payload();
    let produce = async {
        send(&sender, bytes).await?;
        sender.finish(ending()).await
    };
    let upload = upload(s, key);
    let (stored, produced) = join(put_stream(vault, &upload, payload, NO_PROGRESS), produce).await;
    assert!(stored.is_err() || produced.is_ok());
    stored
}

async fn assert_nothing(s: &Subject, under: &str) {
    assert_eq!(s.versions(under).await, [], "{under}");
    assert_eq!(s.vault().unfinished().await.unwrap_or_else(|error| panic!("{error}")), [""; 0]);
}

/// Whether the vault cannot keep a stream of several parts, which is an error.
fn drops_locks(s: &Subject) -> bool {
    s.can.locks && !s.can.locks_parts
}

fn payload_of_parts(s: &Subject, halves: u64) -> Vec<u8> {
    bytes(usize::try_from(halves * s.can.stream_part / 2).unwrap_or(0), 7)
}

pub async fn streams_of_every_length_come_back_whole(s: &Subject) {
    let part = s.can.stream_part;
    for (index, size) in [0, 1, part - 1, part, part + 1, 2 * part, 2 * part + 1, 7 * part / 2].into_iter().enumerate()
    {
        let (payload, key) = (bytes(usize::try_from(size).unwrap_or(0), size), format!("streams/length/{index}"));
        let stored = stream(s, s.vault(), &key, &payload).await;
        if size > part && drops_locks(s) {
            assert_error(stored, |error| matches!(error, VaultError::LockDropped { found: None, .. }));
            continue;
        }
        let stored = stored.unwrap_or_else(|error| panic!("{size}: {error}"));
        assert!(s.read(&stored).await == whole(&payload), "{size}");
        assert_eq!((stored.size, stored.others, stored.was_there), ((HEAD + TAIL) as u64 + size, 0, false));
        assert_eq!(stored.lock.is_some(), s.can.locks, "{size}");
        if let (Some(lock), Some(policy)) = (stored.lock, s.vault().lock_policy()) {
            let (soonest, minute) = (policy.lock_from(Timestamp::now()), SignedDuration::from_mins(5));
            let longest = if size > part { SignedDuration::from_hours(4) } else { SignedDuration::ZERO };
            assert!(lock.until.duration_since(soonest.until + longest).abs() < minute, "{size}: {lock:?}");
        }
        assert_eq!(s.count(&key).await, 1);
    }
    assert_eq!(s.vault().unfinished().await.unwrap_or_else(|error| panic!("{error}")), [""; 0]);
}

/// The key is free while the stream runs, and taken by another writer before it ends.
pub async fn a_stream_becomes_visible_at_its_end_if_its_key_is_free_then(s: &Subject) {
    for (key, taken) in [("streams/end/a", false), ("streams/end/b", true)] {
        let (sender, payload) = payload();
        let (sent, bytes) = (Notify::new(), payload_of_parts(s, 7));
        let produce = async {
            send(&sender, &bytes).await.expect("the put runs");
            sent.notified().await;
            assert_eq!(s.count(key).await, 0, "nothing is visible yet");
            if taken {
                s.store(&s.upload(key, 1000, 1)).await;
            }
            sender.finish(ending()).await.expect("the put runs");
        };
        let (upload, progress) = (upload(s, key), |done| {
            if done > 0 {
                sent.notify_one()
            }
        });
        let (stored, ()) = join(put_stream(s.vault(), &upload, payload, &progress), produce).await;
        match stored {
            Err(VaultError::LockDropped { .. }) if drops_locks(s) => {}
            Err(VaultError::AlreadyExists { .. }) if taken && s.can.create_only => assert_eq!(s.count(key).await, 1),
            Ok(stored) if taken => assert!(!s.can.create_only && stored.others == 1, "{stored:?}"),
            stored => assert_eq!(stored.unwrap_or_else(|error| panic!("{error}")).others, 0),
        }
    }
    assert_eq!(s.vault().unfinished().await.unwrap_or_else(|error| panic!("{error}")), [""; 0]);
}

pub async fn a_taken_key_refuses_a_stream_before_it_is_produced(s: &Subject) {
    s.store(&s.upload("streams/taken/a", 1000, 1)).await;
    let (sender, payload) = payload();
    let stored = put_stream(s.vault(), &upload(s, "streams/taken/a"), payload, NO_PROGRESS).await;
    assert_error(stored, |error| matches!(error, VaultError::AlreadyExists { .. }));
    assert_eq!(sender.send("more").await, Err(Closed));
}

/// The command failed, at several lengths of its output.
pub async fn a_stream_without_an_end_leaves_nothing(s: &Subject) {
    for halves in [0, 1, 2, 7] {
        let (sender, payload) = payload();
        let bytes = payload_of_parts(s, halves);
        let produce = async {
            send(&sender, &bytes).await.expect("the put runs");
            drop(sender);
        };
        let upload = upload(s, "streams/abandoned/a");
        let (stored, ()) = join(put_stream(s.vault(), &upload, payload, NO_PROGRESS), produce).await;
        assert_error(stored, |error| matches!(error, VaultError::Abandoned { .. }));
        assert_nothing(s, "streams/abandoned/").await;
    }
}

pub async fn a_dropped_put_of_a_stream_leaves_nothing(s: &Subject) {
    let (sender, payload) = payload();
    let (begun, bytes) = (Notify::new(), payload_of_parts(s, 7));
    let (upload, progress) = (upload(s, "streams/dropped/a"), |_| begun.notify_one());
    let put = async {
        let (stored, _) = join(put_stream(s.vault(), &upload, payload, &progress), send(&sender, &bytes)).await;
        stored
    };
    tokio::select! {
        biased;
        () = begun.notified() => {}
        stored = put => panic!("it has no end: {stored:?}"),
    }
    assert_eq!(sender.send("more").await, Err(Closed));
    eventually("nothing of a dropped stream is left", async || {
        let unfinished = s.vault().unfinished().await;
        s.versions("streams/dropped/").await.is_empty() && unfinished.is_ok_and(|keys| keys.is_empty())
    })
    .await;
}

/// What happens to the calls for the parts of one stream: each part fails the first `times`, if it is chosen.
fn failing_parts(s: &Subject, times: u32, chosen: fn(u32) -> bool, how: fn(VaultError) -> Injected) -> InjectingVault {
    let failed = Mutex::new(BTreeMap::<u32, u32>::new());
    InjectingVault::new(Arc::clone(&s.vault), move |call| match call {
        Call::PutPart { number, .. } if chosen(*number) => {
            let mut failed = failed.lock().expect("nobody panics with it");
            let count = failed.entry(*number).or_default();
            *count += 1;
            if *count <= times { how(broken("here", "store a part")) } else { Injected::None }
        }
        _ => Injected::None,
    })
}

pub async fn a_part_that_fails_is_sent_again_from_memory(s: &Subject) {
    if drops_locks(s) {
        return;
    }
    let payload = payload_of_parts(s, 7);
    for (key, chosen, how) in [
        ("streams/again/first", (|number| number == 1) as fn(u32) -> bool, Injected::Before as fn(_) -> _),
        ("streams/again/second", |number| number == 2, Injected::Before),
        ("streams/again/lost", |number| number == 3, Injected::After),
    ] {
        let vault = failing_parts(s, 2, chosen, how);
        let stored = stream(s, &vault, key, &payload).await.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(s.read(&stored).await == whole(&payload), "{key}");
        assert_eq!(s.count(key).await, 1);
    }
}

pub async fn a_part_that_never_arrives_ends_the_stream_and_leaves_nothing(s: &Subject) {
    let vault = failing_parts(s, u32::MAX, |number| number == 2, Injected::Before);
    let stored = stream(s, &vault, "streams/never/a", &payload_of_parts(s, 7)).await;
    assert_error(stored, |error| matches!(error, VaultError::Unreachable { .. }));
    assert_nothing(s, "streams/never/").await;
}

pub async fn a_completion_whose_reply_is_lost_makes_one_version(s: &Subject) {
    if drops_locks(s) {
        return;
    }
    let asked = AtomicU32::new(0);
    let vault = InjectingVault::new(Arc::clone(&s.vault), move |call| match call {
        Call::Complete { .. } if asked.fetch_add(1, Ordering::Relaxed) == 0 => Injected::After(broken("here", "join")),
        _ => Injected::None,
    });
    let payload = payload_of_parts(s, 5);
    let stored = stream(s, &vault, "streams/lost/a", &payload).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(s.read(&stored).await == whole(&payload));
    assert_eq!((s.count("streams/lost/a").await, stored.others), (1, 0));
}

pub async fn what_a_killed_run_left_is_removed_by_a_later_one(s: &Subject) {
    let begun = Timestamp::now();
    let draft = Draft { key: "streams/killed/a".to_owned(), metadata: Vec::new(), now: begun };
    let parts = s.vault().begin(&draft).await.unwrap_or_else(|error| panic!("{error}"));
    let source = Source::Memory(vec![bytes(1000, 1).into()]);
    let sha256 = source.sha256().await.expect("it is in memory");
    let part = Part { number: 2, offset: 0, source, sha256 };
    parts.put(&part, NO_PROGRESS).await.unwrap_or_else(|error| panic!("{error}"));
    // What a process that is killed does not do either.
    std::mem::forget(parts);
    let (past, future) = (begun - SignedDuration::from_hours(1), begun + SignedDuration::from_mins(30));
    for (under, before, removed) in
        [("streams/killed/", past, 0), ("streams/other/", future, 0), ("streams/killed/", future, 1)]
    {
        let unfinished = s.vault().unfinished().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(unfinished.len(), 1, "{unfinished:?}");
        let found = s.vault().discard_unfinished(under, before).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(found.len() == removed && found.iter().all(|key| unfinished.contains(key)), "{found:?}");
    }
    assert_nothing(s, "streams/killed/").await;
}

/// Each read breaks several times.
pub async fn ranges_come_in_order_over_connections_that_break(s: &Subject) {
    const SIZE: usize = 1_000_003;
    let stored = s.store(&s.upload("streams/ranges/a", SIZE, 5)).await;
    let opened = AtomicU32::new(0);
    let vault: Arc<dyn Vault> = Arc::new(InjectingVault::new(Arc::clone(&s.vault), move |call| match call {
        Call::Open { .. } if opened.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Injected::CutAfter(40_000),
        _ => Injected::None,
    }));
    let all = bytes(SIZE, 5);
    for (section, size, ahead) in [(0..SIZE, 400_000, 2), (77_777..SIZE, 128_000, 4), (5..6, 10, 3), (9..9, 10, 3)] {
        let wanted = section.start as u64..section.end as u64;
        let mut ranges = Ranges::new(Arc::clone(&vault), stored.at.clone(), wanted, size, ahead);
        let mut read = Vec::new();
        while let Some(range) = ranges.next().await {
            let range = range.unwrap_or_else(|error| panic!("{error}"));
            assert!(range.len() as u64 == size || read.len() + range.len() == section.len());
            read.extend_from_slice(&range);
        }
        assert!(read == all[section.clone()], "{section:?}");
    }
    let mut gone = Ranges::new(vault, crate::VersionRef::new("streams/ranges/b", &stored.at.id), 0..10, 4, 2);
    let error = gone.next().await.expect("not the end");
    assert_error(error, |error| matches!(error, VaultError::NotFound { .. }));
    assert!(gone.next().await.is_none());
}
