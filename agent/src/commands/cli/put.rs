//! Arguments of `put`.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;
use swarmdr_archive::{ClusterId, stream_archive::StreamName};

use super::{candidates, time};
use crate::config::{length, stream::Percent};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent put shop-db -- pg_dump -Fc shop
  swarmdr-agent put uploads --expect 40GB -- tar -C /srv/uploads -c .
  set -o pipefail; mysqldump shop | swarmdr-agent put shop-db --stdin \\
      --expect-tail '-- Dump completed'
  swarmdr-agent put shop-db          as `[[stream]]` of the configuration says
  swarmdr-agent put uploads          as `[[external]]` says: another tool's snapshot
  swarmdr-agent put --due            all of these that are due on this host

What the command writes is compressed, encrypted, signed and sent to every vault
while it comes; nothing is kept on this host. The command is part of the
manifest, which is stored in clear: give it no password. If it fails, or does not
end in time, nothing is visible in any vault.

With --due, one that failed on this host is tried again after 15 minutes.

Where there are streams, a recovery point is stored behind each of them: what
belongs together in time, see `list --points`. An external snapshot is stored by
its own tool; its id, the last line that the tool prints, goes into the point.

Exits 1 if the command or every vault failed, 3 if no task of the stream's
service runs on this host or nothing is due, 4 if several do, 6 if it is stored
and smaller than it should be, or if one of several vaults does not have it.")]
pub struct PutArgs {
    /// Name of the stream or external snapshot: a-z, 0-9, - and _
    #[arg(value_name = "NAME", required_unless_present = "due")]
    pub name: Option<StreamName>,

    /// Every stream and external snapshot of the configuration that is due on this host
    #[arg(long, conflicts_with_all = ["name", "stdin", "command", "as_of"])]
    pub due: bool,

    /// Store what comes on standard input; the exit status of what writes it is not seen
    #[arg(long, conflicts_with = "command")]
    pub stdin: bool,

    /// Store nothing unless the stream ends with this text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub expect_tail: Option<String>,

    /// The time of the data, if it is older than this run, as of a snapshot
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    pub as_of: Option<Timestamp>,

    /// The swarm that the data belongs to; default: the one that this host is a node of
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(candidates::clusters))]
    pub cluster: Option<ClusterId>,

    /// The longest that the command may take; the lock of the stream is longer by this
    #[arg(long, value_name = "LENGTH", value_parser = length::parse_age)]
    pub timeout: Option<Duration>,

    /// Send a part again for so long that a vault does not take; the command waits meanwhile [default: 5m]
    #[arg(long, value_name = "LENGTH", value_parser = length::parse_age)]
    pub patience: Option<Duration>,

    /// The size that is expected, which chooses the size of the parts of an upload
    #[arg(long, value_name = "SIZE")]
    pub expect: Option<ByteSize>,

    /// Exit 6 if the stream is smaller than this
    #[arg(long, value_name = "SIZE")]
    pub min_size: Option<ByteSize>,

    /// Exit 6 if the stream is smaller than the one before by more than this
    #[arg(long, value_name = "PERCENT")]
    pub max_shrink: Option<Percent>,

    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,

    /// The command and its arguments, run without a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
