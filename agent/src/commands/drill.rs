//! `drill`, and `verify --boot`

use std::sync::Arc;

use anyhow::Result;

use super::Context;
use crate::{
    cli::{DrillArgs, Trust, Unlock, VerifyArgs},
    drill::{Drill, DrillReport, Summary},
    exit::Exit,
    history::Proved,
    source::{Choice, Source, admitted},
    unlock_key::GivenKey,
    vault::catalog::Survey,
    vaults,
    watch::{Ended, Watch},
};

pub async fn run(context: &Context, args: &DrillArgs) -> Result<Exit> {
    let watch = Watch::over(&context.loaded.config, "drill")?;
    let ended = match one(context, args, &watch).await {
        Ok(report) => {
            context.output.print(&report)?;
            Ended { proved: Some(proved(context, [&report])), ..Ended::with(report.exit()) }
        }
        Err(error) => Ended::failed(error),
    };
    watch.end(&ended).await;
    ended.into_exit()
}

async fn one(context: &Context, args: &DrillArgs, watch: &Watch<'_>) -> Result<DrillReport> {
    let drill = make(context, &args.trust, &args.unlock)?;
    let choice = Choice::of(&args.choice, context.now);
    let found = Source::find(&context.loaded.config, &choice, &drill.keys, context.now);
    let found = context.shutdown.or_interrupted(found).await?;
    let manifest = &found.head.manifest;
    watch.begin(vec![("BACKUP_ID", manifest.id.to_string()), ("CLUSTER_ID", manifest.cluster_id.clone())]).await?;
    drill.rehearse(&found.source, &found.head, found.findings).await
}

/// Boots every backup that was chosen, oldest first.
pub async fn all(context: &Context, args: &VerifyArgs) -> Result<Exit> {
    let watch = Watch::over(&context.loaded.config, "verify")?;
    let ended = match boot_all(context, args).await {
        Ok(summary) => {
            context.output.print(&summary)?;
            let proved = (!summary.drills.is_empty()).then(|| proved(context, &summary.drills));
            Ended { proved, ..Ended::with(summary.exit()) }
        }
        Err(error) => Ended::failed(error),
    };
    watch.end(&ended).await;
    ended.into_exit()
}

async fn boot_all(context: &Context, args: &VerifyArgs) -> Result<Summary> {
    let drill = make(context, &args.trust, &args.unlock)?;
    let choice = &args.choice;
    if choice.file.is_some() || choice.latest || choice.id.is_some() {
        let choice = Choice::of(choice, context.now);
        let found = Source::find(&context.loaded.config, &choice, &drill.keys, context.now).await?;
        let report = drill.rehearse(&found.source, &found.head, Vec::new()).await?;
        return Ok(Summary { drills: vec![report], findings: found.findings, ..Summary::default() });
    }
    let filter = admitted(&choice.among, context.now);
    let mut survey = Survey::new(&filter, &drill.keys, context.now);
    let mut found = Vec::new();
    for connected in vaults::connect(&context.loaded.config).await? {
        let mut visit = survey.vault(connected.vault.as_ref()).await;
        while let Some(backup) = visit.next().await {
            found.push((Source::Vault { vault: Arc::clone(&connected.vault), at: backup.at }, backup.head));
        }
    }
    found.sort_by_key(|(_, head)| head.manifest.id);
    let mut summary = Summary { findings: survey.end().findings, ..Summary::default() };
    for (source, head) in &found {
        match drill.rehearse(source, head, Vec::new()).await {
            Ok(report) => summary.drills.push(report),
            Err(error) => {
                context.shutdown.check()?;
                summary.not_tried.push(format!("backup {} from {source} was not tried: {error:#}", head.manifest.id));
            }
        }
    }
    Ok(summary)
}

fn make<'a>(context: &'a Context, trust: &Trust, unlock: &Unlock) -> Result<Drill<'a>> {
    let config = &context.loaded.config;
    Ok(Drill {
        config,
        keys: context.trusted(trust)?,
        identities: Arc::new(context.identities(trust)?),
        unlock_key: GivenKey::find(unlock.key_file.as_deref(), config)?,
        shutdown: &context.shutdown,
        progress: context.progress,
        now: context.now,
    })
}

/// What this host remembers of it: a boot is the best of proofs.
fn proved<'a>(context: &Context, drills: impl IntoIterator<Item = &'a DrillReport>) -> Proved {
    let drills: Vec<&DrillReport> = drills.into_iter().collect();
    Proved {
        at: context.now,
        good: drills.iter().all(|drill| drill.is_proven()),
        checked: drills.len() as u64,
        newest: drills.iter().map(|drill| drill.receipt.backup.to_string()).max(),
    }
}
