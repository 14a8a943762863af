//! The sizes of the parts of a stream whose length is not known.

use crate::{PartLimits, Vault, VaultError};

const MIB: u64 = 1 << 20;

/// Parts that are in memory at the least, in units of a part: the first one, held back until the end, and, once parts
/// have twice the size, the one that fills and one on its way.
const FEWEST_IN_MEMORY: u64 = 5;

/// How a stream is cut and how much of it is in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSizes {
    /// Size of a part if the expected size does not ask for a larger one; at most a fifth of `memory`.
    pub part: u64,
    /// The most parts that are on their way at once.
    pub parallel: usize,
    /// The most bytes of the payload that are in memory: the part that is held back, the one that fills, and those on
    /// their way. If parts are large, fewer are on their way. The head, the tail, and a queue of a megabyte come on top.
    pub memory: u64,
}

impl Default for StreamSizes {
    fn default() -> Self {
        Self { part: 64 * MIB, parallel: 3, memory: 512 * MIB }
    }
}

/// The plan of one stream: parts of equal size, and of twice that size in the second half of their numbers.
///
/// A stream that is as long as expected has equal parts only. Twice the size is the last resort for one that is longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    part: u64,
    parallel: usize,
    memory: u64,
    most: u32,
}

impl Plan {
    /// Chooses the size of the parts. Fails if a stream of the expected size does not fit.
    pub fn new(vault: &dyn Vault, key: &str, sizes: StreamSizes, expect: Option<u64>) -> Result<Self, VaultError> {
        let limits @ PartLimits { smallest, largest, most } = vault.part_limits();
        let wanted = sizes.part.max(smallest).max(part_for(expect.unwrap_or(0), limits));
        let part = wanted.min(sizes.memory / FEWEST_IN_MEMORY).min(largest / 2);
        let plan = Self { part, parallel: sizes.parallel.max(1), memory: sizes.memory, most };
        if part < smallest.max(1) {
            return Err(plan.too_small(vault, format!("store a stream as `{key}`"), smallest.max(1)));
        }
        match expect {
            Some(size) if size > plan.room() => {
                let needed = size.div_ceil(u64::from(most) + u64::from(most / 2)).next_multiple_of(MIB);
                Err(plan.too_small(vault, format!("store a stream of {size} bytes as `{key}`"), needed))
            }
            _ => Ok(plan),
        }
    }

    /// Returns the size of a part; `None` if the vault takes no such part.
    pub fn size_of(&self, number: u32) -> Option<u64> {
        let factor = if number <= self.most / 2 { 1 } else { 2 };
        (number <= self.most).then_some(self.part * factor)
    }

    /// Whether a part may be on its way beside others, while the next one fills.
    pub fn has_room(&self, on_their_way: (usize, u64), part: u64, next: u64) -> bool {
        let (count, bytes) = on_their_way;
        count == 0 || (count < self.parallel && self.part + bytes + part + next <= self.memory)
    }

    /// The error of a stream that is longer than all parts together.
    pub fn too_long(&self, vault: &dyn Vault, key: &str) -> VaultError {
        self.too_small(vault, format!("store all of a stream as `{key}`"), self.part * 2)
    }

    /// Bytes that all parts together hold.
    fn room(&self) -> u64 {
        let single = u64::from(self.most / 2);
        self.part.saturating_mul(single + 2 * (u64::from(self.most) - single))
    }

    fn too_small(&self, vault: &dyn Vault, action: String, part: u64) -> VaultError {
        let Self { most, memory, .. } = *self;
        VaultError::Unusable {
            vault: vault.address().into(),
            action,
            detail: format!(
                "{most} parts, made with {memory} bytes of memory, hold no more than {} bytes",
                self.room()
            ),
            advice: format!(
                "say how large the stream will be, and allow at least {} bytes of memory for streams",
                part.saturating_mul(FEWEST_IN_MEMORY)
            ),
        }
    }
}

/// Returns the smallest size of which half of the parts hold the expected bytes, in whole mebibytes.
fn part_for(expect: u64, limits: PartLimits) -> u64 {
    match expect.div_ceil(u64::from(limits.most / 2).max(1)) {
        small if small < MIB => small,
        large => large.next_multiple_of(MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::memory::MemoryVault;

    const GIB: u64 = 1 << 30;
    const S3: PartLimits = PartLimits { smallest: 5 * MIB, largest: 5 * GIB, most: 10_000 };

    fn plan(sizes: StreamSizes, expect: Option<u64>) -> Result<Plan, VaultError> {
        Plan::new(&MemoryVault::new("v", None).with_part_limits(S3), "k", sizes, expect)
    }

    #[test]
    fn parts_are_64_mib_unless_more_is_expected_and_double_only_in_the_second_half() {
        let sizes = StreamSizes::default();
        for (expect, part) in [(None, 64), (Some(1), 64), (Some(300 * GIB), 64), (Some(400 * GIB), 82)] {
            let plan = plan(sizes, expect).unwrap();
            assert_eq!(plan.size_of(1), Some(part * MIB), "{expect:?}");
            assert_eq!(plan.size_of(5_000), Some(part * MIB));
            assert_eq!(plan.size_of(5_001), Some(2 * part * MIB));
            assert_eq!(plan.size_of(10_000), Some(2 * part * MIB));
            assert_eq!(plan.size_of(10_001), None);
        }
    }

    #[test]
    fn memory_bounds_the_parts_and_their_number() {
        let plan = plan(StreamSizes::default(), Some(1 << 40)).unwrap();
        let part = plan.size_of(1).unwrap();
        assert_eq!(part, 512 * MIB / 5);
        for (next, on_their_way) in [(part, 3), (2 * part, 1)] {
            let fit = (0..10).take_while(|&n| plan.has_room((n, n as u64 * next), next, next)).count();
            assert_eq!(fit, on_their_way);
            assert!(part + next + fit as u64 * next <= 512 * MIB);
        }
    }

    #[test]
    fn a_stream_that_cannot_fit_is_refused_before_it_begins() {
        let error = plan(StreamSizes::default(), Some(2 << 40)).unwrap_err().to_string();
        assert!(error.contains("store a stream of 2199023255552 bytes as `k`"), "{error}");
        let needed: u64 = error.rsplit("at least ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
        plan(StreamSizes { memory: needed, ..StreamSizes::default() }, Some(2 << 40)).unwrap();
        let error = plan(StreamSizes { memory: 24 * MIB, ..StreamSizes::default() }, None).unwrap_err();
        assert!(error.to_string().contains("at least 26214400 bytes of memory"), "{error}");
    }
}
