//! Addresses and ports of this host, and whether other addresses can be reached.

mod addresses;
mod connected;
pub mod port;

pub use addresses::{Answer, LocalAddress, answers, ask, describe, has, has_link, local_addresses, usable};
pub use connected::connected;
pub use port::is_listening;
