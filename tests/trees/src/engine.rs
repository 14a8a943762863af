//! The generations of Docker Engine that hosts come with.

use std::path::PathBuf;

use anyhow::Result;

use crate::{Recipe, Tree};

/// An engine as Debian packages it, with the systemd of the same suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// 20.10.24 and systemd 252, Debian bookworm.
    E20_10,
    /// 26.1.5 and systemd 257, Debian trixie.
    E26_1,
    /// 28.5.2 and systemd 262, Debian forky: not yet released, its versions still move.
    E28_5,
}

/// Packages that documents and user-data use in addition to the engine.
pub const TOOLS: &[&str] = &["age", "awscli", "curl", "jq", "minisign", "zstd"];

/// Databases whose data the recipes of the documents store and bring back, for containers that see the host's programs.
pub const DATABASES: &[&str] = &["postgresql", "mariadb-server", "redis-server"];

/// Packages of every host, installed without their recommendations. Up to 20.10, `docker.io` contains the client too.
const PACKAGES: [&str; 9] = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "iproute2",
    "iptables",
    "ca-certificates",
    "procps",
    "busybox-static",
    "docker.io",
];

/// Masks units for actions that a container may not take (load modules, mount kernel file systems), and timers that
/// would disturb a host in the middle of a test. Keeps the journal on disk, to be read after a power cut. Makes the
/// image for tasks from busybox.
const TWEAKS: &str = r#"
systemctl mask \
    systemd-modules-load.service dev-hugepages.mount sys-fs-fuse-connections.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    systemd-networkd.service systemd-networkd-wait-online.service systemd-networkd.socket \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    e2scrub_reap.service
mkdir -p /var/log/journal

image=$(mktemp -d)
mkdir "$image/bin" "$image/tmp"
cp /bin/busybox "$image/bin"
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$image/bin/$applet"
done
mkdir -p /usr/share/lab
tar -C "$image" -cf /usr/share/lab/busybox.tar .
rm -r "$image"
"#;

impl Engine {
    pub const ALL: [Self; 3] = [Self::E20_10, Self::E26_1, Self::E28_5];

    /// Beginning of the version that `docker version` prints.
    pub fn version(self) -> &'static str {
        match self {
            Self::E20_10 => "20.10.",
            Self::E26_1 => "26.1.",
            Self::E28_5 => "28.5.",
        }
    }

    pub fn systemd(self) -> u32 {
        match self {
            Self::E20_10 => 252,
            Self::E26_1 => 257,
            Self::E28_5 => 262,
        }
    }

    /// The root file system to boot, built on first use.
    pub fn tree(self) -> Result<PathBuf> {
        self.tree_with(&[])
    }

    /// Like [`Engine::tree`], with more packages of its suite.
    pub fn tree_with(self, more: &[&str]) -> Result<PathBuf> {
        let (name, suite, client) = match self {
            Self::E20_10 => ("engine-20.10", "bookworm", None),
            Self::E26_1 => ("engine-26.1", "trixie", Some("docker-cli")),
            Self::E28_5 => ("engine-28.5", "forky", Some("docker-cli")),
        };
        let packages: Vec<&str> = PACKAGES.into_iter().chain(client).chain(more.iter().copied()).collect();
        Tree::get(&Recipe { name, suite, packages: &packages, tweaks: TWEAKS })
    }
}
