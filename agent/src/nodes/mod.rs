//! The nodes of a swarm: more managers, dead ones removed, and services that use new ones.
//!
//! Imports `restore` (who leads, whether a manager answers, what an update of a service would begin again), `backup` (the
//! members of the group of managers) and what these may import.

pub mod grow;
pub mod label;
mod roster;
pub mod spread;
pub mod tidy;
