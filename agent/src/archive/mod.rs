//! One archive, from its place in a vault or a file to its contents: find, fetch, verify, unpack, stage, examine.
//!
//! May import `points`, `vaults`, `removals`, `keys`, `host`, `config` and `outcome`.

pub mod blame;
pub mod fetched;
pub mod inspection;
pub mod kept;
mod of_point;
pub mod open_state;
pub mod operand;
pub mod owner;
pub mod proof;
pub mod removals;
pub mod scratch;
pub mod source;
pub mod specs;
pub mod stage;
pub mod verification;
