//! Arguments of `restore`.

use std::{net::IpAddr, time::Duration};

use clap::Args;

use swarmdr_registry::Rule;

use super::{Choice, Trust, Unlock};
use crate::{config::length, points::Which};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent restore --latest --dry-run
  swarmdr-agent restore --latest --identity /root/identity.txt
  swarmdr-agent restore 20261121T031500Z-1a2b3c4d
  swarmdr-agent restore --latest --before 2026-11-21T10:15  before the break-in
  swarmdr-agent restore --latest --max-age 3d               not older than that
  swarmdr-agent restore --latest-complete                   and say how its data comes back
  swarmdr-agent restore --file /mnt/usb/backup.swarmdr --trust RWQ…
  swarmdr-agent restore --latest --readdress --copy-labels  to another address
  swarmdr-agent restore --latest --wait 10m                 while the host boots
  swarmdr-agent restore --latest --image-map old:5000=new:5000/mirror

Where no host can have the swarm's address, --readdress gives the swarm this
host's: a second engine in a network of its own forms it at the old address,
this host's engine joins it as a manager, and the old node is removed. Same
swarm, CA and tokens; workers join again, and volumes stay where they are.

Once the swarm is back, services whose image --image-map or images.map gives
another name are updated to it, tag and digest kept, with the login that is
configured for the new registry (images.registry), and never with the old one's.
The others get the login that is configured for theirs. What fails is reported
(exit 6) and undoes nothing; the same command tries it again.

Of several hosts that restore the same swarm one goes on, and the others end with
exit code 3: before the engine is stopped, the run claims the swarm in the vault.
After 15 minutes the claim of a host that is gone does not stop another one; at
once with --fenced, by which you vouch that it is gone.

With --point, the backup is the one that a recovery point names; --before,
--max-age and --cluster then say which points come into question. Once the state
is back, the commands are printed that bring the point's data back, in order, and
how far apart in time its parts are. Whether they fit each other only the
application knows.

Nothing on the host changes before the archive is whole, its signature verifies
against a trusted key, and the swarm's address is found on an interface of this
host. The state that was there is moved aside, never deleted; any failure puts
it back. A run that was killed, or whose host lost its power, is ended by the
next one: finished, or undone. Run again on the host that it healed, it changes
nothing and exits 0.")]
#[command(group = clap::ArgGroup::new("choice").required(true))]
pub struct RestoreArgs {
    #[command(flatten)]
    pub choice: Choice,

    /// The backup of a recovery point: `latest`, `latest-complete`, or the id of one
    #[arg(long, value_name = "POINT", group = "choice")]
    pub point: Option<Which>,

    /// The newest recovery point that is complete, as --point latest-complete
    #[arg(long, group = "choice")]
    pub latest_complete: bool,

    #[command(flatten)]
    pub trust: Trust,

    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Replace the state of a swarm that is active on this host
    #[arg(long)]
    pub force: bool,

    /// The old managers, and the site of the newest claim, are cut off for good: do not check whether they
    /// answer, or left signs of life
    #[arg(long)]
    pub fenced: bool,

    /// Make no claim on the swarm: for a rehearsal in a network of its own
    #[arg(long)]
    pub without_claim: bool,

    /// Remove old managers from the restored swarm once they have been away for restore.prune_grace
    #[arg(long)]
    pub prune_dead: bool,

    /// Give images another place once the swarm is back: `registry.old:5000/shop=registry.new/shop` (repeatable)
    #[arg(long, value_name = "FROM=TO")]
    pub image_map: Vec<Rule>,

    /// The swarm's address is translated to this host (NAT): do not check the interfaces for it
    #[arg(long)]
    pub address_elsewhere: bool,

    /// Send overlay traffic through this address of this host instead of the recorded one
    #[arg(long, value_name = "ADDRESS")]
    pub data_path_addr: Option<String>,

    /// Give the swarm this host's address: a new manager takes the place of the old one
    #[arg(long, conflicts_with_all = ["address_elsewhere", "wait_for_ip"])]
    pub readdress: bool,

    /// With --readdress, the address of this host that the swarm gets [default: the only one]
    #[arg(long, value_name = "ADDRESS", requires = "readdress")]
    pub advertise_addr: Option<IpAddr>,

    /// With --readdress, give the new node the labels and the availability of the old one
    #[arg(long, requires = "readdress")]
    pub copy_labels: bool,

    /// Wait this long for what comes late: the engine, the address, the vault, the end of another
    /// site's signs of life (`90s`, `10m`)
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds, default_value = "0s")]
    pub wait: Duration,

    /// Wait this long for the swarm's address to be on an interface [default: as --wait]
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds)]
    pub wait_for_ip: Option<Duration>,

    /// Wait this long for a vault that cannot be searched yet [default: as --wait]
    #[arg(long, value_name = "TIME", value_parser = length::parse_or_seconds)]
    pub wait_for_vault: Option<Duration>,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

impl RestoreArgs {
    /// Returns the recovery point that is meant, if one is.
    pub fn which(&self) -> Option<Which> {
        self.point.or_else(|| self.latest_complete.then_some(Which::LatestComplete))
    }
}
