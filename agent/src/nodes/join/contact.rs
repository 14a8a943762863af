//! Whether any manager that a worker knows can be reached.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{Join, look::Look};
use crate::{
    host::network,
    nodes::{
        same_root::{self, Manager},
        standing::{self, Standing},
    },
};

/// What the managers of this host's swarm are to it at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Contact {
    /// Nobody was asked: this host is no worker, or knows no manager.
    #[default]
    NotAsked,
    /// It showed a certificate of this swarm, or this host has a connection with it and can make no other.
    Reached(SocketAddr),
    /// None of them answers. `elsewhere`: a wanted manager that is none of them, and has a certificate of this swarm.
    Silent { elsewhere: Option<SocketAddr> },
    /// None of them answers, but a wanted manager that is one of them by its node id: their swarm lives, and this host's
    /// engine does not find it.
    KnownElsewhere(SocketAddr),
    /// None of them answers, but connections are taken at addresses of some, without a certificate of this swarm, as by a
    /// load balancer whose managers are gone. `elsewhere` as for silent ones.
    Masked { told: String, elsewhere: Option<SocketAddr> },
    /// Some could not be asked. The others do not answer as managers.
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
        let told = match self.ask(look, &known).await {
            Contact::Silent { .. } => None,
            Contact::Masked { told, .. } => Some(told),
            answered => return answered,
        };
        let others: Vec<SocketAddr> = look.found.addresses.iter().copied().filter(|it| !known.contains(it)).collect();
        let (managers, _) = same_root::managers(&look.root_ca(), &others).await;
        match (of_others(&managers, &look.on_disk.manager_ids), told) {
            (Contact::Silent { elsewhere }, Some(told)) => Contact::Masked { told, elsewhere },
            (contact, _) => contact,
        }
    }

    /// Asks managers whether they live.
    pub(super) async fn ask(&self, look: &Look, known: &[SocketAddr]) -> Contact {
        let connected = network::connected(known);
        let asked = self.restore.ask_managers(known).await;
        let (mut managers, others) = same_root::managers(&look.root_ca(), &asked.living).await;
        // One at a wanted address says more of whose node this host is.
        managers.sort_by_key(|manager| !look.wanted.names([&manager.addr]));
        judged(&managers, &others, &connected, asked.unasked())
    }
}

/// Judges the answers of known managers. A connection that this host has counts too, since a firewall may refuse new ones;
/// not if a new one is taken and shows no certificate: what takes it may have no manager behind it.
fn judged(
    managers: &[Manager],
    others: &[(SocketAddr, String)],
    connected: &[SocketAddr],
    mut unasked: Vec<String>,
) -> Contact {
    let is_closed = |addr: &&SocketAddr| others.iter().all(|(other, _)| other != *addr);
    if let Some(addr) = managers.first().map(|it| it.addr).or_else(|| connected.iter().find(is_closed).copied()) {
        return Contact::Reached(addr);
    }
    let is_asked = unasked.is_empty();
    unasked.extend(others.iter().map(|(addr, why)| format!("{addr} takes connections, but {why}")));
    let told = unasked.join(", ");
    match (is_asked, others.is_empty()) {
        (true, true) => Contact::Silent { elsewhere: None },
        (true, false) => Contact::Masked { told, elsewhere: None },
        (false, _) => Contact::Unasked(told),
    }
}

/// Judges wanted managers at other addresses than the known ones, which are silent. A swarm that was restored at another
/// address has a manager with a new node id (`restore --readdress`).
pub fn of_others(managers: &[Manager], known: &BTreeSet<String>) -> Contact {
    let is_known = |manager: &&Manager| manager.node.as_ref().is_none_or(|node| known.contains(node));
    match managers.iter().find(is_known) {
        Some(manager) => Contact::KnownElsewhere(manager.addr),
        None => Contact::Silent { elsewhere: managers.first().map(|manager| manager.addr) },
    }
}

/// The managers that this host knows of its swarm, by its engine and by its disk.
pub fn known(look: &Look) -> Vec<SocketAddr> {
    standing::managers_of(&look.facts.swarm, &look.on_disk).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u8) -> SocketAddr {
        ([10, 0, 0, last], 2377).into()
    }

    fn manager(last: u8, node: &str) -> Manager {
        Manager { addr: addr(last), node: Some(node.to_owned()) }
    }

    #[test]
    fn only_a_certificate_shows_that_a_known_manager_lives() {
        let open = [(addr(1), "it is no manager of this swarm".to_owned())];
        let unasked = vec!["10.0.0.3:2377 (no route)".to_owned()];
        assert_eq!(judged(&[manager(2, "m")], &open, &[], unasked.clone()), Contact::Reached(addr(2)));
        assert_eq!(judged(&[], &[], &[], Vec::new()), Contact::Silent { elsewhere: None });
        assert_eq!(judged(&[], &[], &[], unasked.clone()), Contact::Unasked(unasked[0].clone()));
        // A firewall refuses new connections.
        assert_eq!(judged(&[], &open, &[addr(2)], unasked), Contact::Reached(addr(2)));
        // A load balancer without a manager takes the engine's connection too.
        let masked = judged(&[], &open, &[addr(1)], Vec::new());
        let Contact::Masked { told, elsewhere: None } = masked else { panic!("{masked:?}") };
        assert!(told.contains("10.0.0.1:2377 takes connections, but it is no manager"), "{told}");
        let Contact::Unasked(told) = judged(&[], &open, &[], vec!["10.0.0.3:2377 (no route)".to_owned()]) else {
            panic!("one was not asked")
        };
        assert!(told.contains("10.0.0.3:2377 (no route)") && told.contains("10.0.0.1:2377 takes"), "{told}");
    }

    #[test]
    fn a_known_manager_at_a_second_address_is_no_other_one() {
        let known = BTreeSet::from(["m1".to_owned(), "m2".to_owned()]);
        let new = manager(8, "m9");
        assert_eq!(of_others(std::slice::from_ref(&new), &known), Contact::Silent { elsewhere: Some(addr(8)) });
        assert_eq!(of_others(&[], &known), Contact::Silent { elsewhere: None });
        for second in [manager(7, "m2"), Manager { addr: addr(7), node: None }] {
            assert_eq!(of_others(&[new.clone(), second], &known), Contact::KnownElsewhere(addr(7)));
        }
    }
}
