use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join;
use jiff::SignedDuration;

use super::*;
use crate::{
    NO_PROGRESS, PartLimits, Stored, VaultError, fetch,
    testkit::{
        archives::minute,
        injector::{Call, Injected, InjectingVault},
        memory::MemoryVault,
    },
};

const LIMITS: PartLimits = PartLimits { smallest: 5, largest: 100, most: 10 };

fn upload(part: u64, memory: u64) -> StreamUpload {
    StreamUpload {
        key: "k".into(),
        metadata: Vec::new(),
        now: minute(0),
        longest: SignedDuration::from_hours(1),
        expect: None,
        sizes: StreamSizes { part, parallel: 3, memory },
        patience: Duration::from_secs(1),
    }
}

fn ending() -> Ending {
    Ending { head: "head".into(), tail: "tail".into() }
}

/// Stores a payload of so many bytes in parts of 5 bytes, and returns the sizes of the parts as well.
async fn in_parts_of_5(size: usize) -> (Result<Stored, VaultError>, Vec<u8>) {
    let vault = MemoryVault::new("v", None).with_part_limits(LIMITS);
    let (sender, payload) = payload();
    let bytes: Vec<u8> = (0..size).map(|i| b'a' + (i % 26) as u8).collect();
    let produce = async {
        for byte in bytes.chunks(3) {
            sender.send(byte.to_vec()).await?;
        }
        sender.finish(ending()).await
    };
    let upload = upload(5, 25);
    let (stored, _) = join(put_stream(&vault, &upload, payload, NO_PROGRESS), produce).await;
    let mut read = Vec::new();
    if let Ok(stored) = &stored {
        fetch(&vault, &stored.at, stored.size, &mut read, NO_PROGRESS).await.unwrap();
        assert!(read.starts_with(b"head") && read.ends_with(b"tail") && read[4..4 + size] == bytes);
    }
    (stored, read)
}

/// Five parts of 5 bytes and five of 10; the tail has 4.
#[tokio::test]
async fn the_second_half_of_the_parts_is_twice_as_large_and_a_longer_stream_is_an_error() {
    for size in [26, 30, 70, 71] {
        let (stored, read) = in_parts_of_5(size).await;
        stored.unwrap_or_else(|error| panic!("{size}: {error}"));
        assert_eq!(read.len(), size + 8);
    }
    for size in [72, 76, 500] {
        let error = in_parts_of_5(size).await.0.unwrap_err();
        assert!(matches!(error, VaultError::Unusable { .. }), "{size}: {error:?}");
        assert!(error.to_string().contains("10 parts") && error.to_string().contains("75 bytes"), "{error}");
    }
}

/// The vault never answers to a part. With few parts, those from number 3 on have twice the size.
#[tokio::test]
async fn no_more_than_the_bound_is_taken_from_the_sender() {
    const PART: u64 = 4 << 20;
    const QUEUE: u64 = 1 << 20;
    const PIECE: u64 = 1 << 16;
    // Held back, on their way and filling: 1 + 3 + 1, and 1 + 1 + 2, as another 2 would be too many.
    for (memory, most, taken) in [(512 * PART, 10_000, 5), (5 * PART, 10_000, 5), (5 * PART, 4, 4)] {
        let limits = PartLimits { smallest: 1, largest: u64::MAX, most };
        let vault = Arc::new(MemoryVault::new("v", None).with_part_limits(limits));
        let vault = InjectingVault::new(vault, |call| match call {
            Call::PutPart { .. } => Injected::Silence,
            _ => Injected::None,
        });
        let (sender, payload) = payload();
        let accepted = AtomicU64::new(0);
        let produce = async {
            loop {
                sender.send(vec![0; PIECE as usize]).await.unwrap();
                accepted.fetch_add(PIECE, Ordering::Relaxed);
            }
        };
        let upload = upload(PART, memory);
        let watch = async {
            let deadline = Instant::now() + Duration::from_secs(60);
            while accepted.load(Ordering::Relaxed) < taken * PART {
                assert!(Instant::now() < deadline, "{memory}: it takes only {accepted:?}");
                tokio::task::yield_now().await;
            }
            for _ in 0..10_000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            stored = put_stream(&vault, &upload, payload, NO_PROGRESS) => panic!("{stored:?}"),
            () = produce => panic!("it has no end"),
            () = watch => {}
        }
        let accepted = accepted.into_inner();
        assert!(accepted <= taken * PART + QUEUE + PIECE, "{memory}: {accepted}");
    }
}

#[tokio::test]
async fn parts_are_sent_at_the_same_time_and_the_first_one_last() {
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&order);
    let vault = InjectingVault::new(Arc::new(MemoryVault::new("v", None)), move |call| {
        if let Call::PutPart { number, .. } = call {
            noted.lock().unwrap().push(*number);
        }
        Injected::None
    });
    let (sender, payload) = payload();
    let progress = AtomicUsize::new(0);
    let report = |done| progress.store(done as usize, Ordering::Relaxed);
    let produce = async {
        sender.send(vec![0; 50]).await.unwrap();
        sender.finish(ending()).await.unwrap();
    };
    let upload = upload(5, 1000);
    let (stored, ()) = join(put_stream(&vault, &upload, payload, &report), produce).await;
    assert_eq!((stored.unwrap().size, progress.into_inner()), (58, 58));
    let mut order = order.lock().unwrap().clone();
    assert_eq!(order.last(), Some(&1));
    order.sort_unstable();
    assert_eq!(order, (1..=11).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_thread_writes_a_stream_and_learns_that_nobody_stores_it_any_more() {
    let vault = MemoryVault::new("v", None);
    let (sender, payload) = payload();
    let thread = tokio::task::spawn_blocking(move || {
        let mut writer = sender.into_writer();
        for _ in 0..1000 {
            writer.write_all(&[7; 1001])?;
        }
        writer.finish(ending())
    });
    let upload = upload(100_000, 1 << 20);
    let stored = put_stream(&vault, &upload, payload, NO_PROGRESS).await.unwrap();
    thread.await.unwrap().unwrap();
    assert_eq!(stored.size, 1_001_008);

    let (sender, payload) = super::payload();
    drop(payload);
    let thread = tokio::task::spawn_blocking(move || {
        let mut writer = sender.into_writer();
        writer.write_all(&[7; 1000])?;
        writer.finish(ending())
    });
    assert_eq!(thread.await.unwrap().unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_server_that_ignores_the_condition_gets_two_versions_and_that_is_told() {
    let vault = MemoryVault::new("v", None).ignoring_conditions();
    let (sender, payload) = payload();
    let produce = async {
        sender.send(vec![1; 100]).await.unwrap();
        crate::store_bytes(&vault, "k".into(), b"another", minute(1)).await.unwrap();
        sender.finish(ending()).await.unwrap();
    };
    let upload = upload(10, 100);
    let (stored, ()) = join(put_stream(&vault, &upload, payload, NO_PROGRESS), produce).await;
    assert_eq!(stored.unwrap().others, 1);
}
