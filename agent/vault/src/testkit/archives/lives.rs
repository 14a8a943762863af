//! Histories of vaults without an attacker: the traces of outages, wrong clocks, pruning and changes of keys. No search
//! may accuse anybody of them.

use std::sync::Arc;

use swarmdr_archive::TrustedKeys;

use super::*;
use crate::{VersionRef, catalog::lineage::Remembered, renew, store_bytes};

pub const DAY: i64 = 24 * 60;

/// Words that accuse somebody.
const ACCUSATIONS: [&str; 7] =
    ["taken away", "removed", "hidden", "another name", "forged", "the date is false", "damaged"];

/// A history of vaults, and what a search of them should find.
#[derive(Debug)]
pub struct Life {
    pub name: &'static str,
    pub vaults: Vec<Arc<MemoryVault>>,
    pub keys: TrustedKeys,
    /// The minute of the search.
    pub now: i64,
    /// The backup that a restore takes.
    pub newest: BackupId,
    /// The newest backup that the searching host knows to be stored.
    pub remembered: Option<Remembered>,
}

impl Life {
    pub fn dyn_vaults(&self) -> Vec<Arc<dyn Vault>> {
        self.vaults.iter().map(|vault| Arc::clone(vault) as Arc<dyn Vault>).collect()
    }

    /// Panics if a line accuses somebody.
    pub fn assert_no_accusation(&self, of: &str, lines: &[String]) {
        for line in lines {
            let accused = ACCUSATIONS.iter().find(|words| line.contains(**words));
            assert_eq!(accused, None, "{}, by {of}: {line}", self.name);
        }
    }
}

/// Makes all histories.
pub async fn all() -> Vec<Life> {
    let mut lives = vec![unproven().await, late().await, in_turn().await, renewed().await, stored_twice().await];
    lives.extend([pruned(true).await, pruned(false).await, outlived().await, new_swarm().await, copied().await]);
    lives.extend([restored(None).await, restored(Some(2)).await, apart(false).await, apart(true).await]);
    lives.extend([rotated().await, replaced().await]);
    lives
}

fn one(name: &'static str, vault: MemoryVault, keys: TrustedKeys, now: i64, newest: &Archive) -> Life {
    let (vaults, newest_id) = (vec![Arc::new(vault)], newest.name.id());
    Life { name, vaults, keys, now, newest: newest_id, remembered: Some(remembered(newest)) }
}

fn remembered(archive: &Archive) -> Remembered {
    let (id, cluster) = (archive.name.id(), archive.name.cluster().clone());
    let locked_until = Some(id.created_at() + SignedDuration::from_hours(30 * 24));
    Remembered { id, cluster, sequence: archive.sequence, locked_until, digest: Some(archive.digest) }
}

/// Stores an archive some minutes after it was made, or when it came out of a spool.
async fn store(vault: &MemoryVault, archive: &Archive, at: i64) -> VersionRef {
    store_bytes(vault, archive.name.key(), &archive.bytes, minute(at + 3)).await.unwrap().at
}

/// Stores a backup each day, each following the previous one.
async fn daily(
    vaults: &[&MemoryVault],
    key: &SecretKey,
    days: std::ops::Range<i64>,
    first: Option<&Archive>,
) -> Vec<Archive> {
    let mut line: Vec<Archive> = Vec::new();
    for day in days {
        let next = following(line.last().or(first), CLUSTER, day * DAY, key);
        for vault in vaults {
            store(vault, &next, day * DAY).await;
        }
        line.push(next);
    }
    line
}

async fn unproven() -> Life {
    let (key, vault) = (key(), vault("one"));
    let works = made(None, CLUSTER, 0, [1; 4], &key, Proof::Proven);
    let breaks = made(Some(&works), CLUSTER, DAY, [1; 4], &key, Proof::Unproven);
    store(&vault, &works, 0).await;
    store(&vault, &breaks, DAY).await;
    let life = one("the newest is unproven", vault, key.public().into(), 2 * DAY, &works);
    Life { remembered: Some(remembered(&breaks)), ..life }
}

/// Pruned to every seventh backup and those that are locked.
async fn pruned(locks: bool) -> Life {
    let (key, vault) = (key(), if locks { vault("one") } else { MemoryVault::new("directory", None) });
    let line = daily(&[&vault], &key, 0..60, None).await;
    for (_, archive) in line.iter().enumerate().take(29).filter(|(index, _)| index % 7 != 0) {
        vault.remove(&archive.name.key());
    }
    let life = one("pruned by its owner", vault, key.public().into(), 60 * DAY, line.last().unwrap());
    let locked_until = remembered(&line[10]).locked_until.filter(|_| locks);
    Life { remembered: Some(Remembered { locked_until, ..remembered(&line[10]) }), ..life }
}

/// The lock of the newest ended while no backup was made, and a rule of the bucket removed it.
async fn outlived() -> Life {
    let (key, vault) = (key(), vault("one"));
    let line = daily(&[&vault], &key, 0..5, None).await;
    vault.remove(&line[4].name.key());
    let life = one("no backup for longer than the lock", vault, key.public().into(), 40 * DAY, &line[3]);
    Life { remembered: Some(remembered(&line[4])), ..life }
}

/// A backup came late out of another manager's spool; it follows the one that was the newest when it was made.
async fn late() -> Life {
    let (key, vault) = (key(), vault("one"));
    let line = daily(&[&vault], &key, 0..5, None).await;
    let spooled = following(Some(&line[1]), CLUSTER, 2 * DAY + 30, &key);
    store(&vault, &spooled, 4 * DAY + 60).await;
    let newest = daily(&[&vault], &key, 5..6, line.last()).await.remove(0);
    let life = one("one came late out of a spool", vault, key.public().into(), 6 * DAY, &newest);
    Life { remembered: Some(remembered(&spooled)), ..life }
}

/// Three managers with a key each, two of them once at the same time.
async fn in_turn() -> Life {
    let (keys, vault) = ([key(), key(), key()], vault("one"));
    let mut line = Vec::new();
    for day in 0..9_i64 {
        let next = following(line.last(), CLUSTER, day * DAY, &keys[(day % 3) as usize]);
        let parallel =
            made(line.last(), CLUSTER, day * DAY + 1, [7; 4], &keys[((day + 1) % 3) as usize], Proof::Proven);
        store(&vault, &next, day * DAY).await;
        line.push(next);
        if day == 4 {
            store(&vault, &parallel, day * DAY + 1).await;
        }
    }
    let newest = line.last().unwrap();
    one("several managers in turn", vault, keys.iter().map(SecretKey::public).collect(), 9 * DAY, newest)
}

/// The disk of the searching manager is a copy from day 2, or new.
async fn restored(knows: Option<usize>) -> Life {
    let (key, vault) = (key(), vault("one"));
    let line = daily(&[&vault], &key, 0..10, None).await;
    let life = one("a manager that was restored", vault, key.public().into(), 10 * DAY, line.last().unwrap());
    Life { remembered: knows.map(|day| remembered(&line[day])), ..life }
}

/// A backup every twenty days, each renewed while it was the newest; an older one was removed after its lock had ended.
async fn renewed() -> Life {
    let (key, vault) = (key(), vault("one"));
    let keys = TrustedKeys::from(key.public());
    let mut line: Vec<Archive> = Vec::new();
    for day in (0..100).step_by(20) {
        let next = following(line.last(), CLUSTER, day * DAY, &key);
        store(&vault, &next, day * DAY).await;
        line.push(next);
        assert_eq!(renew(&vault, None, &keys, minute((day + 17) * DAY)).await.unwrap().len(), 1);
    }
    let newest = line.pop().unwrap();
    vault.remove(&line[1].name.key());
    let life = one("locks were renewed", vault, keys, 99 * DAY, &newest);
    Life { remembered: Some(remembered(&line[1])), ..life }
}

/// One vault was down for a week; the backups that it missed came late, or never.
async fn apart(came: bool) -> Life {
    let (key, first, second) = (key(), vault("one"), vault("two"));
    let before = daily(&[&first, &second], &key, 0..5, None).await;
    let missed = daily(&[&first], &key, 5..12, before.last()).await;
    if came {
        for archive in &missed {
            store(&second, archive, 12 * DAY - 60).await;
        }
    }
    let end = if came { 15 } else { 13 };
    let after = daily(&[&first, &second], &key, 12..end, missed.last()).await;
    let newest = after.last().unwrap();
    let life = one("a vault was down for a week", first, key.public().into(), end * DAY, newest);
    let mut vaults = life.vaults;
    vaults.push(Arc::new(second));
    Life { vaults, ..life }
}

/// A key was replaced, and one manager went on signing with it for a day.
async fn rotated() -> Life {
    let (old, new, vault) = (key(), key(), vault("one"));
    let before = daily(&[&vault], &old, 0..5, None).await;
    let first = daily(&[&vault], &new, 5..6, before.last()).await.remove(0);
    let behind = following(Some(&first), CLUSTER, 5 * DAY + 300, &old);
    store(&vault, &behind, 5 * DAY + 300).await;
    let after = daily(&[&vault], &new, 6..9, Some(&first)).await;
    let mut keys = TrustedKeys::from(new.public());
    keys.insert_until(old.public(), Some(minute(5 * DAY - 60)));
    let life = one("a signing key was rotated", vault, keys, 9 * DAY, after.last().unwrap());
    Life { remembered: Some(remembered(&behind)), ..life }
}

/// One manager's key was removed from `trusted_keys`, without a time until which it counts.
async fn replaced() -> Life {
    let (other, old, new, vault) = (key(), key(), key(), vault("one"));
    let before = daily(&[&vault], &other, 0..2, None).await;
    let by_old = daily(&[&vault], &old, 2..3, before.last()).await.remove(0);
    let after = daily(&[&vault], &new, 3..4, Some(&by_old)).await;
    let keys = [&other, &new].map(SecretKey::public).into_iter().collect();
    let life = one("a signing key was replaced", vault, keys, 4 * DAY, after.last().unwrap());
    Life { remembered: Some(remembered(&by_old)), ..life }
}

/// A new swarm in the bucket of the one before it.
async fn new_swarm() -> Life {
    let (old, new, vault) = (key(), key(), vault("one"));
    for day in 0..3 {
        store(&vault, &archive(OTHER, day * DAY, &old), day * DAY).await;
    }
    let line = daily(&[&vault], &new, 3..5, None).await;
    one("a new swarm in the bucket of another", vault, new.public().into(), 5 * DAY, line.last().unwrap())
}

/// The reply to the first put was lost, and the server ignores conditions.
async fn stored_twice() -> Life {
    let (key, vault) = (key(), vault("one"));
    let line = daily(&[&vault], &key, 0..3, None).await;
    let newest = line.last().unwrap();
    vault.overlay_at(&newest.name.key(), newest.bytes.clone(), minute(2 * DAY + 4));
    one("the newest was stored twice", vault, key.public().into(), 3 * DAY, newest)
}

/// All backups were copied into another bucket.
async fn copied() -> Life {
    let (key, vault, other) = (key(), vault("one"), vault("two"));
    let line = daily(&[&vault], &key, 0..10, None).await;
    for archive in &line {
        store(&other, archive, 12 * DAY).await;
    }
    one("the bucket was copied", other, key.public().into(), 13 * DAY, line.last().unwrap())
}
