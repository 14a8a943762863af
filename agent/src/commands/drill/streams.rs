//! `drill` of the streams of the configuration.

use std::{path::PathBuf, sync::Arc};

use anyhow::Result;
use swarmdr_archive::Identities;
use swarmdr_vault::catalog::Filter;

use crate::{
    commands::{Context, cli::DrillArgs},
    config::stream::StreamConfig,
    host::{lock::HostLock, name},
    keys::identities,
    observe::watch::{Ended, Watch},
    outcome::{
        exit::Exit,
        failure::{Failure, Rendered},
    },
    streams::{self, StreamDrill, StreamDrills},
    vaults::Shared,
};

/// Drills every stream of the configuration that has a command for it. One that fails does not keep the others from being
/// drilled.
pub(super) async fn all(context: &Context, args: &DrillArgs) -> Result<StreamDrills> {
    let mut drills = StreamDrills::default();
    let drilled: Vec<&StreamConfig> = context.config().stream.iter().filter(|it| !it.drill.is_empty()).collect();
    if drilled.is_empty() {
        return Ok(drills);
    }
    let identities = Arc::new(identities::find(&args.trust.identities, context.config())?);
    let vaults = Shared::default();
    for stream in drilled {
        match watched(context, args, stream, (&vaults, Arc::clone(&identities))).await {
            Ok(drill) => drills.good.push(drill),
            Err(error) => {
                context.shutdown.check()?;
                let rendered = Rendered::of(&error);
                match rendered.exit {
                    Exit::NotOurTurn => drills.passed_over.push(rendered.what),
                    _ => {
                        tracing::error!("{rendered}");
                        drills.failed.push(format!("{}: {error:#}", stream.name));
                    }
                }
            }
        }
    }
    Ok(drills)
}

/// Refuses if there is nothing to be drilled.
pub(super) fn require_some(context: &Context) -> Result<()> {
    if context.config().stream.iter().any(|stream| !stream.drill.is_empty()) {
        return Ok(());
    }
    Err(Failure::new(Exit::NotOurTurn, "no stream of the configuration has a `drill`").into())
}

/// Drills one stream as a run of its own, which hooks, the history, the journal and the metrics tell of.
async fn watched(
    context: &Context,
    args: &DrillArgs,
    stream: &StreamConfig,
    means: (&Shared, Arc<Identities>),
) -> Result<StreamDrill> {
    let path: PathBuf = format!("/run/swarmdr/drill-{}.lock", stream.name).into();
    let _lock = HostLock::acquire(&path)?;
    let watch = Watch::over_drill(context.config(), &stream.stream_name()?)?;
    match one(context, args, stream, means, &watch).await {
        Ok(drill) => {
            watch.end(&Ended::with(drill.exit())).await;
            Ok(drill)
        }
        Err(error) => {
            let ended = Ended::failed(error);
            watch.end(&ended).await;
            Err(ended.error.unwrap_or_else(|| anyhow::anyhow!("the drill failed")))
        }
    }
}

async fn one(
    context: &Context,
    args: &DrillArgs,
    stream: &StreamConfig,
    (vaults, identities): (&Shared, Arc<Identities>),
    watch: &Watch<'_>,
) -> Result<StreamDrill> {
    let (name, keys) = (stream.stream_name()?, context.trusted_on_streams(&args.trust)?);
    let choice = &args.choice;
    let filter = Filter { cluster: choice.among.cluster.clone(), any_vault: choice.any_vault, ..Filter::default() };
    let chosen = streams::find(&context.run(), vaults, &name, &filter, &keys).await?;
    let manifest = &chosen.head.manifest;
    let facts = [
        ("STREAM", name.to_string()),
        ("STREAM_ID", manifest.id.to_string()),
        ("CLUSTER_ID", manifest.cluster_id.to_string()),
        ("HOSTNAME", name::hostname()),
    ];
    watch.begin(facts.to_vec()).await?;
    streams::drill(&context.run(), stream, chosen, identities).await
}
