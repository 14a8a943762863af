//! The verb `put`.

use std::{fmt, path::PathBuf};

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::TrustedKeys;

use super::Context;
use crate::{
    commands::cli::PutArgs,
    config::{external::ExternalConfig, stream::StreamConfig},
    host::{engine::Engine, lock::HostLock},
    keys::{recipients, signing},
    outcome::{
        exit::Exit,
        failure::{Failure, Rendered},
    },
    points::{self, Occasion, SnapshotReport, Tool},
    streams::{self, Ahead, Order, PutReport, Source, orders, site::Site, turn},
};

/// What became of every stream that was due.
#[derive(Debug, Default, Serialize)]
struct DueReport {
    stored: Vec<PutReport>,
    /// External snapshots that were made.
    external: Vec<SnapshotReport>,
    /// What is due and whose data is on another host, or that another run stores.
    passed_over: Vec<String>,
    failed: Vec<String>,
}

pub async fn run(context: &Context, args: &PutArgs) -> Result<Exit> {
    if args.due {
        return due(context, args).await;
    }
    if let Some(external) = external_of(context, args)? {
        let engine = Engine::at(&context.config().engine.socket);
        require_turn(&engine, external).await?;
        let _lock = HostLock::acquire(&lock_path(&external.name))?;
        let site = Site::find(&engine, args.cluster.as_ref()).await?;
        let order = points::Order { as_of: args.as_of, ..snapshot_order(context, site, external)? };
        let limit = args.timeout.unwrap_or(order.tool.limit);
        let order = points::Order { tool: Tool { limit, ..order.tool }, ..order };
        let report = points::snapshot(&context.run(), &order).await?;
        context.output.print(&report)?;
        return Ok(report.exit());
    }
    let report = one(context, args).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

/// Returns the external snapshot that the arguments name, if they name one.
fn external_of<'a>(context: &'a Context, args: &PutArgs) -> Result<Option<&'a ExternalConfig>> {
    let Some(name) = &args.name else { return Ok(None) };
    let Some(external) = context.config().external.iter().find(|it| it.name == name.as_str()) else { return Ok(None) };
    let is_of_streams = args.stdin
        || !args.command.is_empty()
        || args.expect_tail.is_some()
        || args.patience.is_some()
        || args.expect.is_some()
        || args.min_size.is_some()
        || args.max_shrink.is_some();
    if is_of_streams {
        return Err(Failure::usage(format!("{name} is an external snapshot, and this is for streams"))
            .advice(format!("run its tool as the configuration says: swarmdr-agent put {name}"))
            .advice("or give the stream another name")
            .into());
    }
    Ok(Some(external))
}

/// Fails with exit code 3 or 4 if it is not this host's turn to make an external snapshot.
async fn require_turn(engine: &Engine, external: &ExternalConfig) -> Result<()> {
    if let Some(service) = &external.service {
        turn::task_of(engine, &format!("the external snapshot {}", external.name), service).await?;
    }
    Ok(())
}

fn snapshot_order(context: &Context, site: Site, external: &ExternalConfig) -> Result<points::Order> {
    let environment = context.config().proxies_for_children()?;
    let tool = Tool { words: external.command.clone(), environment, limit: external.timeout.duration() };
    Ok(points::Order { cluster: site.cluster, name: external.part_name()?, tool, as_of: None })
}

/// Stores the stream that the arguments name.
async fn one(context: &Context, args: &PutArgs) -> Result<PutReport> {
    let config = context.config();
    let name = args.name.as_ref().ok_or_else(|| Failure::usage("no stream is named"))?;
    let engine = Engine::at(&config.engine.socket);
    let (stream, source, words) = if args.stdin {
        (orders::configured(config, name.as_str()), Source::Standard, Vec::new())
    } else if !args.command.is_empty() {
        let environment = config.proxies_for_children()?;
        let source = Source::Program { words: args.command.clone(), environment };
        (orders::configured(config, name.as_str()), source, args.command.clone())
    } else {
        let stream = orders::require(config, name.as_str())?;
        (Some(stream), source_of(context, &engine, stream).await?, stream.words().to_vec())
    };
    let _lock = HostLock::acquire(&lock_path(name.as_str()))?;
    let site = Site::find(&engine, args.cluster.as_ref()).await?;
    let order = with_flags(orders::order(site, name.as_str(), stream)?, args, words);
    let ahead = Ahead::look(&context.run(), &order, &signing::trusted(config, &[])?).await?;
    store(context, &order, ahead, source).await
}

async fn store(context: &Context, order: &Order, ahead: Ahead, source: Source) -> Result<PutReport> {
    let recipients = recipients::parse(context.config())?;
    let report = streams::put(&context.run(), order, ahead, &recipients, source).await?;
    let took = report.kept.iter().map(|kept| kept.vault.clone()).collect();
    let occasion = Occasion { took: Some(took), ..Occasion::default() };
    Ok(report.with_point(points::after(&context.run(), &order.cluster, occasion).await))
}

/// The lock that allows one run of a stream at a time on this host. Backups do not wait for it.
fn lock_path(name: &str) -> PathBuf {
    format!("/run/swarmdr/stream-{name}.lock").into()
}

/// Returns what a configured stream is read from, if it is this host's turn.
async fn source_of(context: &Context, engine: &Engine, stream: &StreamConfig) -> Result<Source> {
    let config = context.config();
    let task = turn::require(engine, stream).await?;
    Ok(match task.filter(|_| !stream.exec.is_empty()) {
        Some(task) => {
            Source::Container { socket: config.engine.socket.clone(), container: task, words: stream.exec.clone() }
        }
        None => Source::Program { words: stream.command.clone(), environment: config.proxies_for_children()? },
    })
}

/// Returns the order with what the flags say in the place of what the configuration says.
fn with_flags(order: Order, args: &PutArgs, words: Vec<String>) -> Order {
    Order {
        words,
        as_of: args.as_of,
        limit: args.timeout.unwrap_or(order.limit),
        patience: args.patience.unwrap_or(order.patience),
        expect: args.expect.map(|size| size.as_u64()).or(order.expect),
        expected_end: args.expect_tail.clone().or(order.expected_end),
        min_size: args.min_size.map(|size| size.as_u64()).or(order.min_size),
        max_shrink: args.max_shrink.map(|percent| percent.value()).or(order.max_shrink),
        ..order
    }
}

/// Stores every stream of the configuration that is due and whose data is on this host, and then makes the external
/// snapshots that are. One that fails does not keep the others from being stored.
async fn due(context: &Context, args: &PutArgs) -> Result<Exit> {
    let config = context.config();
    let timed: Vec<&StreamConfig> = config.stream.iter().filter(|stream| stream.cron.is_some()).collect();
    let snapshots: Vec<&ExternalConfig> = config.external.iter().filter(|external| external.cron.is_some()).collect();
    if timed.is_empty() && snapshots.is_empty() {
        let what = "the configuration has no stream or external snapshot with a `cron`";
        return Err(Failure::new(Exit::NotOurTurn, what).into());
    }
    let engine = Engine::at(&config.engine.socket);
    let site = Site::find(&engine, args.cluster.as_ref()).await?;
    let keys = signing::trusted(config, &[])?;
    let mut report = DueReport::default();
    for stream in timed {
        match due_one(context, &engine, &site, stream, &keys).await {
            Ok(stored) => report.stored.extend(stored),
            Err(error) => report.add_error(context, &stream.name, &error)?,
        }
    }
    for external in snapshots {
        match due_snapshot(context, &engine, &site, external, &keys).await {
            Ok(made) => report.external.extend(made),
            Err(error) => report.add_error(context, &external.name, &error)?,
        }
    }
    context.output.print(&report)?;
    Ok(report.exit())
}

/// Stores a stream if it is due; `None` if it is not.
async fn due_one(
    context: &Context,
    engine: &Engine,
    site: &Site,
    stream: &StreamConfig,
    keys: &TrustedKeys,
) -> Result<Option<PutReport>> {
    let order = orders::order(site.clone(), &stream.name, Some(stream))?;
    let Some(schedule) = orders::schedule(context.config(), stream)? else { return Ok(None) };
    let source = source_of(context, engine, stream).await?;
    let _lock = HostLock::acquire(&lock_path(&stream.name))?;
    let ahead = Ahead::look(&context.run(), &order, keys).await?;
    if !schedule.is_due(ahead.previous.begun, context.now) {
        return Ok(None);
    }
    store(context, &order, ahead, source).await.map(Some)
}

/// Makes an external snapshot if it is due; `None` if it is not.
async fn due_snapshot(
    context: &Context,
    engine: &Engine,
    site: &Site,
    external: &ExternalConfig,
    keys: &TrustedKeys,
) -> Result<Option<SnapshotReport>> {
    let Some(cron) = &external.cron else { return Ok(None) };
    let Some(schedule) = orders::of_cron(context.config(), cron)? else { return Ok(None) };
    require_turn(engine, external).await?;
    let _lock = HostLock::acquire(&lock_path(&external.name))?;
    let order = snapshot_order(context, site.clone(), external)?;
    let run = context.run();
    let since = context.shutdown.or_interrupted(points::due_since(&run, &order.cluster, &order.name, keys)).await?;
    if !schedule.is_due(since, context.now) {
        return Ok(None);
    }
    points::snapshot(&run, &order).await.map(Some)
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
