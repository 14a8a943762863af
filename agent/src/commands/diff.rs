//! `diff`

use anyhow::Result;

use super::Context;
use crate::{
    cli::DiffArgs,
    exit::Exit,
    inspection::{Comparison, Subject},
    vault::catalog::Filter,
};

/// Differences are a result, not a failure: exit 0 with and without them. Findings in a vault make it 6.
pub async fn run(context: &Context, args: &DiffArgs) -> Result<Exit> {
    let among = Filter { cluster: args.cluster.clone(), any_vault: args.any_vault, ..Filter::default() };
    let before = Subject::named(&args.before, &among)?;
    let after = Subject::named(&args.after, &among)?;
    let looker = context.looker(&[&before, &after], &args.trust, &args.unlock)?;
    let (before, after) = (looker.look(&before).await?, looker.look(&after).await?);
    let comparison = Comparison::of(&before, &after)?;
    context.output.print(&comparison)?;
    Ok(if comparison.findings.is_empty() { Exit::Done } else { Exit::Attention })
}
