//! Extents of the data in a sparse file. Everything between them is holes: zeros that take no space.

use std::ops::Range;

use crate::error::{Error, Result};

/// Alignment of the start of every extent in bytes: a page and a filesystem block. GNU tar needs only 512.
pub(crate) const GRAIN: u64 = 4096;

/// Minimum length of a hole in bytes. Shorter runs of zeros are kept as data, so the map of a file depends on
/// its content alone.
pub(crate) const MIN_HOLE: u64 = 64 * 1024;

/// Data ranges of one file: ascending, not adjacent, not empty, and within the size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extents {
    size: u64,
    data: Vec<Range<u64>>,
}

impl Extents {
    /// Returns the extents of a file without holes.
    pub(crate) fn whole(size: u64) -> Self {
        let data = Some(0..size).filter(|range| !range.is_empty());
        Self { size, data: data.into_iter().collect() }
    }

    /// Returns the data ranges in bytes, ascending.
    pub fn data(&self) -> &[Range<u64>] {
        &self.data
    }

    /// Whether there is any hole.
    pub fn is_sparse(&self) -> bool {
        self.stored() != self.size
    }

    /// Returns the number of bytes that are not in holes.
    pub(crate) fn stored(&self) -> u64 {
        self.data.iter().map(|range| range.end - range.start).sum()
    }

    /// Returns the pairs of the GNU sparse map: offset and length. A last pair of length 0 marks a hole at the end.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        let end = self.data.last().map_or(0, |range| range.end);
        let hole_at_end = (end < self.size).then_some((self.size, 0));
        let data = self.data.iter().map(|range| (range.start, range.end - range.start));
        data.chain(hole_at_end)
    }

    /// Makes extents from a GNU sparse map; `None` if [`Extents::pairs`] could not have written it.
    pub(crate) fn from_pairs(size: u64, pairs: &[(u64, u64)]) -> Option<Self> {
        let mut extents = Self { size, data: Vec::new() };
        let mut end = 0;
        for &(offset, length) in pairs {
            let next = offset.checked_add(length)?;
            if length == 0 {
                break;
            }
            let aligned = offset % GRAIN == 0 && (next % GRAIN == 0 || next == size);
            let apart = offset > end || (offset == 0 && extents.data.is_empty());
            if !aligned || !apart || next > size {
                return None;
            }
            extents.data.push(offset..next);
            end = next;
        }
        extents.pairs().eq(pairs.iter().copied()).then_some(extents)
    }
}

/// Collects data ranges in ascending order and removes holes that are too short.
#[derive(Debug)]
pub(crate) struct ExtentsBuilder {
    extents: Extents,
    limit: u64,
}

impl ExtentsBuilder {
    pub(crate) fn new(size: u64, limit: u64) -> Self {
        let extents = Extents { size, data: Vec::new() };
        Self { extents, limit }
    }

    /// Adds data that starts at or after the end of the range added before.
    pub(crate) fn push(&mut self, range: Range<u64>) -> Result<()> {
        let data = &mut self.extents.data;
        match data.last_mut() {
            Some(last) if range.start - last.end < MIN_HOLE => last.end = range.end,
            None if range.start < MIN_HOLE => data.push(0..range.end),
            _ => data.push(range),
        }
        if data.len() as u64 > self.limit {
            return Err(Error::limit("the number of data extents of a file", self.limit));
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Extents {
        let size = self.extents.size;
        match self.extents.data.last_mut() {
            Some(last) if size - last.end < MIN_HOLE => last.end = size,
            None if size < MIN_HOLE => return Extents::whole(size),
            _ => {}
        }
        self.extents
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, some with one")]
mod tests {
    use super::*;

    const K64: u64 = MIN_HOLE;

    fn build(size: u64, ranges: &[Range<u64>]) -> Extents {
        let mut builder = ExtentsBuilder::new(size, 100);
        ranges.iter().for_each(|range| builder.push(range.clone()).unwrap());
        builder.finish()
    }

    #[test]
    fn short_holes_become_data() {
        for (size, ranges, data) in [
            (0, vec![], vec![]),
            (10, vec![], vec![0..10]),
            (K64, vec![], vec![]),
            (K64 - 1, vec![], vec![0..K64 - 1]),
            (3 * K64, vec![4096..8192], vec![0..8192]),
            (3 * K64, vec![K64..K64 + 4096], vec![K64..K64 + 4096]),
            (3 * K64, vec![2 * K64..2 * K64 + 4096], vec![2 * K64..3 * K64]),
            (4 * K64, vec![0..4096, K64..K64 + 4096], vec![0..K64 + 4096]),
        ] {
            let extents = build(size, &ranges);
            assert_eq!(extents.data(), data, "{size} {ranges:?}");
            let pairs: Vec<_> = extents.pairs().collect();
            assert_eq!(Extents::from_pairs(size, &pairs).unwrap(), extents);
        }
    }

    #[test]
    fn maps_that_no_writer_makes_are_refused() {
        for (size, pairs) in [
            (K64, vec![]),
            (K64, vec![(K64, 0), (K64, 0)]),
            (K64, vec![(0, 0)]),
            (K64, vec![(0, 4096)]),
            (K64, vec![(0, K64 + 4096)]),
            (K64, vec![(512, 4096), (K64, 0)]),
            (K64, vec![(0, 512), (K64, 0)]),
            (K64, vec![(0, 4096), (4096, 4096), (K64, 0)]),
            (K64, vec![(8192, 4096), (0, 4096), (K64, 0)]),
            (K64, vec![(u64::MAX - 4095, 4096)]),
        ] {
            assert_eq!(Extents::from_pairs(size, &pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn too_many_extents_are_refused() {
        let mut builder = ExtentsBuilder::new(u64::MAX, 1);
        builder.push(0..4096).unwrap();
        assert!(builder.push(4 * K64..4 * K64 + 4096).is_err());
    }
}
