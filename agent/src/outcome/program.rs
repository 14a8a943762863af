//! The program's own name.

/// Name of the program in its messages, in man pages and on disk.
pub const PROGRAM: &str = "swarmdr-agent";
