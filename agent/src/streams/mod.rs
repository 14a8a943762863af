//! Data streams: what a command writes goes into the vaults as it comes, and back to a command.
//!
//! Nothing is spooled: neither the plain bytes nor the archive touch a disk of this host. May import what `archive` may.

mod check;
mod drill;
mod expectation;
mod fan;
mod find;
mod get;
mod input;
mod list;
pub mod orders;
mod output;
mod previous;
mod produce;
mod put;
mod report;
pub mod site;
mod stopper;
mod task_output;
pub mod turn;

pub use check::check_all;
pub use drill::{StreamDrill, StreamDrills, drill};
pub use expectation::Expectation;
pub use find::find;
pub use get::get;
pub use input::Source;
pub use list::list;
pub use output::Output;
pub use put::{Ahead, Order, put};
pub use report::PutReport;
pub use task_output::Task;
