//! Recovery points: what belongs together in time, signed and locked.
//!
//! A point is an object `points/<cluster id>/<id>.point`. It names the newest backup of the state, the newest stream of
//! each name and the newest snapshot of each other tool at one time, and what it lacks by the configuration of the host
//! that made it. It says how far apart in time its parts are; whether they fit each other only the application knows.
//!
//! [`after`] makes one once a backup or a stream is stored. [`find`] chooses one, [`list`] shows them, and [`Recovery`]
//! says how its data comes back. May import what `vaults` may.

mod draft;
mod expected;
mod external;
mod find;
mod known;
mod list;
mod make;
mod note;
mod recovery;
mod snapshot;
#[cfg(test)]
mod tests;
mod which;

pub use external::Tool;
pub use find::{Chosen, find};
pub use list::list;
pub use make::{Made, Occasion, after, due_since};
pub use note::{PointNote, reasons};
pub use recovery::{Flags, Recovery, WithRecovery};
pub use snapshot::{Order, SnapshotReport, snapshot};
pub use which::Which;
