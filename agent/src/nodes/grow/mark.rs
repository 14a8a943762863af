//! The label by which a run of `node grow` knows what an earlier one did to a node.
//!
//! It comes in the same update as the role of a manager, and goes with the change that shows that the node is one that keeps
//! up. So a run that was killed in between leaves it behind, and the next one goes on with that node as if it had promoted it
//! itself: it waits, and makes a silent one a worker again. Then the label says so with the moment, and the node is not tried
//! again for a while. What cannot be read is somebody else's, and counts as no label.

use jiff::{SignedDuration, Timestamp};

use crate::nodes::roster::Listed;

pub const LABEL: &str = "swarmdr.grow";

/// Start of the value on a node that was made a worker again.
const TAKEN_BACK: &str = "taken-back/";

/// Time for which a manager that was never seen to keep up may be made a worker again. One that falls silent later has
/// worked meanwhile, or an operator has seen to it.
const OWN: SignedDuration = SignedDuration::from_hours(24);

/// Time for which a worker that did not become a manager is not tried again.
const REST: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Made a manager at this moment, and not seen to keep up since.
    Promoted(Timestamp),
    /// Made a worker again at this moment.
    TakenBack(Timestamp),
}

impl Mark {
    /// Returns the mark of a node, if it has one that can be read.
    pub fn of(listed: &Listed) -> Option<Self> {
        let value = listed.node.labels.get(LABEL)?;
        match value.strip_prefix(TAKEN_BACK) {
            Some(at) => at.parse().ok().map(Self::TakenBack),
            None => value.parse().ok().map(Self::Promoted),
        }
    }

    pub fn promoted_now() -> Self {
        Self::Promoted(this_second())
    }

    pub fn taken_back_now() -> Self {
        Self::TakenBack(this_second())
    }

    /// The mark of a worker that had this one as a manager.
    pub fn undone(self) -> Self {
        let (Self::Promoted(at) | Self::TakenBack(at)) = self;
        Self::TakenBack(at)
    }

    /// True for a manager that a run of `node grow` made, and may make a worker again.
    pub fn is_own(self, now: Timestamp) -> bool {
        matches!(self, Self::Promoted(_)) && self.is_recent(now)
    }

    /// True if a demotion of the node that is under way may be that of an earlier run.
    pub fn is_recent(self, now: Timestamp) -> bool {
        self.is_within(OWN, now)
    }

    /// Returns why a worker with this mark is not made a manager now; `None` once enough time has passed.
    pub fn why_not(self, id: &str, now: Timestamp) -> Option<String> {
        let what = match self {
            Self::Promoted(at) => format!("`node grow` made it a manager at {at}, and it is a worker again"),
            Self::TakenBack(at) => format!("`node grow` made it a manager, and a worker again at {at}"),
        };
        self.is_within(REST, now).then(|| {
            format!(
                "passed over: {what}; it is tried again after {} minutes, or at once with --only, or without its label \
                 (`docker node update --label-rm {LABEL} {id}`)",
                REST.as_mins()
            )
        })
    }

    /// True if the moment is as near as that. One that is far ahead of this host's clock is none, as one that is long ago.
    fn is_within(self, limit: SignedDuration, now: Timestamp) -> bool {
        let (Self::Promoted(at) | Self::TakenBack(at)) = self;
        now.duration_since(at).abs() < limit
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Promoted(at) => write!(f, "{at}"),
            Self::TakenBack(at) => write!(f, "{TAKEN_BACK}{at}"),
        }
    }
}

fn this_second() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::nodes::{grow::plan::tests::worker, roster::set_label};

    /// A node with this value of the label.
    pub fn marked(listed: Listed, value: &str) -> Listed {
        let mut raw = listed.raw;
        set_label(&mut raw["Spec"], LABEL, Some(value.to_owned()));
        Listed::of(raw).expect("is a node")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("is a time")
    }

    #[test]
    fn a_mark_is_read_back_and_what_is_none_is_absent() {
        for mark in [Mark::promoted_now(), Mark::taken_back_now()] {
            assert_eq!(Mark::of(&marked(worker("w", ""), &mark.to_string())), Some(mark));
        }
        for junk in ["", "yes", "taken-back", "taken-back/", "taken-back/soon", "2026-11-28", "2026-11-28T09:00:00Z/x"]
        {
            assert_eq!(Mark::of(&marked(worker("w", ""), junk)), None, "{junk}");
        }
        assert_eq!(Mark::of(&worker("w", "")), None);
    }

    #[test]
    fn a_mark_counts_for_a_while() {
        let (promoted, taken_back) =
            (Mark::Promoted(at("2026-11-28T09:00:00Z")), Mark::TakenBack(at("2026-11-28T09:00:00Z")));
        for (now, rests, is_recent) in [
            ("2026-11-28T09:00:00Z", true, true),
            ("2026-11-28T09:59:59Z", true, true),
            ("2026-11-28T10:00:00Z", false, true),
            ("2026-11-29T08:59:59Z", false, true),
            ("2026-11-29T09:00:00Z", false, false),
            // The clock of the leader that wrote it was ahead.
            ("2026-11-28T08:30:00Z", true, true),
            ("2026-11-27T08:00:00Z", false, false),
        ] {
            let now = at(now);
            for mark in [promoted, taken_back] {
                assert_eq!(mark.why_not("w", now).is_some(), rests, "{mark} {now}");
                assert_eq!(mark.is_recent(now), is_recent, "{mark} {now}");
            }
            assert_eq!((promoted.is_own(now), taken_back.is_own(now)), (is_recent, false), "{now}");
        }
        let why = taken_back.why_not("w1", at("2026-11-28T09:10:00Z")).expect("rests");
        assert!(why.contains("at 2026-11-28T09:00:00Z") && why.contains("--label-rm swarmdr.grow w1"), "{why}");
    }
}
