//! The nodes of a swarm: how a host joins it, and how the token that it needs gets to it.
//!
//! Nodes join as workers only. Imports `restore` (the engine that comes up, managers that are asked whether they live)
//! and what that may import.

pub mod join;
mod managers;
mod program;
pub mod publish;
mod standing;
mod token;
mod token_source;
