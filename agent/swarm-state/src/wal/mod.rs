//! The raft log: etcd's write-ahead log, whose entries swarmkit encrypts one by one.
//!
//! A log is a series of segments named `<number>-<first index>.wal`. A segment contains frames, and a frame contains a
//! record. The checksum of a record covers its data and the data of all records before it, in earlier segments too.

mod frame;
mod mark;
mod record;
mod tail;

use std::{fs::File, io::BufReader};

use frame::{Bad, Frame, Frames};
pub(crate) use record::{Entry, EntryKind, HardState, Record, SnapshotMark};
use record::{Kind, RawRecord};

use super::{
    Damage, DamageKind, Error,
    state_dir::{StateDir, WAL_DIR},
};

/// Position of the start of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Index among the segments that are read, from 0.
    pub(crate) segment: usize,
    pub(crate) offset: u64,
}

/// End of a log, after its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: Position,
    /// Checksum of all records.
    checksum: u32,
}

impl End {
    /// Returns the frame of a state record that continues the log here.
    pub(crate) fn frame(self, state: HardState) -> Vec<u8> {
        mark::state_record(state, self.checksum)
    }
}

/// One file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Path below the state directory.
    pub(crate) file: String,
    number: u64,
    first_index: u64,
}

/// Reads the records of a series of segments in order, and checks frames and checksums.
pub(crate) struct Reader<'d> {
    dir: &'d StateDir,
    segments: &'d [Segment],
    /// Index of the segment being read; one past the last at the end.
    at: usize,
    frames: Option<Frames<BufReader<File>>>,
    /// Number of records read from this segment so far.
    count: u64,
    checksum: u32,
    /// Position after the last record of the segment that was finished last.
    end: Option<Position>,
    /// Whether the last segment ends directly after its last record.
    is_short: bool,
    /// Size of all records so far in bytes.
    bytes: u64,
    buffer: Vec<u8>,
}

/// Returns the segments that an engine reads when it starts from a snapshot at `index` (0 without a snapshot): the last
/// one that begins at or before it, and all after it, whose numbers must have no gap.
pub(crate) fn segments(dir: &StateDir, index: u64) -> Result<Vec<Segment>, Error> {
    let names = dir.names(WAL_DIR)?;
    pick(names.iter().filter_map(|name| Segment::parse(name)).collect(), index).map_err(Error::from)
}

fn pick(mut all: Vec<Segment>, index: u64) -> Result<Vec<Segment>, Damage> {
    let Some(start) = all.iter().rposition(|segment| segment.first_index <= index) else {
        let why = format!("no segment of the log begins at or before index {index}");
        return Err(Damage::incomplete(WAL_DIR, 0, why));
    };
    let picked = all.split_off(start);
    for pair in picked.windows(2) {
        if pair[0].number.checked_add(1) != Some(pair[1].number) {
            let why = format!("segments between this one and {} are missing", pair[1].file);
            return Err(Damage::incomplete(&pair[0].file, 0, why));
        }
    }
    Ok(picked)
}

impl Segment {
    /// Parses a file name; `None` if it is not that of a segment, such as `0.tmp` and `*.wal.broken`.
    fn parse(name: &str) -> Option<Self> {
        let (number, first_index) = super::hex_pair(name, ".wal")?;
        Some(Self { file: format!("{WAL_DIR}/{name}"), number, first_index })
    }
}

impl<'d> Reader<'d> {
    pub(crate) fn new(dir: &'d StateDir, segments: &'d [Segment]) -> Self {
        let buffer = Vec::new();
        Self { dir, segments, at: 0, frames: None, count: 0, checksum: 0, end: None, is_short: false, bytes: 0, buffer }
    }

    /// Returns the size of all records read so far in bytes, without frames and padding.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the end of a log without the zeros that an engine preallocates; `None` if they are there. Such a log was
    /// truncated there by hand, or by an engine that repaired it. In both cases an engine takes this for the end of the
    /// log and continues from there.
    pub(crate) fn end_without_preallocation(&self) -> Option<(&str, u64)> {
        let end = self.end().filter(|_| self.is_short)?;
        Some((&self.segments[end.at.segment].file, end.at.offset))
    }

    /// Returns the end of the log, as soon as [`Reader::next`] has returned `None`.
    pub(crate) fn end(&self) -> Option<End> {
        let whole = self.at == self.segments.len();
        self.end.filter(|_| whole).map(|at| End { at, checksum: self.checksum })
    }

    /// Returns the next record; `None` after the last one. After an error nothing more can be read.
    pub(crate) fn next(&mut self) -> Result<Option<(Position, Record<'_>)>, Error> {
        loop {
            let Some((position, kind, data)) = self.next_raw()? else {
                return Ok(None);
            };
            if kind != Kind::Checksum {
                let file = &self.segments[position.segment].file;
                let record = Record::parse(kind, &self.buffer[data]).map_err(|bad| {
                    let why = format!("a {kind} record does not parse: {}", bad.why);
                    Damage::corrupt(file, position.offset, why)
                })?;
                return Ok(Some((position, record)));
            }
        }
    }

    /// Reads one record and checks everything that does not depend on its meaning.
    fn next_raw(&mut self) -> Result<Option<(Position, Kind, std::ops::Range<usize>)>, Error> {
        while let Some(segment) = self.segments.get(self.at) {
            let frames = match &mut self.frames {
                Some(frames) => frames,
                none => none.insert(open(self.dir, segment)?),
            };
            let position = Position { segment: self.at, offset: frames.offset() };
            match frames.next(&mut self.buffer) {
                Ok(Frame::Record) => {
                    let raw = self.check_record(position)?;
                    return Ok(Some((position, raw.kind, raw.data)));
                }
                Ok(end) => {
                    self.check_end(position, end)?;
                    self.end = Some(position);
                    (self.frames, self.count, self.at) = (None, 0, self.at + 1);
                }
                Err(bad) => return Err(self.bad_frame(position, bad)),
            }
        }
        Ok(None)
    }

    fn check_record(&mut self, position: Position) -> Result<RawRecord, Damage> {
        let raw = RawRecord::parse(&self.buffer)
            .map_err(|bad| self.bad_record(position, format!("not a record of the log: {}", bad.why)))?;
        let expected = match self.count {
            0 => Some(Kind::Checksum),
            1 => Some(Kind::Metadata),
            _ => None,
        };
        if expected.is_some_and(|expected| expected != raw.kind) {
            let why = format!("record {} of a segment is a {} record", self.count + 1, raw.kind);
            return Err(self.bad_record(position, why));
        }
        if raw.kind == Kind::Checksum {
            // The first segment that is read contains the checksum of those before it, which are not read.
            let continues_unread = position.segment == 0 && self.segments[0].number > 0;
            if !(self.count == 0 && continues_unread) && raw.checksum != self.checksum {
                return Err(self.broken_chain(position));
            }
            self.checksum = raw.checksum;
        } else {
            self.checksum = crc32c::crc32c_append(self.checksum, &self.buffer[raw.data.clone()]);
            if raw.checksum != self.checksum {
                return Err(self.bad_record(position, "the checksum of the record does not fit"));
            }
        }
        self.count += 1;
        self.bytes += self.buffer.len() as u64;
        Ok(raw)
    }

    /// Returns the damage for the record in the buffer: torn if a sector of the last segment is
    /// empty, otherwise corrupt.
    fn bad_record(&self, position: Position, why: impl Into<String>) -> Damage {
        let torn = self.is_last(position) && tail::has_empty_sector(position.offset, &self.buffer);
        let kind = if torn { DamageKind::TornTail } else { DamageKind::Corrupt };
        Damage::new(kind, &self.segments[position.segment].file, position.offset, why)
    }

    /// Returns the damage for missing records: the segment continues from a checksum that the one before
    /// does not reach.
    fn broken_chain(&self, position: Position) -> Damage {
        let file = &self.segments[position.segment].file;
        match position.segment.checked_sub(1) {
            Some(before) if self.count == 0 => {
                let before = &self.segments[before].file;
                let why = format!("does not continue {before}: the end of that one is missing");
                Damage::incomplete(file, position.offset, why)
            }
            _ => Damage::corrupt(file, position.offset, "the checksum chain is broken"),
        }
    }

    /// Checks what is after the last record of a segment.
    fn check_end(&mut self, position: Position, end: Frame) -> Result<(), Error> {
        let file = &self.segments[position.segment].file;
        if self.count < 2 {
            let why = "the segment ends before its first records";
            return Err(Damage::incomplete(file, position.offset, why).into());
        }
        if !self.is_last(position) {
            // If records are missing here, the checksum at the start of the next segment reveals it.
            return Ok(());
        }
        let frames = self.frames.as_ref().expect("the end of a segment is seen while it is open");
        match end {
            Frame::Zeros => {
                let at = tail::first_byte_behind(frames.input().get_ref(), position.offset)
                    .map_err(Error::read(self.dir.root().join(file)))?;
                let Some(at) = at else { return Ok(()) };
                // These bytes were zeros when the frame was read: an engine is writing, and this was the end
                // a moment ago.
                if at < position.offset + frame::HEAD_LEN {
                    return Ok(());
                }
                let why = format!(
                    "zeros end the log here, but data follows at byte {at}: a hole of zeros hides records, \
                     or a crash left an unfinished write"
                );
                Err(Damage::new(DamageKind::TornTail, file, position.offset, why).into())
            }
            _ => {
                self.is_short = true;
                Ok(())
            }
        }
    }

    fn bad_frame(&self, position: Position, bad: Bad) -> Error {
        let file = &self.segments[position.segment].file;
        let damage = |kind, why| Damage::new(kind, file, position.offset, why).into();
        match bad {
            Bad::Read(source) => Error::read(self.dir.root().join(file))(source),
            Bad::CutOff(why) if self.is_last(position) => damage(DamageKind::TornTail, why),
            Bad::CutOff(why) | Bad::Corrupt(why) => damage(DamageKind::Corrupt, why),
            Bad::TooLong(why) => damage(DamageKind::BeyondLimit, why),
        }
    }

    fn is_last(&self, position: Position) -> bool {
        position.segment + 1 == self.segments.len()
    }
}

fn open(dir: &StateDir, segment: &Segment) -> Result<Frames<BufReader<File>>, Error> {
    let path = dir.root().join(&segment.file);
    let gone = || Damage::incomplete(&segment.file, 0, "the segment went away while the log was read");
    let file = dir.open_file(&segment.file)?.ok_or_else(gone)?;
    let len = file.metadata().map_err(Error::read(path))?.len();
    Ok(Frames::new(BufReader::with_capacity(READ_AHEAD, file), len))
}

/// Size of the read buffer in bytes: large enough that system calls cost nothing compared to the checksum.
const READ_AHEAD: usize = 256 * 1024;

/// Reads a segment without checking checksums. Returns the number of records in it.
#[cfg(any(test, feature = "testkit"))]
pub(crate) fn fuzz(data: &[u8]) -> usize {
    let mut frames = Frames::new(data, data.len() as u64);
    let (mut buffer, mut count) = (Vec::new(), 0);
    while let Ok(Frame::Record) = frames.next(&mut buffer) {
        let Ok(raw) = RawRecord::parse(&buffer) else { break };
        count += usize::from(Record::parse(raw.kind, &buffer[raw.data]).is_ok());
        tail::has_empty_sector(frames.offset(), &buffer);
    }
    count
}
