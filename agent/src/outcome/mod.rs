//! How a run ends and what it says: exit codes, failures with advice, reports, progress, the terminal and the log.
//!
//! Imports nothing else of the agent.

pub mod count;
pub mod elapsed;
pub mod exit;
pub mod failpoint;
pub mod failure;
pub mod logging;
pub mod memory;
pub mod output;
pub mod phases;
pub mod program;
pub mod progress;
pub mod shell;
pub mod terminal;
