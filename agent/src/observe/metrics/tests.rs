//! The page is read back by a scraper's parser, and the shipped alerts and dashboard name what is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
};

use prometheus_parse::{Scrape, Value};

use super::*;
use crate::{
    archive::{kept::tests::kept, removals::removed::tests::removed},
    observe::{
        history::Made,
        runs::Run,
        status::{
            Due, Standby,
            tests::{fine, superseded, with_stream},
        },
        verb::Verb,
    },
    outcome::exit::Exit,
    restore::images::memory::tests::checked,
};

const ALERTS: &str = include_str!("../../../../packaging/monitoring/swarmdr-alerts.yml");
const DASHBOARD: &str = include_str!("../../../../packaging/monitoring/swarmdr-dashboard.json");

/// A status with a figure for every metric.
fn full() -> Status {
    let mut status = fine();
    status.schedule = Some(Due { next: Some(status.at), grace: 60, stale: true });
    let run = |exit: Exit| Run { at: status.at, seconds: 4.25, exit: exit.into(), result: String::new(), error: None };
    let (done, failed) = (run(Exit::Done), run(Exit::Refused));
    status.history.ended(Verb::Backup, Exit::Done, done);
    status.history.ended(Verb::Backup, Exit::Refused, failed);
    let run = Run { at: status.at, seconds: 90.0, exit: Exit::Failed.into(), result: String::new(), error: None };
    status.history.ended_stream("db", None, Exit::Done, run.clone());
    status.history.ended_stream("db", None, Exit::Failed, run);
    let mut status = with_stream(status);
    status.history.hook_failures = 2;
    status.history.proof = status.last_proof.clone();
    let drill = crate::observe::status::Drill {
        at: status.at,
        backup: "20261121T033000Z-00000001".to_owned(),
        engine: "26.1.5".to_owned(),
        host: "m1".to_owned(),
        proven: true,
        problem: None,
    };
    status.removed = Some(removed("shop_web", "tls_key"));
    status.images = Some(checked(&["web"]));
    status.sign_of_life =
        Some(OwnSign { every: 120, at: Some(status.at), vaults: vec!["s3://a/x".to_owned()], late: false });
    status.claims = Some(superseded());
    status.standby = Standby::of(Ok(Some(kept("20261121T033000Z-00000001"))));
    status.drills.last = Some(drill.clone());
    status.drills.proven = Some(drill);
    status.last_backup = Some(Made {
        id: "20261121T033000Z-00000001".to_owned(),
        cluster: "c".to_owned(),
        at: status.at,
        size: 30_000,
        engine_down_ms: 2345,
        ours_ms: 17,
        phases: BTreeMap::from([("quiesce".to_owned(), 800)]),
    });
    status
}

fn scrape(page: &str) -> Scrape {
    let scraped = Scrape::parse(page.lines().map(|line| Ok(line.to_owned()))).expect("is a page of metrics");
    let lines = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(scraped.samples.len(), lines, "a line was not understood:\n{page}");
    scraped
}

fn figure(scraped: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted = |sample: &&prometheus_parse::Sample| {
        sample.metric == name && labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
    };
    match scraped.samples.iter().find(wanted).unwrap_or_else(|| panic!("no {name} {labels:?}")).value {
        Value::Gauge(value) | Value::Counter(value) => value,
        ref other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn a_scraper_reads_every_figure() {
    let page = render_all(&full());
    let scraped = scrape(&page);
    for (name, labels, value) in [
        ("swarmdr_build_info", &[("version", env!("CARGO_PKG_VERSION"))][..], 1.0),
        ("swarmdr_backup_stale", &[], 1.0),
        ("swarmdr_newest_backup_timestamp_seconds", &[("vault", "s3://a/x")], 1_795_231_800.0),
        ("swarmdr_vault_required", &[("vault", "s3://a/x")], 1.0),
        ("swarmdr_last_backup_engine_down_seconds", &[], 2.345),
        ("swarmdr_last_backup_phase_seconds", &[("phase", "quiesce")], 0.8),
        ("swarmdr_runs_total", &[("verb", "backup"), ("result", "refused")], 1.0),
        ("swarmdr_last_run_exit_code", &[("verb", "backup")], 4.0),
        ("swarmdr_hook_failures_total", &[], 2.0),
        ("swarmdr_removed_objects", &[], 2.0),
        ("swarmdr_stream_stale", &[("stream", "db")], 1.0),
        ("swarmdr_stream_max_age_seconds", &[("stream", "db")], 3600.0),
        ("swarmdr_stream_too_small", &[("stream", "db")], 1.0),
        ("swarmdr_newest_stream_timestamp_seconds", &[("stream", "db"), ("vault", "s3://a/x")], 1_795_227_300.0),
        ("swarmdr_newest_stream_plain_size_bytes", &[("stream", "db"), ("vault", "s3://a/x")], 7.0),
        ("swarmdr_stream_last_run_exit_code", &[("stream", "db")], 1.0),
        ("swarmdr_stream_last_drill_good", &[("stream", "db")], 0.0),
        ("swarmdr_stream_last_drill_proven_timestamp_seconds", &[("stream", "db")], 1_795_227_300.0),
        ("swarmdr_stream_last_run_duration_seconds", &[("stream", "db")], 90.0),
        ("swarmdr_stream_last_success_timestamp_seconds", &[("stream", "db")], 1_795_262_400.0),
        ("swarmdr_newest_point_complete", &[], 0.0),
        ("swarmdr_newest_point_timestamp_seconds", &[], 1_795_257_000.0),
        ("swarmdr_newest_complete_point_timestamp_seconds", &[], 1_795_231_800.0),
        ("swarmdr_superseded", &[], 1.0),
        ("swarmdr_images", &[], 3.0),
        ("swarmdr_images_missing", &[], 1.0),
        ("swarmdr_images_unknown", &[], 0.0),
        ("swarmdr_standby_backup_timestamp_seconds", &[], 1_795_231_800.0),
        ("swarmdr_sign_of_life_timestamp_seconds", &[], 1_795_262_400.0),
        ("swarmdr_sign_of_life_fresh_seconds", &[], 420.0),
    ] {
        assert_eq!(figure(&scraped, name, labels), value, "{name}");
    }
    assert!(page.contains(r#"{vault="s3://b/\"y\\"}"#), "labels are escaped:\n{page}");
}

#[test]
fn every_family_has_its_help_and_its_type_once_before_its_samples() {
    let page = render_all(&full());
    let mut known = BTreeSet::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().expect("has a name");
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            assert_eq!(lines.next(), Some(format!("# TYPE {name} {kind}").as_str()));
            assert!(known.insert(name), "{name} begins twice");
        } else {
            let name = line.split(['{', ' ']).next().expect("has a name");
            assert_eq!(known.last().map(|_| known.contains(name)), Some(true), "{name} has no help");
        }
    }
}

#[test]
fn a_host_without_any_history_has_a_page_too() {
    let mut status = fine();
    status.vaults.clear();
    scrape(&render_all(&status));
}

#[test]
fn a_standby_that_keeps_nothing_says_so_and_other_hosts_say_nothing() {
    const NAME: &str = "swarmdr_standby_backup_timestamp_seconds";
    let mut status = fine();
    assert!(!render(&status).contains(NAME), "it is no standby");
    status.standby = Standby::of(Ok(None));
    assert_eq!(figure(&scrape(&render(&status)), NAME, &[]), 0.0);
}

#[test]
fn alerts_and_dashboard_name_what_there_is() {
    let page = render_all(&full());
    let scraped = scrape(&page);
    let there: BTreeSet<&str> = scraped.samples.iter().map(|sample| sample.metric.as_str()).collect();
    for (file, text) in [("alerts", ALERTS), ("dashboard", DASHBOARD)] {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("swarmdr_")).collect();
        assert!(named.len() >= 6, "{file} names {named:?} only");
        let unknown: Vec<_> = named.difference(&there).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("is JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() >= 6));
}

#[test]
fn the_file_is_replaced_and_readable_by_others() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    for _ in 0..2 {
        write(dir.path(), &full()).expect("writes");
    }
    let names: Vec<_> = fs::read_dir(dir.path()).expect("lists").map(|it| it.expect("an entry").file_name()).collect();
    assert_eq!(names, ["swarmdr.prom"]);
    let mode = fs::metadata(dir.path().join(FILE)).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert!(write(&dir.path().join("none"), &full()).is_err());
}

/// The collector refuses a directory in which two files have the same figure.
#[test]
fn the_two_files_of_the_collector_have_nothing_in_common() {
    let (dir, status) = (tempfile::tempdir().expect("a scratch directory"), full());
    write(dir.path(), &status).expect("writes");
    write_life(dir.path(), status.sign_of_life.as_ref().expect("is there")).expect("writes");
    let names = |file: &str| -> BTreeSet<String> {
        let page = fs::read_to_string(dir.path().join(file)).expect("reads");
        scrape(&page).samples.into_iter().map(|sample| sample.metric).collect()
    };
    let (first, second) = (names("swarmdr.prom"), names("swarmdr-life.prom"));
    assert!(second.len() == 2 && first.is_disjoint(&second), "{second:?}");
}
