//! Moments as people write them.

use jiff::{Timestamp, civil, tz::TimeZone};

/// A moment: RFC 3339, or a date or a date with a time, both in UTC.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let utc = |time: civil::DateTime| time.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    text.trim_end_matches('Z')
        .parse::<civil::DateTime>()
        .and_then(utc)
        .map_err(|_| "write it as 2026-11-21, 2026-11-21T10:15 (UTC) or 2026-11-21T10:15:00+01:00".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_in_utc_unless_they_say_otherwise() {
        for (text, same) in [
            ("2026-11-21T10:15:00Z", "2026-11-21T10:15:00Z"),
            ("2026-11-21T10:15:00+01:00", "2026-11-21T09:15:00Z"),
            ("2026-11-21", "2026-11-21T00:00:00Z"),
            ("2026-11-21T10:15", "2026-11-21T10:15:00Z"),
            ("20261121T101500Z", "2026-11-21T10:15:00Z"),
        ] {
            assert_eq!(moment(text), Ok(same.parse().expect("is a time")), "{text}");
        }
        for wrong in ["yesterday", "", "2026-13-01", "10:15"] {
            assert!(moment(wrong).expect_err(wrong).contains("2026-11-21"), "{wrong}");
        }
    }
}
