//! Arguments of `images`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use swarmdr_registry::{Destination, Mirror, Platform, Rule};

use super::{Choice, Trust, Unlock};

#[derive(Debug, Args)]
pub struct ImagesArgs {
    #[command(subcommand)]
    pub command: ImagesCommand,
}

#[derive(Debug, Subcommand)]
pub enum ImagesCommand {
    /// Show the images that the services of a swarm need
    List(ImagesListArgs),
    /// Check that the images can be pulled, with the logins that a restored swarm would have
    Check(ImagesCheckArgs),
    /// Copy the images to another registry or into a directory, digests kept
    Mirror(ImagesMirrorArgs),
    /// Copy the images of a directory into a registry
    Push(ImagesPushArgs),
    /// Renew the registry logins in the services of the living swarm; no task is restarted
    Auth(ImagesAuthArgs),
}

impl ImagesCommand {
    pub fn json(&self) -> bool {
        match self {
            Self::List(args) => args.json,
            Self::Check(args) => args.json,
            Self::Mirror(args) => args.json,
            Self::Push(args) => args.json,
            Self::Auth(args) => args.json,
        }
    }
}

/// Which state the images are read from.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("choice").required(false))]
pub struct OfState {
    #[command(flatten)]
    pub choice: Choice,

    /// A state directory instead of a backup [default: that of this host's engine]
    #[arg(long, value_name = "PATH", group = "choice", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,

    #[command(flatten)]
    pub trust: Trust,

    #[command(flatten)]
    pub unlock: Unlock,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent images list                  of the swarm of this manager
  swarmdr-agent images list --latest --identity identity.txt
  swarmdr-agent images list 20261121T031500Z-1a2b3c4d --json

No registry is asked. The platforms are those of a service's placement, as far
as the swarm has such nodes, else those of its nodes. The login is the one that
is configured for the registry (images.registry), else the one that is recorded
with the service. Logins are never shown.")]
pub struct ImagesListArgs {
    #[command(flatten)]
    pub of: OfState,

    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent images check                 of the swarm of this manager
  swarmdr-agent images check --latest --identity identity.txt
  swarmdr-agent images check --latest --image-map old:5000=new/mirror/old_5000
  swarmdr-agent images check --platform linux/arm64 --deep

Each image is asked for by its digest, and for each platform, with the login
that a restored swarm would have: the one that is configured for the registry
(images.registry), else the recorded one. Nothing is pulled: what counts as a
pull is asked for once, and remembered.

A tag that leads to another image by now is reported too, since a registry may
remove what has no tag (images.moved_tags = false keeps it quiet).

Exits 6 if services would not start, and names them; 1 if it could not be found
out; 5 if there is no backup.")]
pub struct ImagesCheckArgs {
    #[command(flatten)]
    pub of: OfState,

    /// Replace the start of image names: `registry.old:5000/shop=registry.new/shop` (repeatable)
    #[arg(long, value_name = "FROM=TO")]
    pub image_map: Vec<Rule>,

    /// Ask for this platform instead of those of the nodes: `linux/amd64`, `linux/arm/v7` (repeatable)
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<Platform>,

    /// Ask for every layer too
    #[arg(long)]
    pub deep: bool,

    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent images mirror --to registry.example:5000/mirror
  swarmdr-agent images mirror --latest --to 123456789012.dkr.ecr.eu-west-1.amazonaws.com/swarm
  swarmdr-agent images mirror --to oci:/srv/images
  swarmdr-agent images mirror --to registry.example:5000/mirror --platform linux/amd64

Manifests and indexes are copied byte for byte, so every digest stays. What is
there already is not copied again: one request for each image finds out. A run
that was ended goes on with the next one.

An image of registry.old:5000/shop/web becomes
MIRROR/registry.old_5000/shop/web, with its tag, and with a tag of its own that
no later image takes away. The rules that lead there are printed, for
--image-map and images.map.

With --platform, other platforms of an index are left out; many registries
refuse such an index.

Exits 6 if an image is missing at its source, 1 if a copy failed.")]
pub struct ImagesMirrorArgs {
    #[command(flatten)]
    pub of: OfState,

    /// A registry with a path, or `oci:DIRECTORY` [default: images.mirror]
    #[arg(long, value_name = "PLACE")]
    pub to: Option<Destination>,

    /// Copy this platform only (repeatable) [default: all that an image has]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<Platform>,

    /// Do nothing (exit 3) unless this manager is the leader; for timers
    #[arg(long)]
    pub if_leader: bool,

    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent images push --from oci:/srv/images --to registry.new:5000/mirror

The names are those that `images mirror --to` that registry would have given.
Name the platforms with which the directory was written, if not all are in it.

Exits 6 if the directory lacks a part of an image, 1 if a copy failed.")]
pub struct ImagesPushArgs {
    /// The directory that `images mirror` has written: `oci:DIRECTORY`
    #[arg(long, value_name = "oci:DIRECTORY", value_parser = layout)]
    pub from: PathBuf,

    /// A registry with a path
    #[arg(long, value_name = "REGISTRY/PREFIX")]
    pub to: Mirror,

    /// Copy this platform only (repeatable) [default: all that an image has]
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<Platform>,

    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  swarmdr-agent images auth --dry-run
  swarmdr-agent images auth
  swarmdr-agent images auth --for '*.dkr.ecr.*.amazonaws.com'

The login that is configured for the registry of a service's image
(images.registry: auth_command or login_file) is recorded with the service, as
`docker service update --with-registry-auth` does it, and nothing else of it is
changed. Tasks that run are not restarted; those that could not be pulled are
tried with the new login. Services of other registries stay as they are.

Run it from a timer on each manager where logins expire, as Amazon ECR's do
after 12 hours: the leader does it, the others exit 3.

Left alone are services in the middle of an update or a rollback (exit 6),
which would go on or be forgotten, jobs, and services whose tasks have ended
for good by their restart policy, as those of a migration: every update begins
them again. The engine keeps one spec before the present one: after a new login
`docker service rollback` leads to the same service with the old login. A login
that is recorded already is not sent.

Exits 6 if a service was left that needs its login, 1 if no login was to be
had, 2 if none is configured.")]
pub struct ImagesAuthArgs {
    /// Only for registries that fit this host; `*` stands for any number of characters
    #[arg(long = "for", value_name = "HOST")]
    pub only: Option<String>,

    /// Ask for the logins, print what would be renewed, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub unlock: Unlock,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

fn layout(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("oci:").unwrap_or(text) {
        "" => Err("give it as oci:DIRECTORY".to_owned()),
        directory => Ok(directory.into()),
    }
}
