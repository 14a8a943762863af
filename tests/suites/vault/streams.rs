//! Streams of unknown length on a real object store: what the agent asks of multipart uploads there, one by one.

use std::time::{Duration, SystemTime};

use jiff::SignedDuration;
use swarmdr_tests::s3::{Fault, LossyProxy, Mode, Release};
use swarmdr_vault::{
    Draft, Ending, NO_PROGRESS, Part, Source, StreamSizes, StreamUpload, VaultError, payload, put_stream,
};

use super::{PART, Site, behind_proxy, connect, count};

fn draft(key: &str) -> Draft {
    Draft { key: key.to_owned(), metadata: Vec::new(), now: jiff::Timestamp::now() }
}

/// A part of so many bytes, all of which are its number.
fn part(number: u32, size: u64) -> Part {
    let bytes = vec![u8::try_from(number).unwrap(); usize::try_from(size).unwrap()];
    let sha256 = *swarmdr_archive::Digest::of(&bytes).as_bytes();
    Part { number, offset: 0, source: Source::Memory(vec![bytes.into()]), sha256 }
}

/// Stores 17 MiB in parts of 5 MiB.
async fn stream(vault: &dyn swarmdr_vault::Vault, key: &str) -> Result<swarmdr_vault::Stored, VaultError> {
    let (sender, payload) = payload();
    let upload = StreamUpload {
        key: key.to_owned(),
        metadata: Vec::new(),
        now: jiff::Timestamp::now(),
        longest: SignedDuration::from_hours(1),
        expect: None,
        sizes: StreamSizes { part: PART, parallel: 3, memory: 8 * PART },
        patience: Duration::from_secs(5),
    };
    let produce = async {
        for _ in 0..17 {
            sender.send(vec![7; 1 << 20]).await?;
        }
        sender.finish(Ending { head: vec![1; 1000].into(), tail: vec![9; 1000].into() }).await
    };
    let (stored, _) = futures_util::future::join(put_stream(vault, &upload, payload, NO_PROGRESS), produce).await;
    stored
}

/// The first part is longer than the others, and comes last; the last one is of one byte.
#[tokio::test]
async fn parts_in_any_order_with_checksums_and_a_lock_become_one_object_if_its_key_is_free() {
    let site = Site::release(Release::V20);
    let (owner, vault) = site.vault("vault", "").await;
    let parts = vault.begin(&draft("a")).await.unwrap();
    let mut sent = Vec::new();
    for (number, size) in [(4, 1), (2, PART), (3, PART), (1, PART + 12_345)] {
        sent.push(parts.put(&part(number, size), NO_PROGRESS).await.unwrap());
        assert_eq!(owner.versions("").await.unwrap(), [], "nothing is visible before the completion");
    }
    sent.sort_by_key(|part| part.number);
    let placed = parts.complete(&sent).await.unwrap().expect("it is the first attempt");
    let head = vault.head(&placed.at).await.unwrap();
    assert_eq!((head.size, head.checksum), (3 * PART + 12_346, Some(placed.checksum)));
    let lock = owner.retention("a", &placed.at.id).await.unwrap().expect("it is locked");
    let left = lock.until.duration_since(SystemTime::now()).unwrap().as_secs();
    assert!(lock.mode == Mode::Compliance && (86_000..=86_400).contains(&left), "{left}");
    let bytes = owner.get("a", None).await.unwrap();
    let runs: Vec<_> = bytes.chunk_by(|a, b| a == b).map(|run| (u32::from(run[0]), run.len() as u64)).collect();
    assert_eq!(runs, [(1, PART + 12_345), (2, PART), (3, PART), (4, 1)]);

    // The same key again: all is sent, and the completion refused.
    let parts = vault.begin(&draft("a")).await.unwrap();
    let sent = [parts.put(&part(1, 10), NO_PROGRESS).await.unwrap()];
    let error = parts.complete(&sent).await.unwrap_err();
    assert!(matches!(error, VaultError::AlreadyExists { .. }), "{error:?}");
    parts.abort().await;
    assert_eq!((owner.versions("").await.unwrap().len(), vault.unfinished().await.unwrap().len()), (1, 0));
}

#[tokio::test]
async fn a_part_with_a_wrong_checksum_and_a_part_that_is_too_small_are_refused() {
    let site = Site::release(Release::V20);
    let (owner, vault) = site.vault("vault", "").await;
    let parts = vault.begin(&draft("a")).await.unwrap();
    let wrong = Part { sha256: [0; 32], ..part(2, PART) };
    let error = parts.put(&wrong, NO_PROGRESS).await.unwrap_err();
    assert!(matches!(error, VaultError::ChecksumMismatch { .. }), "{error:?}");
    let mut sent = Vec::new();
    for (number, size) in [(1, PART - 1), (2, PART)] {
        sent.push(parts.put(&part(number, size), NO_PROGRESS).await.unwrap());
    }
    let error = parts.complete(&sent).await.unwrap_err().to_string();
    assert!(error.contains("EntityTooSmall"), "{error}");
    parts.abort().await;
    assert_eq!((owner.versions("").await.unwrap().len(), vault.unfinished().await.unwrap().len()), (0, 0));
}

#[tokio::test]
async fn a_stream_survives_a_bad_network_and_is_stored_once() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    // The first POST begins the upload, the second completes it.
    proxy.spoil("POST /vault/", 1, 1, Fault::LoseAnswer);
    proxy.spoil("PUT /vault/", 0, 1, Fault::Cut { after: 1_000_000 });
    proxy.spoil("PUT /vault/", 0, 1, Fault::SlowDown);
    proxy.spoil("PUT /vault/", 0, 1, Fault::LoseAnswer);
    let stored = stream(&*vault, "a").await.unwrap();
    assert_eq!((stored.size, stored.others, stored.lock.is_some()), ((17 << 20) + 2000, 0, true));
    assert_eq!(owner.versions("").await.unwrap().len(), 1);
    assert_eq!(vault.unfinished().await.unwrap(), [""; 0]);
    assert_eq!(count(&proxy, "PUT /vault/"), 7, "four parts, three of them twice");
}

#[tokio::test]
async fn a_stream_whose_parts_do_not_arrive_leaves_nothing() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    proxy.spoil("PUT /vault/", 1, 1000, Fault::Cut { after: 1_000_000 });
    let error = stream(&*vault, "a").await.unwrap_err();
    assert!(matches!(error, VaultError::Unreachable { .. }), "{error:?}");
    assert_eq!((owner.versions("").await.unwrap().len(), vault.unfinished().await.unwrap().len()), (0, 0));
}

/// It is told that the lock is missing before all is read back for its checksum.
#[tokio::test]
async fn a_server_that_drops_the_locks_of_multipart_uploads_is_caught_with_a_stream() {
    let site = Site::release(Release::Old);
    let (owner, _) = site.vault("vault", "").await;
    let proxy = LossyProxy::start(site.rgw.address()).unwrap();
    let mut settings = site.settings("s3://vault", &site.rgw.writer().unwrap());
    settings.endpoint = Some(proxy.endpoint());
    let error = stream(&*connect(&settings).await, "a").await.unwrap_err();
    assert!(matches!(error, VaultError::LockDropped { found: None, .. }), "{error:?}");
    assert_eq!(owner.versions("").await.unwrap().len(), 1);
    let seen = proxy.seen();
    let about: Vec<_> = seen.iter().filter(|line| line.starts_with("GET /vault/a?")).collect();
    assert!(matches!(about[..], [line] if line.contains("retention")), "{about:?}");
}

/// The vault is told of bytes that change while they are sent.
#[tokio::test]
async fn a_part_that_is_altered_on_the_way_ends_the_stream() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    proxy.spoil("PUT /vault/", 1, 1, Fault::Corrupt { at: 70_000 });
    let error = stream(&*vault, "a").await.unwrap_err();
    assert!(matches!(error, VaultError::ChecksumMismatch { .. }), "{error:?}");
    assert_eq!((owner.versions("").await.unwrap().len(), vault.unfinished().await.unwrap().len()), (0, 0));
}
