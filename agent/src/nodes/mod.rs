//! The nodes of a swarm: how a host joins it and gets the token for that, more managers, dead nodes removed, and services
//! that use new ones.
//!
//! Nodes join as workers only; the leader promotes. Imports `restore` (the engine that comes up, who leads, whether a
//! manager answers, what an update of a service would begin again), `backup` (the members of the group of managers) and
//! what these may import.

mod ending;
pub mod grow;
mod handed_root;
pub mod join;
pub mod label;
mod managers;
mod program;
pub mod publish;
mod roster;
mod same_root;
pub mod spread;
#[cfg(test)]
mod standin;
mod standing;
pub mod tidy;
mod token;
mod token_source;
