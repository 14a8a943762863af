//! Times and lengths of time as people write them.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

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

/// A length of time: a whole number and `m`, `h`, `d` or `w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(pub SignedDuration);

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let unit = match text.chars().last()? {
                'm' => 1,
                'h' => 60,
                'd' => 24 * 60,
                'w' => 7 * 24 * 60,
                _ => return None,
            };
            let number: u32 = text[..text.len() - 1].parse().ok().filter(|number| *number > 0)?;
            Some(Self(SignedDuration::from_mins(i64::from(number) * unit)))
        };
        parse().ok_or_else(|| "write it as a number and a unit: 90m, 26h, 3d or 2w".to_owned())
    }
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

    #[test]
    fn a_length_has_a_unit() {
        let hours = |text: &str| text.parse::<Length>().map(|length| length.0.as_hours());
        assert_eq!([hours("26h"), hours("3d"), hours("2w"), hours("120m")], [Ok(26), Ok(72), Ok(336), Ok(2)]);
        for wrong in ["", "26", "h", "-3d", "0h", "1.5h", "4294967296d", "3é"] {
            assert!(wrong.parse::<Length>().is_err(), "{wrong}");
        }
    }
}
