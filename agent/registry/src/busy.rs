//! Registries that are asked too often: 429 and `Retry-After`.

use std::time::{Duration, Instant, SystemTime};

use aws_smithy_runtime_api::http::Headers;

use crate::message::header;

/// Until when a registry wants no request, and how long that was so far.
#[derive(Debug, Default)]
pub struct Busy {
    pub until: Option<Instant>,
    waited: Duration,
}

impl Busy {
    /// Notes that it wants no request for this time. False if all such times together are longer than the patience.
    /// Requests that are refused side by side wait side by side.
    pub fn until(&mut self, length: Duration, patience: Duration) -> bool {
        if length > patience {
            return false;
        }
        let (now, begins) = (Instant::now(), self.until.map_or_else(Instant::now, |until| until.max(Instant::now())));
        let moment = now + length;
        let more = moment.saturating_duration_since(begins);
        if self.waited + more > patience {
            return false;
        }
        self.waited += more;
        self.until = Some(moment.max(begins));
        true
    }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub fn later(headers: &Headers) -> Option<Duration> {
    let value = header(headers, "retry-after")?;
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let at = httpdate::parse_http_date(value.trim()).ok()?;
            Some(at.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_are_refused_together_wait_together() {
        let mut busy = Busy::default();
        let [patience, minute] = [100, 60].map(Duration::from_secs);
        assert!(busy.until(minute, patience) && busy.until(minute, patience));
        assert!(busy.until(minute + Duration::from_secs(1), patience), "{busy:?}");
        assert!(busy.waited < patience, "{busy:?}");
        assert!(!busy.until(2 * minute, patience) && !busy.until(Duration::MAX, Duration::from_secs(600)), "{busy:?}");
        assert!(busy.until(Duration::ZERO, patience), "what is over costs nothing");
    }

    #[test]
    fn later_is_a_number_of_seconds_or_a_date() {
        let with = |value: &str| {
            let mut headers = Headers::new();
            headers.insert("retry-after", value.to_owned());
            later(&headers)
        };
        assert_eq!(with("7"), Some(Duration::from_secs(7)));
        assert_eq!(with("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(with("18446744073709551615"), Some(Duration::from_secs(u64::MAX)));
        assert!(with("Wed, 21 Oct 2065 07:28:00 GMT") > Some(Duration::from_secs(3600)));
        assert_eq!((with("soon"), with("-1"), later(&Headers::new())), (None, None, None));
    }
}
