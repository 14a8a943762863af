//! Arguments of `undelete`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum, ValueHint};
use swarmdr_registry::Rule;

use super::{Choice, Trust, Unlock};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent undelete --latest --stack shop --dry-run
  swarmdr-agent undelete --latest --stack shop --identity identity.txt
  swarmdr-agent undelete --before 2026-11-21T10:15 --secret db_password
  swarmdr-agent undelete 20261121T031500Z-1a2b3c4d --all-missing
  swarmdr-agent undelete --latest --service shop_web --as shop_web-2 --stopped
  swarmdr-agent undelete --file ./old.swarmdr --stack shop --image-map old:5000=new:5000

Brings objects of a backup back into the swarm that lives: a service with its
networks, secrets, configs and registry credentials. It runs on a manager, or
where the identity is, through the forwarded socket of a manager:

  ssh -nNT -L ./engine.sock:/run/docker.sock MANAGER
  SWARMDR_ENGINE__SOCKET=$PWD/engine.sock swarmdr-agent undelete …

What lives and is the same is used as it is, so a second run changes nothing. A
secret of the same name is compared by an update that the engine cannot make: it
says whether the value is another one, and changes nothing. If a name is taken
by something else, --conflict decides: `refuse` changes nothing; `rename` brings
a secret, config or network back as NAME.20261121 (a network as NAME-20261121),
after the date of the backup, and lets the services that come back use that;
`replace` updates a service, and removes a secret or config that no service uses
before it is created. No network is ever replaced. What was replaced is kept in
`undelete` below state_dir, except a secret's value, which cannot be read from a
swarm.

--stopped gives replicated services no replicas; services of other modes are
refused then, since they have none to take away. If one object cannot be made,
everything that this run made is removed again, except a secret in the place of
one that was replaced, whose own value is lost. The contents of volumes are no
part of a backup.

Registry credentials are not sent to another registry than their own, as with
--image-map.

Exits 4 if something is in the way, 5 if the backup has no such object, and 6 if
something did not come back as it was: a new name, a constraint on a node that
is gone, a volume whose nodes are gone.")]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["id", "latest", "file", "before"]))]
#[command(group = ArgGroup::new("what").required(true).multiple(true)
    .args(["stacks", "services", "secrets", "configs", "networks", "all_missing"]))]
pub struct UndeleteArgs {
    #[command(flatten)]
    pub choice: Choice,

    /// The services, networks, secrets and configs of this stack (repeatable)
    #[arg(long = "stack", value_name = "NAME")]
    pub stacks: Vec<String>,

    /// This service (repeatable)
    #[arg(long = "service", value_name = "NAME")]
    pub services: Vec<String>,

    /// This secret (repeatable)
    #[arg(long = "secret", value_name = "NAME")]
    pub secrets: Vec<String>,

    /// This config of the swarm (repeatable)
    #[arg(long = "config", value_name = "NAME", value_parser = config_name)]
    pub configs: Vec<String>,

    /// This network (repeatable)
    #[arg(long = "network", value_name = "NAME")]
    pub networks: Vec<String>,

    /// Everything that the backup has and of which neither the id nor the name lives
    #[arg(long, conflicts_with_all = ["stacks", "services", "secrets", "configs", "networks"])]
    pub all_missing: bool,

    /// What to do if another object has the name
    #[arg(long, value_name = "RULE", value_enum, default_value_t = ConflictRule::Refuse)]
    pub conflict: ConflictRule,

    /// Bring replicated services back without replicas
    #[arg(long)]
    pub stopped: bool,

    /// Give the one object that is named this name from now on
    #[arg(long = "as", value_name = "NAME", conflicts_with = "all_missing")]
    pub new_name: Option<String>,

    /// Replace the start of image names, as of a registry that moved (repeatable)
    #[arg(long = "image-map", value_name = "FROM=TO")]
    pub image_map: Vec<Rule>,

    /// Read this configuration file, as --config does before the verb and with all other verbs
    // With the name of the option that all verbs share, this takes its place, so that `--config` is free.
    #[arg(id = "config", long = "agent-config", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub agent_config: Option<PathBuf>,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Print the plan, with every field that differs from what lives, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print the plan or the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// A name of a config, which has no slash in it: the path of a configuration file is meant for another option.
fn config_name(text: &str) -> Result<String, String> {
    match text.contains('/') {
        true => Err("give the name of a config of the swarm; the agent's own file is --agent-config FILE".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// What is done about a name that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConflictRule {
    /// Change nothing at all
    Refuse,
    /// Bring a secret, config or network back under another name
    Rename,
    /// Replace what lives
    Replace,
}
