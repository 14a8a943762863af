//! The engine that runs on this host, through its API and its files. Returns types of its own: `bollard` stays inside.

mod client;
pub mod config_file;
pub mod containers;
pub mod exec;
pub mod exec_input;
mod init;
pub mod join;
pub mod list_call;
pub mod listing;
pub mod log_lock;
pub mod membership;
mod node_objects;
pub mod objects;
pub mod process;
mod raw_call;
mod specs;
pub mod swarm_events;
mod swarm_label;
pub mod swarm_spec;
pub mod unlock;
pub mod version;
pub mod view;

pub use client::{Engine, EngineFacts, LocalSwarm, SwarmState};
pub use init::InitRequest;
pub use raw_call::Refusal;
