//! What the size of a stream should be.

use crate::config::stream::StreamConfig;

/// Sizes of a stream that are told: it is stored anyway, since a small dump is better than none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expectation {
    /// The least number of bytes; without it, one at the least.
    pub min_size: Option<u64>,
    /// Percentage of the size of the stream before, by which this one may be smaller.
    pub max_shrink: Option<u8>,
}

impl Expectation {
    pub fn of(stream: &StreamConfig) -> Self {
        Self {
            min_size: stream.min_size.map(|size| size.as_u64()),
            max_shrink: stream.max_shrink.map(|percent| percent.value()),
        }
    }

    /// Says what is wrong with the size of a stream after one of the size `before`.
    pub fn broken(&self, size: u64, before: Option<u64>) -> Option<String> {
        if size == 0 && self.min_size != Some(0) {
            return Some("the command wrote nothing".to_owned());
        }
        if let Some(least) = self.min_size.filter(|least| size < *least) {
            return Some(format!(
                "the stream has {size} bytes, less than the {least} that it should have at the least"
            ));
        }
        let (before, percent) = before.zip(self.max_shrink)?;
        let least = u128::from(before) * u128::from(100_u8.saturating_sub(percent)) / 100;
        (u128::from(size) < least).then(|| {
            format!("the stream has {size} bytes, and the one before had {before}: it shrank by more than {percent} %")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_if_it_is_less_than_it_should_be() {
        let of = |min_size, max_shrink| Expectation { min_size, max_shrink };
        for (expected, size, before, said) in [
            (of(None, None), 1, Some(1000), None),
            (of(None, None), 0, None, Some("wrote nothing")),
            (of(Some(0), None), 0, None, None),
            (of(Some(10), None), 9, None, Some("less than the 10")),
            (of(Some(10), None), 10, None, None),
            (of(None, Some(50)), 500, Some(1000), None),
            (of(None, Some(50)), 499, Some(1000), Some("more than 50 %")),
            (of(None, Some(50)), 1, None, None),
            (of(None, Some(0)), 1000, Some(1000), None),
        ] {
            let broken = expected.broken(size, before);
            assert_eq!(broken.is_some(), said.is_some(), "{expected:?} {size} {before:?}: {broken:?}");
            assert!(said.is_none_or(|said| broken.is_some_and(|broken| broken.contains(said))));
        }
    }
}
