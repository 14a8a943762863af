//! The verb `undelete`.

use anyhow::Result;

use super::Context;
use crate::{
    archive::inspection::Subject,
    commands::cli::{ConflictRule, UndeleteArgs},
    host::lock::HostLock,
    outcome::exit::Exit,
    restore::items::{
        selection::Selection,
        undelete::{self, Conflict, Request, Swarm, Undelete},
    },
};

/// Exits 4 if something is in the way, 6 if something did not come back as it was. The swarm is asked first, since a
/// backup takes longer to open.
pub async fn run(context: &Context, args: &UndeleteArgs) -> Result<Exit> {
    let request = request(context, args);
    let config = &context.loaded.config;
    let _lock = match args.dry_run {
        true => None,
        false => Some(HostLock::acquire(&undelete::lock_path(config))?),
    };
    let swarm = context.shutdown.or_interrupted(Swarm::of(config)).await?;
    let subject = Subject::Backup(args.choice.meant(context.now));
    let state = context.inspector(&[&subject], &args.trust, &args.unlock)?.open_state(&subject).await?;
    let undelete = Undelete { run: context.run(), swarm, request: &request, dry_run: args.dry_run };
    let report = undelete.run(&state).await?;
    if let Some(refusal) = report.refusal() {
        return Err(refusal);
    }
    context.output.print(&report)?;
    Ok(report.exit())
}

fn request(context: &Context, args: &UndeleteArgs) -> Request {
    Request {
        selection: Selection {
            stacks: args.stacks.clone(),
            services: args.services.clone(),
            secrets: args.secrets.clone(),
            configs: args.configs.clone(),
            networks: args.networks.clone(),
        },
        all_missing: args.all_missing,
        conflict: match args.conflict {
            ConflictRule::Refuse => Conflict::Refuse,
            ConflictRule::Rename => Conflict::Rename,
            ConflictRule::Replace => Conflict::Replace,
        },
        stopped: args.stopped,
        new_name: args.new_name.clone(),
        images: context.config().images.map_with(&args.image_map),
    }
}
