//! Specs: what users asked a swarm for, complete, in the form of the Engine API.
//!
//! Every field of swarmkit's specs is known here; what is not is reported in [`Item::unknown`] and never left out without a
//! word. The values of secrets, the content of configs and registry credentials are no part of a spec here:
//! [`read_values()`](crate::read_values) reads those that a caller names.
//!
//! Two facts of a spec are in the raft log and in no answer of the API: the subnets that were asked for (the API returns
//! those that were allocated) and the registry credentials (moby `daemon/cluster/convert`).

mod container;
mod difference;
mod item;
mod json;
mod known;
mod messages;
mod network;
mod service;
mod strict;
mod values;
mod volume;

pub(crate) use item::PREDEFINED;
pub(crate) use json::named;

pub use difference::{SpecDifference, differences};
pub use item::{Item, ValueDigest};
pub use strict::Unknown;
pub use values::Values;
