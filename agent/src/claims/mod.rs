//! Claims: which site has a swarm, told in the vaults that all sites share.
//!
//! A claim is a signed, locked object `claims/<cluster id>/<epoch>.claim`: from its epoch on the swarm belongs to the
//! site that it names. It is a fact, not a lease: nobody renews it, and nobody stops because a vault cannot be read.
//! It counts if a promoter signed it and it names the place that it was found at.
//!
//! Of several claims that follow the same one, the vault's clock decides: the first that it got holds, the others are
//! void ([`judge`]). So at most one site wins, whatever the server does with the condition of a put.
//!
//! This layer reads and makes claims; it knows nothing of how a swarm is restored. It may use `vaults` and what is below.

mod copies;
mod document;
mod held;
mod id;
mod judge;
pub mod label;
pub mod left;
pub mod life;
mod made;
mod make;
mod memory;
mod name;
mod origin;
mod own;
mod reading;
mod record;
mod release;
mod site;
pub mod standing;
mod superseded;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub use document::{Claim, Fenced, PromotedFrom, Release, ReleaseKind, Verb};
pub use held::{age, foremost, holders, is_fresh, owners};
pub use id::ClaimId;
pub use judge::{Ended, Entry, Status, judge, newest, owner};
pub use made::{Carried, Demand, Draft, Made, Outcome, Terms};
pub use make::make;
pub use memory::Memory;
pub use name::Name;
pub use origin::Origin;
use reading::read_all_within;
pub use reading::{Query, Reading, Seen, SeenRelease, clusters, read, read_all};
pub use record::{Record, Stage};
pub use release::{lacking, release};
pub use site::site;
pub use standing::Judged;
pub use superseded::Superseded;

use std::time::Duration;

use jiff::SignedDuration;

/// Age until which another site's claim stops everybody else: its host may be restoring at this moment.
pub const FRESH: SignedDuration = SignedDuration::from_mins(15);

/// Age until which a run goes on with the claim that an earlier run of this host made. Well below [`FRESH`], so that
/// nobody else can have taken the swarm over meanwhile.
const REUSE: SignedDuration = SignedDuration::from_mins(5);

/// Time limit for reading the claims of one vault.
const READ_LIMIT: Duration = Duration::from_secs(60);
