//! Until when a state can be restored, and what sets that limit.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use swarm_state::{Examined, Inventory, Proof, inventory::Cluster};
use swarmdr_vault::Lock;

/// How long a state can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restorable {
    /// The earliest of the limits; absent if none is known.
    pub until: Option<Timestamp>,
    /// Reason why a restore is impossible at any time.
    pub obstacle: Option<String>,
    /// Limits, earliest first.
    pub limits: Vec<Limit>,
}

/// Time of a limit, and what ends then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Limit {
    pub until: Timestamp,
    pub what: Ends,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    RootCa,
    /// Counts only if the swarm cannot renew it by itself when a new cluster is forced.
    NodeCertificate,
    Lock,
}

/// Everything that [`Restorable::of`] depends on; absent means unknown.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub root_not_after: Option<Timestamp>,
    pub node_not_after: Option<Timestamp>,
    /// Whether a forced new cluster can sign a new node certificate.
    pub renews: Option<bool>,
    pub lock: Option<Lock>,
    pub obstacle: Option<String>,
}

impl Restorable {
    /// Returns the limits that are known; an unknown one does not count.
    pub fn of(facts: Facts) -> Self {
        let limit = |what, until: Option<Timestamp>| until.map(|until| Limit { until, what });
        let node = facts.node_not_after.filter(|_| facts.renews == Some(false));
        let lock = facts.lock.map(|lock| lock.until);
        let mut limits: Vec<Limit> =
            [limit(Ends::RootCa, facts.root_not_after), limit(Ends::NodeCertificate, node), limit(Ends::Lock, lock)]
                .into_iter()
                .flatten()
                .collect();
        limits.sort();
        Self { until: limits.first().map(|limit| limit.until), obstacle: facts.obstacle, limits }
    }

    /// Whether a restore at `now` would fail. An ended lock does not count: the backup may then be deleted, but while
    /// it is there it can be restored.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let over = |limit: &Limit| limit.what != Ends::Lock && limit.until <= now;
        self.obstacle.is_some() || self.limits.iter().any(over)
    }
}

/// Whether the swarm signs certificates by itself: it has the key of its root CA and no external CA.
pub fn renews(inventory: &Inventory) -> Option<bool> {
    let Cluster { has_ca_key, external_cas, .. } = &inventory.cluster;
    match external_cas {
        Some(urls) if !urls.is_empty() => Some(false),
        _ => *has_ca_key,
    }
}

/// Returns the reason why a restore refuses this state at any date, if there is one.
pub fn obstacle(examined: &Examined) -> Option<String> {
    if let Proof::Unproven(damage) = &examined.proof {
        return Some(format!("the raft log breaks: {damage}"));
    }
    let joining = examined.identity.engine.as_ref().is_some_and(|engine| engine.join_in_progress);
    joining.then(|| "the node was still joining its swarm".to_owned())
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RootCa => "the root CA ends, and nothing starts with it",
            Self::NodeCertificate => "the node certificate ends, and the swarm cannot renew it by itself",
            Self::Lock => "the lock in the vault ends, and the backup may be deleted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarmdr_vault::LockMode;

    fn at(day: &str) -> Timestamp {
        format!("{day}T00:00:00Z").parse().expect("is a date")
    }

    fn facts(lock: Option<&str>, renews: Option<bool>) -> Facts {
        Facts {
            root_not_after: Some(at("2046-01-01")),
            node_not_after: Some(at("2027-02-01")),
            renews,
            lock: lock.map(|day| Lock { mode: LockMode::Compliance, until: at(day) }),
            obstacle: None,
        }
    }

    #[test]
    fn the_earliest_end_counts_and_is_named() {
        let first = |facts| {
            let restorable = Restorable::of(facts);
            assert_eq!(restorable.until, restorable.limits.first().map(|limit| limit.until));
            restorable.limits.first().map(|limit| (limit.what, limit.until))
        };
        assert_eq!(first(facts(None, Some(true))), Some((Ends::RootCa, at("2046-01-01"))));
        assert_eq!(first(facts(Some("2026-12-21"), Some(true))), Some((Ends::Lock, at("2026-12-21"))));
        assert_eq!(first(facts(Some("2027-03-01"), Some(false))), Some((Ends::NodeCertificate, at("2027-02-01"))));
        assert_eq!(first(facts(Some("2027-03-01"), None)), Some((Ends::Lock, at("2027-03-01"))));
        assert_eq!(first(Facts::default()), None);
    }

    #[test]
    fn an_ended_lock_deletes_nothing_but_an_ended_certificate_or_damage_is_the_end() {
        let now = at("2027-02-15");
        assert!(!Restorable::of(facts(Some("2026-12-21"), Some(true))).is_over(now));
        assert!(Restorable::of(facts(None, Some(false))).is_over(now));
        assert!(!Restorable::of(facts(None, Some(true))).is_over(now));
        assert!(Restorable::of(facts(None, Some(true))).is_over(at("2046-01-02")));
        let broken = Facts { obstacle: Some("the raft log breaks".to_owned()), ..facts(None, Some(true)) };
        assert!(Restorable::of(broken).is_over(at("2026-01-01")));
    }

    #[test]
    fn an_external_ca_signs_even_if_the_key_is_there() {
        let renews = |has_ca_key, urls: Option<&[&str]>| {
            let external_cas = urls.map(|urls| urls.iter().map(|url| (*url).to_owned()).collect());
            let cluster = Cluster { has_ca_key, external_cas, ..Cluster::default() };
            renews(&swarm_state::Inventory::empty(cluster))
        };
        assert_eq!(renews(Some(true), Some(&[])), Some(true));
        assert_eq!(renews(Some(true), Some(&["https://ca"])), Some(false));
        assert_eq!(renews(Some(false), None), Some(false));
        assert_eq!(renews(None, None), None);
    }
}
