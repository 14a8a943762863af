//! Arguments of `keygen`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use jiff::Timestamp;

#[derive(Debug, Args)]
#[command(after_help = "\
The secret key signs backups and stays on the managers. The public key is what a
restoring host has to trust: keep it off these hosts, with the disaster runbook.

With --rotate a new key takes the place of the one that signs now, which is kept
next to it. What is printed goes into agent.toml of every host: the new key, and
the old one with its end. What the vault stored before that end stays usable;
what comes later under the old key is not trusted.

With --promoter the public key is printed that managers name in
standby.promoters: they believe it when it says that another site has the swarm.
Its secret half is derived from the age identity, so it needs no safe of its own;
where managers have the identity too, standby.promoter_key names another one.")]
pub struct KeygenArgs {
    /// Where to write the secret key; the public key goes next to it [default: the configured place]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, conflicts_with = "rotate")]
    pub out: Option<PathBuf>,

    /// Replace the key that signs now, and keep the old one aside
    #[arg(long)]
    pub rotate: bool,

    /// Show the key that signs this host's claims: standby.promoter_key, made if there is none, else that of its identity
    #[arg(long, conflicts_with_all = ["rotate", "out"])]
    pub promoter: bool,

    /// With --promoter, take the age identity in this file
    #[arg(long, value_name = "FILE", requires = "promoter", value_hint = ValueHint::FilePath)]
    pub identity: Vec<PathBuf>,

    /// When the old key ends, such as the time of a break-in [default: in a quarter of an hour]
    #[arg(long, value_name = "TIME", requires = "rotate")]
    pub until: Option<Timestamp>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}
