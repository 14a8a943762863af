//! Numbers as the command line of Docker reads them.

const NANO: u64 = 1_000_000_000;

/// Formats nanoseconds as Go's `time.ParseDuration` reads them: `1h2m3.5s`, `0s`.
pub fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let (hours, minutes) = (all / (3600 * NANO), all / (60 * NANO) % 60);
    let mut text = sign.to_owned();
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    let seconds = all % (60 * NANO);
    if seconds > 0 || text == sign {
        text.push_str(&format!("{}s", decimal(seconds)));
    }
    text
}

/// Formats billionths of a processor as a number of processors: `0.5`.
pub fn cpus(nano: u64) -> String {
    decimal(nano)
}

/// Formats billionths as a decimal number without zeros at its end.
fn decimal(nano: u64) -> String {
    let (whole, fraction) = (nano / NANO, nano % NANO);
    match fraction {
        0 => whole.to_string(),
        _ => format!("{whole}.{fraction:09}").trim_end_matches('0').to_owned(),
    }
}

/// The largest size in bytes that go-units reads without rounding: it goes through a float of 64 bits.
pub const LARGEST_SIZE: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "0.000000001s"),
            (3_723_000_000_004, "1h2m3.000000004s"),
            (60_000_000_000, "1m"),
            (3_600_000_000_000, "1h"),
            (90_500_000_000, "1m30.5s"),
            (-1_500_000_000, "-1.5s"),
            (i64::MAX, "2562047h47m16.854775807s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }

    #[test]
    fn processors_are_exact() {
        for (nano, text) in [(500_000_000, "0.5"), (1, "0.000000001"), (2_000_000_000, "2"), (1_250_000_000, "1.25")] {
            assert_eq!(cpus(nano), text);
        }
    }
}
