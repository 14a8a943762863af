//! Tests of what is said of a stream.

use swarmdr_archive::Digest;
use swarmdr_vault::LockMode;

use super::*;
use crate::{
    config::retention::Policy,
    observe::status::{
        Level, Status,
        look::Looked,
        tests::{fine, time},
    },
    outcome::exit::Exit,
};
use swarmdr_vault::settings::unit_length::Seconds;

/// A stream that began at this time, with so many bytes after one with 1000.
pub(crate) fn stream(began: &str, size: u64) -> NewestStream {
    let began = time(began);
    let id = BackupId::new(began, [1; 4]);
    let digest = Digest::of(id.to_string().as_bytes());
    NewestStream {
        id,
        started_at: began,
        ended_at: began + SignedDuration::from_mins(5),
        as_of: began,
        stored_at: began,
        cluster_id: "c".parse().expect("is an id"),
        hostname: "w1".to_owned(),
        size,
        stored_size: size,
        lock: Some(Lock { mode: LockMode::Compliance, until: time("2026-12-21T03:30:00Z") }),
        lock_unread: false,
        size_before: Some(1000),
        place: Place { id, sequence: 2, previous: None, digest, ended: began, stored: began, specs: None },
    }
}

/// What the first vault of [`fine`] shows, and the second one.
fn looked(held: [Option<NewestStream>; 2]) -> Vec<Looked> {
    let vaults = fine().vaults.into_iter().zip(held);
    let of = |newest: Option<NewestStream>| {
        let seen = look::Seen { freshest: newest.as_ref().map(|newest| newest.id), newest };
        let seen = [("db".parse().expect("is a name"), seen)].into();
        InVault { seen, is_whole: true, ..InVault::default() }
    };
    vaults
        .map(|(status, newest)| Looked {
            status,
            receipts: Vec::new(),
            streams: of(newest),
            points: Default::default(),
        })
        .collect()
}

fn config(change: impl FnOnce(&mut StreamConfig)) -> Config {
    let mut stream = StreamConfig { name: "db".to_owned(), ..StreamConfig::default() };
    change(&mut stream);
    let mut config = Config { stream: vec![stream], ..Config::default() };
    config.schedule.timezone = Some("UTC".to_owned());
    config
}

/// A stream that is too old and too small.
pub(crate) fn late() -> Vec<StreamStatus> {
    let config = config(|stream| {
        stream.max_age = Some(Seconds::new(3600));
        stream.min_size = Some(bytesize::ByteSize(8));
    });
    let held = looked([Some(stream("2026-11-21T02:15:00Z", 7)), None]);
    let mut late = StreamStatus::all(&config, &held, &History::default(), fine().at).expect("is valid");
    late[0].drill = Some(drilled("2026-11-21T05:00:00Z", false));
    late
}

/// A drill at this time; another one had succeeded before.
fn drilled(at: &str, proven: bool) -> StreamDrilled {
    let at = time(at);
    StreamDrilled {
        at,
        id: Some("20261121T021500Z-01010101".to_owned()),
        proven,
        problem: (!proven).then(|| "it ended with 1".to_owned()),
        last_proven: Some(if proven { at } else { time("2026-11-21T02:15:00Z") }),
    }
}

#[test]
fn a_drill_that_failed_is_critical_and_a_proof_ages() {
    let drilling = config(|stream| stream.drill = vec!["true".to_owned()]);
    let held = stream("2026-11-21T02:15:00Z", 1000);
    let held = looked([Some(held.clone()), Some(held)]);
    let after = |config: &Config, drill: Option<StreamDrilled>| {
        let mut history = History::default();
        drill.into_iter().for_each(|drill| history.drilled_stream("db", drill));
        let status = status(config, &held, &history);
        (status.level, said(&status).join("; "), status.to_string())
    };
    assert_eq!(after(&drilling, None).0, Level::Ok, "another host may drill it");
    let (level, _, text) = after(&drilling, Some(drilled("2026-11-21T05:00:00Z", true)));
    assert!(level == Level::Ok && text.contains(", drill proven 7 h ago"), "{text}");
    let (level, said, text) = after(&drilling, Some(drilled("2026-11-21T05:00:00Z", false)));
    assert!(level == Level::Critical && text.contains(", drill FAILED 7 h ago"), "{text}");
    assert!(
        said.contains("the stream db 20261121T021500Z-01010101 failed its drill at") && said.contains("ended with 1")
    );
    let (level, said, _) = after(&drilling, Some(drilled("2026-11-01T05:00:00Z", true)));
    assert!(level == Level::Warning && said.contains("no drill has proven the stream db for 15 days"), "{said}");
    let mut asked = drilling;
    asked.drill.max_age_days = Some(swarmdr_vault::settings::unit_length::Days::new(30));
    assert!(after(&asked, None).1.contains("no drill has ever proven the stream db on this host"));
    let other = config(|_| {});
    assert_eq!(after(&other, Some(drilled("2026-11-21T05:00:00Z", false))).0, Level::Ok, "it is not drilled any more");
}

/// The status at 2026-11-21T12:00:00Z.
fn status(config: &Config, looked: &[Looked], history: &History) -> Status {
    let mut status = fine();
    status.streams = StreamStatus::all(config, looked, history, status.at).expect("is valid");
    status.judge();
    status
}

fn said(status: &Status) -> Vec<String> {
    status.reasons.iter().map(|reason| reason.text.clone()).collect()
}

#[test]
fn a_stream_is_late_by_its_max_age_or_by_its_schedule() {
    let hours = |hours: u32| move |stream: &mut StreamConfig| stream.max_age = Some(Seconds::new(hours * 3600));
    let nightly = |stream: &mut StreamConfig| stream.cron = Some("15 2 * * *".to_owned());
    let by = |config: Config, began: &str| {
        let held = stream(began, 1000);
        status(&config, &looked([Some(held.clone()), Some(held)]), &History::default())
    };
    for (config, began, level, text) in [
        (config(hours(26)), "2026-11-20T10:00:01Z", Level::Ok, ""),
        (config(hours(26)), "2026-11-20T09:59:59Z", Level::Critical, "max_age is 93600 s"),
        (config(nightly), "2026-11-21T02:15:00Z", Level::Ok, ""),
        // One was due at 2:15, may take four hours, and be 45 minutes late.
        (config(nightly), "2026-11-20T02:15:00Z", Level::Critical, "one was due at 2026-11-21T02:15:00Z"),
        (config(|_| {}), "2026-01-01T00:00:00Z", Level::Ok, ""),
    ] {
        let status = by(config, began);
        assert_eq!(status.level, level, "{began}: {:?}", said(&status));
        assert!(text.is_empty() || said(&status)[0].contains(text), "{:?}", said(&status));
        assert_eq!(status.exit(), if level == Level::Ok { Exit::Done } else { Exit::Failed });
    }
    let running = Status { at: time("2026-11-21T06:59:00Z"), ..by(config(nightly), "2026-11-20T02:15:00Z") };
    let held = stream("2026-11-20T02:15:00Z", 1000);
    let of = StreamStatus::all(&config(nightly), &looked([Some(held), None]), &History::default(), running.at);
    assert_eq!(of.expect("is valid")[0].stale, Some(false), "the run of this night may still go on");
}

#[test]
fn none_at_all_is_critical_only_where_one_should_be() {
    let daily = config(|stream| stream.max_age = Some(Seconds::new(86_400)));
    let none = status(&daily, &looked([None, None]), &History::default());
    assert_eq!(said(&none), ["no stream db that verifies is in any vault"]);
    let by_hand = status(&config(|_| {}), &looked([None, None]), &History::default());
    assert_eq!((by_hand.level, by_hand.streams[0].stale), (Level::Ok, None));
    // What other hosts store is shown, and theirs to judge.
    let held = stream("2025-01-01T00:00:00Z", 0);
    let others = status(&Config::default(), &looked([Some(held), None]), &History::default());
    assert_eq!((others.level, others.streams.len(), others.streams[0].configured), (Level::Ok, 1, false));
    assert!(others.to_string().contains("stream   db (not configured here): 20250101T000000Z-01010101 from w1"));
}

#[test]
fn sizes_vaults_and_locks_are_judged() {
    let shrinks = config(|stream| {
        stream.max_shrink = "50%".parse().ok();
        stream.retention = Some(Policy { keep_last: 1, ..Policy::default() });
    });
    let (small, old) = (stream("2026-11-21T02:15:00Z", 499), stream("2026-11-20T02:15:00Z", 1000));
    let mut unlocked = small.clone();
    unlocked.lock = Some(Lock { mode: LockMode::Compliance, until: time("2026-11-21T11:00:00Z") });
    let status = status(&shrinks, &looked([Some(unlocked), Some(old)]), &History::default());
    let said = said(&status).join("\n");
    for text in ["shrank by more than 50 %", "s3://b/\"y\\ lacks the newest stream db", "has ended: it can be deleted"]
    {
        assert!(said.contains(text), "{said}");
    }
    assert_eq!((status.level, status.exit()), (Level::Warning, Exit::Attention));
}

#[test]
fn a_vault_that_was_not_read_lacks_nothing() {
    let mut looked = looked([Some(stream("2026-11-21T02:15:00Z", 1000)), None]);
    looked[1].streams = InVault::default();
    let status = status(&config(|_| {}), &looked, &History::default());
    assert_eq!(said(&status), [""; 0]);
}

#[test]
fn a_failed_run_is_told_until_a_newer_stream_comes_from_wherever() {
    let held = stream("2026-11-21T02:15:00Z", 1000);
    for (at, exit, trouble) in [
        ("2026-11-21T02:21:00Z", Exit::Failed, true),
        ("2026-11-21T02:21:00Z", Exit::Attention, true),
        ("2026-11-21T02:21:00Z", Exit::Done, false),
        ("2026-11-21T02:19:00Z", Exit::Failed, false),
    ] {
        let (at, error) = (time(at), Some("no room".to_owned()));
        let run = Run { at, seconds: 1.0, exit: exit.into(), result: exit.word().to_owned(), error };
        let mut history = History::default();
        history.ended_stream("db", None, exit, run);
        let status = status(&config(|_| {}), &looked([Some(held.clone()), Some(held.clone())]), &history);
        let said = said(&status);
        assert_eq!(
            said.iter().any(|text| text.contains("on this host") && text.ends_with(": no room")),
            trouble,
            "{said:?}"
        );
    }
}

#[test]
fn an_upload_counts_as_unfinished_when_no_run_can_still_be_at_it() {
    let key = |id: &str| format!("streams/c/db/{id}-01010101.stream").parse().expect("is a key");
    let mut looked = looked([None, None]);
    looked[0].streams.unfinished = vec![key("20261121T071400Z"), key("20261121T080000Z")];
    let status = status(&config(|_| {}), &looked, &History::default());
    assert_eq!(status.streams[0].unfinished, [time("2026-11-21T07:14:00Z")]);
    assert!(said(&status)[0].contains("1 upload"), "{:?}", said(&status));
}

#[test]
fn a_worker_is_judged_by_its_streams_only() {
    let held = stream("2026-11-21T02:15:00Z", 1000);
    let mut status = status(&config(|_| {}), &looked([Some(held.clone()), Some(held)]), &History::default());
    status.vaults.iter_mut().for_each(|vault| (vault.newest, vault.freshest) = (None, None));
    status.judge();
    assert_eq!((status.level, status.exit()), (Level::Critical, Exit::NothingUsable), "a manager should make backups");
    status.streams_only = true;
    status.judge();
    assert_eq!((status.level, status.exit()), (Level::Ok, Exit::Done));
    assert_eq!(
        status.nagios(),
        "SWARMDR OK - newest stream 20261121T021500Z-01010101 | stream_db_age=35100s spool=0 spool_bytes=0B"
    );
    status.streams[0].stale = Some(true);
    status.judge();
    assert_eq!((status.level, status.exit()), (Level::Critical, Exit::Failed));
}
