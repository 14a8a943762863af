//! The verb `put`.

use std::{fmt, path::PathBuf};

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::TrustedKeys;

use super::Context;
use crate::{
    commands::cli::PutArgs,
    config::stream::StreamConfig,
    host::{engine::Engine, lock::HostLock},
    keys::{recipients, signing},
    outcome::{
        exit::Exit,
        failure::{Failure, Rendered},
    },
    streams::{self, Ahead, Order, PutReport, Source, orders, site::Site, turn},
};

/// What became of every stream that was due.
#[derive(Debug, Serialize)]
struct DueReport {
    stored: Vec<PutReport>,
    /// Streams that are due and whose data is on another host, or that another run stores.
    passed_over: Vec<String>,
    failed: Vec<String>,
}

pub async fn run(context: &Context, args: &PutArgs) -> Result<Exit> {
    if args.due {
        return due(context, args).await;
    }
    let report = one(context, args).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

/// Stores the stream that the arguments name.
async fn one(context: &Context, args: &PutArgs) -> Result<PutReport> {
    let config = context.config();
    let name = args.name.as_ref().ok_or_else(|| Failure::usage("no stream is named"))?;
    let engine = Engine::at(&config.engine.socket);
    let (stream, source, words) = if args.stdin {
        (config.stream_named(name.as_str()), Source::Standard, Vec::new())
    } else if !args.command.is_empty() {
        let environment = config.proxies_for_children()?;
        let source = Source::Program { words: args.command.clone(), environment };
        (config.stream_named(name.as_str()), source, args.command.clone())
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
    streams::put(&context.run(), order, ahead, &recipients, source).await
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

/// Stores every stream of the configuration that is due and whose data is on this host. One that fails does not keep the
/// others from being stored.
async fn due(context: &Context, args: &PutArgs) -> Result<Exit> {
    let config = context.config();
    let timed: Vec<&StreamConfig> = config.stream.iter().filter(|stream| stream.cron.is_some()).collect();
    if timed.is_empty() {
        return Err(Failure::new(Exit::NotOurTurn, "the configuration has no stream with a `cron`").into());
    }
    let engine = Engine::at(&config.engine.socket);
    let site = Site::find(&engine, args.cluster.as_ref()).await?;
    let keys = signing::trusted(config, &[])?;
    let mut report = DueReport { stored: Vec::new(), passed_over: Vec::new(), failed: Vec::new() };
    for stream in timed {
        match due_one(context, &engine, &site, stream, &keys).await {
            Ok(Some(stored)) => report.stored.push(stored),
            Ok(None) => {}
            Err(error) => {
                context.shutdown.check()?;
                let rendered = Rendered::of(&error);
                match rendered.exit {
                    Exit::NotOurTurn => report.passed_over.push(rendered.what),
                    _ => {
                        tracing::error!("{rendered}");
                        report.failed.push(format!("{}: {error:#}", stream.name));
                    }
                }
            }
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

impl DueReport {
    fn exit(&self) -> Exit {
        let wants_attention = self.stored.iter().any(|stored| stored.exit() == Exit::Attention);
        match (self.failed.is_empty(), self.stored.is_empty()) {
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
        for passed_over in &self.passed_over {
            writeln!(f, "{passed_over}")?;
        }
        for failed in &self.failed {
            writeln!(f, "failed: {failed}")?;
        }
        if self.stored.is_empty() && self.passed_over.is_empty() && self.failed.is_empty() {
            writeln!(f, "no stream is due on this host")?;
        }
        Ok(())
    }
}
