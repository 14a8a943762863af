//! Images that the services of a swarm need: listed, checked, copied, and followed to another registry.
//!
//! May import `items` (the image in a spec), `archive` (where specs come from), `host` (the engine), `config` and
//! `outcome`.

pub mod auth;
pub mod check;
pub mod copied;
pub mod followed;
mod helper;
pub mod leader;
pub mod line;
pub mod logins;
pub mod memory;
pub mod mirror;
pub mod need;
mod platforms;
mod registries;
pub mod renew;
pub mod report;
