//! Tests of the whole format, through the public interface only.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

mod format {
    mod by_hand;
    mod forge;
    mod golden;
    mod mutations;
    mod properties;
    mod refused;
    mod state;
    mod stream;
    mod stream_by_hand;
    mod stream_golden;
    mod stream_release;
    mod stream_vectors;
    mod stream_writing;
    mod vectors;
    mod writing;
}
