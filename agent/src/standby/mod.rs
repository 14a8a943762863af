//! A second site: the spare host that keeps the newest backup ready, its promotion, and the way back.
//!
//! The top layer below `commands`. May import everything else.

mod form;
pub mod keep;
mod report;
mod seal;

pub use keep::{Standby, Step};
pub use report::StandbyReport;
