//! Promises that the two gateways keep or drop: the facts that the vault's tests rely on.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use swarmdr_tests::s3::{Bucket, Fault, Lock, LossyProxy, Mode, Refusal, Release, Retention, Rgw, RgwOptions};

const HOUR: Duration = Duration::from_secs(3600);
const PART: usize = 5 * 1024 * 1024;

fn start(release: Release) -> Rgw {
    let rgw = Rgw::start(RgwOptions { release, ..RgwOptions::default() }).unwrap();
    println!("{release:?} at {} started in {:.2?}", rgw.endpoint(), rgw.started_in());
    rgw
}

/// Returns the gateway of a release that is shared by all tests which do nothing to it; it ends with this process.
fn shared(release: Release) -> &'static Rgw {
    static V20: LazyLock<Rgw> = LazyLock::new(|| start(Release::V20));
    static OLD: LazyLock<Rgw> = LazyLock::new(|| start(Release::Old));
    match release {
        Release::V20 => &V20,
        Release::Old => &OLD,
    }
}

/// Creates a bucket with locks, and returns it as its owner and as the writer see it.
async fn vault(rgw: &Rgw, name: &str) -> (Bucket, Bucket) {
    let owner = rgw.create_bucket(name, Lock::On).await.unwrap();
    let writer = owner.by(&rgw.writer().unwrap()).unwrap();
    (owner, writer)
}

fn locked(mode: Mode) -> Retention {
    Retention::new(mode, HOUR)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, status: u16, code: &str) {
    let refusal = result.expect_err("the server allowed it");
    assert_eq!((refusal.status, refusal.code.as_str()), (status, code), "{refusal}");
}

/// Both servers keep the lock of a single put, whoever tries to remove it.
#[tokio::test]
async fn locked_version_outlives_writer_and_owner() {
    for release in [Release::V20, Release::Old] {
        let rgw = shared(release);
        let (owner, writer) = vault(rgw, "outlives").await;
        let lock = locked(Mode::Compliance);
        let version = writer.put_locked("a", b"bytes", lock).await.unwrap();
        assert_eq!(writer.retention("a", &version).await.unwrap(), Some(lock));

        refused(writer.delete_version("a", &version).await, 403, "AccessDenied");
        refused(writer.hide("a").await, 403, "AccessDenied");
        let shorter = Retention::new(Mode::Compliance, HOUR / 2);
        refused(writer.set_retention("a", &version, shorter, false).await, 403, "AccessDenied");

        // Only the lock stops the owner.
        refused(owner.delete_version_bypassing("a", &version).await, 403, "AccessDenied");
        refused(owner.set_retention("a", &version, shorter, true).await, 403, "AccessDenied");
        let marker = owner.hide("a").await.unwrap();
        owner.delete_version("a", &marker).await.unwrap();
        let longer = Retention::new(Mode::Compliance, HOUR * 2);
        writer.set_retention("a", &version, longer, false).await.unwrap();
        assert_eq!(owner.retention("a", &version).await.unwrap(), Some(longer));
        assert_eq!(owner.get("a", Some(&version)).await.unwrap(), b"bytes");
    }
}

#[tokio::test]
async fn governance_yields_to_the_owner_alone() {
    let rgw = shared(Release::V20);
    let (owner, writer) = vault(rgw, "governance").await;
    let version = writer.put_locked("a", b"bytes", locked(Mode::Governance)).await.unwrap();
    refused(writer.delete_version_bypassing("a", &version).await, 403, "AccessDenied");
    let shorter = Retention::new(Mode::Governance, HOUR / 2);
    refused(writer.set_retention("a", &version, shorter, true).await, 403, "AccessDenied");
    refused(owner.delete_version("a", &version).await, 403, "AccessDenied");
    owner.delete_version_bypassing("a", &version).await.unwrap();
    assert_eq!(owner.versions("").await.unwrap(), []);
}

#[tokio::test]
async fn attacks_show_in_the_list_of_versions() {
    for release in [Release::V20, Release::Old] {
        let rgw = shared(release);
        let (owner, writer) = vault(rgw, "attacks").await;
        let first = writer.put_locked("a", b"true", locked(Mode::Compliance)).await.unwrap();
        let second = owner.put("a", b"false!").await.unwrap();
        let marker = owner.hide("a").await.unwrap();
        let reader = owner.by(&rgw.reader().unwrap()).unwrap();
        let seen = reader.versions("").await.unwrap();
        let seen: Vec<_> = seen.iter().map(|v| (v.key.as_str(), v.id.as_str(), v.latest, v.size)).collect();
        assert_eq!(
            seen,
            [("a", &*marker, true, None), ("a", &*second, false, Some(6)), ("a", &*first, false, Some(4))]
        );
        refused(reader.get("a", None).await, 404, "NoSuchKey");
        assert_eq!(reader.get("a", Some(&first)).await.unwrap(), b"true");
        refused(reader.put("b", b"").await, 403, "AccessDenied");
    }
}

#[tokio::test]
async fn multipart_lock_is_kept_by_20_and_dropped_by_16() {
    for (release, kept) in [(Release::V20, true), (Release::Old, false)] {
        let rgw = shared(release);
        let (_, writer) = vault(rgw, "multipart").await;
        let lock = locked(Mode::Compliance);
        let parts: [&[u8]; 2] = [&vec![1; PART], &[2; 10]];
        let version = writer.put_multipart_locked("a", &parts, lock).await.unwrap();
        assert_eq!(writer.retention("a", &version).await.unwrap(), kept.then_some(lock), "{release:?}");
        writer.set_retention("a", &version, lock, false).await.unwrap();
        assert_eq!(writer.retention("a", &version).await.unwrap(), Some(lock), "{release:?}");
    }
}

#[tokio::test]
async fn second_put_of_a_key_is_refused_by_20_and_taken_by_16() {
    for (release, honoured) in [(Release::V20, true), (Release::Old, false)] {
        let rgw = shared(release);
        let (_, writer) = vault(rgw, "second-put").await;
        writer.put_new("a", b"first").await.unwrap();
        let second = writer.put_new("a", b"second").await;
        if honoured {
            refused(second, 412, "PreconditionFailed");
        }
        let versions = writer.versions("a").await.unwrap().len();
        assert_eq!(versions, if honoured { 1 } else { 2 }, "{release:?}");
    }
}

#[tokio::test]
async fn wrong_checksum_is_refused_by_20_and_taken_by_16() {
    // SHA-256 of nothing.
    let wrong = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let rgw = shared(Release::V20);
    let (_, writer) = vault(rgw, "checksum").await;
    refused(writer.put_with_sha256("a", b"bytes", wrong).await, 400, "BadDigest");
    assert_eq!(writer.versions("").await.unwrap(), []);

    let rgw = shared(Release::Old);
    let (_, writer) = vault(rgw, "checksum").await;
    writer.put_with_sha256("a", b"bytes", wrong).await.unwrap();
}

#[tokio::test]
async fn buckets_without_locks_refuse_them() {
    let rgw = shared(Release::V20);
    for lock in [Lock::VersionsOnly, Lock::Off] {
        let name = format!("{lock:?}").to_lowercase();
        let bucket = rgw.create_bucket(&name, lock).await.unwrap();
        refused(bucket.put_locked("a", b"", locked(Mode::Compliance)).await, 400, "InvalidRequest");
        let versions = [bucket.put("a", b"1").await.unwrap(), bucket.put("a", b"2").await.unwrap()];
        assert_eq!(versions[0] == versions[1], lock == Lock::Off, "{versions:?}");
    }
}

#[tokio::test]
async fn server_faults_are_seen_and_pass() {
    let rgw = start(Release::V20);
    let (_, writer) = vault(&rgw, "vault").await;
    writer.put("a", b"").await.unwrap();

    rgw.suspend("writer").unwrap();
    refused(writer.put("a", b"").await, 403, "UserSuspended");
    rgw.pardon("writer").unwrap();
    writer.put("a", b"").await.unwrap();

    rgw.exhaust_quota("vault").unwrap();
    refused(writer.put("a", b"").await, 403, "QuotaExceeded");
    rgw.lift_quota("vault").unwrap();
    writer.put("a", b"").await.unwrap();

    rgw.limit_rate("writer").unwrap();
    let puts = [writer.put("a", b"").await, writer.put("a", b"").await, writer.put("a", b"").await];
    refused(puts.into_iter().last().unwrap(), 503, "SlowDown");
    rgw.lift_rate_limit("writer").unwrap();
    writer.put("a", b"").await.unwrap();
}

#[tokio::test]
async fn frozen_storage_hangs_and_a_killed_gateway_comes_back() {
    let rgw = start(Release::V20);
    let (_, writer) = vault(&rgw, "vault").await;
    let version = writer.put_locked("a", b"bytes", locked(Mode::Compliance)).await.unwrap();

    rgw.freeze_storage().unwrap();
    let put = writer.put("b", b"late");
    tokio::pin!(put);
    tokio::time::timeout(Duration::from_secs(1), &mut put).await.expect_err("the put waits for the disk");
    rgw.thaw_storage().unwrap();
    put.await.unwrap();

    rgw.kill_gateway().unwrap();
    assert_eq!(writer.get("b", None).await.unwrap_err().status, 0);
    rgw.restart_gateway().unwrap();
    assert_eq!(writer.get("b", None).await.unwrap(), b"late");
    assert_eq!(writer.get("a", Some(&version)).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn proxy_spoils_what_it_is_told_to() {
    let rgw = start(Release::V20);
    let (owner, _) = vault(&rgw, "vault").await;
    let proxy = LossyProxy::start(rgw.reach()).unwrap();
    let through = Bucket::new(&proxy.endpoint(), None, "vault", rgw.owner()).unwrap();
    let puts = "PUT /vault/";

    through.put("whole", b"bytes").await.unwrap();
    assert_eq!(through.get("whole", None).await.unwrap(), b"bytes");

    proxy.spoil(puts, 1, 2, Fault::SlowDown);
    through.put("before", b"").await.unwrap();
    refused(through.put("refused", b"").await, 503, "SlowDown");
    refused(through.put("refused", b"").await, 503, "SlowDown");
    assert_eq!(owner.versions("refused").await.unwrap(), []);

    proxy.spoil(puts, 0, 1, Fault::LoseAnswer);
    assert_eq!(through.put("lost", b"bytes").await.unwrap_err().status, 0);
    assert_eq!(owner.get("lost", None).await.unwrap(), b"bytes");

    proxy.spoil(puts, 0, 1, Fault::Cut { after: 3_000_000 });
    assert_eq!(through.put("cut", &vec![7; PART]).await.unwrap_err().status, 0);
    assert_eq!(owner.versions("cut").await.unwrap(), []);

    proxy.spoil(puts, 0, 1, Fault::Corrupt { at: 3 });
    let corrupt = through.put("corrupt", b"bytes").await.unwrap_err();
    assert_eq!(corrupt.status, 400, "{corrupt}");
    assert_eq!(owner.versions("corrupt").await.unwrap(), []);
    assert_eq!(proxy.seen().len(), 8, "{:#?}", proxy.seen());
}

#[tokio::test]
async fn https_is_trusted_by_its_own_authority_alone() {
    let rgw = Rgw::start(RgwOptions { tls: true, ..RgwOptions::default() }).unwrap();
    let bucket = rgw.create_bucket("vault", Lock::On).await.unwrap();
    bucket.put("a", b"bytes").await.unwrap();
    assert!(rgw.endpoint().starts_with("https://"));

    let other = Rgw::start(RgwOptions { tls: true, ..RgwOptions::default() }).unwrap();
    let stranger = Bucket::new(&rgw.endpoint(), other.authority(), "vault", rgw.owner()).unwrap();
    assert_eq!(stranger.get("a", None).await.unwrap_err().status, 0);
}

/// A named network namespace, which is deleted when dropped.
struct Netns(String);

impl Netns {
    fn new() -> Self {
        let name = format!("swarmdr-s3-{}", std::process::id());
        assert!(Command::new("ip").args(["netns", "add", &name]).status().unwrap().success());
        Self(name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        Command::new("ip").args(["netns", "delete", &self.0]).status().unwrap();
    }
}

#[tokio::test]
async fn gateway_in_a_network_namespace_is_reached_through_a_relay() {
    let netns = Netns::new();
    let path = PathBuf::from("/run/netns").join(&netns.0);
    let listen = Some(Ipv4Addr::LOCALHOST);
    let rgw = Rgw::start(RgwOptions { netns: Some(path), listen, tls: true, ..RgwOptions::default() }).unwrap();
    assert_eq!(rgw.endpoint(), "https://127.0.0.1:7480");
    std::net::TcpStream::connect(rgw.address()).expect_err("it is in another namespace");
    let bucket = rgw.create_bucket("vault", Lock::On).await.unwrap();
    bucket.put("a", b"bytes").await.unwrap();
    assert_eq!(bucket.get("a", None).await.unwrap(), b"bytes");
}

/// Counts the daemons of one gateway, wherever it was started.
fn daemons(address: &str) -> usize {
    let mark = format!("SWARMDR_SANDBOX={address}\0");
    let environments = fs::read_dir("/proc").unwrap().flatten().filter_map(|p| fs::read(p.path().join("environ")).ok());
    environments.filter(|environment| environment.windows(mark.len()).any(|w| w == mark.as_bytes())).count()
}

#[track_caller]
fn assert_gone(address: &str, within: Duration) {
    let begun = Instant::now();
    while daemons(address) > 0 {
        assert!(begun.elapsed() < within, "{} daemons of {address} are left", daemons(address));
        std::thread::sleep(Duration::from_millis(10));
    }
    // The daemons' mounts are in a namespace that ended with them; none may ever be in that of this process.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("/trees/rgw-"), "{mounts}");
}

#[test]
fn nothing_is_left_after_a_panic_even_with_frozen_storage() {
    let rgw = start(Release::V20);
    let address = rgw.address().ip().to_string();
    assert_eq!(daemons(&address), 3);
    rgw.freeze_storage().unwrap();
    let panicked = std::thread::spawn(move || {
        let _held = rgw;
        panic!("on purpose");
    });
    panicked.join().unwrap_err();
    assert_gone(&address, Duration::ZERO);
}

#[test]
fn nothing_is_left_after_the_program_ends_or_is_killed() {
    for killed in [false, true] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_rgw"))
            .args(["--release", "20"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
        let lines: Vec<_> = lines.take_while(|line| line != "READY=1").collect();
        let endpoint = lines.iter().find_map(|line| line.strip_prefix("AWS_ENDPOINT_URL=http://")).unwrap();
        let (address, _) = endpoint.split_once(':').unwrap();
        assert_eq!(daemons(address), 3);
        if killed {
            program.kill().unwrap();
        } else {
            drop(program.stdin.take());
        }
        let ended = program.wait().unwrap();
        assert_eq!(ended.success(), !killed);
        // A killed process cannot wait for its daemons; the kernel ends them.
        assert_gone(address, if killed { Duration::from_secs(10) } else { Duration::ZERO });
    }
}
