#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarm_state::testkit::fuzzing::files_in_clear(data));
