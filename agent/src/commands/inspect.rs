//! `inspect`

use anyhow::Result;

use super::Context;
use crate::{
    cli::InspectArgs,
    exit::Exit,
    inspection::{Inspection, Subject},
    source::Choice,
};

/// A state that could not be restored as it is, or findings beside it, make this exit 6.
pub async fn run(context: &Context, args: &InspectArgs) -> Result<Exit> {
    let subject = match &args.dir {
        Some(dir) => Subject::Directory(dir.clone()),
        None => Subject::Backup(Choice::of(&args.choice, context.now)),
    };
    let looker = context.looker(&[&subject], &args.trust, &args.unlock)?;
    let inspection = Inspection::of(looker.look(&subject).await?, context.now);
    context.output.print(&inspection)?;
    Ok(if inspection.needs_attention() { Exit::Attention } else { Exit::Done })
}
