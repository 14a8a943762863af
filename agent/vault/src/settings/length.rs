//! Lengths of time as people write them: `90s`, `10m`, `26h`, `3d`, `2w`, `1h 30m`.
//!
//! One grammar for flags and for the configuration: jiff's friendly format (and ISO 8601's `PT10M`), with days of
//! 24 hours and without months and years, whose length depends on the calendar.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Parses a length of time. A plain number is refused, since its unit would be a guess.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text.parse::<f64>().is_ok() {
        return Err(format!("it has no unit; {HINT}"));
    }
    let span: Span = text.parse().map_err(|_| HINT.to_owned())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| HINT.to_owned())?;
    length.try_into().map_err(|_| NEGATIVE.to_owned())
}

/// Parses a length of time, or a plain number of seconds.
pub fn parse_or_seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).or_else(|_| parse(text))
}

/// Parses an age: a length of time that is not zero.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    parse(text).and_then(|age| if age.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(age) })
}

/// What is said of a length below zero.
pub(super) const NEGATIVE: &str = "it cannot be negative";

const HINT: &str = "write a number and a unit: 90s, 10m, 26h, 3d, 2w or \"1h 30m\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_a_unit() {
        for (text, seconds) in [
            ("90s", 90),
            ("120m", 7200),
            ("26h", 26 * 3600),
            ("3d", 72 * 3600),
            ("2w", 336 * 3600),
            ("1h 30m", 5400),
            ("1.5h", 5400),
            ("1d 12h", 36 * 3600),
            ("0s", 0),
            ("PT10M", 600),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(parse_or_seconds(text), parse(text), "{text}");
        }
        for wrong in ["", "26", "1.5", "0", "h", "-3d", "-5s", "4294967296d", "3é", "1y", "2mo", "soon", "5 parsecs"] {
            let why = parse(wrong).expect_err(wrong);
            assert!(why.contains("90s") || why == NEGATIVE, "{wrong}: {why}");
        }
    }

    #[test]
    fn a_plain_number_is_seconds_where_that_is_asked_for() {
        assert_eq!(parse_or_seconds("45"), Ok(Duration::from_secs(45)));
        assert_eq!(parse_or_seconds("0"), Ok(Duration::ZERO));
        for wrong in ["", "-45", "1.5", "soon", "-5s", "5 parsecs"] {
            assert!(parse_or_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_age_is_not_zero() {
        assert_eq!(parse_age("90m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "26", "h", "-3d", "0h", "0d", "4294967296d", "3é"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }
}
