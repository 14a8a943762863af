//! Checks of what is at the end of a segment.

use std::{fs::File, io, os::unix::fs::FileExt};

use nix::{
    errno::Errno,
    unistd::{Whence, lseek},
};

/// Size of a disk sector in bytes, which is written at once; etcd's test for a torn write uses it.
const SECTOR_LEN: u64 = 512;

/// Whether some sector of a record is all zeros, as after a crash between the sectors of one write. `offset` is that of
/// the frame, eight bytes before the record.
pub(super) fn has_empty_sector(offset: u64, record: &[u8]) -> bool {
    let to_boundary = SECTOR_LEN - (offset + 8) % SECTOR_LEN;
    let (first, rest) = record.split_at(record.len().min(to_boundary as usize));
    let empty = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    empty(first) || rest.chunks(SECTOR_LEN as usize).any(empty)
}

/// Returns the offset of the first byte that is not zero at or after `offset`. Holes of a sparse file are not read.
pub(super) fn first_byte_behind(file: &File, offset: u64) -> io::Result<Option<u64>> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut chunk = vec![0; ZEROS.len()];
    let mut at = offset;
    loop {
        let Some(data) = next_data(file, at)? else {
            return Ok(None);
        };
        at = data;
        let len = file.read_at(&mut chunk, at)?;
        if len == 0 {
            return Ok(None);
        }
        // Comparing slices is much faster than comparing bytes one by one.
        if chunk[..len] != ZEROS[..len] {
            let found = chunk[..len].iter().position(|byte| *byte != 0);
            return Ok(found.map(|found| at + found as u64));
        }
        at += len as u64;
    }
}

/// Skips a hole; `None` if nothing but a hole follows. On a filesystem without holes everything is data.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    let from = i64::try_from(at).map_err(io::Error::other)?;
    match lseek(file, from, Whence::SeekData) {
        Ok(data) => Ok(Some(u64::try_from(data).unwrap_or(at))),
        Err(Errno::ENXIO) => Ok(None),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(Some(at)),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_byte_behind_a_hole_and_behind_written_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64_000_000).unwrap();
        assert_eq!(first_byte_behind(&file, 100).unwrap(), None);
        file.write_all_at(&[0; 200_000], 5_000).unwrap();
        assert_eq!(first_byte_behind(&file, 100).unwrap(), None);
        file.write_all_at(&[7], 170_001).unwrap();
        assert_eq!(first_byte_behind(&file, 100).unwrap(), Some(170_001));
        assert_eq!(first_byte_behind(&file, 170_001).unwrap(), Some(170_001));
        assert_eq!(first_byte_behind(&file, 170_002).unwrap(), None);
    }

    #[test]
    fn sectors_are_counted_from_the_start_of_the_file() {
        let mut record = vec![1; 1200];
        record[504..1016].fill(0);
        assert!(has_empty_sector(0, &record));
        assert!(!has_empty_sector(8, &record));
        record[503] = 0;
        assert!(!has_empty_sector(8, &record));
        assert!(has_empty_sector(504 - 8, &[0; 8]));
    }
}
