//! A recovery point in the report of the run that made it.

use std::fmt;

use serde::Serialize;
use swarmdr_archive::{point::Point, untrusted::shown};

/// The stable JSON form of a point in the reports of `backup` and `put`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PointNote {
    pub id: String,
    pub complete: bool,
    /// Why it is not complete.
    pub missing: Vec<String>,
    /// Time of its oldest part.
    pub from: Option<String>,
    /// Time of its newest part.
    pub to: Option<String>,
    /// Seconds between the two.
    pub seconds_apart: Option<u64>,
    /// Vaults that have it.
    pub kept: Vec<String>,
}

impl PointNote {
    pub fn new(point: &Point, kept: Vec<String>) -> Self {
        let span = point.span();
        Self {
            id: point.id.to_string(),
            complete: point.is_complete(),
            missing: reasons(point),
            from: span.map(|span| span.from.to_string()),
            to: span.map(|span| span.to.to_string()),
            seconds_apart: span.map(|span| span.seconds()),
            kept,
        }
    }
}

/// Returns why a point is not complete, one reason each; none if it is.
pub fn reasons(point: &Point) -> Vec<String> {
    let mut reasons: Vec<String> = point.gaps.iter().map(ToString::to_string).collect();
    if point.left_out > 0 {
        reasons.push(format!("{} streams have no room in it", point.left_out));
    }
    reasons
}

/// Writes one line without its end.
impl fmt::Display for PointNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recovery point {}: ", self.id)?;
        match self.complete {
            true => f.write_str("complete"),
            false => write!(f, "not complete: {}", shown(self.missing.join(", "))),
        }
    }
}
