//! Tests of each problem by itself.

use swarmdr_archive::{BackupId, Digest};
use swarmdr_vault::LockMode;

use super::*;
use crate::{
    archive::removals::removed::tests::removed,
    config::schedule::{Schedule, ScheduleConfig},
    downtime::stop_history::StopHistory,
    restore::images::memory::tests::checked,
};

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().expect("is a time")
}

pub(crate) fn newest(id: &str) -> Newest {
    let backup: BackupId = id.parse().expect("is an id");
    let (digest, stored) = (Digest::of(id.as_bytes()), backup.created_at());
    Newest {
        id: id.to_owned(),
        place: Place {
            id: backup,
            sequence: 1,
            previous: None,
            digest,
            ended: backup.created_at(),
            stored,
            specs: None,
        },
        created_at: backup.created_at(),
        stored_at: stored,
        cluster_id: "c".parse().expect("is an id"),
        hostname: "m1".to_owned(),
        size: 30_000,
        proof: Proof::Proven,
        lock: Some(Lock { mode: LockMode::Compliance, until: time("2026-12-21T03:30:00Z") }),
        lock_unread: false,
    }
}

/// The claim of another site.
pub(crate) fn superseded() -> Claimed {
    let standing = crate::claims::standing::Standing::Superseded {
        claim: crate::claims::testkit::claim(2, 7, None),
        since: time("2026-11-21T11:00:00Z"),
        vault: "s3://a/x".to_owned(),
    };
    Claimed { judged: crate::claims::Judged::of(standing), is_configured: true }
}

/// Claims of which one vault shows none.
fn unread(is_configured: bool) -> Claimed {
    let mut judged = crate::claims::Judged::of(crate::claims::standing::Standing::Unclaimed);
    judged.unread.push("s3://a/x: denied".to_owned());
    Claimed { judged, is_configured }
}

#[test]
fn who_named_no_promoters_is_not_bothered_with_claims() {
    let mut status = Status { claims: Some(unread(false)), ..fine() };
    status.judge();
    assert_eq!(status.level, fine().level);
}

/// Adds a stream that is too old and too small.
pub(crate) fn with_stream(mut status: Status) -> Status {
    status.streams = streams::tests::late();
    status.points = Some(points::tests::incomplete());
    status.judge();
    status
}

/// Two vaults with last night's backup, and nothing to complain about.
pub(crate) fn fine() -> Status {
    let vault = |url: &str, required| VaultStatus {
        url: url.to_owned(),
        required,
        error: None,
        newest: Some(newest("20261121T033000Z-00000001")),
        freshest: "20261121T033000Z-00000001".parse().ok(),
        findings: Vec::new(),
    };
    let mut status = Status {
        at: time("2026-11-21T12:00:00Z"),
        level: Level::Ok,
        reasons: Vec::new(),
        schedule: None,
        streams_only: false,
        streams: Vec::new(),
        points: None,
        vaults: vec![vault("s3://a/x", true), vault("s3://b/\"y\\", false)],
        spool: SpoolStatus::default(),
        absences: StopHistory::default(),
        last_run: Some(Run {
            at: time("2026-11-21T03:30:00Z"),
            seconds: 4.5,
            exit: Exit::Done.into(),
            result: "done".to_owned(),
            error: None,
        }),
        last_backup: None,
        last_proof: Some(Proved { at: time("2026-11-20T00:00:00Z"), good: true, checked: 3, newest: None }),
        drills: Drilled::default(),
        unfinished_restore: None,
        left_claim: None,
        removed: None,
        images: None,
        sign_of_life: None,
        standby: None,
        left_drained: Vec::new(),
        claims: None,
        history: History::default(),
    };
    status.judge();
    status
}

fn daily() -> Schedule {
    let config = ScheduleConfig {
        cron: Some("30 3 * * *".to_owned()),
        timezone: Some("UTC".to_owned()),
        ..ScheduleConfig::default()
    };
    Schedule::from_config(&config).expect("is valid").expect("has an expression")
}

#[test]
fn nothing_wrong_is_ok() {
    let status = fine();
    assert_eq!((status.level, status.exit(), status.reasons.len()), (Level::Ok, Exit::Done, 0));
    assert_eq!(
        status.nagios(),
        "SWARMDR OK - newest backup 20261121T033000Z-00000001 | age=30600s spool=0 spool_bytes=0B"
    );
}

#[test]
fn each_trouble_has_its_level_and_its_words() {
    type Spoil = fn(&mut Status);
    let cases: [(Spoil, Level, &str); 17] = [
        (|it| it.vaults.iter_mut().for_each(|vault| vault.newest = None), Level::Critical, "no backup that verifies"),
        (|it| it.vaults[0].error = Some("s3://a/x: no answer".to_owned()), Level::Critical, "no answer"),
        (|it| it.vaults[1].error = Some("s3://b/y: no answer".to_owned()), Level::Warning, "no answer"),
        (
            |it| it.vaults[0].newest = Some(newest("20261120T033000Z-00000001")),
            Level::Warning,
            "s3://a/x lacks the newest",
        ),
        (|it| it.vaults[0].newest = None, Level::Warning, "s3://a/x lacks the newest"),
        (
            |it| it.vaults[0].findings.push("`k` is forged or altered".to_owned()),
            Level::Warning,
            "is forged or altered",
        ),
        (|it| it.claims = Some(superseded()), Level::Critical, "site-7 claimed this swarm at"),
        (|it| it.claims = Some(unread(true)), Level::Warning, "has this swarm is not known: s3://a/x: denied"),
        (|it| it.spool.archives = 2, Level::Warning, "waiting in the spool for a vault: 2 archives"),
        (
            |it| it.spool = SpoolStatus { archives: 32, full: true, ..SpoolStatus::default() },
            Level::Critical,
            "is full",
        ),
        (|it| it.spool.damaged = 1, Level::Warning, "as damaged: 1 archive"),
        (
            |it| {
                it.absences = StopHistory { in_vain: 2, last_in_vain: Some(it.at), ..StopHistory::default() };
            },
            Level::Critical,
            "the engine was stopped 2 times without a backup being made",
        ),
        (
            |it| it.last_run.as_mut().expect("ran").exit = Exit::Refused.into(),
            Level::Warning,
            "the last backup run on this host",
        ),
        (|it| it.last_proof.as_mut().expect("proved").good = false, Level::Critical, "did not verify"),
        (|it| it.at = time("2027-01-01T00:00:00Z"), Level::Warning, "has ended"),
        (
            |it| it.vaults.iter_mut().filter_map(|it| it.newest.as_mut()).for_each(|it| it.proof = Proof::Unproven),
            Level::Critical,
            "cannot be relied on",
        ),
        (|it| it.schedule = Some(Due { next: None, grace: 1, stale: true }), Level::Critical, "too old"),
    ];
    for (spoil, level, words) in cases {
        let mut status = fine();
        spoil(&mut status);
        status.judge();
        assert_eq!(status.level, level, "{words}: {:?}", status.reasons);
        assert!(status.reasons[0].text.contains(words), "{words}: {:?}", status.reasons);
        assert!(status.to_string().contains(words), "{status}");
    }
}

#[test]
fn what_was_removed_is_shown_with_the_command_that_brings_it_back() {
    let mut status = fine();
    status.removed = Some(removed("shop_web", "tls_key"));
    status.judge();
    assert_eq!(status.exit(), Exit::Attention);
    let reason = "removed since the last backup 20261121T031500Z-1a2b3c4d: service shop_web, secret tls_key";
    assert_eq!(status.reasons, [Reason { level: Level::Warning, text: reason.to_owned() }]);
    let line = "  undelete swarmdr-agent undelete 20261121T031500Z-1a2b3c4d --stack shop --secret tls_key";
    assert!(status.to_string().lines().any(|told| told == line), "{status}");
    let nagios = status.nagios();
    assert!(nagios.starts_with("SWARMDR WARNING - removed since the last backup 20261121T031500Z"), "{nagios}");
    assert_eq!(serde_json::to_value(&status).expect("is JSON")["removed"]["objects"][0]["name"], "shop_web");
    status.removed = Some(Removed { objects: Vec::new(), undelete: None, ..removed("", "") });
    status.judge();
    assert_eq!((status.level, status.to_string().contains("undelete")), (Level::Ok, false));
}

#[test]
fn an_image_that_cannot_be_pulled_is_a_warning_that_names_its_service() {
    let mut status = fine();
    status.images = Some(checked(&["web"]));
    status.judge();
    assert_eq!(status.exit(), Exit::Attention);
    assert!(status.reasons[0].text.contains("web (old:5000/web:1): not there"), "{:?}", status.reasons);
    assert!(status.to_string().contains("  images   3 checked: 1 missing, 8 h ago"), "{status}");
    status.images = Some(checked(&[]));
    status.judge();
    assert_eq!(status.level, Level::Ok);
}

#[test]
fn too_old_is_later_than_the_schedule_and_its_grace() {
    let newest = Some(newest("20261121T033000Z-00000001").place.id);
    let grace = SignedDuration::from_mins(105);
    for (now, stale) in [
        ("2026-11-21T12:00:00Z", false),
        ("2026-11-22T03:31:00Z", false),
        ("2026-11-22T05:15:00Z", false),
        ("2026-11-22T05:15:01Z", true),
    ] {
        let due = Due::new(&daily(), newest, grace, time(now));
        assert_eq!((due.stale, due.next), (stale, Some(time("2026-11-22T03:30:00Z"))), "{now}");
    }
    assert!(Due::new(&daily(), None, grace, time("2026-11-21T12:00:00Z")).stale);
}

#[test]
fn a_line_for_nagios_stays_one_line() {
    let mut status = fine();
    status.vaults[0].error = Some("one | two\nthree".to_owned());
    status.judge();
    let line = status.nagios();
    assert_eq!(line.matches('|').count(), 1, "{line}");
    assert!(line.starts_with("SWARMDR CRITICAL - one   two three"), "{line}");
    assert_eq!((line.lines().count(), status.level.nagios()), (1, 2));
}

#[test]
fn texts_of_others_do_not_steer_the_terminal() {
    use crate::outcome::terminal::tests::assert_tame;
    let forged = |text: &str| {
        let mut status = fine();
        status.reasons = vec![Reason { level: Level::Critical, text: text.to_owned() }];
        for vault in &mut status.vaults {
            vault.url = text.to_owned();
            vault.error = Some(text.to_owned());
            vault.findings = vec![text.to_owned()];
            if let Some(newest) = &mut vault.newest {
                newest.hostname = text.to_owned();
            }
        }
        status.vaults[1].newest = None;
        status.unfinished_restore = Some(text.to_owned());
        status.left_claim = Some(text.to_owned());
        status.removed = Some(removed(text, text));
        status.drills.last = Some(super::Drill {
            at: status.at,
            backup: text.to_owned(),
            engine: text.to_owned(),
            host: text.to_owned(),
            proven: false,
            problem: Some(text.to_owned()),
        });
        status
    };
    assert_tame(forged);
    let line = forged(swarmdr_archive::untrusted::HOSTILE).nagios();
    assert!(!line.chars().any(swarmdr_archive::untrusted::needs_escape), "{line:?}");
    let page = crate::observe::metrics::render(&forged(swarmdr_archive::untrusted::HOSTILE));
    assert!(
        !page.chars().any(|character| swarmdr_archive::untrusted::needs_escape(character) && character != '\n'),
        "{page:?}"
    );
    assert_eq!(page.lines().count(), crate::observe::metrics::render(&forged("m1")).lines().count(), "{page}");
}

#[test]
fn nodes_that_were_left_drained_are_named_with_what_to_do() {
    let mut status = Status { left_drained: vec!["w1 (n1)".to_owned()], ..fine() };
    status.judge();
    assert_eq!(status.level, Level::Warning);
    let said = &status.reasons[0].text;
    assert!(said.contains("w1 (n1)") && said.contains("swarmdr-agent node tidy"), "{said}");
}
