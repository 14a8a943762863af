//! Keys of claims and of releases in a vault.

use swarmdr_archive::ClusterId;
use swarmdr_vault::object_name::CLAIMS;

use super::ClaimId;

/// The largest epoch that a key can hold.
pub const MOST: u32 = 99_999_999;

const DIGITS: usize = 8;

/// What an object below the prefix of a cluster's claims is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The claim of an epoch.
    Claim(u32),
    /// The word of the site that had the epoch that it gave it up.
    Release {
        epoch: u32,
        claim: ClaimId,
        /// Random, where something else lay under the name without it.
        tail: Option<ClaimId>,
    },
}

impl Name {
    /// Returns the prefix of all names of one cluster.
    pub fn prefix(cluster: &ClusterId) -> String {
        format!("{CLAIMS}{cluster}/")
    }

    pub fn key(self, cluster: &ClusterId) -> String {
        let prefix = Self::prefix(cluster);
        match self {
            Name::Claim(epoch) => format!("{prefix}{epoch:0DIGITS$}.claim"),
            Name::Release { epoch, claim, tail: None } => format!("{prefix}{epoch:0DIGITS$}.{claim}.released"),
            Name::Release { epoch, claim, tail: Some(tail) } => {
                format!("{prefix}{epoch:0DIGITS$}.{claim}-{tail}.released")
            }
        }
    }

    /// Parses a key. Accepts exactly the text that [`Self::key`] returns for an epoch from 1 on.
    pub fn parse(key: &str, cluster: &ClusterId) -> Option<Self> {
        let (epoch, kind) = key.strip_prefix(&Self::prefix(cluster))?.split_once('.')?;
        let is_plain = epoch.len() == DIGITS && epoch.bytes().all(|byte| byte.is_ascii_digit());
        let epoch: u32 = epoch.parse().ok().filter(|epoch| is_plain && (1..=MOST).contains(epoch))?;
        match kind {
            "claim" => Some(Name::Claim(epoch)),
            _ => {
                let ids = kind.strip_suffix(".released")?;
                let (claim, tail) = ids.split_once('-').map_or((ids, None), |(claim, tail)| (claim, Some(tail)));
                let tail = tail.map(str::parse).transpose().ok()?;
                Some(Name::Release { epoch, claim: claim.parse().ok()?, tail })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_written_and_nothing_else_does() {
        let cluster: ClusterId = "c1".parse().expect("is an id");
        let (claim, tail) = (ClaimId::of(7), Some(ClaimId::of(8)));
        let release = |tail| Name::Release { epoch: 17, claim, tail };
        for name in [Name::Claim(1), Name::Claim(MOST), release(None), release(tail)] {
            assert_eq!(Name::parse(&name.key(&cluster), &cluster), Some(name));
        }
        assert_eq!(Name::Claim(7).key(&cluster), "claims/c1/00000007.claim");
        assert_eq!(release(None).key(&cluster), format!("claims/c1/00000017.{claim}.released"));
        for wrong in [
            "claims/c2/00000007.claim",
            "claims/c1/7.claim",
            "claims/c1/+0000007.claim",
            "claims/c1/00000000.claim",
            "claims/c1/00000007.released",
            "claims/c1/00000007.x.released",
            "claims/c1/000000007.claim",
            "claims/c1/00000007.claims",
            "claims/c1/00000007.claim.claim",
            "claims/c1/x/00000007.claim",
        ] {
            assert_eq!(Name::parse(wrong, &cluster), None, "{wrong}");
        }
    }
}
