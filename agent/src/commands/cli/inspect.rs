//! Arguments of `inspect`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Choice, Trust, Unlock};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent inspect --latest --identity identity.txt
  swarmdr-agent inspect 20261121T031500Z-1a2b3c4d
  swarmdr-agent inspect --file /mnt/usb/backup.swarmdr --trust RWQ…
  swarmdr-agent inspect --dir /var/lib/docker/swarm
  swarmdr-agent inspect --latest --json --specs | jq '.specs[].name'

What is shown is read from the raft log itself where it can be opened; without
an identity an encrypted backup shows its unencrypted manifest only. A directory may
belong to a running engine: it is only read, and may lack the last moments. No
value of a secret, no key and no token is shown.

Exits 6 if the state could not be restored as it is, or if other objects in the
vaults need a look.")]
#[command(group = clap::ArgGroup::new("choice").required(true))]
pub struct InspectArgs {
    #[command(flatten)]
    pub choice: Choice,

    /// A state directory instead of a backup
    #[arg(long, value_name = "PATH", group = "choice", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,

    /// With --json, print the specs of all services, networks, secrets, configs and volumes too, as the Engine API takes them
    #[arg(long, requires = "json")]
    pub specs: bool,
}
