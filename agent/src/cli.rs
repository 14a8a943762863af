//! The command line. Man pages and completions are made from these definitions.

mod backup;
mod choice;
mod completions;
mod config;
mod diff;
mod doctor;
mod drill;
mod hidden;
mod inspect;
mod keygen;
mod list;
mod operand;
mod prune;
mod recover_quorum;
mod restore;
mod status;
pub mod time;
mod verify;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};

pub use backup::BackupArgs;
pub use choice::{Among, Choice, Trust, Unlock};
pub use completions::{CompletionsArgs, Shell};
pub use config::ConfigArgs;
pub use diff::DiffArgs;
pub use doctor::DoctorArgs;
pub use drill::DrillArgs;
pub use hidden::{BringBackArgs, ManualArgs, SecondEngineArgs};
pub use inspect::InspectArgs;
pub use keygen::KeygenArgs;
pub use list::ListArgs;
pub use operand::Operand;
pub use prune::PruneArgs;
pub use recover_quorum::RecoverArgs;
pub use restore::RestoreArgs;
pub use status::StatusArgs;
pub use verify::VerifyArgs;

use crate::program::PROGRAM;

/// Disaster recovery for Docker Swarm managers
///
/// Takes a point-in-time copy of a manager's swarm state, signs and encrypts it, stores it where it
/// cannot be deleted, and brings the swarm back on a fresh host with the same address.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, propagate_version = true, max_term_width = 100)]
#[command(after_help = EXAMPLES)]
pub struct Cli {
    /// Read this configuration file instead of /etc/swarmdr/agent.toml and its drop-ins
    #[arg(long, global = true, env = "SWARMDR_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Say more (-v: every step, -vv: every call)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  swarmdr-agent backup                      back this manager up now
  swarmdr-agent status                      whether somebody should look
  swarmdr-agent list                        what is stored, newest first
  swarmdr-agent inspect --latest            what the newest backup holds
  swarmdr-agent verify --latest             prove the newest backup
  swarmdr-agent drill --latest              boot it beside the running engine, and compare
  swarmdr-agent restore --latest --dry-run  what a restore would do on this host
  swarmdr-agent restore --latest            bring the swarm back on this host

Exit codes:
  0 done   1 failed   2 usage or configuration   3 not this host's turn
  4 refused: it would do harm   5 nothing usable found   6 done, needs attention";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copy this manager's swarm state and store it
    Backup(BackupArgs),
    /// Bring a backed-up swarm back on this host
    Restore(RestoreArgs),
    /// Form a new cluster of the one manager that survived a lost majority
    RecoverQuorum(RecoverArgs),
    /// Show the stored backups, newest first
    List(ListArgs),
    /// Show what a backup or a state directory holds, and until when it can be restored
    Inspect(InspectArgs),
    /// Show what changed from one backup or state directory to another
    Diff(DiffArgs),
    /// Check stored backups: signature, digests, contents
    Verify(VerifyArgs),
    /// Rehearse a restore: boot a backup in a second engine beside the first, and compare what came back
    Drill(DrillArgs),
    /// Say how things stand: what is stored, what is due, what waits, what was proven
    Status(StatusArgs),
    /// Remove old backups: a plan first
    Prune(PruneArgs),
    /// Prove the whole chain before the bad day: vaults, locks, rights, keys, engine, timer
    Doctor(DoctorArgs),
    /// Make a signing key, or show the public half of the one in use
    Keygen(KeygenArgs),
    /// Show the settings in force and where each came from
    Config(ConfigArgs),
    /// Print the script that makes a shell complete this program's arguments
    Completions(CompletionsArgs),
    /// Write the man pages
    #[command(hide = true)]
    Manual(ManualArgs),
    /// Keep a second engine, as the main process of its unit
    #[command(hide = true)]
    SecondEngine(SecondEngineArgs),
    /// Start the containers that ran, behind an engine that the failsafe has started
    #[command(hide = true)]
    BringBack(BringBackArgs),
}

impl Command {
    /// True where a state may lie unpacked meanwhile, or is copied.
    pub fn reads_states(&self) -> bool {
        matches!(
            self,
            Command::Backup(_)
                | Command::Restore(_)
                | Command::RecoverQuorum(_)
                | Command::Inspect(_)
                | Command::Diff(_)
                | Command::Verify(_)
                | Command::Drill(_)
        )
    }

    /// True where standard output is meant for a script, so that nothing else is drawn around it.
    pub fn is_json(&self) -> bool {
        match self {
            Command::Backup(args) => args.json,
            Command::Restore(args) => args.json,
            Command::RecoverQuorum(args) => args.json,
            Command::List(args) => args.json,
            Command::Inspect(args) => args.json,
            Command::Diff(args) => args.json,
            Command::Verify(args) => args.json,
            Command::Drill(args) => args.json,
            Command::Status(args) => args.json || args.nagios || args.prometheus,
            Command::Prune(args) => args.json,
            Command::Doctor(args) => args.json,
            Command::Keygen(args) => args.json,
            Command::Config(args) => args.json,
            Command::Completions(_) | Command::Manual(_) | Command::SecondEngine(_) | Command::BringBack(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn restore_wants_exactly_one_choice() {
        for wrong in [
            &["swarmdr-agent", "restore"][..],
            &["swarmdr-agent", "restore", "--latest", "--file", "/x"],
            &["swarmdr-agent", "restore", "--latest", "20261121T031500Z-1a2b3c4d"],
            &["swarmdr-agent", "restore", "yesterday"],
        ] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
        Cli::try_parse_from(["swarmdr-agent", "restore", "20261121T031500Z-1a2b3c4d"]).expect("one choice");
    }

    #[test]
    fn inspect_wants_exactly_one_choice() {
        for wrong in [
            &["swarmdr-agent", "inspect"][..],
            &["swarmdr-agent", "inspect", "--latest", "--dir", "/x"],
            &["swarmdr-agent", "inspect", "--file", "/x", "--dir", "/x"],
        ] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
        Cli::try_parse_from(["swarmdr-agent", "inspect", "--dir", "/x"]).expect("one choice");
        Cli::try_parse_from(["swarmdr-agent", "diff", "latest", "/x", "--json"]).expect("two sides");
    }
}
