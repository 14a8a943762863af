//! Arguments of `diff`.

use clap::Args;
use clap_complete::ArgValueCandidates;
use swarmdr_archive::ClusterId;

use super::{Trust, Unlock, candidates};
use crate::archive::operand::Operand;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent diff 20261120T031500Z-9f8e7d6c 20261121T031500Z-1a2b3c4d
  swarmdr-agent diff latest /var/lib/docker/swarm --identity identity.txt
  swarmdr-agent diff ./old.swarmdr ./new.swarmdr --trust RWQ…

A and B are each the id of a backup, `latest`, the path of an archive (with a
slash in it), or a state directory. + is in B only, - is in A only, ~ is in both
and differs. The last line is the command that brings back what B lacks, if A is
a backup.

Exits 0 whether or not there are differences.")]
pub struct DiffArgs {
    /// What was before
    #[arg(value_name = "A", add = ArgValueCandidates::new(candidates::operands))]
    pub before: Operand,

    /// What came after
    #[arg(value_name = "B", add = ArgValueCandidates::new(candidates::operands))]
    pub after: Operand,

    /// `latest` means the newest backup of this cluster
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(candidates::clusters))]
    pub cluster: Option<ClusterId>,

    /// `latest` is the newest of the vaults that can be reached, though another may hold a newer one
    #[arg(long)]
    pub any_vault: bool,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Print the differences as JSON
    #[arg(long)]
    pub json: bool,
}
