//! Objects that a backup has and its swarm no longer: found by comparison, remembered from one backup to the next, and
//! named together with the command that brings them back.
//!
//! May import `host` and `outcome`.

pub mod memory;
pub mod missing;
pub mod object;
pub mod removed;
pub mod rotation;
pub mod undelete;
