//! The claims by which a host knows its swarm.

use super::{ClaimId, Memory, Origin, Record, standing::Here};

/// Returns the claims that are this swarm's own.
///
/// A label that can be read says it alone: what the host remembers, or once claimed, may be of another swarm that it had. Only
/// the restore that brought this very swarm here knows better, since it labels the swarm last, and the state comes with the
/// label of the backup. Without a label, as where a program replaced all of them, what the swarm carried while this host was
/// the same node counts, and the claim that this host made, unless no swarm can carry it.
pub fn own(here: &Here, memory: Option<&Memory>, record: Option<&Record>) -> Vec<ClaimId> {
    let restored = match here.origin {
        Origin::Restored(claim) => Some(claim),
        Origin::Elsewhere(_) | Origin::Unknown => None,
    };
    if let Some(label) = here.label {
        return restored.into_iter().chain([label]).collect();
    }
    let same = memory.filter(|memory| memory.node == here.node);
    let carried = same.into_iter().flat_map(|memory| memory.carried.iter().copied());
    let made = record.filter(|record| !record.is_bare()).map(|record| record.claim_id);
    let made = made.filter(|made| here.origin != Origin::Elsewhere(*made));
    carried.chain(restored).chain(made).collect()
}

/// Returns the newest of these claims, and its epoch, as far as this host remembers it: one that no swarm can carry does not count.
pub fn newest_own(own: &[ClaimId], memory: Option<&Memory>, record: Option<&Record>) -> Option<(ClaimId, u32)> {
    let made = record.filter(|record| !record.is_bare()).map(|record| (record.claim_id, record.epoch));
    let learned = memory.and_then(|memory| memory.claim.zip(memory.epoch));
    made.into_iter().chain(learned).filter(|(id, _)| own.contains(id)).max_by_key(|(_, epoch)| *epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claims::{Stage, testkit::cluster},
        config::Config,
    };

    #[test]
    fn a_label_says_it_alone_and_what_a_host_remembers_counts_without_one() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let [old, new, made] = [1, 2, 3].map(ClaimId::of);
        let node = || "n1".parse().expect("is an id");
        for label in [old, new] {
            Memory::update(&config, &cluster(), |memory| memory.see(&node(), Some(label), Origin::Unknown));
        }
        let memory = Memory::read(&config, None);
        let mut record = Record::new(cluster(), 3, made, Stage::Used);
        let of = |record: &Record, name: &str, label, origin| {
            let node = Some(name.parse().expect("is an id"));
            own(&Here { cluster: cluster(), node, label, origin }, memory.as_ref(), Some(record))
        };
        assert_eq!(of(&record, "n2", None, Origin::Unknown), [made], "raised by other means");
        record.stage = Stage::Won;
        assert_eq!(of(&record, "n2", None, Origin::Unknown), [], "nothing was placed by it");
        record.stage = Stage::Used;
        let of = |name: &str, label, origin| of(&record, name, label, origin);
        // Two sites have the same node id where both were restored from the same manager.
        assert_eq!(of("n1", Some(old), Origin::Unknown), [old]);
        assert_eq!(of("n1", Some(old), Origin::Elsewhere(made)), [old]);
        // The label of the backup, until the restored swarm has that of its own claim.
        assert_eq!(of("n1", Some(old), Origin::Restored(made)), [made, old]);
        assert_eq!(of("n1", None, Origin::Unknown), [old, new, made]);
        assert_eq!(of("n2", None, Origin::Restored(made)), [made, made]);
        assert_eq!(of("n2", None, Origin::Elsewhere(made)), [], "this host left what it had restored");
    }
}
