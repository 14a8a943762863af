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
    match difference.change {
        Change::Missing => true,
        Change::Extra => false,
        Change::Changed { .. } => !matches!(difference.kind, ObjectKind::Node | ObjectKind::Cluster),
    }
}
