//! Arguments of `step-down`.

use clap::Args;
use swarmdr_archive::ClusterId;

use super::{Trust, Unlock};
use crate::claims::ClaimId;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent step-down --dry-run --identity /root/identity.txt
  swarmdr-agent step-down --identity /root/identity.txt --reason \"back to fra1\"
  swarmdr-agent step-down --claim 3 --identity /root/identity.txt   nothing runs there

On a manager of the site that has the swarm, with the key that signed its claim:
the release is stored beside the claim. The swarm here runs on until you stop it;
from now on another site may be promoted at once. The sites from before this one
stay superseded: what they have is older.

Take the last backup before this command: the other site starts from it.

A restore that was killed for good leaves a claim behind which nobody stands. It
supersedes the site that works, until --claim EPOCH ends it. That is refused (4)
while somebody may stand behind it: in its first 15 minutes, but on its host;
while a sign of life bears it, or cannot be read; and while a vault is away that
has to answer. What a vault did not take is stored when it is run again.

Exits 4 if this site does not have the newest claim, 6 if a vault did not take
the release.")]
pub struct StepDownArgs {
    /// End this claim, whose restore never came about: from any host with a promoter's key
    #[arg(long, value_name = "EPOCH")]
    pub claim: Option<u32>,

    /// With --claim, which one, where several claims have the epoch
    #[arg(long, value_name = "ID", requires = "claim")]
    pub id: Option<ClaimId>,

    /// With --claim, end it although its site left a fresh sign of life, or one that cannot be read
    #[arg(long, requires = "claim")]
    pub despite_sign_of_life: bool,

    /// With --claim, the swarm [default: that of this host, or the only one with claims]
    #[arg(long, value_name = "ID", requires = "claim")]
    pub cluster: Option<ClusterId>,

    /// Why, for the release that others read
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Show what would be given up, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}
