//! The packages that `packaging/build` made, and how an operator installs them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{lab::Host, tree::capture};

pub use swarmdr_trees::{DATABASES, TOOLS};

/// Directory where `packaging/build` puts them: `SWARMDR_PACKAGES`, else below `target/packages` of this checkout.
pub fn directory() -> PathBuf {
    let own = || checkout().join("target/packages/x86_64-unknown-linux-gnu");
    env::var_os("SWARMDR_PACKAGES").map_or_else(own, PathBuf::from)
}

/// The checkout that these tests belong to.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the checkout").to_owned()
}

pub fn deb() -> Result<PathBuf> {
    only("deb")
}

pub fn rpm() -> Result<PathBuf> {
    only("rpm")
}

/// The binary that is in both packages.
pub fn binary() -> PathBuf {
    directory().join("swarmdr-agent")
}

fn only(extension: &str) -> Result<PathBuf> {
    let directory = directory();
    let entries = fs::read_dir(&directory).with_context(|| {
        format!(
            "there are no packages in {}: run packaging/build, or say where with SWARMDR_PACKAGES",
            directory.display()
        )
    })?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut found = paths.into_iter().filter(|path| path.extension().is_some_and(|it| it == extension));
    let first = found.next().with_context(|| format!("there is no .{extension} in {}", directory.display()))?;
    ensure!(found.next().is_none(), "there are several .{extension} in {}: which one is meant?", directory.display());
    Ok(first)
}

/// Makes the same package as an earlier release: another version, and another default in its configuration, so that an
/// upgrade has to decide between two files.
pub fn earlier_deb(into: &Path) -> Result<PathBuf> {
    let tree = into.join("earlier");
    let package = into.join("swarmdr-agent_0.0.9-1_amd64.deb");
    capture(Command::new("dpkg-deb").arg("-R").arg(deb()?).arg(&tree))?;
    let edit = |path: &str, from: &str, to: &str| -> Result<()> {
        let path = tree.join(path);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "`{from}` is not in {}", path.display());
        Ok(fs::write(&path, text.replacen(from, to, 1))?)
    };
    edit("DEBIAN/control", &format!("Version: {}", env!("CARGO_PKG_VERSION")), "Version: 0.0.9")?;
    edit("etc/swarmdr/agent.toml", "#compression_level = 3", "#compression_level = 2")?;
    capture(Command::new("dpkg-deb").args(["--root-owner-group", "-Zgzip", "-z1", "-b"]).arg(&tree).arg(&package))?;
    Ok(package)
}

impl Host {
    /// Installs a package file as an operator does, without a network, and returns apt's output.
    pub fn apt_install(&self, package: &Path) -> Result<String> {
        let content = fs::read(package).with_context(|| format!("failed to read {}", package.display()))?;
        self.write_file("/root/package.deb", content)?;
        self.apt(&["install", "/root/package.deb"])
    }

    /// Runs apt-get as unattended upgrades do: it asks nothing, and keeps configuration that was changed.
    pub fn apt(&self, args: &[&str]) -> Result<String> {
        const APT: [&str; 7] = [
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-qy",
            "-oDpkg::Options::=--force-confdef",
            "-oDpkg::Options::=--force-confold",
            "-oDpkg::Use-Pty=0",
        ];
        let words = [&APT[..], args].concat();
        let output = self.run(&words)?;
        ensure!(output.status.success(), "apt-get {}: {}{}", args.join(" "), output.stdout, output.stderr);
        Ok(output.stdout + &output.stderr)
    }
}
