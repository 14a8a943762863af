//! Arguments of `export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use swarmdr_registry::Rule;

use super::{Choice, Trust, Unlock};

/// Form of the files of an export
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Stack files and scripts, and the specs too
    #[default]
    Compose,
    /// Specs as the Engine API takes them, only
    Engine,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent export --latest --identity identity.txt --to ./swarm
  swarmdr-agent export --latest --to ./shop --stack shop
  swarmdr-agent export --file /mnt/usb/backup.swarmdr --trust RWQ… --to ./swarm
  swarmdr-agent export --dir /var/lib/docker/swarm --to ./swarm --format engine
  swarmdr-agent export --latest --to ./swarm --with-secrets --image-map old:5000=new/mirror

Each stack becomes a folder with a stack.yml that `docker stack deploy -c` takes,
from 20.10 on; its first lines say what has to be done before. What belongs to no
stack becomes scripts in _alone. _engine has the exact specs of everything, with
names in place of ids. What a stack file or a command cannot hold is listed in
LEFT-OUT.md, with the command that sets it afterwards where there is one.

Values of secrets are written with --with-secrets only, and registry credentials
never. Nobody but you can read the export. Nothing is overwritten.

Exits 6 if something is left out, 5 if a stack or a service is not there.")]
#[command(group = clap::ArgGroup::new("choice").required(true))]
pub struct ExportArgs {
    #[command(flatten)]
    pub choice: Choice,

    /// A state directory instead of a backup
    #[arg(long, value_name = "PATH", group = "choice", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,

    /// Write to this directory, which must be empty or not exist
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub to: PathBuf,

    /// Only this stack (repeatable)
    #[arg(long = "stack", value_name = "NAME")]
    pub stacks: Vec<String>,

    /// Only this service, with the networks, secrets and configs that it uses (repeatable)
    #[arg(long = "service", value_name = "NAME")]
    pub services: Vec<String>,

    /// Write the values of secrets too
    #[arg(long)]
    pub with_secrets: bool,

    /// Form of the files
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Form,

    /// Replace the start of image names: `registry.old:5000/shop=registry.new/shop` (repeatable)
    #[arg(long, value_name = "FROM=TO")]
    pub image_map: Vec<Rule>,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}
