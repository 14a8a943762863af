//! This machine, one file per interface. Parsers are apart from calls.

pub mod copy;
pub mod engine;
pub mod engine_units;
pub mod failsafe;
pub mod freeze;
pub mod inhibitor;
pub mod joining;
pub mod key_file;
pub mod leftovers;
pub mod link;
pub mod listing;
pub mod mirror;
pub mod mounts;
pub mod network;
pub mod placement;
pub mod port;
pub mod quiesce;
mod raw_call;
pub mod second_engine;
pub mod space;
pub mod systemd;
pub mod unlock;
pub mod view;
