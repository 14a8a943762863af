//! Files and directories of this host: copied, mirrored, replaced as a whole, moved aside, destroyed.

pub mod copy;
pub mod discard;
pub mod key_file;
pub mod mirror;
pub mod mounts;
pub mod placement;
pub mod space;
pub mod whole_file;
