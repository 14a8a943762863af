//! systemd and logind, over D-Bus.

mod bus;
pub mod inhibitor;
mod interfaces;
mod jobs;
mod relations;

pub use bus::{Freezable, Systemd, UnitState};
pub use interfaces::Setting;
pub use jobs::JobType;
pub use relations::Stopping;
