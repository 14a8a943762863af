//! What must not differ once a state has been brought back.

use super::{Change, Difference, Inventory, ObjectKind, compare};

/// What a backup recorded beside what an engine made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Objects that are gone, or not what they were.
    pub lost: Vec<Difference>,
    /// Nodes and the cluster object change by themselves as soon as a swarm runs; an object too many was written
    /// between the listing and the copy.
    pub harmless: Vec<Difference>,
}

impl Compared {
    /// Sorts the differences between the two.
    pub fn of(recorded: &Inventory, actual: &Inventory) -> Self {
        let (lost, harmless) = compare(recorded, actual).into_iter().partition(is_loss);
        Self { lost, harmless }
    }

    /// The losses in words; `None` if there is none.
    pub fn loss(&self) -> Option<String> {
        let lost: Vec<String> = self.lost.iter().map(ToString::to_string).collect();
        (!lost.is_empty()).then(|| lost.join("; "))
    }
}

fn is_loss(difference: &Difference) -> bool {
    match &difference.change {
        Change::Missing => true,
        Change::Extra => false,
        // A network that waited for addresses has got them.
        Change::Changed { field, recorded, .. } if field == "allocated" && recorded == "false" => false,
        Change::Changed { .. } => !matches!(difference.kind, ObjectKind::Node | ObjectKind::Cluster),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspection::tests::inventory_of,
        swarm::inventory::{Cluster, Network},
    };

    #[test]
    fn a_network_may_get_its_addresses_and_must_not_lose_them() {
        let with = |allocated| {
            let network = Network { id: "o".into(), driver: "overlay".into(), allocated, ..Network::default() };
            Inventory { networks: vec![network], ..inventory_of(Cluster::default()) }
        };
        let (waits, works) = (with(Some(false)), with(Some(true)));
        let got = Compared::of(&waits, &works);
        assert_eq!((got.loss(), got.harmless.len()), (None, 1));
        let lost = Compared::of(&works, &waits).loss().expect("is a loss");
        assert!(lost.contains("allocated was `true`, is `false`"), "{lost}");
    }
}
