//! The command line. Man pages and completions are made from these definitions.

pub mod time;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::ArgValueCandidates;
use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::BackupId;

use crate::{completion, inspection::Operand};

/// What the program is called, in its messages, in man pages and on the disk.
pub const PROGRAM: &str = "swarmdr-agent";

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
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent backup                  stop the engine, copy, start it again, store the copy
  swarmdr-agent backup --dry-run        say what would be done, and what speaks against it
  swarmdr-agent backup --if-due         for the timer: only if the schedule says so")]
pub struct BackupArgs {
    /// Only if a due time of the schedule has passed since the cluster's newest backup
    #[arg(long)]
    pub if_due: bool,

    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Go on even if the cluster has no majority while this manager's engine is stopped
    #[arg(long)]
    pub allow_quorum_loss: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which backup is meant; exactly one way of saying it.
#[derive(Debug, Args)]
pub struct Choice {
    /// The backup with this id
    #[arg(value_name = "ID", group = "choice", add = ArgValueCandidates::new(completion::backup_ids))]
    pub id: Option<BackupId>,

    /// The newest backup that verifies
    #[arg(long, group = "choice")]
    pub latest: bool,

    /// An archive in a file instead of a vault
    #[arg(long, value_name = "PATH", group = "choice", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    #[command(flatten)]
    pub among: Among,
}

/// Which backups come into question.
#[derive(Debug, Clone, Default, Args)]
pub struct Among {
    /// Only backups of this cluster
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    pub cluster: Option<String>,

    /// Only backups taken before this time, as in 2026-11-21T10:15 (UTC)
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    pub before: Option<Timestamp>,

    /// Only backups that are not older than this: 90m, 26h, 3d, 2w
    #[arg(long, value_name = "LENGTH")]
    pub max_age: Option<time::Length>,
}

/// What is needed to believe and to open an archive, beyond the configuration.
#[derive(Debug, Args)]
pub struct Trust {
    /// Believe signatures of this key too: `RW…` or the absolute path of a .pub file (repeatable)
    #[arg(long = "trust", value_name = "KEY")]
    pub keys: Vec<String>,

    /// Open encrypted archives with the age identities in this file (repeatable)
    #[arg(long = "identity", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub identities: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent restore --latest --dry-run
  swarmdr-agent restore --latest --identity /root/identity.txt
  swarmdr-agent restore 20261121T031500Z-1a2b3c4d
  swarmdr-agent restore --latest --before 2026-11-21T10:15    the state before the break-in
  swarmdr-agent restore --latest --max-age 3d                 nothing older: exits 5
  swarmdr-agent restore --file /mnt/usb/backup.swarmdr --trust RWQ…
  swarmdr-agent restore --latest --readdress --copy-labels    the swarm gets this host's address
  swarmdr-agent restore --latest --wait 10m      from user-data, on a host that is still booting

Where no host can have the swarm's address, --readdress gives the swarm this host's: a second engine in
a network of its own forms it at the old address, this host's engine joins it as a manager, and the
old node is removed. Same swarm, CA and tokens; workers join anew, and volumes stay where they are.

Nothing on the host changes before the archive is whole, its signature verifies against a
trusted key, and the swarm's address is found on an interface of this host. The state that
was there is moved aside, never deleted; any failure puts it back. A run that was killed, or
whose host lost its power, is ended by the next one: finished, or undone. Run again on the host
that it healed, it changes nothing and exits 0.")]
#[command(group = clap::ArgGroup::new("choice").required(true))]
pub struct RestoreArgs {
    #[command(flatten)]
    pub choice: Choice,

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

    /// The old managers are cut off for good: do not look whether they answer
    #[arg(long)]
    pub fenced: bool,

    /// Remove old managers from the restored swarm once they have been away for restore.prune_grace
    #[arg(long)]
    pub prune_dead: bool,

    /// The swarm's address is translated to this host (NAT): do not look for it on an interface
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

    /// Wait this long for whatever is late: the engine, the address, the vault (`90s`, `10m`)
    #[arg(long, value_name = "TIME", value_parser = parse_wait, default_value = "0s")]
    pub wait: Duration,

    /// Wait this long for the swarm's address to be on an interface [default: as --wait]
    #[arg(long, value_name = "TIME", value_parser = parse_wait)]
    pub wait_for_ip: Option<Duration>,

    /// Wait this long for a vault that cannot be searched yet [default: as --wait]
    #[arg(long, value_name = "TIME", value_parser = parse_wait)]
    pub wait_for_vault: Option<Duration>,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent recover-quorum --dry-run
  swarmdr-agent recover-quorum
  swarmdr-agent recover-quorum --unlock-key /root/unlock-key --prune-dead

Run it on the manager that survived, once the others are gone for good. It seals a backup of this
manager first, then forms a new cluster from its state; services, secrets and tokens stay. A
failure, a kill or a power cut ends as it does in a restore: the old state comes back, or the
next run finishes. On a swarm that has a leader it changes nothing and exits 0.")]
pub struct RecoverArgs {
    #[command(flatten)]
    pub unlock: Unlock,

    /// The other managers are cut off for good: do not look whether they answer
    #[arg(long)]
    pub fenced: bool,

    /// Remove the other managers from the swarm once they have been away for restore.prune_grace
    #[arg(long)]
    pub prune_dead: bool,

    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent list
  swarmdr-agent list --max-age 26h         for a monitor: exits 5 if there is no backup of the last 26 hours
  swarmdr-agent list --before 2026-11-21T10:15

Every version is looked at, also those below delete markers and below versions laid on top. What is
forged, damaged, misplaced or missing is listed after the backups, and makes this exit 6.")]
pub struct ListArgs {
    #[command(flatten)]
    pub among: Among,

    #[command(flatten)]
    pub trust: Trust,

    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// What opens an autolocked state; from a file, since anyone can read arguments.
#[derive(Debug, Args)]
pub struct Unlock {
    /// Open autolocked states with the unlock key (`SWMKEY-1-…`) in this file, instead of the configured one
    #[arg(long = "unlock-key", alias = "unlock-key-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent inspect --latest --identity identity.txt
  swarmdr-agent inspect 20261121T031500Z-1a2b3c4d
  swarmdr-agent inspect --file /mnt/usb/backup.swarmdr --trust RWQ…
  swarmdr-agent inspect --dir /var/lib/docker/swarm

What is shown is read from the raft log itself where it can be opened; without an identity an
encrypted backup shows its clear manifest only. A directory may belong to a running engine: it is
only read, and may lack the last moments. No value of a secret, no key and no token is shown.

Exits 6 if the state could not be restored as it is, or if other objects in the vaults need a look.")]
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
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent diff 20261120T031500Z-9f8e7d6c 20261121T031500Z-1a2b3c4d --identity identity.txt
  swarmdr-agent diff latest /var/lib/docker/swarm --identity identity.txt
  swarmdr-agent diff ./old.swarmdr ./new.swarmdr --trust RWQ…

A and B are each the id of a backup, `latest`, the path of an archive (with a slash in it), or a
state directory. + is in B only, - is in A only, ~ is in both and not the same.

Exits 0 whether or not there are differences.")]
pub struct DiffArgs {
    /// What was before
    #[arg(value_name = "A", add = ArgValueCandidates::new(completion::operands))]
    pub before: Operand,

    /// What came after
    #[arg(value_name = "B", add = ArgValueCandidates::new(completion::operands))]
    pub after: Operand,

    /// `latest` means the newest backup of this cluster
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    pub cluster: Option<String>,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Print the differences as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent verify                     every stored backup
  swarmdr-agent verify --latest            the newest one
  swarmdr-agent verify --latest --identity identity.txt --unlock-key unlock-key.txt
  swarmdr-agent verify --file B.swarmdr --trust RWQ…
  swarmdr-agent verify --boot --max-age 30d --identity identity.txt
                                           boot each backup of the last 30 days in a second engine

Without an identity an encrypted archive is checked as far as its signature and the digest of
the stored bytes go; with one it is opened, every file is checked, the raft log is replayed, and
what comes out is compared with what was recorded. The log of an autolocked swarm opens with its
unlock key only; without it the backup is called sealed.

Exits 1 if a backup is not what it says it is; 6 if one was stored unproven, or if the unlock key
given is not that of a backup.")]
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

    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent drill --latest --identity identity.txt
  swarmdr-agent drill 20261121T031500Z-1a2b3c4d --unlock-key unlock-key.txt
  swarmdr-agent drill --file /mnt/usb/backup.swarmdr --trust RWQ…

On a manager, a worker, or any host with the engine's packages. The backup is fetched, verified and booted
by a second engine that has a network of its own with the old address and no way out, no images,
and a runtime that refuses: nothing of the swarm can start. It forms the swarm anew, says what came
back, and is taken down. The engine that runs here, its containers and its network are not touched.

With the managers' signing key on this host, a signed receipt is stored beside the backup and locked like it; `list` and
`status` show it.

Exits 1 if the backup failed, 6 if it boots and something needs attention.")]
#[command(group = clap::ArgGroup::new("choice").required(true))]
pub struct DrillArgs {
    #[command(flatten)]
    pub choice: Choice,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent status                for a person
  swarmdr-agent status --nagios       a plugin's line and exit code: 0 ok, 1 warning, 2 critical, 3 unknown
  swarmdr-agent status --prometheus   what node_exporter is given after each run

The vaults are asked and the engine is not, so this may run at any time and on any host.

Exits 0 if all is well, 6 if somebody should look, 1 if no backup can be relied on or comes any more, 5 if there
is none at all.")]
pub struct StatusArgs {
    /// Only backups of this cluster [default: the one that this host last backed up]
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    pub cluster: Option<String>,

    /// Print one line and exit as a plugin of Nagios does
    #[arg(long, group = "form")]
    pub nagios: bool,

    /// Print the metrics
    #[arg(long, group = "form")]
    pub prometheus: bool,

    /// Print everything as JSON
    #[arg(long, group = "form")]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent prune --dry-run --keep-daily 7 --keep-weekly 4 --keep-monthly 12
  swarmdr-agent prune                 by what `[retention]` of the configuration says

Of each cluster in each vault the newest backup and the newest proven one are kept whatever the policy says, and so is
what is locked. A bucket gets a lifecycle rule printed and is left alone, unless --delete-versions is given to an
identity that may delete: those that make backups should not.")]
pub struct PruneArgs {
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Keep the newest N
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,

    /// Keep the newest of each of the last N days that have one
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,

    /// Keep the newest of each of the last N weeks that have one
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,

    /// Keep the newest of each of the last N months that have one
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,

    /// In buckets too, delete the versions whose lock has ended
    #[arg(long)]
    pub delete_versions: bool,

    /// Only backups of this cluster
    #[arg(long, value_name = "CLUSTER", add = ArgValueCandidates::new(completion::clusters))]
    pub cluster: Option<String>,

    /// Print the plan and what was done as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent doctor                     after each change of the bucket, the roles or the keys
  swarmdr-agent doctor --json | jq '.checks[] | select(.level == \"fail\")'

One line for each check, with what to do about it. With the real credentials it tries what a thief
of them would try: to delete a locked version, to bypass and to shorten its lock. It does so on a
small object of its own below `doctor/` in each vault that locks, and all of it must be refused.

Exits 1 if something does not work, 6 if something deserves a look.")]
pub struct DoctorArgs {
    /// Print the checks as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The secret key signs backups and stays on the managers. The public key is what a restoring host
is told to trust: keep it off these hosts, with the disaster runbook.")]
pub struct KeygenArgs {
    /// Where to write the secret key; the public key goes beside it [default: the configured place]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  . <(swarmdr-agent completions bash)
  swarmdr-agent completions fish > ~/.config/fish/completions/swarmdr-agent.fish

The packages install them. Ids of backups are offered from the vaults of the configuration, newest
first, to whoever may read it.")]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    pub fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        }
    }
}

#[derive(Debug, Args)]
pub struct ManualArgs {
    /// The directory to write them to
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct SecondEngineArgs {
    /// The state directory to make
    #[arg(long, value_name = "PATH")]
    pub state_dir: PathBuf,

    /// Where its socket and its log belong
    #[arg(long, value_name = "PATH")]
    pub run_dir: PathBuf,

    /// The engine and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub engine: Vec<String>,
}

/// `90s`, `10m`, `1h 30m`, or a plain number of seconds.
fn parse_wait(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed: SignedDuration = text.parse().map_err(|error| format!("not a time such as 90s or 10m: {error}"))?;
    parsed.try_into().map_err(|_| "a wait cannot be negative".to_owned())
}

impl Command {
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
            Command::Completions(_) | Command::Manual(_) | Command::SecondEngine(_) => false,
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
    fn waits_are_times() {
        let parsed = |text| parse_wait(text).ok().map(|wait| wait.as_secs());
        assert_eq!(
            [parsed("120s"), parsed("2m"), parsed("1h 30m"), parsed("45")].map(Option::unwrap),
            [120, 120, 5400, 45]
        );
        for wrong in ["", "soon", "-5s", "5 parsecs"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
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
