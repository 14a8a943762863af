#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| swarmdr_archive_fuzz::stream(data));
