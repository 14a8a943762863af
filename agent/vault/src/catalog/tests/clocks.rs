//! Wrong clocks, late spools, and attackers with the managers' own signing key.

use jiff::SignedDuration;
use swarmdr_archive::SecretKey;

use super::*;
use crate::testkit::{injector::without_locks_to_read, memory::MemoryVault};

const DAY: i64 = 24 * 60;

/// Stores an archive at another time than the one in its id.
async fn put_at(vault: &dyn Vault, archive: &Archive, at: i64) {
    crate::store_bytes(vault, archive.name.key(), &archive.bytes, minute(at)).await.unwrap();
}

async fn line(vault: &dyn Vault, key: &SecretKey, days: std::ops::Range<i64>) -> Vec<Archive> {
    let mut line: Vec<Archive> = Vec::new();
    for day in days {
        line.push(following(line.last(), CLUSTER, day * DAY, key));
        put(vault, line.last().unwrap()).await;
    }
    line
}

async fn latest(vault: &Arc<MemoryVault>, key: &SecretKey, filter: &Filter, now: i64) -> (BackupId, Vec<String>) {
    let vaults: [Arc<dyn Vault>; 1] = [vault.clone()];
    let latest = find_latest(&vaults, filter, &key.public().into(), minute(now)).await.unwrap();
    (latest.head.manifest.id, latest.findings.lines())
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_one_backup() {
    for (fooled, days_after) in [(false, 3), (true, 3), (true, 12), (true, 320)] {
        let (key, vault) = (key(), Arc::new(vault("v")));
        let genuine = line(vault.as_ref(), &key, 0..5).await;
        let ahead = following(genuine.last(), CLUSTER, 305 * DAY + 7, &key);
        put_at(vault.as_ref(), &ahead, if fooled { 305 * DAY + 7 } else { 5 * DAY }).await;
        let (now_newest, said) = latest(&vault, &key, &Filter::default(), 5 * DAY).await;
        let expected = if fooled { &ahead } else { &genuine[4] };
        assert_eq!(now_newest, expected.name.id(), "{said:?}");
        if !fooled {
            assert!(said[0].contains("is ignored"), "{said:?}");
            // A user who names its id gets it, with the finding.
            let named = Filter { id: Some(ahead.name.id()), ..Filter::default() };
            let (named, said) = latest(&vault, &key, &named, 5 * DAY).await;
            assert!(named == ahead.name.id() && said[0].contains("is ignored"), "{said:?}");
        }
        // The clock is right again: the next backup follows the newest possible one.
        let mut last = following(Some(expected), CLUSTER, 6 * DAY, &key);
        for day in 7..7 + days_after {
            put(vault.as_ref(), &last).await;
            last = following(Some(&last), CLUSTER, day * DAY, &key);
        }
        put(vault.as_ref(), &last).await;
        let (newest, said) = latest(&vault, &key, &Filter::default(), (7 + days_after) * DAY).await;
        assert_eq!(newest, last.name.id(), "{fooled} {days_after} {said:?}");
        assert_eq!(said.is_empty(), days_after == 320, "reported while it has the latest name: {said:?}");
    }
}

#[tokio::test]
async fn a_clock_that_was_behind_for_one_backup() {
    // A vault with a clock of its own, and a directory.
    for stored in [5 * DAY, 3 * DAY + 5] {
        let (key, vault) = (key(), Arc::new(vault("v")));
        let genuine = line(vault.as_ref(), &key, 0..5).await;
        let behind = following(genuine.last(), CLUSTER, 3 * DAY + 5, &key);
        put_at(vault.as_ref(), &behind, stored).await;
        let (newest, said) = latest(&vault, &key, &Filter::default(), 5 * DAY).await;
        if stored == 5 * DAY {
            assert_eq!(newest, behind.name.id(), "{said:?}");
            assert!(said.len() == 1 && said[0].contains("the clock of a manager was wrong"), "{said:?}");
        }
        let next = following(Some(&behind), CLUSTER, 6 * DAY, &key);
        put(vault.as_ref(), &next).await;
        let (newest, said) = latest(&vault, &key, &Filter::default(), 6 * DAY).await;
        assert_eq!((newest, said), (next.name.id(), Vec::new()));
    }
}

#[tokio::test]
async fn a_late_spool_is_honest_and_does_not_win() {
    let (key, vault) = (key(), Arc::new(vault("v")));
    let genuine = line(vault.as_ref(), &key, 0..5).await;
    let spooled = following(Some(&genuine[1]), CLUSTER, 2 * DAY + 5, &key);
    put_at(vault.as_ref(), &spooled, 4 * DAY + 60).await;
    let (newest, said) = latest(&vault, &key, &Filter::default(), 5 * DAY).await;
    assert_eq!((newest, said), (genuine[4].name.id(), Vec::new()));
    // A late backup that was made last is the newest.
    let last = following(genuine.last(), CLUSTER, 5 * DAY, &key);
    put_at(vault.as_ref(), &last, 6 * DAY).await;
    let (newest, said) = latest(&vault, &key, &Filter::default(), 6 * DAY).await;
    assert_eq!((newest, said), (last.name.id(), Vec::new()));
    // It could not have been found before it was stored.
    let before = Filter { before: Some(minute(5 * DAY + 60)), ..Filter::default() };
    assert_eq!(latest(&vault, &key, &before, 6 * DAY).await.0, genuine[4].name.id());
}

#[tokio::test]
async fn a_stolen_signing_key_forges_nothing_from_before_the_break_in() {
    let (key, vault) = (key(), Arc::new(vault("v")));
    let genuine = line(vault.as_ref(), &key, 0..5).await;
    let break_in = 4 * DAY + 400;
    for n in 0..60_i64 {
        // Between the genuine ones, just before the break-in, and far in the future; each follows the newest genuine
        // one.
        for made in [n * 90, break_in - n, break_in + (n + 1) * 10 * DAY] {
            let mut forged = tagged(genuine.last(), made, 0xee, &key);
            forged.sequence = u64::MAX;
            put_at(vault.as_ref(), &forged, break_in + 2 * DAY).await;
        }
    }
    let before = Filter { before: Some(minute(break_in)), ..Filter::default() };
    let (chosen, said) = latest(&vault, &key, &before, break_in + 3 * DAY).await;
    assert_eq!((chosen, said), (genuine[4].name.id(), Vec::new()));
    // Without the filter, a backup with a time after its storing does not win either.
    let (chosen, said) = latest(&vault, &key, &Filter::default(), break_in + 3 * DAY).await;
    assert!(chosen.created_at() <= minute(break_in + 2 * DAY), "{chosen} {said:?}");
    let young = Filter { after: Some(minute(break_in + DAY)), ..Filter::default() };
    let vaults: [Arc<dyn Vault>; 1] = [vault.clone()];
    let error = find_latest(&vaults, &young, &key.public().into(), minute(break_in + 3 * DAY)).await.unwrap_err();
    assert!(error.to_string().contains("is ignored"), "no forged age is young enough: {error}");
}

#[tokio::test]
async fn a_key_that_has_ended_counts_for_what_was_stored_before() {
    let (stolen, new, vault) = (key(), key(), Arc::new(vault("v")));
    let genuine = line(vault.as_ref(), &stolen, 0..5).await;
    let until = minute(4 * DAY + 400);
    let mut keys = TrustedKeys::from(new.public());
    keys.insert_until(stolen.public(), Some(until));
    let vaults: [Arc<dyn Vault>; 1] = [vault.clone()];
    let find = async || find_latest(&vaults, &Filter::default(), &keys, minute(7 * DAY)).await.unwrap();
    assert_eq!(find().await.head.manifest.id, genuine[4].name.id());
    for (made, stored) in [(4 * DAY + 300, 5 * DAY), (5 * DAY, 5 * DAY), (4 * DAY + 399, 4 * DAY + 400)] {
        put_at(vault.as_ref(), &tagged(genuine.last(), made, 0xee, &stolen), stored).await;
    }
    let latest = find().await;
    assert_eq!(latest.head.manifest.id, genuine[4].name.id());
    let said = latest.findings.lines();
    assert!(said.len() == 3 && said.iter().all(|it| it.contains("is trusted for what was stored before")), "{said:?}");
    // The managers' next backup follows the last genuine one.
    let next = following(genuine.last(), CLUSTER, 6 * DAY, &new);
    put(vault.as_ref(), &next).await;
    let latest = find().await;
    assert_eq!((latest.head.manifest.id, latest.findings.lines().len()), (next.name.id(), 0));
}

#[tokio::test]
async fn a_survey_accuses_nobody_of_what_clocks_and_spools_do() {
    let (key, vault) = (key(), vault("v"));
    let keys = TrustedKeys::from(key.public());
    let genuine = line(&vault, &key, 0..5).await;
    let ahead = following(genuine.last(), CLUSTER, 305 * DAY, &key);
    put_at(&vault, &ahead, 5 * DAY).await;
    let behind = following(genuine.last(), CLUSTER, 3 * DAY + 5, &key);
    put_at(&vault, &behind, 6 * DAY).await;
    put_at(&vault, &following(Some(&genuine[1]), CLUSTER, 2 * DAY + 5, &key), 6 * DAY + 300).await;
    let mut last = following(Some(&behind), CLUSTER, 7 * DAY, &key);
    for day in 8..12 {
        put(&vault, &last).await;
        last = following(Some(&last), CLUSTER, day * DAY, &key);
    }
    let filter = Filter::default();
    let mut survey = Survey::new(&filter, &keys, minute(12 * DAY));
    let mut visit = survey.vault(&vault).await;
    let mut found = 0;
    while visit.next().await.is_some() {
        found += 1;
    }
    drop(visit);
    assert_eq!(found, 11, "all but the impossible one");
    let said = survey.end().findings;
    let clocks = said.iter().filter(|it| it.contains("the clock of")).count();
    assert!(said.len() == 2 && clocks == 2, "{said:?}");
    let grace = SignedDuration::from_hours(1);
    assert_eq!(order::GRACE, grace, "the times above are beyond it");
}

/// The break-in is noticed late: the key's end is set to a time before backups that others follow already.
#[tokio::test]
async fn a_key_that_ends_in_the_past_accuses_nobody_of_stored_backups() {
    let (old, new, vault) = (key(), key(), vault("v"));
    let genuine = line(&vault, &old, 0..5).await;
    let doubted = following(genuine.last(), CLUSTER, 5 * DAY, &old);
    put(&vault, &doubted).await;
    let mut last = following(Some(&doubted), CLUSTER, 6 * DAY, &new);
    put(&vault, &last).await;
    last = following(Some(&last), CLUSTER, 7 * DAY, &new);
    put(&vault, &last).await;
    // The thief signs another one meanwhile.
    put_at(&vault, &tagged(Some(&doubted), 6 * DAY + 300, 0xee, &old), 6 * DAY + 300).await;
    let mut keys = TrustedKeys::from(new.public());
    keys.insert_until(old.public(), Some(minute(4 * DAY + 400)));
    let filter = Filter::default();
    let mut survey = Survey::new(&filter, &keys, minute(8 * DAY));
    let mut visit = survey.vault(&vault).await;
    while visit.next().await.is_some() {}
    drop(visit);
    let said = survey.end().findings;
    assert!(said.len() == 2 && said.iter().all(|it| it.contains("is trusted for what was stored before")), "{said:?}");
    let vaults: [Arc<dyn Vault>; 1] = [Arc::new(vault)];
    let latest = find_latest(&vaults, &filter, &keys, minute(8 * DAY)).await.unwrap();
    assert_eq!((latest.head.manifest.id, latest.findings.lines()), (last.name.id(), Vec::new()));
}

#[tokio::test]
async fn a_lock_that_cannot_be_read_is_not_known_and_accuses_nobody() {
    let (key, vault) = (key(), Arc::new(vault("v")));
    for at in 0..3 {
        put(vault.as_ref(), &archive(CLUSTER, at * DAY, &key)).await;
    }
    let vault = without_locks_to_read(vault);
    let (filter, keys) = (Filter::default(), TrustedKeys::from(key.public()));
    let mut survey = Survey::new(&filter, &keys, minute(3 * DAY));
    let mut visit = survey.vault(&vault).await;
    while let Some(found) = visit.next().await {
        assert!(found.lock.is_none() && found.lock_unread);
    }
    drop(visit);
    let surveyed = survey.end();
    assert_eq!(surveyed.notes.len(), 1, "{:?}", surveyed.notes);
    assert!(
        surveyed.notes[0].contains("the locks of 3 of the backups are not known: memory://v: not allowed to read"),
        "{:?}",
        surveyed.notes
    );
}
