//! Single objects of a backup: exported as stack files, or brought back into a living swarm.
//!
//! May import `archive` (where objects come from), `host` (the engine that takes them), `config` and `outcome`.

pub mod export;
pub mod image;
pub mod normal;
mod references;
pub mod selection;
pub mod undelete;
