//! For tests, here and in other crates: a vault in memory, an injector of failures, archives to store, and the suite
//! that every vault passes. Behind the feature `testkit`, which is not part of what is shipped.

pub mod archives;
pub mod conformance;
pub mod injector;
pub mod memory;
