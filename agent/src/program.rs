//! The program's own name.

/// What the program is called, in its messages, in man pages and on the disk.
pub const PROGRAM: &str = "swarmdr-agent";
