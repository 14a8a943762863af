//! Keys: the signing key, the trusted keys, the identities that decrypt archives, and the unlock key of
//! an autolocked swarm.

pub mod identities;
mod keyring;
pub mod promoter;
pub mod recipients;
pub mod rotation;
pub mod signing;
pub mod unlock_key;

pub use keyring::Keyring;
