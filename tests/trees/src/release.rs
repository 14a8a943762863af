//! The object stores: Ceph releases with different gaps.

use std::path::PathBuf;

use anyhow::Result;

use crate::{Recipe, Tree};

/// Packages of both servers; no manager daemon (ceph-mgr) is needed.
const PACKAGES: &[&str] = &["radosgw", "ceph-mon", "ceph-osd", "openssl"];

/// Release of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Ceph 20 (tentacle, Debian forky): supports everything that is tested, and has accounts.
    V20,
    /// Ceph 16 (pacific, Debian bookworm): drops without an error what it does not know, such as the lock of a
    /// multipart upload or `If-None-Match`.
    ///
    /// Release 18 from trixie is not used: it drops the same, and is as big and as quick, while 16 also refuses
    /// trailing checksums. Release 16 has no accounts, so its writer and reader may also make buckets of their own; and
    /// no rate limits.
    Old,
}

impl Release {
    fn recipe(self) -> Recipe<'static> {
        let (name, suite) = match self {
            Self::V20 => ("rgw-20", "forky"),
            Self::Old => ("rgw-16", "bookworm"),
        };
        Recipe { name, suite, packages: PACKAGES, tweaks: "" }
    }

    /// The root file system of its daemons, built on first use.
    pub fn tree(self) -> Result<PathBuf> {
        Tree::get(&self.recipe())
    }
}
