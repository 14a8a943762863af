//! Whether any manager that a worker knows can be reached.

use std::net::SocketAddr;

use super::{Join, look::Look};
use crate::{
    host::network,
    nodes::{
        same_root,
        standing::{self, Standing},
    },
};

/// What the managers of this host's swarm are to it at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Contact {
    /// Nobody was asked: this host is no worker, or knows no manager.
    #[default]
    NotAsked,
    Reached(SocketAddr),
    /// None of them answers. `elsewhere`: a wanted manager that is none of them, and has a certificate of this swarm.
    Silent {
        elsewhere: Option<SocketAddr>,
    },
    /// Some could not be asked, and the others do not answer.
    Unasked(String),
}

impl Join<'_> {
    /// Asks the managers that this host knows, if it is a worker.
    pub(super) async fn contact(&self, look: &Look) -> Contact {
        let is_worker = matches!(look.standing, Standing::Member { .. }) && !look.is_manager();
        let known = known(look);
        if !is_worker || known.is_empty() {
            return Contact::NotAsked;
        }
        match self.ask(&known).await {
            Contact::Silent { .. } => {
                let others: Vec<SocketAddr> =
                    look.found.addresses.iter().copied().filter(|it| !known.contains(it)).collect();
                let (managers, _) = same_root::managers(&look.root_ca(), &others).await;
                Contact::Silent { elsewhere: managers.first().copied() }
            }
            answered => answered,
        }
    }

    /// Asks managers whether they live. A connection that this host has counts too: a firewall may refuse new ones.
    pub(super) async fn ask(&self, known: &[SocketAddr]) -> Contact {
        if let Some(manager) = network::connected(known).first() {
            return Contact::Reached(*manager);
        }
        let asked = self.restore.ask_managers(known).await;
        let unasked = asked.unasked();
        match asked.living.first() {
            Some(manager) => Contact::Reached(*manager),
            None if unasked.is_empty() => Contact::Silent { elsewhere: None },
            None => Contact::Unasked(unasked.join(", ")),
        }
    }
}

/// The managers that this host knows of its swarm, by its engine and by its disk.
pub fn known(look: &Look) -> Vec<SocketAddr> {
    standing::managers_of(&look.facts.swarm, &look.on_disk).into_iter().collect()
}
