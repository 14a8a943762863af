//! Which backups are kept: the newest few, and the newest of each of the last few days, weeks and months.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use swarmdr_archive::BackupId;

use crate::outcome::failure::Failure;

/// The `[retention]` section of the configuration. Days, weeks (ISO 8601) and months are those of UTC; only those that
/// have a backup are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    pub keep_last: u32,
    pub keep_daily: u32,
    pub keep_weekly: u32,
    pub keep_monthly: u32,
}

impl Policy {
    /// Refuses an empty policy, which would remove everything.
    pub fn require_some(self) -> Result<Self> {
        if self != Self::default() {
            return Ok(self);
        }
        Err(Failure::usage("no retention policy is given, and an empty one would remove every backup")
            .advice("write `keep_last`, `keep_daily`, `keep_weekly` or `keep_monthly` below `[retention]`, or give the flags")
            .into())
    }

    /// Returns those of `ids` (newest first) that are kept, with the reasons.
    pub fn kept(&self, ids: &[BackupId]) -> BTreeMap<BackupId, Vec<String>> {
        let mut kept: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
        for (n, id) in ids.iter().take(self.keep_last as usize).enumerate() {
            kept.entry(*id).or_default().push(format!("last {}", n + 1));
        }
        let rules: [Rule; 3] = [
            ("daily", self.keep_daily, day),
            ("weekly", self.keep_weekly, week),
            ("monthly", self.keep_monthly, month),
        ];
        for (name, count, period) in rules {
            let mut last = None;
            let mut number = 0;
            for id in ids {
                let this = Some(period(*id));
                if this == last || number == count {
                    continue;
                }
                (last, number) = (this, number + 1);
                kept.entry(*id).or_default().push(format!("{name} {number}"));
            }
        }
        kept
    }

    /// Days after which the policy keeps no backup, if one is made each day.
    pub fn days(&self) -> u32 {
        let spans =
            [self.keep_last, self.keep_daily, self.keep_weekly.saturating_mul(7), self.keep_monthly.saturating_mul(31)];
        spans.into_iter().max().unwrap_or_default()
    }
}

/// A year, and the day, week or month in it.
type Period = (i16, i16);

/// Name of the rule, number of periods that keep one backup, and the function that returns the period of a backup.
type Rule = (&'static str, u32, fn(BackupId) -> Period);

fn date(id: BackupId) -> jiff::civil::Date {
    id.created_at().to_zoned(TimeZone::UTC).date()
}

fn day(id: BackupId) -> Period {
    (date(id).year(), date(id).day_of_year())
}

fn week(id: BackupId) -> Period {
    let week = date(id).iso_week_date();
    (week.year(), week.week().into())
}

fn month(id: BackupId) -> Period {
    (date(id).year(), date(id).month().into())
}
