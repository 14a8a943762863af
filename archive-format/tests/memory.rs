//! Packing and unpacking take little memory, whatever the size of the state. A binary of its own, for the peak is that of the process.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "format/state.rs"]
#[allow(dead_code, reason = "shared with the tests of the format")]
mod state;

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    ops::ControlFlow,
    time::Instant,
};

use state::{State, source_entry, test_identity, test_key};
use swarmdr_archive::{
    Limits, TrustedKeys, reader,
    writer::{self, SourceEntry, SourceFile},
};

/// Peak resident memory that both directions stay under.
const PEAK: u64 = 40 << 20;

/// Bytes that do not compress, made where they are read.
struct Noise {
    position: u64,
    size: u64,
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min((self.size - self.position) as usize) / 8 * 8;
        for word in buffer[..count].as_chunks_mut().0 {
            // splitmix64 of the position: noise that any seek finds again.
            let mut value = self.position.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *word = (value ^ (value >> 31)).to_le_bytes();
            self.position += 8;
        }
        Ok(count)
    }
}

impl Seek for Noise {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::End(offset) => self.size.strict_add_signed(offset),
            SeekFrom::Current(offset) => self.position.strict_add_signed(offset),
        };
        Ok(self.position)
    }
}

fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// `SWARMDR_TEST_MIB` says how much; the figures are printed.
#[test]
fn peak_memory_does_not_grow_with_the_state() {
    let mib: u64 = std::env::var("SWARMDR_TEST_MIB").map_or(128, |text| text.parse().unwrap());
    let size = mib << 20;
    let (state, key, identity) = (State::new(&[("swarm/", b"")]), test_key(), test_identity());
    let recipients = identity.recipients();
    let mut packing = state.packing(&recipients, &key);
    packing.entries.push(source_entry("swarm/noise", size));
    packing.entries.push(source_entry("swarm/hole", size));
    let open = |entry: &SourceEntry| {
        let data = if entry.path.as_str() == "swarm/hole" { 0..0 } else { 0..size };
        Ok(SourceFile { file: Noise { position: 0, size }, data: [data].into() })
    };
    let mut out = tempfile::tempfile().unwrap();
    let start = Instant::now();
    let sealed = writer::seal(packing, open, |_| ControlFlow::Continue(()), &mut out).unwrap();
    assert!(sealed.size > size);
    eprintln!("packed {mib} MiB of noise and as many of holes in {:.1?}, peak {} KiB", start.elapsed(), peak() >> 10);
    assert!(peak() < PEAK, "{} bytes", peak());

    out.seek(SeekFrom::Start(0)).unwrap();
    let start = Instant::now();
    reader::unpack(out, &TrustedKeys::from(key.public()), &identity, &Limits::default(), &mut ()).unwrap();
    eprintln!("unpacked in {:.1?}, peak {} KiB", start.elapsed(), peak() >> 10);
    assert!(peak() < PEAK, "{} bytes", peak());
}
