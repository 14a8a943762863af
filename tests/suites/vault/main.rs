//! The agent's vaults on real object stores: the promises that they keep, and their errors if they cannot.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod network;
mod streams;

use std::{fs, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use swarmdr_archive::TrustedKeys;
use swarmdr_http::Proxies;
use swarmdr_tests::s3::{Bucket, Fault, Identity, Lock, LossyProxy, Release, Rgw, RgwOptions};
use swarmdr_vault::{
    LockMode, LockPolicy, NO_PROGRESS, Target, Upload, Vault, VaultError, VaultSettings, VerifiedBy,
    catalog::{Filter, Skipped, Verdict, Visibility, Walk, clusters_of},
    object_name::REHEARSAL,
    settings::LockSettings,
    store,
    testkit::conformance::{self, Abilities},
};
use tempfile::TempDir;

const PART: u64 = 5 << 20;
const THRESHOLD: u64 = 8 << 20;

/// A gateway, and a directory for files.
struct Site {
    rgw: Rgw,
    directory: TempDir,
}

impl Site {
    fn start(options: RgwOptions) -> Site {
        Site { rgw: Rgw::start(options).unwrap(), directory: tempfile::tempdir().unwrap() }
    }

    fn release(release: Release) -> Site {
        Site::start(RgwOptions { release, ..RgwOptions::default() })
    }

    /// Returns settings as an operator would write them, with the credentials in a file.
    fn settings(&self, url: &str, by: &Identity) -> VaultSettings {
        let credentials = self.directory.path().join(format!("credentials-{}", by.name));
        let lines = format!("aws_access_key_id = {}\naws_secret_access_key = {}\n", by.access_key, by.secret_key);
        fs::write(&credentials, format!("[default]\n{lines}")).unwrap();
        VaultSettings {
            endpoint: Some(self.rgw.endpoint()),
            region: Some("us-east-1".into()),
            credentials_file: Some(credentials),
            lock: Some(LockSettings { mode: LockMode::Compliance, days: 1 }),
            multipart_threshold: Some(THRESHOLD),
            part_size: Some(PART),
            ..VaultSettings::new(url)
        }
    }

    /// Creates a bucket with Object Lock, and returns it as the owner sees it, with the writer's vault in it.
    async fn vault(&self, bucket: &str, prefix: &str) -> (Bucket, Arc<dyn Vault>) {
        let owner = self.rgw.create_bucket(bucket, Lock::On).await.unwrap();
        let settings = self.settings(&format!("s3://{bucket}{prefix}"), &self.rgw.writer().unwrap());
        (owner, connect(&settings).await)
    }

    fn upload(&self, key: &str, size: usize) -> Upload {
        upload(self.directory.path(), key, size)
    }
}

fn upload(directory: &Path, key: &str, size: usize) -> Upload {
    let file = directory.join(key.replace('/', "-"));
    let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
    fs::write(&file, bytes).unwrap();
    Upload::of_file(key, &file, Timestamp::now()).unwrap()
}

async fn connect(settings: &VaultSettings) -> Arc<dyn Vault> {
    let target = settings.target().unwrap();
    assert!(matches!(target, Target::S3(_)));
    target.connect(&Proxies::none()).await.unwrap()
}

fn abilities(release: Release) -> Abilities {
    let modern = release == Release::V20;
    Abilities {
        create_only: modern,
        create_only_in_a_race: false,
        verifies_checksum: modern,
        locks: true,
        locks_parts: modern,
        multipart_from: Some(THRESHOLD),
        stream_part: PART,
    }
}

#[tokio::test]
async fn rgw_20_conforms_with_and_without_a_prefix() {
    let site = Site::release(Release::V20);
    let (_, bare) = site.vault("bare", "").await;
    let (_, prefixed) = site.vault("prefixed", "/backups/prod swarm").await;
    let can = abilities(Release::V20);
    tokio::join!(conformance::run(bare, can), conformance::run(prefixed, can));
}

#[tokio::test]
async fn old_rgw_conforms_but_for_what_it_drops() {
    let site = Site::release(Release::Old);
    let (_, vault) = site.vault("vault", "/backups").await;
    conformance::run(vault, abilities(Release::Old)).await;
}

#[tokio::test]
async fn a_private_authority_is_trusted_from_its_file_only() {
    let site = Site::start(RgwOptions { tls: true, ..RgwOptions::default() });
    site.rgw.create_bucket("vault", Lock::On).await.unwrap();
    let mut settings = site.settings("s3://vault", &site.rgw.writer().unwrap());
    let error = connect(&settings).await.check().await.unwrap_err();
    assert!(matches!(error, VaultError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");

    let authority = site.directory.path().join("ca.pem");
    fs::write(&authority, site.rgw.authority().unwrap()).unwrap();
    settings.ca_file = Some(authority.clone());
    let vault = connect(&settings).await;
    vault.check().await.unwrap();
    let stored = store(&*vault, &site.upload("a", 1000), NO_PROGRESS).await.unwrap();
    assert_eq!(stored.verified_by, VerifiedBy::Vault);

    fs::write(&authority, "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n").unwrap();
    let error = settings.target().unwrap().connect(&Proxies::none()).await.unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
}

/// Issue: deleting a locked version with the writer's own credentials fails.
#[tokio::test]
async fn the_writer_cannot_delete_what_it_locked() {
    for release in [Release::V20, Release::Old] {
        let site = Site::release(release);
        let (owner, vault) = site.vault("vault", "/p").await;
        let stored = store(&*vault, &site.upload("a", 1000), NO_PROGRESS).await.unwrap();
        let error = vault.delete_version(&stored.at).await.unwrap_err();
        assert!(matches!(error, VaultError::AccessDenied { .. }), "{error:?}");
        // The owner may delete: only the lock prevents it.
        let refusal = owner.delete_version_bypassing("p/a", &stored.at.id).await.unwrap_err();
        assert_eq!(refusal.status, 403, "{refusal}");
        let writer = owner.by(&site.rgw.writer().unwrap()).unwrap();
        assert_eq!(writer.get("p/a", Some(&stored.at.id)).await.unwrap().len(), 1000);
    }
}

#[tokio::test]
async fn old_rgw_is_caught_when_it_drops_the_lock_of_a_multipart_upload() {
    let site = Site::release(Release::Old);
    let (owner, vault) = site.vault("vault", "").await;
    for _ in 0..2 {
        let error = store(&*vault, &site.upload("a", THRESHOLD as usize), NO_PROGRESS).await.unwrap_err();
        assert!(matches!(error, VaultError::LockDropped { found: None, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("dropped the lock") && text.contains("multipart_threshold"), "{text}");
    }
    assert_eq!(owner.versions("").await.unwrap().len(), 1, "trying again adds no copy");
}

#[tokio::test]
async fn old_rgw_stores_a_wrong_checksum_and_is_caught_by_reading_back() {
    let site = Site::release(Release::Old);
    let (_, vault) = site.vault("vault", "").await;
    let stored = store(&*vault, &site.upload("a", 1000), NO_PROGRESS).await.unwrap();
    assert_eq!(stored.verified_by, VerifiedBy::ReadBack);
    let mut wrong = site.upload("b", 1000);
    wrong.sha256[0] ^= 1;
    let error = store(&*vault, &wrong, NO_PROGRESS).await.unwrap_err();
    assert!(matches!(error, VaultError::ChecksumMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn a_bucket_that_cannot_keep_backups_is_named_with_the_fix() {
    let site = Site::release(Release::V20);
    let writer = site.rgw.writer().unwrap();
    site.rgw.create_bucket("plain", Lock::Off).await.unwrap();
    site.rgw.create_bucket("versions", Lock::VersionsOnly).await.unwrap();
    let check = async |bucket: &str| connect(&site.settings(&format!("s3://{bucket}"), &writer)).await.check().await;

    let error = check("nowhere").await.unwrap_err();
    assert!(matches!(error, VaultError::NoBucket { .. }), "{error:?}");
    assert!(error.to_string().contains("create it with versioning and Object Lock"), "{error}");
    let error = check("plain").await.unwrap_err();
    assert!(matches!(error, VaultError::NotVersioned { .. }), "{error:?}");
    let error = check("versions").await.unwrap_err();
    assert!(matches!(error, VaultError::NoObjectLock { .. }), "{error:?}");

    // A put fails in the same way without a check before it.
    let vault = connect(&site.settings("s3://versions", &writer)).await;
    let error = store(&*vault, &site.upload("a", 1000), NO_PROGRESS).await.unwrap_err();
    assert!(matches!(error, VaultError::NoObjectLock { .. }), "{error:?}");
}

#[tokio::test]
async fn credentials_that_do_not_work_are_told_from_missing_rights() {
    let site = Site::release(Release::V20);
    site.rgw.create_bucket("vault", Lock::On).await.unwrap();
    let writer = site.rgw.writer().unwrap();
    let check = async |settings: &VaultSettings| connect(settings).await.check().await.unwrap_err();

    let secret = "wrongwrongwrongwrongwrongwrongwrongwrong";
    for by in [
        Identity { name: "wrong-secret".into(), secret_key: secret.into(), ..writer.clone() },
        Identity { name: "wrong-key".into(), access_key: "AKIAAAAAAAAAAAAAAAAA".into(), ..writer.clone() },
    ] {
        let error = check(&site.settings("s3://vault", &by)).await;
        assert!(matches!(error, VaultError::WrongCredentials { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains(&by.secret_key), "no secret in {error:?}");
    }

    let mut settings = site.settings("s3://vault", &writer);
    settings.credentials_file = Some(site.directory.path().join("nothing-here"));
    let error = check(&settings).await;
    assert!(matches!(error, VaultError::WrongCredentials { .. }), "{error:?}");

    let stranger = site.rgw.user("stranger").unwrap();
    let error = check(&site.settings("s3://vault", &stranger)).await;
    assert!(matches!(error, VaultError::AccessDenied { .. }), "{error:?}");

    let reader = connect(&site.settings("s3://vault", &site.rgw.reader().unwrap())).await;
    reader.check().await.unwrap();
    let error = store(&*reader, &site.upload("a", 1000), NO_PROGRESS).await.unwrap_err();
    assert!(matches!(error, VaultError::AccessDenied { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable() {
    let site = Site::release(Release::V20);
    let (_, vault) = site.vault("vault", "").await;
    site.rgw.kill_gateway().unwrap();
    let error = vault.check().await.unwrap_err();
    assert!(matches!(error, VaultError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&site.rgw.endpoint()), "{error}");
    site.rgw.restart_gateway().unwrap();
    vault.check().await.unwrap();
}

/// The stored objects are no archives; the catalog's own tests use signed ones in memory.
#[tokio::test]
async fn the_catalog_sees_below_what_the_owner_lays_on_top() {
    for release in [Release::V20, Release::Old] {
        let site = Site::release(release);
        let (owner, vault) = site.vault("vault", "/p").await;
        let name = |minute: u32| format!("q9x0h2k7m1c4v8b6n3z5a7s2d/20261121T10{minute:02}00Z-0a1b2c3d.swarmdr");
        let plain = store(&*vault, &site.upload(&name(0), 1000), NO_PROGRESS).await.unwrap();
        let covered = store(&*vault, &site.upload(&name(1), 1001), NO_PROGRESS).await.unwrap();
        let hidden = store(&*vault, &site.upload(&name(2), 1002), NO_PROGRESS).await.unwrap();
        let top = owner.put(&format!("p/{}", name(1)), b"junk").await.unwrap();
        owner.hide(&format!("p/{}", name(2))).await.unwrap();
        owner.put("p/README", b"junk").await.unwrap();

        let keys = TrustedKeys::new();
        let cluster = "q9x0h2k7m1c4v8b6n3z5a7s2d".parse().unwrap();
        let mut walk = Walk::new(&*vault, &cluster, &Filter::default(), &keys, Timestamp::now());
        let mut seen = Vec::new();
        while let Some(entry) = walk.next().await.unwrap() {
            assert!(matches!(entry.verdict, Verdict::Damaged(_)), "{entry}");
            seen.push((entry.at.id, entry.size, entry.visibility));
        }
        let (plain, covered, hidden) = (plain.at.id, covered.at.id, hidden.at.id);
        let expected = [
            (hidden, 1002, Visibility::UnderDeleteMarker),
            (covered, 1001, Visibility::UnderNewerVersion),
            (top, 4, Visibility::Plain),
            (plain, 1000, Visibility::Plain),
        ];
        assert_eq!(seen, expected, "{release:?}");
        assert_eq!(*walk.skipped(), Skipped::default());
        let clusters = clusters_of(&*vault, &Filter::default()).await.unwrap();
        assert_eq!((clusters.names, clusters.junk), (vec![cluster], 1));
    }
}

/// Returns a proxy, the owner's view of a bucket past it, and the vault behind it.
async fn behind_proxy(site: &Site) -> (LossyProxy, Bucket, Arc<dyn Vault>) {
    let proxy = LossyProxy::start(site.rgw.address()).unwrap();
    let owner = site.rgw.create_bucket("vault", Lock::On).await.unwrap();
    let mut settings = site.settings("s3://vault", &site.rgw.writer().unwrap());
    settings.endpoint = Some(proxy.endpoint());
    (proxy, owner, connect(&settings).await)
}

const PUTS: &str = "PUT /vault/";

#[tokio::test]
async fn a_lost_reply_makes_no_second_locked_version() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    proxy.spoil(PUTS, 0, 1, Fault::LoseAnswer);
    let stored = store(&*vault, &site.upload("a", 100_000), NO_PROGRESS).await.unwrap();
    assert!(!stored.was_there);
    let versions = owner.versions("").await.unwrap();
    assert_eq!(versions.iter().map(|version| &version.id).collect::<Vec<_>>(), [&stored.at.id]);
    assert_eq!(count(&proxy, PUTS), 1);
}

#[tokio::test]
async fn the_lost_reply_of_a_completion_makes_no_second_version() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    // The first POST begins the upload, the second completes it.
    proxy.spoil("POST /vault/", 1, 1, Fault::LoseAnswer);
    let stored = store(&*vault, &site.upload("a", THRESHOLD as usize), NO_PROGRESS).await.unwrap();
    let versions = owner.versions("").await.unwrap();
    assert_eq!(versions.iter().map(|version| &version.id).collect::<Vec<_>>(), [&stored.at.id]);
    assert_eq!(vault.unfinished().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_busy_server_and_a_cut_upload_are_tried_again() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    proxy.spoil(PUTS, 0, 1, Fault::SlowDown);
    proxy.spoil(PUTS, 0, 1, Fault::Cut { after: 50_000 });
    store(&*vault, &site.upload("a", 100_000), NO_PROGRESS).await.unwrap();
    assert_eq!((owner.versions("").await.unwrap().len(), count(&proxy, PUTS)), (1, 3));
}

#[tokio::test]
async fn a_rehearsed_put_stores_nothing() {
    for release in [Release::V20, Release::Old] {
        let site = Site::release(release);
        let (owner, vault) = site.vault("vault", "/p").await;
        vault.rehearse(REHEARSAL, Timestamp::now()).await.unwrap();
        assert_eq!(owner.versions("").await.unwrap(), [], "{release:?}");
    }
}

#[tokio::test]
async fn a_header_that_a_server_does_not_know_is_named_and_not_tried_again() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    proxy.spoil(PUTS, 0, 2, Fault::NotImplemented);
    let rehearsed = vault.rehearse(REHEARSAL, Timestamp::now()).await.unwrap_err();
    let stored = store(&*vault, &site.upload("a", 1000), NO_PROGRESS).await.unwrap_err();
    for error in [rehearsed, stored] {
        assert!(matches!(error, VaultError::NotSupported { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("if-none-match") && text.contains("conditional_put = false"), "{text}");
    }
    assert_eq!((owner.versions("").await.unwrap().len(), count(&proxy, PUTS)), (0, 2));
}

#[tokio::test]
async fn a_vault_without_conditional_puts_stores_each_backup_once() {
    let site = Site::release(Release::V20);
    let (proxy, owner, _) = behind_proxy(&site).await;
    let mut settings = site.settings("s3://vault", &site.rgw.writer().unwrap());
    (settings.endpoint, settings.conditional_put) = (Some(proxy.endpoint()), false);
    let vault = connect(&settings).await;
    proxy.spoil(PUTS, 0, 1, Fault::LoseAnswer);
    for (size, was_there) in [(1000, false), (1000, true)] {
        let stored = store(&*vault, &site.upload("a", size), NO_PROGRESS).await.unwrap();
        assert_eq!(stored.was_there, was_there);
    }
    assert_eq!(owner.versions("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_login_page_in_between_is_called_so() {
    let site = Site::release(Release::V20);
    let (proxy, _, vault) = behind_proxy(&site).await;
    let stored = store(&*vault, &site.upload("a", 1000), NO_PROGRESS).await.unwrap();
    proxy.spoil("GET /vault", 0, usize::MAX, Fault::LoginPage);
    for error in [vault.check().await.unwrap_err(), vault.open(&stored.at, 0..10).await.err().unwrap()] {
        assert!(matches!(error, VaultError::NotS3 { .. }), "{error:?}");
        assert!(error.to_string().contains("a web page"), "{error}");
    }
}

/// The test takes two minutes: four times the timeout for an answer.
#[tokio::test]
async fn a_server_that_never_answers_is_given_up_and_named() {
    let site = Site::release(Release::V20);
    let (proxy, _, vault) = behind_proxy(&site).await;
    proxy.spoil("GET /vault", 0, usize::MAX, Fault::Silence);
    let error = tokio::time::timeout(Duration::from_secs(180), vault.check()).await.unwrap().unwrap_err();
    assert!(matches!(error, VaultError::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("s3://vault") && text.contains(&proxy.endpoint()) && text.contains("timeout"), "{text}");
}

#[tokio::test]
async fn bytes_altered_on_the_way_are_refused() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    proxy.spoil(PUTS, 0, 1, Fault::Corrupt { at: 70_000 });
    let error = store(&*vault, &site.upload("a", 100_000), NO_PROGRESS).await.unwrap_err();
    assert!(matches!(error, VaultError::ChecksumMismatch { .. }), "{error:?}");
    assert_eq!(owner.versions("").await.unwrap(), []);
}

#[tokio::test]
async fn a_part_that_is_cut_is_sent_again_alone() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    proxy.spoil(PUTS, 1, 1, Fault::Cut { after: 1_000_000 });
    store(&*vault, &site.upload("a", THRESHOLD as usize), NO_PROGRESS).await.unwrap();
    assert_eq!(owner.versions("").await.unwrap().len(), 1);
    assert_eq!(count(&proxy, PUTS), 3, "two parts, one of them twice");
}

#[tokio::test]
async fn parts_that_cannot_be_sent_leave_nothing() {
    let site = Site::release(Release::V20);
    let (proxy, owner, vault) = behind_proxy(&site).await;
    proxy.spoil(PUTS, 0, 1000, Fault::Cut { after: 1_000_000 });
    let error = store(&*vault, &site.upload("a", THRESHOLD as usize), NO_PROGRESS).await.unwrap_err();
    assert!(matches!(error, VaultError::Unreachable { .. }), "{error:?}");
    assert_eq!(owner.versions("").await.unwrap(), []);
    assert_eq!(vault.unfinished().await.unwrap(), [""; 0]);
}

/// A governance lock, and a download that breaks.
#[tokio::test]
async fn a_broken_download_goes_on() {
    let site = Site::release(Release::V20);
    site.rgw.create_bucket("vault", Lock::On).await.unwrap();
    let mut settings = site.settings("s3://vault", &site.rgw.writer().unwrap());
    settings.lock = Some(LockSettings { mode: LockMode::Governance, days: 2 });
    let vault = connect(&settings).await;
    assert_eq!(vault.lock_policy(), Some(LockPolicy { mode: LockMode::Governance, days: 2 }));
    let upload = site.upload("a", 4 << 20);
    let stored = store(&*vault, &upload, NO_PROGRESS).await.unwrap();
    assert_eq!(stored.lock.unwrap().mode, LockMode::Governance);

    let proxy = LossyProxy::start(site.rgw.address()).unwrap();
    settings.endpoint = Some(proxy.endpoint());
    let vault = connect(&settings).await;
    proxy.spoil("GET /vault/a", 0, 2, Fault::LoseAnswer);
    let mut content = Vec::new();
    let fetched = swarmdr_vault::fetch(&*vault, &stored.at, stored.size, &mut content, NO_PROGRESS);
    let fetched = tokio::time::timeout(Duration::from_secs(60), fetched).await.unwrap().unwrap();
    assert_eq!(fetched.sha256, upload.sha256);
}

fn count(proxy: &LossyProxy, start: &str) -> usize {
    proxy.seen().iter().filter(|line| line.starts_with(start)).count()
}
