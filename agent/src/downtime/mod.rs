//! Stops or freezes the engine, and brings it back: the time that a stop may take, the record of what ran before it,
//! and the failsafe that starts the engine if this process cannot.
//!
//! May import `host`, `config` and `outcome`.

pub mod bring_back;
pub mod bring_back_list;
pub mod engine_units;
pub mod failsafe;
pub mod freeze;
pub mod leftovers;
pub mod pause;
pub mod related_units;
pub mod run_note;
pub mod running_before;
pub mod stop_history;
pub mod stop_time;
