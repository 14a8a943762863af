#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmdr_agent::swarm::fuzzing::files_in_clear(data));
