//! The programs of the application that the suite `voting` and the demo run: one file system for all of its images.

use std::path::PathBuf;

use anyhow::Result;

use crate::{Recipe, Tree};

/// Packages of the application: its own code is Python, the rest are servers as Debian has them.
const PACKAGES: &[&str] = &["haproxy", "postgresql", "python3", "python3-psycopg2", "python3-redis", "redis-server"];

/// The layer in the tree, as an archive.
const LAYER: &str = "usr/share/lab/application.tar.gz";

/// Removes what no container of it uses, of which the compiler for queries is the most, and packs the rest into a layer.
const TWEAKS: &str = r"
rm -rf /usr/lib/x86_64-linux-gnu/libLLVM* /usr/lib/llvm* /usr/lib/postgresql/*/lib/llvmjit* /usr/lib/postgresql/*/lib/bitcode
rm -rf /usr/share/doc /usr/share/man /usr/share/locale /usr/share/info /var/lib/apt/lists/* /var/cache/apt/*
find / -xdev -name __pycache__ -prune -exec rm -r {} +
mkdir -p /data /queue /usr/share/lab
tar -C / --one-file-system --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* --exclude=./tmp/* \
    --exclude=./run/* --exclude=./var/lib/postgresql/* --exclude=./usr/share/lab -cf - . | gzip -1n >/tmp/layer
mv /tmp/layer /usr/share/lab/application.tar.gz
";

/// Returns the layer of the application's programs, a compressed archive that is built on first use.
pub fn application_layer() -> Result<PathBuf> {
    let recipe = Recipe { name: "application", suite: "trixie", packages: PACKAGES, tweaks: TWEAKS };
    Ok(Tree::get(&recipe)?.join(LAYER))
}
