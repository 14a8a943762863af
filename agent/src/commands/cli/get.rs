//! Arguments of `get`.

use clap::Args;
use clap_complete::ArgValueCandidates;
use jiff::Timestamp;
use swarmdr_archive::{BackupId, ClusterId, stream_archive::StreamName};

use super::{Trust, candidates, time};
use crate::points::Which;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent get shop-db --latest -- pg_restore -d shop
  swarmdr-agent get shop-db --latest --service shop_db -- pg_restore -d shop
  swarmdr-agent get shop-db --before 2026-11-21T10:15 -- pg_restore -d shop
  swarmdr-agent get shop-db --point latest-complete -- pg_restore -d shop
  swarmdr-agent get uploads --latest -- tar -C /srv/uploads -x
  swarmdr-agent get shop-db 20261121T021500Z-0a1b2c3d > shop.dump

Every byte is compared with what was signed before it is released. If one is not
what it was, or the stream is cut, the command is killed before it sees the end
of its input, and the exit code is 1: so give the command here. A pipe behind
standard output would take what it got for all there is.")]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub struct GetArgs {
    /// Name of the stream
    #[arg(value_name = "NAME")]
    pub name: StreamName,

    /// The stream of that name with this id
    #[arg(value_name = "ID", group = "which")]
    pub id: Option<BackupId>,

    /// The newest one that verifies
    #[arg(long, group = "which")]
    pub latest: bool,

    /// The newest one that was begun and stored before this time, as in 2026-11-21T10:15 (UTC)
    #[arg(long, value_name = "TIME", value_parser = time::moment, group = "which")]
    pub before: Option<Timestamp>,

    /// The one of a recovery point: `latest`, `latest-complete`, or the id of a point
    #[arg(long, value_name = "POINT", group = "which")]
    pub point: Option<Which>,

    /// Only of this cluster
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(candidates::clusters))]
    pub cluster: Option<ClusterId>,

    /// Accept the newest one of the vaults that can be reached, though another may hold a newer one
    #[arg(long)]
    pub any_vault: bool,

    /// Run the command in the container of the task of this service on this host
    #[arg(long, value_name = "SERVICE", requires = "command")]
    pub service: Option<String>,

    #[command(flatten)]
    pub trust: Trust,

    /// The command that gets the stream on its standard input, run without a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
