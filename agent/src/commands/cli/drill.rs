//! Arguments of `drill`.

use clap::Args;

use super::{Choice, Trust, Unlock};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent drill --latest --identity identity.txt
  swarmdr-agent drill 20261121T031500Z-1a2b3c4d --unlock-key unlock-key.txt
  swarmdr-agent drill --file /mnt/usb/backup.swarmdr --trust RWQ…
  swarmdr-agent drill --streams --identity identity.txt

On a manager, a worker, or any host with the engine's packages. The backup is
fetched, verified and booted by a second engine that has a network of its own
with the old address and no way out, no images, and a runtime that refuses:
nothing of the swarm can start. It forms the swarm again, reports what came
back, and is removed. The engine that runs here, its containers and its network
are not touched.

With the managers' signing key on this host, a signed receipt is stored with the
backup and locked like it; `list` and `status` show it.

With --latest the newest stream of each `[[stream]]` that has a `drill` goes
through that command too, as with `get`: it is killed before it sees the end of
a stream that was altered or cut. With --streams that is all that is done.

Exits 1 if the backup or a stream failed, 6 if something needs attention, 3 if
no stream has a `drill`.")]
#[command(group = clap::ArgGroup::new("choice").required(true))]
pub struct DrillArgs {
    #[command(flatten)]
    pub choice: Choice,

    /// Only the streams of the configuration that have a `drill`
    #[arg(long, group = "choice")]
    pub streams: bool,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}
