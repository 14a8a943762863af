//! Arguments of `doctor`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent doctor                  after each change of bucket, roles, keys
  swarmdr-agent doctor --make-vault     makes a new `file://` vault's directory
  swarmdr-agent doctor --json | jq '.checks[] | select(.level == \"fail\")'

One line for each check, with what to do about it. With the real credentials it
tries what a thief of them would try: to delete a locked version, to bypass and
to shorten its lock. It does so on a small object of its own below `doctor/` in
each vault that locks, and all of it must be refused.

Exits 1 if something does not work, 6 if something deserves a look.")]
pub struct DoctorArgs {
    /// First make the directories of `file://` vaults that are not there, once their disks are mounted
    #[arg(long)]
    pub make_vault: bool,

    /// Print the checks as JSON
    #[arg(long)]
    pub json: bool,
}
