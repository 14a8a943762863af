//! What is told of a run beside its result.

use anyhow::Result;
use swarmdr_archive::manifest::Manifest;

use crate::{
    archive::kept::Kept,
    host::network,
    outcome::failure::Failure,
    standby::report::{Outcome, StandbyReport},
};

/// Reports that no vault could be asked, or that none has a backup: what is kept stays.
pub(super) fn not_found(kept: Option<Kept>, error: anyhow::Error) -> Result<StandbyReport> {
    let Some(kept) = kept.filter(Kept::waits) else {
        return Err(Failure::failed("nothing is kept on this host, and no backup could be fetched")
            .because(error)
            .into());
    };
    let mut report = StandbyReport::of(Outcome::NotAsked, &kept, Vec::new());
    report.attention = vec![format!("whether there is a newer backup is not known: {error:#}")];
    report.attention.extend(kept.attention);
    Ok(report)
}

/// Tells that the swarm's address is not here yet, as is usual.
pub(super) fn away(manifest: &Manifest) -> Result<Option<String>> {
    let wanted = manifest.raft_addr.ip();
    let is_here = network::has(&network::local_addresses()?, wanted);
    Ok((!is_here).then(|| {
        format!(
            "the swarm's address {wanted} is not on this host: it gets it on the day, or `promote --readdress` is used"
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::kept::tests::kept,
        outcome::{exit::Exit, failure::Rendered},
    };

    #[test]
    fn a_vault_that_is_away_costs_nothing_that_is_kept() {
        let away = || anyhow::anyhow!("no vault answers");
        let report = not_found(Some(kept("20261121T030000Z-00000001")), away()).expect("keeps it");
        assert_eq!(report.exit(), Exit::Attention);
        assert!(report.attention[0].contains("no vault answers"), "{:?}", report.attention);
        let promoted = Kept {
            promoted_at: Some("2026-11-21T04:00:00Z".parse().expect("is a time")),
            ..kept("20261121T030000Z-00000001")
        };
        for nothing in [None, Some(promoted)] {
            assert_eq!(Rendered::of(&not_found(nothing, away()).expect_err("has nothing")).exit, Exit::Failed);
        }
    }
}
