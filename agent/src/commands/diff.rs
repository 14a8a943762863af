//! The verb `diff`.

use anyhow::Result;
use swarmdr_vault::catalog::Filter;

use super::Context;
use crate::{
    archive::inspection::{Comparison, Subject},
    commands::cli::DiffArgs,
    outcome::exit::Exit,
};

/// Exits 0 with and without differences, which are a result and not a failure; 6 if there are findings in a vault.
pub async fn run(context: &Context, args: &DiffArgs) -> Result<Exit> {
    let among = Filter { cluster: args.cluster.clone(), any_vault: args.any_vault, ..Filter::default() };
    let before = Subject::named(&args.before, &among)?;
    let after = Subject::named(&args.after, &among)?;
    let inspector = context.inspector(&[&before, &after], &args.trust, &args.unlock)?.with_specs();
    let (before, after) = (inspector.look(&before).await?, inspector.look(&after).await?);
    let comparison = Comparison::of(&before, &after)?;
    context.output.print(&comparison)?;
    Ok(if comparison.findings.is_empty() { Exit::Done } else { Exit::Attention })
}
