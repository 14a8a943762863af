//! Images that the services of a swarm need: listed, checked, copied, and followed to another registry.
//!
//! May import `items` (the image in a spec), `archive` (where specs come from), `host` (the engine), `config` and
//! `outcome`.

pub mod helper;
pub mod logins;
pub mod need;
pub mod platforms;
