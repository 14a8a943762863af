//! Attacks by an intruder who has broken into a manager and has its S3 credentials. None of them needs the signing key.

use std::{future::Future, pin::Pin};

use anyhow::Result;

use super::acts::{self, Scene};

pub type Act = for<'a> fn(&'a Scene<'_>) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// One attack, and its expected results.
pub struct Attack {
    pub name: &'static str,
    pub act: Act,
    /// A part of the message that is expected; empty if there is none.
    pub said: &'static str,
    /// Expected exit code of `verify` and `restore`.
    pub exit: i32,
    pub list_exit: i32,
    pub by_owner: bool,
    /// Number of genuine backups in the bucket before the attack.
    pub stored: usize,
    /// Index of the genuine backup that must be found as the newest.
    pub expected: usize,
    pub needs_cluster: bool,
    pub lies_in_payload: bool,
}

const SEEN: Attack = Attack {
    name: "",
    act: |_| Box::pin(async { Ok(()) }),
    said: "",
    exit: 6,
    list_exit: 6,
    by_owner: false,
    stored: 3,
    expected: 2,
    needs_cluster: false,
    lies_in_payload: false,
};

/// An attack that the server refuses, so nothing has changed and nothing is reported.
const REFUSED: Attack = Attack { exit: 0, list_exit: 0, ..SEEN };

macro_rules! act {
    ($function:path) => {
        |scene| Box::pin($function(scene))
    };
}

pub const ATTACKS: &[Attack] = &[
    Attack { name: "delete every version", act: act!(acts::delete_versions), ..REFUSED },
    Attack { name: "delete, bypassing governance", act: act!(acts::delete_bypassing), ..REFUSED },
    Attack { name: "shorten the locks", act: act!(acts::shorten), ..REFUSED },
    Attack { name: "turn COMPLIANCE into GOVERNANCE", act: act!(acts::weaken), ..REFUSED },
    Attack { name: "suspend versions, unlock, expire the bucket", act: act!(acts::reconfigure), ..REFUSED },
    Attack { name: "lay delete markers as the writer", act: act!(acts::hide_as_writer), ..REFUSED },
    Attack { name: "leave uploads unfinished under the next name", act: act!(acts::unfinished_upload), ..REFUSED },
    Attack { name: "extend a lock", act: act!(acts::extend_lock), ..REFUSED },
    Attack {
        name: "lay delete markers on all of them",
        act: act!(acts::hide_all),
        said: "hidden by a delete marker",
        by_owner: true,
        ..SEEN
    },
    Attack {
        name: "put junk on top of all of them",
        act: act!(acts::junk_on_top),
        said: "hidden by another version put on top",
        ..SEEN
    },
    Attack { name: "put 300 versions on top of the newest", act: act!(acts::many_on_top), said: "too many", ..SEEN },
    Attack {
        name: "put the oldest on top of the newest",
        act: act!(acts::old_on_top),
        said: "under another name",
        ..SEEN
    },
    Attack {
        name: "put it again under its own name",
        act: act!(acts::copy_on_top),
        said: "another version with the same head",
        ..SEEN
    },
    Attack {
        name: "put it on top with another payload",
        act: act!(acts::another_payload),
        said: "another version with the same head",
        ..SEEN
    },
    Attack { name: "replay the oldest under a new name", act: act!(acts::replay), said: "under another name", ..SEEN },
    Attack {
        name: "forge a newer one with a key of their own",
        act: act!(acts::forge_newer),
        said: "not trusted here",
        ..SEEN
    },
    Attack { name: "forge one named for the year 9999", act: act!(acts::forge_far), said: "9999", ..SEEN },
    Attack {
        name: "alter the manifest of a newer one",
        act: act!(acts::alter_manifest),
        said: "is forged or altered",
        ..SEEN
    },
    Attack {
        name: "a new manifest with an old signature",
        act: act!(acts::old_signature),
        said: "is forged or altered",
        ..SEEN
    },
    Attack { name: "put cut-off copies on top", act: act!(acts::truncated), said: "bytes and should have", ..SEEN },
    Attack { name: "cut a newer one off in its head", act: act!(acts::cut_head), said: "is damaged", ..SEEN },
    Attack { name: "an empty newer one", act: act!(acts::empty), said: "is damaged", ..SEEN },
    Attack {
        name: "a newer one with a manifest of 8 GiB",
        act: act!(acts::giant_manifest),
        said: "is damaged",
        ..SEEN
    },
    Attack {
        name: "a newer one that is 20 MiB of manifest",
        act: act!(acts::long_manifest),
        said: "is damaged",
        ..SEEN
    },
    Attack {
        name: "keep the newest back, store it with other bytes",
        act: act!(acts::another_payload),
        said: "is damaged behind its head",
        list_exit: 0,
        stored: 2,
        expected: 1,
        lies_in_payload: true,
        ..SEEN
    },
    Attack {
        name: "another swarm's backup among ours",
        act: act!(acts::other_among),
        said: "under another name",
        ..SEEN
    },
    Attack {
        name: "another swarm's backup beside ours",
        act: act!(acts::other_beside),
        exit: 0,
        list_exit: 0,
        needs_cluster: true,
        ..SEEN
    },
    Attack { name: "200 made-up swarms", act: act!(acts::made_up_swarms), said: "--cluster", ..SEEN },
    Attack { name: "keys that break listings", act: act!(acts::odd_keys), said: "not backups", ..SEEN },
    Attack { name: "directories named like backups", act: act!(acts::directories), said: "not backups", ..SEEN },
    Attack { name: "1,200 junk keys before, in and behind", act: act!(acts::junk_around), said: "not backups", ..SEEN },
    Attack { name: "1,100 forged newer ones", act: act!(acts::flood), said: "may have been missed", ..SEEN },
    Attack { name: "forged ones of last year", act: act!(acts::backdated), said: "", exit: 0, list_exit: 6, ..SEEN },
];
