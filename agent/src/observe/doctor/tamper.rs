//! Whether this host's own credentials can delete, unlock or hide the backups that this host stores.
//!
//! Each attempt is real. It is made on a small object under [`DOCTOR`] that is stored and locked exactly as a backup
//! is, and that nothing else uses. One such object is used until its lock ends; the next run then stores another.

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::BackupId;
use swarmdr_vault::{
    Lock, Tampering, Vault, VaultError, Version, VersionRef,
    object_name::{DOCTOR, RACE},
    store_bytes,
};

use super::Check;
use crate::host::random;

/// How long the lock of the test object must still last: a lock that ends sooner proves nothing.
const STILL_LOCKED: SignedDuration = SignedDuration::from_hours(1);

/// How far in the future the end of a lock is set in the attempt to shorten it.
const SHORTER: SignedDuration = SignedDuration::from_mins(1);

const CONTENT: &[u8] = b"swarmdr-agent doctor tries on this object what must not be possible. It holds nothing.\n";

/// Tries to tamper with a locked object. Returns no checks for a vault without locks, which `vault.mode` reports.
///
/// `can_deny`: whether the server knows the policy condition that forbids to put a newer version over a key. AWS does.
pub async fn check(vault: &dyn Vault, now: Timestamp, can_deny: bool) -> Vec<Check> {
    if vault.lock_policy().is_none() {
        return Vec::new();
    }
    let (at, lock) = match probe(vault, now).await {
        Ok(probe) => probe,
        Err(error) => return vec![Check::failed("vault.lock", &error)],
    };
    let until = now.checked_add(SHORTER).unwrap_or(now);
    let mut checks = Vec::new();
    for (name, how, what) in [
        ("vault.delete", Tampering::Delete { bypass: false }, "delete a locked version"),
        ("vault.bypass", Tampering::Delete { bypass: true }, "delete a locked version by bypassing governance"),
        ("vault.shorten", Tampering::Shorten { until, bypass: false }, "shorten a lock"),
        ("vault.shorten-bypass", Tampering::Shorten { until, bypass: true }, "shorten a lock by bypassing governance"),
    ] {
        checks.push(judge(name, what, vault.tamper(&at, how).await));
    }
    checks.push(hide(vault.tamper(&at, Tampering::Hide).await));
    checks.push(overlay(vault, &at, can_deny).await);
    checks.insert(0, held(vault, &at, lock).await);
    checks
}

/// Returns the test object of an earlier run if it is still locked long enough, or else stores a new one.
async fn probe(vault: &dyn Vault, now: Timestamp) -> Result<(VersionRef, Lock)> {
    let page = vault.list_versions(DOCTOR, None).await?;
    let own = |version: &Version| !version.is_delete_marker && !version.at.key.starts_with(RACE);
    for version in page.versions.into_iter().rev().filter(own).take(4) {
        let head = vault.head(&version.at).await?;
        if let Some(lock) = head.lock.filter(|lock| lock.until > now + STILL_LOCKED) {
            return Ok((version.at, lock));
        }
    }
    // Runs of several managers may begin in the same second.
    let key = format!("{DOCTOR}{}", BackupId::new(now, random::tag()?));
    let stored = store_bytes(vault, key, CONTENT, now).await?;
    Ok((stored.at, stored.lock.context("the vault did not lock the test object, although it can lock")?))
}

fn judge(name: &str, what: &str, answer: Result<(), VaultError>) -> Check {
    match answer {
        Ok(()) => Check::fail(name, format!("these credentials can {what}: so can anyone who breaks into this host"))
            .fix(
                "allow them s3:PutObject and s3:PutObjectRetention only, deny s3:DeleteObjectVersion and \
                 s3:BypassGovernanceRetention, and use COMPLIANCE mode",
            ),
        Err(error) if error.is_inconclusive() => Check::failed(name, &error.into()),
        Err(VaultError::AccessDenied { detail, .. }) => Check::ok(name, format!("cannot {what} ({detail})")),
        // Some servers refuse with another error; it only matters that they refused.
        Err(error) => Check::ok(name, format!("cannot {what} ({error})")),
    }
}

/// Whether backups can be hidden: a delete marker deletes nothing, but plain tools no longer see the versions below it.
fn hide(answer: Result<(), VaultError>) -> Check {
    const NAME: &str = "vault.hide";
    match answer {
        Ok(()) => Check::warn(
            NAME,
            "these credentials can hide backups under delete markers; a restore finds them nevertheless",
        )
        .fix("remove the permission s3:DeleteObject"),
        Err(error) if error.is_inconclusive() => Check::failed(NAME, &error.into()),
        Err(_) => Check::ok(NAME, "cannot place delete markers"),
    }
}

const COVERED: &str =
    "these credentials can put newer versions over backups; a restore finds the covered ones nevertheless";

/// Whether a newer version can be put over a backup. The covered version is not lost until a lifecycle rule of the
/// bucket removes it for its age.
async fn overlay(vault: &dyn Vault, at: &VersionRef, can_deny: bool) -> Check {
    const NAME: &str = "vault.overlay";
    let laid_before = vault.list_versions(&at.key, None).await.map(|page| {
        let versions = page.versions.iter().filter(|version| version.at.key == at.key && !version.is_delete_marker);
        versions.count() > 1
    });
    // If an earlier run could do it, no further version is needed to know.
    let answer = match laid_before {
        Ok(true) => Ok(()),
        Ok(false) => vault.tamper(at, Tampering::Overlay).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(()) if can_deny => Check::warn(NAME, COVERED).fix(
            "let the bucket's policy deny s3:PutObject without If-None-Match (policy-bucket.json), and let no lifecycle \
             rule remove covered versions sooner than the backups themselves",
        ),
        // Nothing can be done about it on such a server, but the operator should know what a lifecycle rule would do.
        Ok(()) => Check::ok(NAME, format!("{COVERED}, as long as no lifecycle rule removes them")),
        Err(error) if error.is_inconclusive() => Check::failed(NAME, &error.into()),
        Err(_) => Check::ok(NAME, "cannot put versions on top of backups"),
    }
}

/// Whether the object is still there and locked as well as before. Checked last, although it is reported first.
async fn held(vault: &dyn Vault, at: &VersionRef, before: Lock) -> Check {
    const NAME: &str = "vault.lock";
    match vault.head(at).await.map(|head| head.lock) {
        Ok(Some(lock)) if lock.covers(&before) => {
            Check::ok(NAME, format!("a test object is locked in {} mode until {}", lock.mode, lock.until))
        }
        Ok(lock) => Check::fail(NAME, format!("the lock did not hold: it was {before:?} and is {lock:?}"))
            .fix("do not rely on this bucket"),
        Err(VaultError::NotFound { .. }) => {
            Check::fail(NAME, "a locked test object could be deleted").fix("do not rely on this bucket")
        }
        Err(error) => Check::failed(NAME, &error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::doctor::Level;
    use swarmdr_vault::{LockMode, LockPolicy, testkit::memory::MemoryVault};

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().expect("is a time")
    }

    fn levels(checks: &[Check]) -> Vec<(&str, Level)> {
        checks.iter().map(|check| (check.name.as_str(), check.level)).collect()
    }

    #[tokio::test]
    async fn one_object_serves_until_its_lock_ends() {
        let vault = Arc::new(MemoryVault::new("v", Some(LockPolicy { mode: LockMode::Compliance, days: 2 })));
        let checks = check(vault.as_ref(), now(), true).await;
        let expected = [
            ("vault.lock", Level::Ok),
            ("vault.delete", Level::Ok),
            ("vault.bypass", Level::Ok),
            ("vault.shorten", Level::Ok),
            ("vault.shorten-bypass", Level::Ok),
            // The memory vault lets any caller place delete markers.
            ("vault.hide", Level::Warn),
            ("vault.overlay", Level::Warn),
        ];
        assert_eq!(levels(&checks), expected, "{checks:#?}");
        let objects = async || {
            let page = vault.list_versions(DOCTOR, None).await.expect("lists");
            page.versions.iter().filter(|version| !version.is_delete_marker).count()
        };
        check(vault.as_ref(), now() + SignedDuration::from_hours(24), true).await;
        // The test object, and the one version that was put on top of it.
        assert_eq!(objects().await, 2);
        check(vault.as_ref(), now() + SignedDuration::from_hours(47), true).await;
        assert_eq!(objects().await, 4);
    }

    #[tokio::test]
    async fn a_vault_that_gives_way_is_told_in_red() {
        let vault = MemoryVault::new("v", Some(LockPolicy { mode: LockMode::Governance, days: 2 })).with_bypass();
        let checks = check(&vault, now(), false).await;
        let failed: Vec<_> = checks.iter().filter(|check| check.level == Level::Fail).map(|it| &*it.name).collect();
        assert_eq!(failed, ["vault.lock", "vault.bypass"], "{checks:#?}");
        assert!(checks[2].found.contains("these credentials can delete a locked version"), "{checks:#?}");
        // Its test object is gone, so another run in the same second stores one too.
        assert_eq!(levels(&check(&vault, now(), false).await), levels(&checks));
    }

    #[tokio::test]
    async fn a_vault_without_locks_is_not_tried() {
        assert_eq!(check(&MemoryVault::new("v", None), now(), true).await, []);
    }
}
