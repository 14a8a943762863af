//! The swarmdr archive format.
