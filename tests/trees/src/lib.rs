//! Root file systems of Debian suites, built once per recipe and kept for every later run.
//!
//! A tree is built by `mmdebstrap`, not `debootstrap`: it resolves with apt and so needs no script per
//! suite (bookworm's debootstrap knows no `forky`), mounts /proc for maintainer scripts, and takes 25 s
//! for bookworm with an engine where debootstrap takes 42 s.
//!
//! Trees are shared between processes and are never written to once they are complete: copy one, or mount an overlay
//! above it. They are stored in `<cache>/trees/<name>-<digest of the recipe>`. A changed recipe makes a new tree; the
//! old one stays until a user removes it.

mod application;
mod apt;
mod browser;
mod command;
mod engine;
mod release;

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

pub use application::application_layer;
pub use browser::browser_tree;
pub use command::{capture, require_root, require_tool};
pub use engine::{DATABASES, Engine, TOOLS};
pub use release::Release;

/// Version of the way of building, raised when it changes what a tree holds: every tree is then built again.
const BUILDER: &str = "1";

/// Excluded paths, of documentation and translations: a fifth of the bytes, half of the files, and no test reads them.
const LEFT_OUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/// Content of a tree. Equal recipes share one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe<'a> {
    /// Beginning of the directory's name, so that people recognise it; letters, digits and dashes.
    pub name: &'a str,
    /// Debian code name, as the mirror spells it.
    pub suite: &'a str,
    /// Packages that are installed without their recommendations, in addition to the essential ones and apt.
    pub packages: &'a [&'a str],
    /// Script that runs last, as root inside the tree, by `sh -eu`.
    pub tweaks: &'a str,
}

impl Recipe<'_> {
    fn key(&self) -> String {
        let mut hash = Sha256::new();
        for part in [BUILDER, self.name, self.suite, self.tweaks].iter().chain(self.packages).chain(&LEFT_OUT) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let hex: String = digest[..6].iter().map(|b| format!("{b:02x}")).collect();
        format!("{}-{hex}", self.name)
    }
}

/// Directory of everything that tests keep between runs: `$SWARMDR_TEST_CACHE`, else `/var/cache/swarmdr-tests`.
pub fn cache() -> PathBuf {
    std::env::var_os("SWARMDR_TEST_CACHE").unwrap_or_else(|| OsString::from("/var/cache/swarmdr-tests")).into()
}

/// The tree of a recipe, on disk.
#[derive(Debug)]
pub struct Tree;

impl Tree {
    /// Returns the directory of the recipe's tree, and builds it first if it is missing. An engine's tree takes about
    /// 30 s and 400 MB.
    ///
    /// If several processes ask at the same time, one builds and the others wait. The tree appears whole or not at all.
    pub fn get(recipe: &Recipe) -> Result<PathBuf> {
        let key = recipe.key();
        let trees = cache().join("trees");
        let tree = trees.join(&key);
        fs::create_dir_all(&trees).with_context(|| format!("failed to create the tree cache {}", trees.display()))?;
        let lock = trees.join(format!("{key}.lock"));
        let lock = File::create(&lock)
            .and_then(|file| file.lock().map(|()| file))
            .with_context(|| format!("failed to lock {}", lock.display()))?;
        if !tree.exists() {
            build(recipe, &key, &trees, lock)?;
        }
        Ok(tree)
    }
}

/// Builds a tree. The caller holds the lock of `key`, so a directory of its temporary name was left by a killed run.
fn build(recipe: &Recipe, key: &str, trees: &Path, lock: File) -> Result<()> {
    require_root()?;
    require_tool("mmdebstrap", "mmdebstrap")?;
    require_tool("unshare", "util-linux")?;
    ensure!(
        !recipe.suite.is_empty() && recipe.packages.iter().all(|p| !p.contains(',')),
        "recipe {recipe:?} names no suite, or a package with a comma in it"
    );
    let unfinished = trees.join(format!(".{key}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("failed to remove {}", unfinished.display()))?;
    }
    let begun = Instant::now();
    eprintln!("building the tree {key} ({})", recipe.packages.join(" "));
    let log = trees.join(format!("{key}.log"));
    let result = mmdebstrap(recipe, &unfinished, &log, lock.try_clone()?);
    if result.is_err() {
        // The log contains the reason; an unfinished tree is of no use.
        let _ = fs::remove_dir_all(&unfinished);
    }
    result?;
    fs::rename(&unfinished, trees.join(key)).with_context(|| format!("failed to put the tree {key} in place"))?;
    eprintln!("built the tree {key} in {:.1?}", begun.elapsed());
    Ok(())
}

fn mmdebstrap(recipe: &Recipe, target: &Path, log: &Path, lock: File) -> Result<()> {
    let mut command = Command::new("unshare");
    command
        // Its mounts in the tree must go away with it, even if it is killed: the next run removes the rest.
        .args(["--mount", "--propagation", "private", "mmdebstrap"])
        // The lock is held as long as it runs, even if this process is killed. A program that reads from it finds it
        // empty.
        .stdin(lock)
        .args(["--mode=root", "--format=directory", "--variant=apt"])
        .arg(format!("--logfile={}", log.display()))
        .arg(format!("--include={}", recipe.packages.join(",")))
        // An unfinished tree need not survive a power cut, and fsync is most of dpkg's time.
        .arg("--dpkgopt=force-unsafe-io")
        .args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg(r#"--aptopt=Acquire::Retries "3";"#)
        .args(apt::transport_settings()?.map(|setting| format!("--aptopt={setting}")))
        .arg(r#"--customize-hook=chroot "$1" sh -euc "$SWARMDR_TREE_TWEAKS""#)
        .env("SWARMDR_TREE_TWEAKS", recipe.tweaks)
        .arg(recipe.suite)
        .arg(target)
        .args(apt::mirror()?);
    let status = command.status().context("failed to run mmdebstrap")?;
    if !status.success() {
        let text = fs::read_to_string(log).unwrap_or_default();
        bail!(
            "mmdebstrap of {} ended with {status}; the end of {}:\n{}",
            recipe.suite,
            log.display(),
            command::last_lines(&text, 20)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_recipe_is_another_tree() {
        let recipe = Recipe { name: "engine", suite: "bookworm", packages: &["dbus", "systemd"], tweaks: "" };
        let variants = [
            Recipe { suite: "trixie", ..recipe },
            Recipe { packages: &["dbus"], ..recipe },
            Recipe { packages: &["dbussystemd"], ..recipe },
            Recipe { tweaks: "true", ..recipe },
        ];
        assert_eq!(recipe.key(), recipe.key());
        for variant in variants {
            assert_ne!(recipe.key(), variant.key(), "{variant:?}");
        }
    }
}
