//! Arguments of `verify`.

use clap::Args;

use super::{Choice, Trust, Unlock};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent verify                     every stored backup
  swarmdr-agent verify --latest            the newest one
  swarmdr-agent verify --latest --identity identity.txt --unlock-key key.txt
  swarmdr-agent verify --file B.swarmdr --trust RWQ…
  swarmdr-agent verify --streams --identity identity.txt
  swarmdr-agent verify --boot --max-age 30d --identity identity.txt

Without an identity an encrypted archive is checked as far as its signature and
the digest of the stored bytes go; with one it is opened, every file is checked,
the raft log is replayed, and what comes out is compared with what was recorded.
The log of an autolocked swarm opens with its unlock key only; without it the
backup is called sealed.

Exits 1 if a backup is not what it says it is; 6 if one was stored unproven, or
if the unlock key given is not that of a backup.")]
#[command(group = clap::ArgGroup::new("choice"))]
pub struct VerifyArgs {
    #[command(flatten)]
    pub choice: Choice,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Boot each of them in a second engine on this host, as `drill` does, from the oldest to the newest
    #[arg(long)]
    pub boot: bool,

    /// Check every data stream instead of the backups: each byte as it was signed, and opened with an identity
    #[arg(long, conflicts_with_all = ["id", "latest", "file", "any_vault", "boot"])]
    pub streams: bool,

    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}
