//! The command line. Man pages and completions are made from these definitions.
//!
//! Imports none of the verbs; may import `archive` (what a choice means), `items` (which objects are meant), `nodes` (labels
//! of nodes) and what these may import.

mod backup;
pub mod candidates;
mod choice;
pub mod completion;
mod completions;
mod config;
mod diff;
mod doctor;
mod drill;
mod export;
mod get;
mod hidden;
mod images;
mod inspect;
mod keygen;
mod life;
mod list;
pub mod manual;
mod node;
mod promote;
mod prune;
mod put;
mod recover_quorum;
mod restore;
mod standby;
mod status;
mod step_down;
pub mod time;
mod undelete;
mod verify;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};

pub use backup::BackupArgs;
pub use choice::{Among, Choice, Trust, Unlock};
pub use completions::CompletionsArgs;
pub use config::ConfigArgs;
pub use diff::DiffArgs;
pub use doctor::DoctorArgs;
pub use drill::DrillArgs;
pub use export::{ExportArgs, Form};
pub use get::GetArgs;
pub use hidden::{BringBackArgs, ClaimArgs, ManualArgs, SecondEngineArgs};
pub use images::{
    ImagesArgs, ImagesAuthArgs, ImagesCheckArgs, ImagesCommand, ImagesListArgs, ImagesMirrorArgs, ImagesPushArgs,
    OfState,
};
pub use inspect::InspectArgs;
pub use keygen::KeygenArgs;
pub use life::LifeArgs;
pub use list::ListArgs;
pub use node::{
    NodeArgs, NodeCommand, NodeGrowArgs, NodeJoinArgs, NodePublishTokenArgs, NodeRotateTokensArgs, NodeSpreadArgs,
    NodeTidyArgs,
};
pub use promote::PromoteArgs;
pub use prune::PruneArgs;
pub use put::PutArgs;
pub use recover_quorum::RecoverArgs;
pub use restore::RestoreArgs;
pub use standby::StandbyArgs;
pub use status::StatusArgs;
pub use step_down::StepDownArgs;
pub use undelete::{ConflictRule, UndeleteArgs};
pub use verify::VerifyArgs;

use crate::outcome::program::PROGRAM;

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

    /// Log more (-v: every step, -vv: every call)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Log only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  swarmdr-agent backup                      back this manager up now
  swarmdr-agent status                      whether something needs attention
  swarmdr-agent list                        what is stored, newest first
  swarmdr-agent inspect --latest            what the newest backup holds
  swarmdr-agent verify --latest             prove the newest backup
  swarmdr-agent drill --latest              boot it in a second engine
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
    /// Bring single services, secrets, configs and networks of a backup back into a living swarm
    Undelete(UndeleteArgs),
    /// Form a new cluster of the one manager that survived a lost majority
    RecoverQuorum(RecoverArgs),
    /// Show the stored backups, newest first
    List(ListArgs),
    /// Show what a backup or a state directory holds, and until when it can be restored
    Inspect(InspectArgs),
    /// Show what changed from one backup or state directory to another
    Diff(DiffArgs),
    /// Write the stacks of a backup as stack files, and everything else as scripts
    Export(ExportArgs),
    /// Images that services need: list, check and copy them, renew their logins
    Images(ImagesArgs),
    /// Nodes of the swarm: join it, more managers, dead nodes removed, services spread, tokens
    Node(NodeArgs),
    /// Store what a command writes, as a dump of a database, beside the backups
    Put(PutArgs),
    /// Hand a stored stream to a command
    Get(GetArgs),
    /// Check stored backups: signature, digests, contents
    Verify(VerifyArgs),
    /// Rehearse a restore: boot a backup in a second engine, and compare what came back
    Drill(DrillArgs),
    /// Keep the newest backup ready on a spare host
    Standby(StandbyArgs),
    /// Take the swarm over on this spare host
    Promote(PromoteArgs),
    /// Give the swarm up, so that another site may be promoted
    StepDown(StepDownArgs),
    /// Leave a sign of life in the vaults, so that no other site takes over
    Life(LifeArgs),
    /// Show what is stored, what is due, what waits, and what was proven
    Status(StatusArgs),
    /// Remove old backups: a plan first
    Prune(PruneArgs),
    /// Check the whole chain before it is needed: vaults, locks, rights, keys, engine, timer
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
    /// Claim the swarm of a backup, and do nothing else
    #[command(hide = true)]
    Claim(ClaimArgs),
    /// Start the containers that ran, behind an engine that the failsafe has started
    #[command(hide = true)]
    BringBack(BringBackArgs),
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
    fn a_recovery_point_is_a_choice_of_its_own() {
        let id = "20261121T031500Z-1a2b3c4d";
        for wrong in [
            &["restore", "--point", "yesterday"][..],
            &["restore", "--point", id, "--latest"],
            &["restore", "--point", id, "--latest-complete"],
            &["restore", "--latest-complete", "--file", "/x"],
            &["restore", "--point", id, id],
            &["get", "shop-db", "--point", id, "--latest"],
            &["get", "shop-db", "--point", id, "--before", "2026-11-21"],
            &["list", "--points", "--streams"],
            &["list", "--points", "--claims"],
        ] {
            Cli::try_parse_from(["swarmdr-agent"].iter().chain(wrong)).expect_err("is one thing or the other");
        }
        for right in [
            &["restore", "--point", id, "--dry-run"][..],
            &["restore", "--latest-complete", "--before", "2026-11-21", "--any-vault"],
            &["restore", "--point", "latest", "--readdress"],
            &["get", "shop-db", "--point", "latest-complete", "--", "cat"],
            &["list", "--points", "--max-age", "26h"],
        ] {
            Cli::try_parse_from(["swarmdr-agent"].iter().chain(right)).expect("says enough");
        }
    }

    #[test]
    fn undelete_wants_a_backup_and_what_of_it() {
        let verb = ["swarmdr-agent", "undelete"];
        for wrong in [
            &["--latest"][..],
            &["--stack", "shop"],
            &["--latest", "--file", "/x", "--stack", "shop"],
            &["--latest", "--all-missing", "--stack", "shop"],
            &["--latest", "--all-missing", "--as", "x"],
            &["--latest", "--stack", "shop", "--conflict", "merge"],
            &["--latest", "--config", "/etc/other.toml"],
        ] {
            Cli::try_parse_from(verb.iter().chain(wrong)).expect_err("says too little or too much");
        }
        for right in [
            &["--before", "2026-11-21", "--stack", "shop"][..],
            &["--latest", "--before", "2026-11-21", "--secret", "key"],
            &["--file", "/x", "--all-missing"],
            &["20261121T031500Z-1a2b3c4d", "--service", "web", "--as", "web-2", "--conflict", "rename"],
        ] {
            Cli::try_parse_from(verb.iter().chain(right)).expect("says enough");
        }
    }

    /// `--config` is the agent's configuration file with all verbs but this one.
    #[test]
    fn a_config_of_the_swarm_is_not_the_configuration_file() {
        for (words, file) in [
            (&["--config", "/a", "undelete", "--latest", "--config", "conf"][..], Some("/a")),
            (&["undelete", "--latest", "--config", "conf", "--agent-config", "/b"], Some("/b")),
            (&["undelete", "--latest", "--config=conf"], None),
        ] {
            let cli = Cli::try_parse_from(["swarmdr-agent"].iter().chain(words)).expect("is understood");
            assert_eq!(cli.config.as_deref(), file.map(std::path::Path::new), "{words:?}");
            let Command::Undelete(args) = cli.command else { panic!("another verb") };
            assert_eq!(args.configs, ["conf"], "{words:?}");
        }
        let cli = Cli::try_parse_from(["swarmdr-agent", "status", "--config", "/a"]).expect("is understood");
        assert_eq!(cli.config, Some("/a".into()));
    }

    #[test]
    fn an_ill_formed_cluster_id_is_a_mistake_that_says_what_one_looks_like() {
        for verb in ["status", "list", "prune"] {
            for wrong in ["", "a b", "../x"] {
                let error = Cli::try_parse_from(["swarmdr-agent", verb, "--cluster", wrong]).expect_err(wrong);
                assert!(error.use_stderr() && error.to_string().contains("1 to 64 letters and digits"), "{error}");
            }
            Cli::try_parse_from(["swarmdr-agent", verb, "--cluster", "w1ymnkr1qaqfdkyvdpgekypgb"]).expect("is an id");
        }
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
