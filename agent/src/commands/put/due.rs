//! `put --due`: every stream and external snapshot of the configuration that is due.

use std::fmt;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_archive::TrustedKeys;

use super::{lock_path, snapshot, source_of, store, watched};
use crate::{
    commands::{Context, cli::PutArgs},
    config::{Config, external::ExternalConfig, stream::StreamConfig},
    host::{engine::Engine, lock::HostLock},
    keys::signing,
    observe::{history::History, textfile, watch::Watch},
    outcome::{
        exit::Exit,
        failure::{Failure, Rendered},
    },
    points::SnapshotReport,
    streams::{Ahead, PutReport, orders, site::Site},
    vaults::Shared,
};

/// Time from a failure until the stream is tried again.
const PAUSE: SignedDuration = SignedDuration::from_mins(15);

/// What became of every stream that was due.
#[derive(Debug, Default, Serialize)]
struct DueReport {
    stored: Vec<PutReport>,
    /// External snapshots that were made.
    external: Vec<SnapshotReport>,
    /// What is due and whose data is on another host, that another run stores, or that failed a moment ago.
    passed_over: Vec<String>,
    failed: Vec<String>,
}

/// Stores every stream of the configuration that is due and whose data is on this host, and then makes the external
/// snapshots that are. One that fails does not keep the others from being stored.
pub async fn all(context: &Context, args: &PutArgs) -> Result<Exit> {
    let config = context.config();
    let timed: Vec<&StreamConfig> = config.stream.iter().filter(|stream| stream.cron.is_some()).collect();
    let snapshots: Vec<&ExternalConfig> = config.external.iter().filter(|external| external.cron.is_some()).collect();
    if timed.is_empty() && snapshots.is_empty() {
        let what = "the configuration has no stream or external snapshot with a `cron`";
        return Err(Failure::new(Exit::NotOurTurn, what).into());
    }
    let engine = Engine::at(&config.engine.socket);
    let site = Site::find(&engine, args.cluster.as_ref()).await?;
    let keys = signing::trusted_on_streams(config, &[])?;
    let vaults = Shared::default();
    let trusted = (&keys, &vaults);
    let mut report = DueReport::default();
    for stream in timed {
        match one(context, &engine, &site, stream, trusted).await {
            Ok(stored) => report.stored.extend(stored),
            Err(error) => report.add_error(context, &stream.name, &error)?,
        }
    }
    for external in snapshots {
        match snapshot::if_due(context, &engine, &site, external, &vaults).await {
            Ok(made) => report.external.extend(made),
            Err(error) => report.add_error(context, &external.name, &error)?,
        }
    }
    textfile::refresh(config).await;
    context.output.print(&report)?;
    Ok(report.exit())
}

/// Stores a stream if it is due; `None` if it is not.
async fn one(
    context: &Context,
    engine: &Engine,
    site: &Site,
    stream: &StreamConfig,
    (keys, vaults): (&TrustedKeys, &Shared),
) -> Result<Option<PutReport>> {
    let config = context.config();
    let Some(schedule) = orders::schedule(config, stream)? else { return Ok(None) };
    require_pause(config, stream, context.now)?;
    let order = orders::order(site.clone(), &stream.name, Some(stream))?;
    let work = async |watch: &Watch<'_>| {
        let source = match source_of(context, engine, stream).await {
            // Only a host with the task asks the vaults.
            Err(error) if Rendered::of(&error).exit == Exit::NotOurTurn => return Err(error),
            source => source,
        };
        let _lock = HostLock::acquire(&lock_path(&stream.name))?;
        let ahead = Ahead::look(&context.run(), vaults, &order, keys).await?;
        if !schedule.is_due(ahead.previous.begun, context.now) {
            return Ok(None);
        }
        store(context, &order, (vaults, ahead), source?, watch).await.map(Some)
    };
    watched(config, &order.name, work).await
}

/// Refuses a stream that failed on this host a short time ago: whatever is wrong would be tried, and told, each minute.
fn require_pause(config: &Config, stream: &StreamConfig, now: Timestamp) -> Result<()> {
    let history = History::read(&config.state_dir);
    let last = history.streams.get(&stream.name).and_then(|of_name| of_name.runs.last.as_ref());
    let failed = last.filter(|run| !run.exit.is_good()).map(|run| run.at);
    match failed.filter(|at| (SignedDuration::ZERO..PAUSE).contains(&now.duration_since(*at))) {
        None => Ok(()),
        Some(at) => Err(Failure::new(
            Exit::NotOurTurn,
            format!(
                "the stream {}: it failed at {at}, and is tried again after {} minutes",
                stream.name,
                PAUSE.as_mins()
            ),
        )
        .into()),
    }
}

impl DueReport {
    /// Notes one that was not stored. Fails if this run is to end.
    fn add_error(&mut self, context: &Context, name: &str, error: &anyhow::Error) -> Result<()> {
        context.shutdown.check()?;
        let rendered = Rendered::of(error);
        match rendered.exit {
            Exit::NotOurTurn => self.passed_over.push(rendered.what),
            _ => {
                tracing::error!("{rendered}");
                self.failed.push(format!("{name}: {error:#}"));
            }
        }
        Ok(())
    }

    fn exit(&self) -> Exit {
        let stored = self.stored.iter().map(PutReport::exit).chain(self.external.iter().map(SnapshotReport::exit));
        let wants_attention = stored.clone().any(|exit| exit == Exit::Attention);
        match (self.failed.is_empty(), stored.count() == 0) {
            (false, _) => Exit::Failed,
            (true, true) => Exit::NotOurTurn,
            (true, false) if wants_attention => Exit::Attention,
            (true, false) => Exit::Done,
        }
    }
}

impl fmt::Display for DueReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stored in &self.stored {
            write!(f, "{stored}")?;
        }
        for made in &self.external {
            write!(f, "{made}")?;
        }
        for passed_over in &self.passed_over {
            writeln!(f, "{passed_over}")?;
        }
        for failed in &self.failed {
            writeln!(f, "failed: {failed}")?;
        }
        let is_idle = self.stored.is_empty() && self.external.is_empty();
        if is_idle && self.passed_over.is_empty() && self.failed.is_empty() {
            writeln!(f, "no stream is due on this host")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::runs::Run;

    #[test]
    fn a_stream_that_failed_is_left_alone_for_a_quarter_of_an_hour() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let stream = StreamConfig { name: "db".to_owned(), ..StreamConfig::default() };
        let at: Timestamp = "2026-11-21T10:00:00Z".parse().expect("is a time");
        let after = |minutes| require_pause(&config, &stream, at + SignedDuration::from_mins(minutes));
        after(1).expect("it never ran");
        for (exit, paused) in
            [(Exit::Failed, true), (Exit::Refused, true), (Exit::Attention, false), (Exit::Done, false)]
        {
            let run = Run { at, seconds: 1.0, exit: exit.into(), result: exit.word().to_owned(), error: None };
            let mut history = History::default();
            history.ended_stream("db", None, exit, run);
            history.write(&config.state_dir).expect("writes");
            assert_eq!(after(14).is_err(), paused, "{exit:?}");
            after(15).expect("is tried again");
            // A clock that was set back must not stop it.
            after(-1).expect("is tried again");
        }
        let mut history = History::default();
        let run = Run { at, seconds: 1.0, exit: Exit::Failed.into(), result: String::new(), error: None };
        history.ended_stream("db", None, Exit::Failed, run);
        history.write(&config.state_dir).expect("writes");
        assert_eq!(Rendered::of(&after(1).expect_err("has failed")).exit, Exit::NotOurTurn);
    }
}
