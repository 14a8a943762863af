//! What the writer of streams gives its sink, and what it refuses.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
};

use swarmdr_archive::{
    Error, HEAD_LIMIT,
    limits::{CHUNK_SIZE, LIST_MAX},
    stream_archive::{self, SealedStream, StreamDraft, StreamEnding, StreamWriter},
    writer::DEFAULT_LEVEL,
};

use super::{
    state::{test_identity, test_key},
    stream::{CHUNK, draft, ending, listed, noise, open, seal},
};

fn writer<S: Write>(draft: StreamDraft, sink: S) -> StreamWriter<S> {
    StreamWriter::new(draft, &test_identity().recipients(), DEFAULT_LEVEL, sink).unwrap()
}

fn finished(mut writer: StreamWriter<Vec<u8>>, plain: &[u8], room: u64) -> SealedStream<Vec<u8>> {
    writer.write_all(plain).unwrap();
    writer.finish(ending(), &test_key(), room).unwrap()
}

/// A sink that its owner can look into meanwhile.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_sink_gets_the_payload_as_it_comes() {
    let sink = Shared::default();
    let mut writer = writer(draft(), sink.clone());
    for _ in 0..8 {
        let (before, written) = (sink.0.borrow().len() as u64, writer.plain_size());
        writer.write_all(&noise(written + 1, 1 << 20)).unwrap();
        assert!(sink.0.borrow().len() as u64 > before + (1 << 19), "after {written} bytes");
    }
    assert_eq!(writer.plain_size(), 8 << 20);
    let sealed = writer.finish(ending(), &test_key(), 0).unwrap();
    assert_eq!(sealed.manifest.payload.size, sink.0.borrow().len() as u64);
    let chunks = &sealed.manifest.chunks;
    assert_eq!((chunks.size, chunks.count, chunks.list_size), (CHUNK_SIZE, 3, 96));
}

#[test]
fn an_error_of_the_sink_is_the_callers_own() {
    struct Dead;
    impl Write for Dead {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::ConnectionReset, "part 7"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = StreamWriter::new(draft(), &[], DEFAULT_LEVEL, Dead).unwrap();
    let error = writer.write_all(&noise(1, 1 << 20)).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::ConnectionReset, "part 7".to_owned()));
    let writer = StreamWriter::new(draft(), &[], DEFAULT_LEVEL, Dead).unwrap();
    let error = writer.finish(ending(), &test_key(), 0).map(drop).unwrap_err();
    assert!(matches!(error, Error::Io { action: "write", source } if source.to_string() == "part 7"));
}

/// A sink may take little at a time, as a pipe does; age itself cannot stand that.
#[test]
fn a_sink_may_take_one_byte_at_a_time() {
    #[derive(Default)]
    struct Slow(Vec<u8>);
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend(bytes.first());
            Ok(bytes.len().min(1))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (plain, mut out) = (noise(1, 20_000), Vec::new());
    let mut writer = writer(draft(), Slow::default());
    writer.write_all(&plain).unwrap();
    let sealed = writer.finish(ending(), &test_key(), 0).unwrap();
    open(&[&sealed.head[..], &sealed.sink.0, &sealed.tail].concat(), &mut out).unwrap();
    assert!(out == plain);
}

/// What was known in advance is refused in advance, not after hours.
#[test]
fn what_cannot_be_finished_is_refused_at_once() {
    let refused = |edit: fn(&mut StreamDraft)| {
        let mut draft = draft();
        edit(&mut draft);
        StreamWriter::new(draft, &[], DEFAULT_LEVEL, Vec::new()).map(drop).unwrap_err()
    };
    assert!(matches!(refused(|draft| draft.command.push("x".repeat(65536))), Error::LimitExceeded { .. }));
    assert!(matches!(
        refused(|draft| draft.id = "20260102T030406Z-00000000".parse().unwrap()),
        Error::InvalidManifest { .. }
    ));
    let begin = |recipients: usize, level, chunk| {
        let recipients = vec![test_identity().recipients().remove(0); recipients];
        StreamWriter::with_chunk_size(draft(), &recipients, level, Vec::new(), chunk).map(drop)
    };
    begin(64, 1, CHUNK).unwrap();
    assert!(matches!(begin(65, 1, CHUNK), Err(Error::LimitExceeded { limit: 64, .. })));
    assert!(matches!(begin(1, 0, CHUNK), Err(Error::InvalidInput { .. })));
    assert!(matches!(begin(1, 20, CHUNK), Err(Error::InvalidInput { .. })));
    assert!(matches!(begin(1, 1, 5000), Err(Error::InvalidManifest { .. })));
    assert!(matches!(begin(1, 1, 8 << 20), Err(Error::InvalidManifest { .. })));
}

/// A manifest that is only just admitted can be finished with the largest numbers, and is read from the first bytes.
#[test]
fn the_largest_manifest_can_be_finished_and_fits_the_head() {
    let begin = |room: usize| {
        let draft = StreamDraft { hostname: "x".repeat(room), ..draft() };
        StreamWriter::new(draft, &[], DEFAULT_LEVEL, Vec::new())
    };
    let room = (0..=65536).rev().find(|&room| begin(room).is_ok()).unwrap();
    assert!(room > 60_000);
    let ending = StreamEnding { sequence: u64::MAX, exit_status: Some(i32::MIN), ..ending() };
    let sealed = begin(room).unwrap().finish(ending, &test_key(), 0).unwrap();
    let start = &sealed.head[..sealed.head.len().min(HEAD_LIMIT as usize)];
    let head = stream_archive::read_head(start).unwrap().verify(&test_key().public().into()).unwrap();
    assert_eq!(head.manifest, sealed.manifest);
}

#[test]
fn a_head_fills_the_room_that_was_reserved_for_it() {
    let plain = noise(1, 9 << 20);
    for payload_size in [0, 1, 4 << 20, (4 << 20) + 1, 10 << 20, 1 << 40, u64::MAX] {
        let room = stream_archive::room(&draft(), &test_identity().recipients(), payload_size).unwrap();
        let sealed = finished(writer(draft(), Vec::new()), &plain, room);
        let fits = payload_size >= sealed.manifest.payload.size;
        assert!(sealed.head.len() as u64 == room || !fits, "{payload_size}: {} for {room}", sealed.head.len());
        let mut out = Vec::new();
        open(&[&sealed.head[..], &sealed.sink, &sealed.tail].concat(), &mut out).unwrap();
        assert!(out == plain);
    }
    assert!(stream_archive::room(&draft(), &[], u64::MAX).unwrap() < LIST_MAX + 8192);
    let draft = StreamDraft { hostname: "x".repeat(65536), ..draft() };
    assert!(matches!(stream_archive::room(&draft, &[], 0), Err(Error::LimitExceeded { .. })));
}

/// Too large a head is no reason to lose what took hours.
#[test]
fn a_room_that_is_too_small_is_exceeded() {
    let sealed =
        finished(StreamWriter::with_chunk_size(draft(), &[], 1, Vec::new(), CHUNK).unwrap(), &noise(1, 99_999), 512);
    assert!(sealed.head.len() > 512);
    listed(&sealed.head[..]).unwrap();
}

#[test]
fn a_clock_that_was_set_back_does_not_void_the_stream() {
    let earlier = StreamEnding { ended_at: "2025-12-31T00:00:00Z".parse().unwrap(), ..ending() };
    let sealed = writer(draft(), Vec::new()).finish(earlier, &test_key(), 0).unwrap();
    assert_eq!(sealed.manifest.ended_at, sealed.manifest.started_at);
}

#[test]
fn an_empty_stream_is_one_too() {
    for recipients in [Vec::new(), test_identity().recipients()] {
        let (archive, sealed) = seal(b"", &recipients);
        assert_eq!((sealed.manifest.payload.plain_size, sealed.manifest.chunks.count), (0, 1));
        let mut out = Vec::new();
        open(&archive, &mut out).unwrap();
        assert!(out.is_empty());
    }
}

/// What is optional may be absent.
#[test]
fn standard_input_has_no_command_and_no_exit_status() {
    let draft = StreamDraft { command: Vec::new(), node_id: None, ..draft() };
    let writer = StreamWriter::new(draft, &[], DEFAULT_LEVEL, Vec::new()).unwrap();
    let ending = StreamEnding { previous: None, exit_status: None, sequence: 1, ..ending() };
    let sealed = writer.finish(ending, &test_key(), 0).unwrap();
    let head = listed(&sealed.head[..]).unwrap().head().clone();
    assert_eq!(head.manifest, sealed.manifest);
    assert_eq!(head.manifest_digest, sealed.manifest_digest);
    assert!(head.manifest.command.is_empty() && head.manifest.exit_status.is_none() && head.manifest.node_id.is_none());
}

#[test]
fn the_same_input_gives_the_same_archive() {
    assert_eq!(seal(&noise(1, 50_000), &[]).0, seal(&noise(1, 50_000), &[]).0);
}
