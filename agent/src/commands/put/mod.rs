//! The verb `put`.

mod due;
mod snapshot;

use std::path::PathBuf;

use anyhow::Result;
use swarmdr_archive::stream_archive::StreamName;

use super::Context;
use crate::{
    commands::cli::PutArgs,
    config::{Config, stream::StreamConfig},
    host::{engine::Engine, lock::HostLock, name},
    keys::{recipients, signing},
    observe::watch::{Ended, Fact, Watch},
    outcome::{
        exit::Exit,
        failure::{Failure, Rendered},
    },
    points::{self, Occasion},
    restore::images::memory::ImagesChecked,
    streams::{self, Ahead, Expectation, Order, PutReport, Source, orders, site::Site, turn},
    vaults::Shared,
};

pub async fn run(context: &Context, args: &PutArgs) -> Result<Exit> {
    if args.due {
        return due::all(context, args).await;
    }
    if let Some(external) = snapshot::named(context, args)? {
        return snapshot::make(context, args, external).await;
    }
    let name = args.name.as_ref().ok_or_else(|| Failure::usage("no stream is named"))?;
    let work = async |watch: &Watch<'_>| one(context, args, name, watch).await.map(Some);
    let Some(report) = watched(context.config(), name, work).await? else { return Ok(Exit::NotOurTurn) };
    context.output.print(&report)?;
    Ok(report.exit())
}

/// Stores one stream as a run of its own, which hooks, a ping, the history and the metrics tell of. A run that leaves it to
/// another one is not told: such runs come every minute.
async fn watched(
    config: &Config,
    name: &StreamName,
    work: impl AsyncFnOnce(&Watch<'_>) -> Result<Option<PutReport>>,
) -> Result<Option<PutReport>> {
    let watch = Watch::over_stream(config, name)?;
    match work(&watch).await {
        Ok(None) => Ok(None),
        Ok(Some(report)) => {
            watch.end(&Ended { facts: facts_of(&report), ..Ended::with(report.exit()) }).await;
            Ok(Some(report))
        }
        Err(error) if Rendered::of(&error).exit == Exit::NotOurTurn => Err(error),
        Err(error) => {
            let ended = Ended::failed(error);
            watch.end(&ended).await;
            ended.into_exit().map(|_| None)
        }
    }
}

/// Facts for the hooks after a stream was stored.
fn facts_of(report: &PutReport) -> Vec<Fact> {
    let vaults: Vec<&str> = report.kept.iter().map(|kept| kept.vault.as_str()).collect();
    vec![
        ("STREAM_ID", report.id.clone()),
        ("SIZE", report.size.to_string()),
        ("SHA256", report.sha256.clone()),
        ("VAULTS", vaults.join(" ")),
    ]
}

/// Stores the stream that the arguments name.
async fn one(context: &Context, args: &PutArgs, name: &StreamName, watch: &Watch<'_>) -> Result<PutReport> {
    let config = context.config();
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
    let vaults = Shared::default();
    let ahead = Ahead::look(&context.run(), &vaults, &order, &signing::trusted_on_streams(config, &[])?).await?;
    store(context, &order, (&vaults, ahead), source, watch).await
}

async fn store(
    context: &Context,
    order: &Order,
    (vaults, ahead): (&Shared, Ahead),
    source: Source,
    watch: &Watch<'_>,
) -> Result<PutReport> {
    let recipients = recipients::parse(context.config())?;
    watch
        .begin(vec![
            ("STREAM", order.name.to_string()),
            ("CLUSTER_ID", order.cluster.to_string()),
            ("HOSTNAME", name::hostname()),
        ])
        .await?;
    let report = streams::put(&context.run(), order, ahead, &recipients, source).await?;
    let took = report.kept.iter().map(|kept| kept.vault.clone()).collect();
    let images = ImagesChecked::for_point(&context.config().state_dir, &order.cluster);
    let occasion = Occasion { took: Some(took), images, ..Occasion::default() };
    Ok(report.with_point(points::after(&context.run(), vaults, &order.cluster, occasion).await))
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
        expected: Expectation {
            min_size: args.min_size.map(|size| size.as_u64()).or(order.expected.min_size),
            max_shrink: args.max_shrink.map(|percent| percent.value()).or(order.expected.max_shrink),
        },
        ..order
    }
}
