//! Images: what a restored swarm could pull, copies that keep digests, and logins that are renewed.

mod auth;
mod check;
mod follow;
mod mirror;
mod shelf;
mod site;
mod yard;

use swarmdr_tests::{campaign::full, lab::Engine};

/// The engines that a campaign runs on: one in the plain run.
pub fn engines() -> &'static [Engine] {
    if full() { &[Engine::E20_10, Engine::E26_1, Engine::E28_5] } else { &[Engine::E26_1] }
}
