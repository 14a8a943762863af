//! Disaster recovery for Docker Swarm managers.

pub mod swarm;
pub mod vault;
