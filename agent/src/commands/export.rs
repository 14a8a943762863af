//! The verb `export`.

use anyhow::Result;

use super::Context;
use crate::{
    archive::{inspection::Subject, scratch::note::Notes},
    commands::cli::{ExportArgs, Form},
    outcome::exit::Exit,
    restore::items::{
        export::{self, Format, Options, Request, Target},
        selection::Selection,
    },
};

/// Exits 6 if something is left out, or if there are findings in a vault; 5 if an object that was asked for is not
/// there; 4 if the directory is not free.
pub async fn run(context: &Context, args: &ExportArgs) -> Result<Exit> {
    // Before anything is fetched.
    let target = Target::check(&args.to, args.with_secrets)?;
    let subject = match &args.dir {
        Some(dir) => Subject::Directory(dir.clone()),
        None => Subject::Backup(args.choice.meant(context.now)),
    };
    let request = Request {
        selection: Selection { stacks: args.stacks.clone(), services: args.services.clone(), ..Selection::default() },
        format: match args.format {
            Form::Compose => Format::Compose,
            Form::Engine => Format::Engine,
        },
        options: Options { with_secrets: args.with_secrets, images: context.config().images.map_with(&args.image_map) },
    };
    let state = context.inspector(&[&subject], &args.trust, &args.unlock)?.open_state(&subject).await?;
    let report = export::run(&state, &request, target, &Notes::of(&context.loaded.config), &context.shutdown).await?;
    context.output.print(&report)?;
    Ok(report.exit())
}
