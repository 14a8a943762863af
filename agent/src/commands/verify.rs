//! The verb `verify`.

use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;

use super::{Context, drill};
use crate::{
    archive::verification::{Report, Verifier},
    commands::cli::VerifyArgs,
    keys::identities,
    observe::{
        history::Proved,
        verb::Verb,
        watch::{Ended, Watch},
    },
    outcome::exit::Exit,
    streams,
};

/// Fetches every chosen backup as a whole and checks it. Exits 1 if one fails; 6 if one was stored unproven, if the
/// unlock key is wrong, or if there is a forged or damaged object next to good ones.
pub async fn run(context: &Context, args: &VerifyArgs) -> Result<Exit> {
    if args.streams {
        let keys = context.trusted_on_streams(&args.trust)?;
        let identities = Arc::new(identities::find(&args.trust.identities, context.config())?);
        let filter = args.choice.among.filter(context.now);
        let report = streams::check_all(&context.run(), None, &filter, &keys, identities).await?;
        context.output.print(&report)?;
        return Ok(report.exit());
    }
    if args.boot {
        return drill::all(context, args).await;
    }
    let watch = Watch::over(&context.loaded.config, Verb::Verify)?;
    // The check of a file says nothing about the vaults, so it is not reported as a run.
    let is_watched = args.choice.file.is_none();
    let report = async {
        if is_watched {
            watch.begin(Vec::new()).await?;
        }
        verify(context, args).await
    };
    let ended = match report.await {
        Ok(report) => {
            context.output.print(&report)?;
            Ended { proved: proved(&report, context.now), ..Ended::with(report.exit()) }
        }
        Err(error) => Ended::failed(error),
    };
    if is_watched {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn verify(context: &Context, args: &VerifyArgs) -> Result<Report> {
    let verifier = Verifier { run: context.run(), keyring: context.keyring(&args.trust, &args.unlock)? };
    let mut report = if args.choice.is_of_one() {
        verifier.one(&args.choice.meant(context.now)).await?
    } else {
        verifier.all(&args.choice.among.filter(context.now)).await?
    };
    if args.choice.file.is_none() {
        let on_streams = context.trusted_on_streams(&args.trust)?;
        verifier.renew(args.choice.among.cluster.as_ref(), &on_streams, &mut report).await?;
    }
    Ok(report)
}

/// Returns what this host remembers of the run; `None` if there was no backup to check.
fn proved(report: &Report, at: Timestamp) -> Option<Proved> {
    let newest = report.results.iter().map(|result| result.id.clone()).max()?;
    Some(Proved { at, good: !report.has_bad(), checked: report.results.len() as u64, newest: Some(newest) })
}
