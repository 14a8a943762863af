//! Everything that others see of the agent: hooks, pings, metrics, journal entries, `status` and `doctor`.
//!
//! May import every flow, and everything that a flow may import. Only `commands` imports it.

pub mod doctor;
pub mod history;
pub mod hooks;
pub mod journald;
pub mod metrics;
pub mod ping;
pub mod runs;
mod runs_by_verb;
pub mod status;
pub mod superseded;
pub mod textfile;
pub mod verb;
pub mod watch;
