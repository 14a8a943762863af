//! Test kit for tests here and in other crates, and for the fuzz targets: made-up states, and the functions to fuzz. It
//! is behind the feature `testkit`, so nothing of it is shipped.

pub mod fuzzing;
pub mod key_file;
#[allow(dead_code, reason = "the tests of this crate use all of it, the fuzz targets a part")]
pub(crate) mod states;
