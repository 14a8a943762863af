//! Frames of a log segment. Each is eight bytes of length, a record, and padding to a multiple of eight.

use std::io::{self, Read};

/// Maximum size of a record in bytes. Larger ones are refused before memory is allocated. A transaction of swarm has at
/// most 1.5 MiB; etcd itself refused more than 10 MiB for years.
pub(super) const RECORD_MAX: usize = 16 * 1024 * 1024;

pub(super) const HEAD_LEN: u64 = 8;

/// Result of [`Frames::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A record; it is in the buffer, without its padding.
    Record,
    /// A length of zero: the preallocated space begins here.
    Zeros,
    /// The end of the file.
    End,
}

/// Reason why there is no frame.
#[derive(Debug)]
pub(super) enum Bad {
    Read(io::Error),
    /// The file ends within the frame.
    CutOff(String),
    Corrupt(String),
    TooLong(String),
}

/// Reads frames from the start of a segment of known length.
pub(super) struct Frames<R> {
    input: R,
    offset: u64,
    len: u64,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(input: R, len: u64) -> Self {
        Self { input, offset: 0, len }
    }

    /// Returns the offset of the next frame.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn input(&self) -> &R {
        &self.input
    }

    /// Reads the next frame into `buffer`, which is overwritten. The offset advances only if a record is returned.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Frame, Bad> {
        let left = self.len - self.offset;
        if left == 0 {
            return Ok(Frame::End);
        }
        if left < HEAD_LEN {
            return Err(Bad::CutOff(format!("the file ends {left} bytes into a length")));
        }
        let mut head = [0; HEAD_LEN as usize];
        self.input.read_exact(&mut head).map_err(Bad::Read)?;
        let head = u64::from_le_bytes(head);
        if head == 0 {
            return Ok(Frame::Zeros);
        }
        let record_len = record_len(head)?;
        let padded_len = record_len.next_multiple_of(8);
        if padded_len as u64 > left - HEAD_LEN {
            // etcd 3.5.0 to 3.5.15 cannot repair this; its other releases truncate the log before
            // the record (`wal/decoder.go`).
            let why = format!(
                "a record of {record_len} bytes reaches beyond the end of the file, and engines 23 to 27 do not start with that"
            );
            return Err(Bad::CutOff(why));
        }
        if record_len > RECORD_MAX {
            let why = format!("a record of {record_len} bytes; the limit is {RECORD_MAX}");
            return Err(Bad::TooLong(why));
        }
        buffer.resize(padded_len, 0);
        self.input.read_exact(buffer).map_err(Bad::Read)?;
        if buffer[record_len..].iter().any(|byte| *byte != 0) {
            return Err(Bad::Corrupt("the padding behind the record is not zero".to_owned()));
        }
        buffer.truncate(record_len);
        self.offset += HEAD_LEN + padded_len as u64;
        Ok(Frame::Record)
    }
}

/// Encodes a record as a frame that [`Frames::next`] reads.
pub(super) fn encode(record: &[u8]) -> Vec<u8> {
    let mut frame = head(record.len() as u64).to_le_bytes().to_vec();
    frame.extend(record);
    frame.resize(frame.len().next_multiple_of(8), 0);
    frame
}

/// Returns the length field of a frame: the length in the low 56 bits. The top byte repeats the padding, and is zero if
/// there is none.
fn head(len: u64) -> u64 {
    match len.next_multiple_of(8) - len {
        0 => len,
        padding => len | (0x80 | padding) << 56,
    }
}

fn record_len(found: u64) -> Result<usize, Bad> {
    let len = found & ((1 << 56) - 1);
    if found != head(len) {
        return Err(Bad::Corrupt(format!("{found:#018x} is no length that the engine writes")));
    }
    usize::try_from(len).map_err(|_| Bad::TooLong(format!("a record of {len} bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8]) -> (Vec<Vec<u8>>, String) {
        let mut frames = Frames::new(bytes, bytes.len() as u64);
        let (mut records, mut buffer) = (Vec::new(), Vec::new());
        loop {
            match frames.next(&mut buffer) {
                Ok(Frame::Record) => records.push(buffer.clone()),
                Ok(end) => return (records, format!("{end:?} at {}", frames.offset())),
                Err(bad) => return (records, format!("{bad:?} at {}", frames.offset())),
            }
        }
    }

    #[test]
    fn frames_end_at_zeros_and_at_the_end_of_the_file() {
        let record: &[u8] = &[4, 0, 0, 0, 0, 0, 0, 0x84, 8, 4, 16, 0, 0, 0, 0, 0];
        assert_eq!(frames(record), (vec![vec![8, 4, 16, 0]], "End at 16".to_owned()));
        let zeros = [record, &[0; 24]].concat();
        assert_eq!(frames(&zeros), (vec![vec![8, 4, 16, 0]], "Zeros at 16".to_owned()));
    }

    #[test]
    fn no_other_length_or_padding_is_taken() {
        let cases: [(&[u8], &str); 6] = [
            (&[4, 0, 0, 0, 0, 0, 0, 0, 8, 4, 16, 0, 0, 0, 0, 0], "is no length"),
            (&[4, 0, 0, 0, 0, 0, 0, 0x83, 8, 4, 16, 0, 0, 0, 0, 0], "is no length"),
            (&[4, 0, 0, 0, 0, 0, 0, 0xc4, 8, 4, 16, 0, 0, 0, 0, 0], "is no length"),
            (&[4, 0, 0, 0, 0, 0, 0, 0x84, 8, 4, 16, 0, 0, 1, 0, 0], "padding"),
            (&[4, 0, 0, 0, 0, 0, 0, 0x84, 8, 4, 16, 0, 0, 0, 0], "beyond the end of the file"),
            (&[4, 0, 0, 0], "4 bytes into a length"),
        ];
        for (bytes, expected) in cases {
            let (records, end) = frames(bytes);
            assert!(records.is_empty() && end.contains(expected), "{bytes:02x?}: {end}");
        }
    }

    #[test]
    fn a_record_beyond_the_limit_is_refused_before_memory_is_taken() {
        let head = (RECORD_MAX as u64 + 8).to_le_bytes();
        let mut frames = Frames::new(&head[..], u64::MAX);
        let mut buffer = Vec::new();
        assert!(matches!(frames.next(&mut buffer), Err(Bad::TooLong(_))));
        assert_eq!(buffer.capacity(), 0);
    }
}
