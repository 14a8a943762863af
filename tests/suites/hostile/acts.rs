//! Requests that each attack sends to a bucket.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, ObjectLockConfiguration, ObjectLockEnabled, VersioningConfiguration,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use swarmdr_archive::{PublicKey, SecretKey, reader};
use swarmdr_tests::{
    s3::{Bucket, Mode, Refusal, Retention},
    scenario::Site,
};

use super::forge::{self, Genuine, MadeUp};

/// A bucket with genuine backups, as its owner and as its writer see it.
pub struct Scene<'a> {
    pub site: &'a Site,
    pub owner: Bucket,
    pub writer: Bucket,
    pub genuine: &'a [Genuine],
    /// Version ids of the stored backups, in the same order.
    pub versions: Vec<String>,
    pub lock: Retention,
}

fn full(key: &str) -> String {
    format!("prod/{key}")
}

fn refused<T>(answer: Result<T, Refusal>, what: &str) -> Result<()> {
    let refusal = answer.err().with_context(|| format!("the server lets the writer {what}"))?;
    ensure!(refusal.status == 403, "{what}: {refusal}");
    Ok(())
}

/// Returns a key of the same swarm, this many minutes after the newest.
fn newer(scene: &Scene<'_>, minutes: i64) -> String {
    full(&scene.genuine[2].key_later(SignedDuration::from_mins(minutes), 0xbad))
}

async fn put(scene: &Scene<'_>, key: &str, bytes: &[u8]) -> Result<()> {
    scene.writer.put_locked(key, bytes, scene.lock).await.with_context(|| format!("failed to put {key}"))?;
    Ok(())
}

fn attacker() -> Result<SecretKey> {
    Ok(SecretKey::generate(&SystemRandom::new())?)
}

pub async fn delete_versions(scene: &Scene<'_>) -> Result<()> {
    for (backup, version) in scene.genuine.iter().zip(&scene.versions) {
        refused(scene.writer.delete_version(&full(&backup.key), version).await, "delete a version")?;
        refused(scene.owner.delete_version(&full(&backup.key), version).await, "delete a version as the owner")?;
    }
    Ok(())
}

pub async fn delete_bypassing(scene: &Scene<'_>) -> Result<()> {
    for (backup, version) in scene.genuine.iter().zip(&scene.versions) {
        refused(scene.writer.delete_version_bypassing(&full(&backup.key), version).await, "bypass")?;
        refused(scene.owner.delete_version_bypassing(&full(&backup.key), version).await, "bypass as the owner")?;
    }
    Ok(())
}

pub async fn shorten(scene: &Scene<'_>) -> Result<()> {
    let soon = Retention::new(Mode::Compliance, Duration::from_secs(60));
    for (backup, version) in scene.genuine.iter().zip(&scene.versions) {
        for bypass in [false, true] {
            refused(scene.writer.set_retention(&full(&backup.key), version, soon, bypass).await, "shorten a lock")?;
        }
    }
    Ok(())
}

pub async fn weaken(scene: &Scene<'_>) -> Result<()> {
    let weaker = Retention { mode: Mode::Governance, ..scene.lock };
    for (backup, version) in scene.genuine.iter().zip(&scene.versions) {
        refused(scene.writer.set_retention(&full(&backup.key), version, weaker, true).await, "weaken a lock")?;
    }
    Ok(())
}

/// Extends a lock, which costs money and harms no backup: see the threat model.
pub async fn extend_lock(scene: &Scene<'_>) -> Result<()> {
    let long = Retention::new(Mode::Compliance, Duration::from_secs(48 * 3600));
    scene.writer.set_retention(&full(&scene.genuine[0].key), &scene.versions[0], long, false).await?;
    Ok(())
}

pub async fn reconfigure(scene: &Scene<'_>) -> Result<()> {
    let (client, bucket) = (&scene.writer.client, &scene.writer.name);
    let off = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    let put = client.put_bucket_versioning().bucket(bucket).versioning_configuration(off).send().await;
    refused(put.map_err(Refusal::from), "suspend versions")?;
    let unlocked = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).build();
    let put = client.put_object_lock_configuration().bucket(bucket).object_lock_configuration(unlocked).send().await;
    refused(put.map_err(Refusal::from), "change the locks of the bucket")?;
    let expire = LifecycleRule::builder()
        .id("expire")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .expiration(LifecycleExpiration::builder().days(1).build())
        .build()?;
    let rules = BucketLifecycleConfiguration::builder().rules(expire).build()?;
    let put = client.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(rules).send().await;
    refused(put.map_err(Refusal::from), "expire objects")?;
    refused(
        client.put_bucket_policy().bucket(bucket).policy("{}").send().await.map_err(Refusal::from),
        "set a policy",
    )?;
    refused(client.delete_bucket().bucket(bucket).send().await.map_err(Refusal::from), "delete the bucket")
}

pub async fn hide_as_writer(scene: &Scene<'_>) -> Result<()> {
    for backup in scene.genuine {
        refused(scene.writer.hide(&full(&backup.key)).await, "lay a delete marker")?;
    }
    Ok(())
}

pub async fn hide_all(scene: &Scene<'_>) -> Result<()> {
    for backup in scene.genuine {
        scene.owner.hide(&full(&backup.key)).await?;
    }
    Ok(())
}

pub async fn unfinished_upload(scene: &Scene<'_>) -> Result<()> {
    let key = newer(scene, 1);
    let begin = scene.writer.client.create_multipart_upload().bucket(&scene.writer.name).key(key);
    begin.send().await.map_err(Refusal::from)?;
    Ok(())
}

pub async fn junk_on_top(scene: &Scene<'_>) -> Result<()> {
    for backup in scene.genuine {
        put(scene, &full(&backup.key), b"junk").await?;
    }
    Ok(())
}

pub async fn many_on_top(scene: &Scene<'_>) -> Result<()> {
    let key = full(&scene.genuine[2].key);
    many(scene, 300, move |_| key.clone(), b"junk").await
}

pub async fn old_on_top(scene: &Scene<'_>) -> Result<()> {
    put(scene, &full(&scene.genuine[2].key), &scene.genuine[0].bytes).await
}

pub async fn copy_on_top(scene: &Scene<'_>) -> Result<()> {
    put(scene, &full(&scene.genuine[2].key), &scene.genuine[2].bytes).await
}

/// Puts a copy with another payload on top of the newest backup, or in its place if that was not stored. The head stays
/// as it is signed; one byte of the encrypted payload differs.
pub async fn another_payload(scene: &Scene<'_>) -> Result<()> {
    let backup = &scene.genuine[2];
    let keys = scene.site.public_key.parse::<PublicKey>()?.into();
    let head = reader::read_head(&backup.bytes[..])?.verify(&keys)?;
    let mut bytes = backup.bytes.clone();
    bytes[(head.payload_offset + head.manifest.payload.size / 2) as usize] ^= 1;
    put(scene, &full(&backup.key), &bytes).await
}

pub async fn replay(scene: &Scene<'_>) -> Result<()> {
    put(scene, &newer(scene, 2), &scene.genuine[0].bytes).await
}

pub async fn forge_newer(scene: &Scene<'_>) -> Result<()> {
    let key = attacker()?;
    let made_up = MadeUp {
        cluster: &scene.genuine[0].cluster(),
        created_at: Timestamp::now() + SignedDuration::from_mins(5),
        previous: None,
        key: &key,
        recipient: &scene.site.recipient,
    };
    let (forged, _) = forge::archive(&made_up)?;
    put(scene, &full(&forged.key), &forged.bytes).await
}

pub async fn forge_far(scene: &Scene<'_>) -> Result<()> {
    let key = format!("prod/{}/99991230T000000Z-00000bad.swarmdr", scene.genuine[0].cluster());
    put(scene, &key, &scene.genuine[2].bytes).await
}

pub async fn alter_manifest(scene: &Scene<'_>) -> Result<()> {
    let mut bytes = scene.genuine[2].bytes.clone();
    let field = b"\"engine_version\"";
    let at = bytes.windows(field.len()).position(|it| it == field).context("the manifest has the engine's version")?;
    let digit = bytes[at..].iter().position(u8::is_ascii_digit).context("a version begins with a digit")?;
    bytes[at + digit] = b'9';
    put(scene, &newer(scene, 3), &bytes).await
}

/// Puts the newest backup with the signature of an older one. A member of a tar is a header of 512 bytes, then the
/// content in blocks of 512.
pub async fn old_signature(scene: &Scene<'_>) -> Result<()> {
    let signature = |bytes: &[u8]| -> Result<usize> {
        let name = b"manifest.json.minisig\0";
        bytes.windows(name.len()).position(|it| it == name).context("the archive has a signature")
    };
    let (old, mut bytes) = (&scene.genuine[0].bytes, scene.genuine[2].bytes.clone());
    let (from, to) = (signature(old)? + 512, signature(&bytes)? + 512);
    bytes[to..to + 512].copy_from_slice(&old[from..from + 512]);
    put(scene, &newer(scene, 4), &bytes).await
}

/// Puts truncated copies under their own names, as versions on top, which come first in a plain listing.
pub async fn truncated(scene: &Scene<'_>) -> Result<()> {
    let bytes = &scene.genuine[2].bytes;
    put(scene, &full(&scene.genuine[2].key), &bytes[..bytes.len() - 600]).await?;
    put(scene, &full(&scene.genuine[1].key), &scene.genuine[1].bytes[..9000]).await
}

pub async fn cut_head(scene: &Scene<'_>) -> Result<()> {
    put(scene, &newer(scene, 5), &scene.genuine[2].bytes[..700]).await
}

pub async fn empty(scene: &Scene<'_>) -> Result<()> {
    put(scene, &newer(scene, 6), b"").await
}

/// Returns a tar header with this size, in octal digits, and a valid checksum.
fn header(name: &str, size: &str) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..124 + size.len()].copy_from_slice(size.as_bytes());
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

pub async fn giant_manifest(scene: &Scene<'_>) -> Result<()> {
    let mut bytes = header("manifest.json", "77777777777");
    bytes.resize(100_000, b' ');
    put(scene, &newer(scene, 7), &bytes).await
}

pub async fn long_manifest(scene: &Scene<'_>) -> Result<()> {
    let mut bytes = header("manifest.json", &format!("{:011o}", 20 << 20));
    bytes.resize(512 + (20 << 20), b' ');
    put(scene, &newer(scene, 8), &bytes).await
}

/// Makes an archive that is signed by the managers' own key, as from a second swarm of the same owner.
fn other_swarm(scene: &Scene<'_>) -> Result<Genuine> {
    let key = SecretKey::from_minisign_str(scene.site.signing_key())?;
    let made_up = MadeUp {
        cluster: "anotherswarmanotherswarm2",
        created_at: Timestamp::now() + SignedDuration::from_mins(1),
        previous: None,
        key: &key,
        recipient: &scene.site.recipient,
    };
    Ok(forge::archive(&made_up)?.0)
}

pub async fn other_among(scene: &Scene<'_>) -> Result<()> {
    put(scene, &newer(scene, 9), &other_swarm(scene)?.bytes).await
}

pub async fn other_beside(scene: &Scene<'_>) -> Result<()> {
    let other = other_swarm(scene)?;
    put(scene, &full(&other.key), &other.bytes).await
}

pub async fn made_up_swarms(scene: &Scene<'_>) -> Result<()> {
    // Servers report whole seconds, and an attacker comes after the first backup.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let key = |i| format!("prod/{i:025}/20991121T000000Z-00000bad.swarmdr");
    many(scene, 200, key, b"junk").await
}

pub async fn odd_keys(scene: &Scene<'_>) -> Result<()> {
    let cluster = scene.genuine[0].cluster();
    for odd in ["a\u{1}b\tc", "]]>&lt;", "%00%2f..%2f", "ü€😀", "../../etc/passwd", " ", "a//b", "\u{202e}gnp"] {
        put(scene, &format!("prod/{cluster}/{odd}"), b"junk").await?;
    }
    Ok(())
}

pub async fn directories(scene: &Scene<'_>) -> Result<()> {
    for backup in scene.genuine {
        put(scene, &format!("{}/x", full(&backup.key)), b"junk").await?;
        put(scene, &format!("{}/", full(&backup.key)), b"").await?;
    }
    Ok(())
}

pub async fn junk_around(scene: &Scene<'_>) -> Result<()> {
    let cluster = scene.genuine[0].cluster();
    let second = scene.genuine[2].id()[..16].to_owned();
    let key = |i: usize| match i % 3 {
        0 => format!("prod/{cluster}/!{i:07}"),
        1 => format!("prod/{cluster}/{second}-!{i:07}"),
        _ => format!("prod/{cluster}/~{i:07}"),
    };
    many(scene, 1200, key, b"junk").await
}

pub async fn junk_in_one_minute(scene: &Scene<'_>, count: usize) -> Result<()> {
    let cluster = scene.genuine[0].cluster();
    let second = scene.genuine[2].id()[..16].to_owned();
    many(scene, count, |i| format!("prod/{cluster}/{second}-!{i:07}"), b"junk").await
}

pub async fn flood(scene: &Scene<'_>) -> Result<()> {
    forged_newer(scene, 1100).await
}

/// Puts forged backups that are named from four hours after the newest on, a second apart.
pub async fn forged_newer(scene: &Scene<'_>, count: usize) -> Result<()> {
    let key = |i| full(&scene.genuine[2].key_later(SignedDuration::from_secs(4 * 3600 + i as i64), 0xbad));
    let head = &scene.genuine[0].bytes[..4096];
    many(scene, count, key, head).await
}

pub async fn backdated(scene: &Scene<'_>) -> Result<()> {
    let key = |i| full(&scene.genuine[0].key_later(SignedDuration::from_hours(-24 * 365 - i as i64), 0xbad));
    many(scene, 20, key, b"junk").await
}

/// Puts many objects, as many at once as a client would.
async fn many(scene: &Scene<'_>, count: usize, key: impl Fn(usize) -> String, bytes: &[u8]) -> Result<()> {
    stream::iter((0..count).map(|i| (key(i), scene.writer.clone())))
        .map(|(key, writer)| async move { writer.put(&key, bytes).await.map(drop) })
        .buffer_unordered(24)
        .try_collect::<()>()
        .await
        .context("failed to put many objects")
}
