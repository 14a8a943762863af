//! Losses: differences that must not exist after a state was restored.

use super::{Change, Difference, Inventory, ObjectKind, compare};

/// Differences between the inventory that a backup recorded and that of the engine that runs the restored state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Objects that are missing or changed.
    pub lost: Vec<Difference>,
    /// Differences without loss. Nodes and the cluster object change by themselves as soon as a swarm runs; an extra
    /// object was written between the listing and the copy.
    pub harmless: Vec<Difference>,
}

impl Compared {
    /// Compares the two inventories and sorts the differences.
    pub fn of(recorded: &Inventory, actual: &Inventory) -> Self {
        let (lost, harmless) = compare(recorded, actual).into_iter().partition(is_loss);
        Self { lost, harmless }
    }

    /// Returns the losses as text; `None` if there are none.
    pub fn loss(&self) -> Option<String> {
        let lost: Vec<String> = self.lost.iter().map(ToString::to_string).collect();
        (!lost.is_empty()).then(|| lost.join("; "))
    }
}

fn is_loss(difference: &Difference) -> bool {
    match &difference.change {
        Change::Missing => true,
        Change::Extra => false,
        // A network that was waiting for addresses has received them.
        Change::Changed { field, recorded, .. } if field == "allocated" && recorded == "false" => false,
        Change::Changed { .. } => !matches!(difference.kind, ObjectKind::Node | ObjectKind::Cluster),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Cluster, Network};

    #[test]
    fn a_network_may_get_its_addresses_and_must_not_lose_them() {
        let with = |allocated| {
            let network = Network { id: "o".into(), driver: "overlay".into(), allocated, ..Network::default() };
            Inventory { networks: vec![network], ..Inventory::empty(Cluster::default()) }
        };
        let (waits, works) = (with(Some(false)), with(Some(true)));
        let got = Compared::of(&waits, &works);
        assert_eq!((got.loss(), got.harmless.len()), (None, 1));
        let lost = Compared::of(&works, &waits).loss().expect("is a loss");
        assert!(lost.contains("allocated was `true`, is `false`"), "{lost}");
    }
}
