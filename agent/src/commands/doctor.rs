//! `doctor`

use anyhow::Result;

use super::Context;
use crate::{doctor, exit::Exit};

/// What does not work makes this exit 1, what deserves a look 6.
pub async fn run(context: &Context) -> Result<Exit> {
    let examine = async { Ok(doctor::examine(&context.loaded.config, context.now).await) };
    let diagnosis = context.shutdown.or_interrupted(examine).await?;
    context.output.print(&diagnosis)?;
    Ok(diagnosis.exit())
}
