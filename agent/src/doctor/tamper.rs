//! Whether what this host stores could be taken away again with this host's own credentials.
//!
//! Each attempt is made for real, on a small object under [`DOCTOR`] that is stored and locked exactly as a backup is and
//! that nobody needs. One such object serves until its lock ends; then the next run of the doctor puts another.

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};

use super::Check;
use crate::vault::{Lock, Tampering, Vault, VaultError, VersionRef, object_name::DOCTOR, store_bytes};

/// An object whose lock ends sooner proves nothing.
const STILL_LOCKED: SignedDuration = SignedDuration::from_hours(1);

/// Where a lock is tried to be shortened to.
const SHORTER: SignedDuration = SignedDuration::from_mins(1);

const CONTENT: &[u8] = b"swarmdr-agent doctor tries on this object what must not be possible. It holds nothing.\n";

/// Nothing for a vault that does not lock: that is told elsewhere.
///
/// `can_deny` says that the server knows the condition with which a policy forbids to cover a key: AWS does.
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

/// The object that is there from an earlier run, or a new one.
async fn probe(vault: &dyn Vault, now: Timestamp) -> Result<(VersionRef, Lock)> {
    let page = vault.list_versions(DOCTOR, None).await?;
    for version in page.versions.into_iter().rev().filter(|version| !version.is_delete_marker).take(4) {
        let head = vault.head(&version.at).await?;
        if let Some(lock) = head.lock.filter(|lock| lock.until > now + STILL_LOCKED) {
            return Ok((version.at, lock));
        }
    }
    let key = format!("{DOCTOR}{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let stored = store_bytes(vault, key, CONTENT, now).await?;
    Ok((stored.at, stored.lock.context("the vault locks, and did not lock this")?))
}

fn judge(name: &str, what: &str, answer: Result<(), VaultError>) -> Check {
    match answer {
        Ok(()) => Check::fail(name, format!("these credentials can {what}: so can whoever breaks into this host")).fix(
            "allow them s3:PutObject and s3:PutObjectRetention only, deny s3:DeleteObjectVersion and \
                 s3:BypassGovernanceRetention, and use COMPLIANCE mode",
        ),
        Err(error) if error.tells_nothing() => Check::failed(name, &error.into()),
        Err(VaultError::AccessDenied { detail, .. }) => Check::ok(name, format!("cannot {what} ({detail})")),
        // Some servers have other words for it; what counts is that it was not done.
        Err(error) => Check::ok(name, format!("cannot {what} ({error})")),
    }
}

/// A delete marker takes nothing away, but plain tools no longer see what is below it.
fn hide(answer: Result<(), VaultError>) -> Check {
    const NAME: &str = "vault.hide";
    match answer {
        Ok(()) => {
            Check::warn(NAME, "these credentials can hide backups under delete markers; a restore sees through them")
                .fix("take s3:DeleteObject away")
        }
        Err(error) if error.tells_nothing() => Check::failed(NAME, &error.into()),
        Err(_) => Check::ok(NAME, "cannot lay delete markers"),
    }
}

const COVERED: &str = "these credentials can put versions on top of backups; a restore sees through them";

/// Nothing is lost below a version on top, until a rule of the bucket removes what has been covered for long enough.
async fn overlay(vault: &dyn Vault, at: &VersionRef, can_deny: bool) -> Check {
    const NAME: &str = "vault.overlay";
    let laid_before = vault.list_versions(&at.key, None).await.map(|page| {
        let versions = page.versions.iter().filter(|version| version.at.key == at.key && !version.is_delete_marker);
        versions.count() > 1
    });
    // What an earlier run could do needs no further version.
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
        // Nothing to be done about it there, but to know what a rule would do.
        Ok(()) => Check::ok(NAME, format!("{COVERED}; no lifecycle rule may remove covered versions")),
        Err(error) if error.tells_nothing() => Check::failed(NAME, &error.into()),
        Err(_) => Check::ok(NAME, "cannot put versions on top of backups"),
    }
}

/// Last, although it is told first: the object is still there and as well locked as before.
async fn held(vault: &dyn Vault, at: &VersionRef, before: Lock) -> Check {
    const NAME: &str = "vault.lock";
    match vault.head(at).await.map(|head| head.lock) {
        Ok(Some(lock)) if lock.covers(&before) => {
            Check::ok(NAME, format!("what was put is locked in {} mode until {}", lock.mode, lock.until))
        }
        Ok(lock) => Check::fail(NAME, format!("the lock did not hold: it was {before:?} and is {lock:?}"))
            .fix("do not rely on this bucket"),
        Err(VaultError::NotFound { .. }) => {
            Check::fail(NAME, "what was put and locked could be deleted").fix("do not rely on this bucket")
        }
        Err(error) => Check::failed(NAME, &error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        doctor::Level,
        vault::{LockMode, LockPolicy, memory::MemoryVault},
    };

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
            // Memory lets everybody hide.
            ("vault.hide", Level::Warn),
            ("vault.overlay", Level::Warn),
        ];
        assert_eq!(levels(&checks), expected, "{checks:#?}");
        let objects = async || {
            let page = vault.list_versions(DOCTOR, None).await.expect("lists");
            page.versions.iter().filter(|version| !version.is_delete_marker).count()
        };
        check(vault.as_ref(), now() + SignedDuration::from_hours(24), true).await;
        // It, and what was laid on top of it once.
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
    }

    #[tokio::test]
    async fn a_vault_without_locks_is_not_tried() {
        assert_eq!(check(&MemoryVault::new("v", None), now(), true).await, []);
    }
}
