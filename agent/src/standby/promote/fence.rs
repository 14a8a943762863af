//! Whether the old site is cut off: somebody vouches for it, or a program does it.

use anyhow::Result;
use swarmdr_archive::manifest::Manifest;

use crate::{
    claims::{Fenced, life::Sign},
    observe::hooks::{FENCE, Hooks},
    outcome::failure::Failure,
};

/// How the old site is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The operator says that it is.
    Vouched,
    /// The hook does it.
    Hook,
}

impl Way {
    /// Chooses the way; refuses if there is none. The hook runs even if somebody vouches: it can only help.
    pub fn choose(fenced: bool, has_hook: bool) -> Result<Self> {
        match (fenced, has_hook) {
            (_, true) => Ok(Way::Hook),
            (true, false) => Ok(Way::Vouched),
            (false, false) => Err(Failure::refused(
                "whether the old site is cut off for good is not known, and nothing here cuts it off",
            )
            .advice("shut its managers down or cut them off, then use --fenced, by which you vouch for that")
            .advice(
                "or have a program do it: an executable file `fence` in the directory of the hooks (watch.hooks_dir)",
            )
            .into()),
        }
    }
}

/// Runs the hook; an error if any of its programs failed, whatever the operator vouches for.
pub async fn run(hooks: &Hooks, manifest: &Manifest) -> Result<()> {
    let addresses = addresses(manifest).join(" ");
    let facts = [
        ("BACKUP_ID", manifest.id.to_string()),
        ("CLUSTER_ID", manifest.cluster_id.to_string()),
        ("MANAGERS", addresses),
    ];
    let (_, failures) = hooks.run_named(FENCE, &facts).await;
    if failures.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(Failure::refused(format!("the old site was not cut off: {}", told.join("; ")))
        .advice("see that its managers are off, and run it again")
        .advice("if the program is wrong, move it away and use --fenced")
        .into())
}

/// Describes for the claim how each old manager was dealt with.
pub fn told(manifest: &Manifest, way: Way, was_probed: bool) -> Vec<Fenced> {
    let how = match (way, was_probed) {
        (Way::Vouched, _) => "the operator vouches that it is gone",
        (Way::Hook, true) => "it did not answer, and the hook `fence` cut it off",
        (Way::Hook, false) => "the hook `fence` cut it off",
    };
    addresses(manifest).into_iter().map(|address| Fenced { address, how: how.to_owned() }).collect()
}

/// All managers of the old site, the one that made the backup too.
fn addresses(manifest: &Manifest) -> Vec<String> {
    let own = manifest.raft_addr.to_string();
    let others = manifest.managers.iter().map(|manager| manager.addr.clone());
    [own].into_iter().chain(others).collect()
}

/// Refuses while another site lives, whoever vouches for its death.
pub fn alive(sign: &Sign) -> anyhow::Error {
    Failure::refused(format!("the old site is alive: {sign}"))
        .advice("if it works, there is nothing to take over")
        .advice(format!("if it is dead, its sign counts for {} s more; run it again then", sign.fresh_for()))
        .advice("if you have seen that it is off or cut off: --despite-sign-of-life")
        .into()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

    use super::*;
    use crate::{
        outcome::{exit::Exit, failure::Rendered},
        restore::plan::tests::manifest,
    };

    #[test]
    fn somebody_vouches_or_a_program_cuts_it_off() {
        assert_eq!(Way::choose(true, false).expect("is vouched for"), Way::Vouched);
        for fenced in [true, false] {
            assert_eq!(Way::choose(fenced, true).expect("has a hook"), Way::Hook);
        }
        let rendered = Rendered::of(&Way::choose(false, false).expect_err("is not known"));
        assert_eq!(rendered.exit, Exit::Refused);
        assert!(rendered.advice.iter().any(|advice| advice.contains("--fenced")), "{rendered}");
    }

    #[tokio::test]
    async fn a_program_that_fails_forbids_it() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let hooks = Hooks { dir: dir.path().to_owned(), limit: Duration::from_secs(60), environment: Vec::new() };
        assert!(!hooks.has(FENCE));
        let path = dir.path().join(FENCE);
        let out = dir.path().join("out");
        for (script, works) in
            [(format!("echo $SWARMDR_HOOK_MANAGERS > {}", out.display()), true), ("exit 1".to_owned(), false)]
        {
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("writes");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets the mode");
            assert!(hooks.has(FENCE));
            let ran = run(&hooks, &manifest()).await;
            assert_eq!(ran.is_ok(), works, "{ran:?}");
            if let Err(error) = ran {
                assert_eq!(Rendered::of(&error).exit, Exit::Refused);
            }
        }
        let told = fs::read_to_string(out).expect("was written");
        assert!(told.starts_with(&manifest().raft_addr.to_string()), "{told}");
    }

    #[test]
    fn each_old_manager_is_told_with_how_it_was_dealt_with() {
        let manifest = manifest();
        let vouched = told(&manifest, Way::Vouched, false);
        assert_eq!(vouched.len(), 1 + manifest.managers.len());
        assert!(vouched.iter().all(|fenced| fenced.how.contains("vouches")), "{vouched:?}");
        assert!(told(&manifest, Way::Hook, true)[0].how.contains("did not answer"));
    }
}
