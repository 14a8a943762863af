//! `put` of an external snapshot: another tool makes and keeps it, and its id goes into a recovery point.

use anyhow::Result;

use super::lock_path;
use crate::{
    commands::{Context, cli::PutArgs},
    config::external::ExternalConfig,
    host::{engine::Engine, lock::HostLock},
    keys::signing,
    outcome::{exit::Exit, failure::Failure},
    points::{self, SnapshotReport, Tool},
    streams::{orders, site::Site, turn},
    vaults::Shared,
};

/// Returns the external snapshot that the arguments name, if they name one.
pub(super) fn named<'a>(context: &'a Context, args: &PutArgs) -> Result<Option<&'a ExternalConfig>> {
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

/// Makes the external snapshot that the arguments name.
pub(super) async fn make(context: &Context, args: &PutArgs, external: &ExternalConfig) -> Result<Exit> {
    let engine = Engine::at(&context.config().engine.socket);
    require_turn(&engine, external).await?;
    let _lock = HostLock::acquire(&lock_path(&external.name))?;
    let site = Site::find(&engine, args.cluster.as_ref()).await?;
    let order = order(context, site, external)?;
    let limit = args.timeout.unwrap_or(order.tool.limit);
    let order = points::Order { as_of: args.as_of, tool: Tool { limit, ..order.tool }, ..order };
    let report = points::snapshot(&context.run(), &Shared::default(), &order).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}

/// Fails with exit code 3 or 4 if it is not this host's turn to make an external snapshot.
async fn require_turn(engine: &Engine, external: &ExternalConfig) -> Result<()> {
    if let Some(service) = &external.service {
        turn::task_of(engine, &format!("the external snapshot {}", external.name), service).await?;
    }
    Ok(())
}

fn order(context: &Context, site: Site, external: &ExternalConfig) -> Result<points::Order> {
    let environment = context.config().proxies_for_children()?;
    let tool = Tool { words: external.command.clone(), environment, limit: external.timeout.duration() };
    Ok(points::Order { cluster: site.cluster, name: external.part_name()?, tool, as_of: None })
}

/// Makes an external snapshot if it is due; `None` if it is not.
pub(super) async fn if_due(
    context: &Context,
    engine: &Engine,
    site: &Site,
    external: &ExternalConfig,
    vaults: &Shared,
) -> Result<Option<SnapshotReport>> {
    let Some(cron) = &external.cron else { return Ok(None) };
    let Some(schedule) = orders::of_cron(context.config(), cron)? else { return Ok(None) };
    require_turn(engine, external).await?;
    let _lock = HostLock::acquire(&lock_path(&external.name))?;
    let order = order(context, site.clone(), external)?;
    let run = context.run();
    let keys = signing::trusted(context.config(), &[])?;
    let since = points::due_since(&run, vaults, &order.cluster, &order.name, &keys);
    let since = context.shutdown.or_interrupted(since).await?;
    if !schedule.is_due(since, context.now) {
        return Ok(None);
    }
    points::snapshot(&run, vaults, &order).await.map(Some)
}
