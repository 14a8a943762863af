//! A stream takes little memory in both directions, whatever its length. A binary of its own, for the peak is that of the process.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "format/forge.rs"]
#[allow(dead_code, reason = "shared with the tests of the format")]
mod forge;
#[path = "format/state.rs"]
#[allow(dead_code, reason = "shared with the tests of the format")]
mod state;
#[path = "format/stream.rs"]
#[allow(dead_code, reason = "shared with the tests of the format")]
mod stream;

use std::{
    fs,
    io::{self, Seek, SeekFrom, Write},
    time::Instant,
};

use state::{test_identity, test_key};
use stream::{draft, ending, listed, noise};
use swarmdr_archive::{
    stream_archive::{self, StreamWriter},
    writer::DEFAULT_LEVEL,
};

/// Peak resident memory that both directions stay under.
const PEAK: u64 = 40 << 20;

fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// The room for the head is the largest, so that the peak is that of a stream of 1 TiB. `SWARMDR_TEST_MIB` says how much
/// is packed; the figures are printed.
#[test]
fn peak_memory_does_not_grow_with_the_stream() {
    let mib: u64 = std::env::var("SWARMDR_TEST_MIB").map_or(128, |text| text.parse().unwrap());
    let recipients = test_identity().recipients();
    let mut out = tempfile::tempfile().unwrap();
    let room = stream_archive::room(&draft(), &recipients, u64::MAX).unwrap();
    out.seek(SeekFrom::Start(room)).unwrap();
    // Longer than the window of the compression, which then finds no piece again.
    let (start, piece) = (Instant::now(), noise(1, 4 << 20));
    let mut writer = StreamWriter::new(draft(), &recipients, DEFAULT_LEVEL, out).unwrap();
    for number in 0..mib / 4 {
        writer.write_all(&number.to_le_bytes()).unwrap();
        writer.write_all(&piece[8..]).unwrap();
    }
    let sealed = writer.finish(ending(), &test_key(), room).unwrap();
    let mut out = sealed.sink;
    out.write_all(&sealed.tail).unwrap();
    out.seek(SeekFrom::Start(0)).unwrap();
    out.write_all(&sealed.head).unwrap();
    drop(sealed.head);
    assert_eq!(out.metadata().unwrap().len(), sealed.size);
    assert!(sealed.size > mib << 20, "the noise is not compressed");
    eprintln!("packed {mib} MiB of noise in {:.1?}, peak {} KiB", start.elapsed(), peak() >> 10);
    assert!(peak() < PEAK, "{} bytes", peak());

    out.seek(SeekFrom::Start(0)).unwrap();
    let start = Instant::now();
    listed(&out).unwrap().unpack(&out, &test_identity(), &mut io::sink()).unwrap();
    eprintln!("unpacked in {:.1?}, peak {} KiB", start.elapsed(), peak() >> 10);
    assert!(peak() < PEAK, "{} bytes", peak());
}
