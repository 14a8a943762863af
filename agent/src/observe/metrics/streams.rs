//! Metrics of streams, by their names.

use super::{Page, seconds};
use crate::observe::{
    runs::{Run, StreamDrilled, StreamRuns},
    status::{Status, StreamInVault, StreamStatus},
};

/// Name and help of a metric, and its figure, absent where it means nothing.
type Figure<T> = (&'static str, &'static str, fn(&T) -> Option<f64>);

const OF_NAME: [Figure<StreamStatus>; 3] = [
    ("swarmdr_stream_stale", "1 if the newest stream is too old by max_age or cron, or if there is none.", |it| {
        it.stale.map(flag)
    }),
    ("swarmdr_stream_max_age_seconds", "Age from which it is too old.", |it| it.max_age.map(|age| age as f64)),
    ("swarmdr_stream_too_small", "1 if the newest stream is smaller than min_size and max_shrink allow.", |it| {
        it.configured.then_some(flag(it.too_small.is_some()))
    }),
];

const IN_VAULT: [Figure<StreamInVault>; 4] = [
    ("swarmdr_newest_stream_timestamp_seconds", "When the newest good stream in the vault was begun.", |it| {
        Some(seconds(it.freshest?.created_at()))
    }),
    ("swarmdr_newest_stream_size_bytes", "Bytes of the newest good stream in the vault.", |it| {
        Some(it.newest.as_ref()?.stored_size as f64)
    }),
    ("swarmdr_newest_stream_plain_size_bytes", "Bytes that its command wrote.", |it| {
        Some(it.newest.as_ref()?.size as f64)
    }),
    ("swarmdr_newest_stream_lock_end_timestamp_seconds", "Until when nobody can delete it.", |it| {
        Some(seconds(it.newest.as_ref()?.lock?.until))
    }),
];

/// Renders all metrics of streams; none where there is none.
pub fn all(status: &Status, page: &mut Page) {
    for (name, help, figure) in OF_NAME {
        let known = status.streams.iter().filter_map(|it| Some((vec![("stream", it.name.as_str())], figure(it)?)));
        page.gauges(name, help, known.collect());
    }
    for (name, help, figure) in IN_VAULT {
        let of_stream = |stream: &'_ StreamStatus| {
            let known = stream.vaults.iter().filter_map(|it| Some((it.url.clone(), figure(it)?)));
            known.collect::<Vec<_>>()
        };
        let all: Vec<_> = status.streams.iter().map(|stream| (stream.name.as_str(), of_stream(stream))).collect();
        let known = all.iter().flat_map(|(stream, known)| {
            known.iter().map(|(url, value)| (vec![("vault", url.as_str()), ("stream", *stream)], *value))
        });
        page.gauges(name, help, known.collect());
    }
    of_runs(status, page);
    of_drills(status, page);
}

/// The drills of streams on this host.
fn of_drills(status: &Status, page: &mut Page) {
    const FIGURES: [Figure<StreamDrilled>; 3] = [
        ("swarmdr_stream_last_drill_timestamp_seconds", "When this host last drilled the stream.", |it| {
            Some(seconds(it.at))
        }),
        ("swarmdr_stream_last_drill_good", "1 if its drill command took all of it and succeeded.", |it| {
            Some(flag(it.proven))
        }),
        ("swarmdr_stream_last_drill_proven_timestamp_seconds", "When a drill last proved it.", |it| {
            it.last_proven.map(seconds)
        }),
    ];
    for (name, help, figure) in FIGURES {
        let known = status.streams.iter().filter_map(|it| {
            let value = figure(it.drill.as_ref()?)?;
            Some((vec![("stream", it.name.as_str())], value))
        });
        page.gauges(name, help, known.collect());
    }
}

/// What this host did for its streams. Those of `put` together are among the runs by verb.
fn of_runs(status: &Status, page: &mut Page) {
    let runs = &status.history.streams;
    let last = |figure: fn(&Run) -> f64| {
        let known = runs.iter().filter_map(|(name, it)| Some((name, figure(it.runs.last.as_ref()?))));
        known.map(|(name, value)| (vec![("stream", name.as_str())], value)).collect::<Vec<_>>()
    };
    let good = |(name, it): (&'_ String, &StreamRuns)| Some((name.clone(), seconds(it.runs.last_good?)));
    let good: Vec<_> = runs.iter().filter_map(good).collect();
    page.gauges(
        "swarmdr_stream_last_run_timestamp_seconds",
        "When this host last stored the stream, or failed to.",
        last(|run| seconds(run.at)),
    );
    page.gauges(
        "swarmdr_stream_last_run_exit_code",
        "Exit code of that run.",
        last(|run| f64::from(u8::from(run.exit))),
    );
    page.gauges("swarmdr_stream_last_run_duration_seconds", "How long it took.", last(|run| run.seconds));
    page.gauges(
        "swarmdr_stream_last_success_timestamp_seconds",
        "When this host last stored it.",
        good.iter().map(|(name, value)| (vec![("stream", name.as_str())], *value)).collect(),
    );
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}
