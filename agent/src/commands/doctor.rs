//! The verb `doctor`.

use anyhow::{Context as _, Result};
use swarmdr_vault::make_directory;

use super::Context;
use crate::{commands::cli::DoctorArgs, observe::doctor, outcome::exit::Exit};

/// Exits 1 if something does not work, 6 if something should be reviewed.
pub async fn run(context: &Context, args: &DoctorArgs) -> Result<Exit> {
    if args.make_vault {
        make_vaults(context)?;
    }
    let examine = async { Ok(doctor::examine(&context.loaded.config, context.now).await) };
    let diagnosis = context.shutdown.or_interrupted(examine).await?;
    context.output.print(&diagnosis)?;
    Ok(diagnosis.exit())
}

fn make_vaults(context: &Context) -> Result<()> {
    for settings in context.loaded.config.vaults() {
        let made = make_directory(&settings.target()?);
        let url = &settings.url;
        if made.with_context(|| format!("failed to make the directory of the vault {url}"))? {
            tracing::info!("made the directory of the vault {url}");
        }
    }
    Ok(())
}
