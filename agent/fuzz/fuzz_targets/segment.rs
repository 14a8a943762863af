#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmdr_agent_fuzz::swarm::fuzzing::segment(data));
