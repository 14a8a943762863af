//! The verb `inspect`.

use anyhow::Result;

use super::Context;
use crate::{
    archive::inspection::{Inspection, Subject},
    commands::cli::InspectArgs,
    outcome::exit::Exit,
};

/// Exits 6 if the state could not be restored as it is, or if there are findings in a vault.
pub async fn run(context: &Context, args: &InspectArgs) -> Result<Exit> {
    let subject = match &args.dir {
        Some(dir) => Subject::Directory(dir.clone()),
        None => Subject::Backup(args.choice.meant(context.now)),
    };
    let inspector = context.inspector(&[&subject], &args.trust, &args.unlock)?;
    let inspection = match args.specs {
        false => Inspection::of(inspector.look(&subject).await?, context.now),
        true => {
            let mut seen = inspector.with_specs().look(&subject).await?;
            seen.require_specs()?;
            let specs = std::mem::take(&mut seen.items);
            Inspection::of(seen, context.now).with_specs(specs)
        }
    };
    context.output.print(&inspection)?;
    Ok(if inspection.needs_attention() { Exit::Attention } else { Exit::Done })
}
