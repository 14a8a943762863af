//! A second site: the spare host that keeps the newest backup ready, its promotion, and the way back.
//!
//! The top layer below `commands`. May import everything else.

mod form;
pub mod keep;
pub mod promote;
mod replicas;
mod report;
mod running;
mod seal;
mod step_down;

pub use keep::{Standby, Step};
pub use report::StandbyReport;
pub use step_down::{Dead, StepDown};
