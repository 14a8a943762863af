//! Lost replies, broken connections, and runs that end half-way.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::Notify;

use super::{
    super::injector::{Call, Injected, InjectingVault, broken},
    Subject, all_versions, assert_error, bytes, eventually,
};
use crate::{NO_PROGRESS, VaultError, fetch, store};

const SIZE: usize = 200_000;

/// Makes the first `times` puts of the vault fail; returns it and a count of its puts.
fn failing_puts(s: &Subject, times: u32, inject: fn(VaultError) -> Injected) -> (InjectingVault, Arc<AtomicU32>) {
    let puts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&puts);
    let vault = InjectingVault::new(Arc::clone(&s.vault), move |call| match call {
        Call::Put { .. } if counter.fetch_add(1, Ordering::Relaxed) < times => inject(broken("here", "store")),
        _ => Injected::None,
    });
    (vault, puts)
}

pub async fn a_lost_reply_leaves_one_version(s: &Subject) {
    let (vault, puts) = failing_puts(s, 1, Injected::After);
    let stored =
        store(&vault, &s.upload("lost/a", SIZE, 1), NO_PROGRESS).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(s.read(&stored).await, bytes(SIZE, 1));
    assert_eq!((s.count("lost/a").await, puts.load(Ordering::Relaxed)), (1, 1));
}

pub async fn a_request_that_never_arrived_is_sent_again(s: &Subject) {
    let (vault, puts) = failing_puts(s, 2, Injected::Before);
    store(&vault, &s.upload("dropped/a", SIZE, 1), NO_PROGRESS).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((s.count("dropped/a").await, puts.load(Ordering::Relaxed)), (1, 3));
}

pub async fn a_vault_that_stays_down_is_unreachable(s: &Subject) {
    let (vault, puts) = failing_puts(s, u32::MAX, Injected::Before);
    let result = store(&vault, &s.upload("down/a", SIZE, 1), NO_PROGRESS).await;
    assert_error(result, |error| matches!(error, VaultError::Unreachable { .. }));
    assert_eq!((s.count("down/a").await, puts.load(Ordering::Relaxed)), (0, 4));
}

pub async fn a_broken_download_goes_on_where_it_broke(s: &Subject) {
    let stored = s.store(&s.upload("broken/a", SIZE, 1)).await;
    let opened = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&opened);
    let vault = InjectingVault::new(Arc::clone(&s.vault), move |call| match (call, counter.load(Ordering::Relaxed)) {
        (Call::Open { .. }, 0..3) => {
            counter.fetch_add(1, Ordering::Relaxed);
            Injected::CutAfter(60_000)
        }
        _ => Injected::None,
    });
    let mut content = Vec::new();
    let fetched = fetch(&vault, &stored.at, stored.size, &mut content, NO_PROGRESS).await;
    let fetched = fetched.unwrap_or_else(|error| panic!("{error}"));
    assert!(content == bytes(SIZE, 1));
    assert_eq!((fetched.size, opened.load(Ordering::Relaxed)), (SIZE as u64, 3));
}

/// The put is large enough to be unfinished when its first bytes are sent.
pub async fn a_dropped_put_leaves_nothing(s: &Subject) {
    let upload = s.upload("cancelled/a", 32 << 20, 1);
    let begun = Notify::new();
    let put = async { store(s.vault(), &upload, &|_| begun.notify_one()).await };
    tokio::select! {
        biased;
        () = begun.notified() => {}
        result = put => panic!("it was done at once: {result:?}"),
    }
    eventually("nothing of a dropped put is left", async || {
        let listed = all_versions(s.vault(), "cancelled/").await;
        listed.is_empty() && s.vault().unfinished().await.is_ok_and(|keys| keys.is_empty())
    })
    .await;
}
