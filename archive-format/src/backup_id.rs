//! Id of a backup: `YYYYMMDDTHHMMSSZ-<8 hex>`, so that ids sort by time.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::error::Error;

/// Id of one backup. Ordered by time first, then by tag, exactly as its text sorts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId {
    /// Seconds since 1970, never negative.
    seconds: i64,
    tag: [u8; 4],
}

impl BackupId {
    /// Length of the textual form in bytes.
    pub const LEN: usize = 25;

    /// Makes an id from a time and a tag. The fraction of a second is dropped, and a time before 1970 counts as 1970.
    pub fn new(created_at: Timestamp, tag: [u8; 4]) -> Self {
        let seconds = created_at.max(Timestamp::UNIX_EPOCH).as_second();
        Self { seconds, tag }
    }

    /// Returns the time in the id, to the second.
    pub fn created_at(&self) -> Timestamp {
        Timestamp::from_second(self.seconds).expect("built from a timestamp")
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.created_at().strftime("%Y%m%dT%H%M%SZ");
        write!(f, "{time}-{}", HEXLOWER.encode(&self.tag))
    }
}

impl fmt::Debug for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupId({self})")
    }
}

impl FromStr for BackupId {
    type Err = Error;

    /// Parses exactly the form that [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| Error::InvalidBackupId { text: text.chars().take(64).collect() })
    }
}

fn parse(text: &str) -> Option<BackupId> {
    let bytes = text.as_bytes();
    if bytes.len() != BackupId::LEN || bytes[8] != b'T' || &bytes[15..17] != b"Z-" {
        return None;
    }
    let seconds = DateTime::new(
        number(&bytes[0..4])?,
        number(&bytes[4..6])?.try_into().ok()?,
        number(&bytes[6..8])?.try_into().ok()?,
        number(&bytes[9..11])?.try_into().ok()?,
        number(&bytes[11..13])?.try_into().ok()?,
        number(&bytes[13..15])?.try_into().ok()?,
        0,
    )
    .ok()?
    .to_zoned(TimeZone::UTC)
    .ok()?
    .timestamp()
    .as_second();
    let tag = HEXLOWER.decode(&bytes[17..]).ok()?.try_into().ok()?;
    (seconds >= 0).then_some(BackupId { seconds, tag })
}

fn number(digits: &[u8]) -> Option<i16> {
    digits.iter().try_fold(0i16, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i16::from(digit - b'0')))
}

serde_as_string!(BackupId);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_sorts_by_time() {
        let early = BackupId::new("2026-01-02T03:04:05.9Z".parse().unwrap(), [0xff; 4]);
        let late = BackupId::new("2026-01-02T03:04:06Z".parse().unwrap(), [0; 4]);
        assert_eq!(early.to_string(), "20260102T030405Z-ffffffff");
        assert_eq!("20260102T030405Z-ffffffff".parse::<BackupId>().unwrap(), early);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.created_at(), "2026-01-02T03:04:05Z".parse().unwrap());
    }

    #[test]
    fn anything_but_the_exact_form_is_refused() {
        for text in [
            "",
            "20260102T030405Z",
            "20260102T030405Z-FFFFFFFF",
            "20260102t030405Z-ffffffff",
            "20261302T030405Z-ffffffff",
            "20260230T030405Z-ffffffff",
            "20260102T030460Z-ffffffff",
            "19690102T030405Z-ffffffff",
            "+0260102T030405Z-ffffffff",
            "20260102T030405Z-fffffff",
            "20260102T030405Z-fffffffff",
            "20260102T030405Z-fffffffé",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
    }
}
