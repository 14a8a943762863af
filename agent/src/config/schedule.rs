//! Due times of backups: a cron expression read in a time zone.
//!
//! The expression has crontab's five fields, or six with seconds first. Days of the week must be named: `1` is Monday
//! to crontab and Sunday to others. The expression is matched against the wall clock of the zone. A due time that the
//! change to daylight saving time skips is later by the skipped length; one that the change back repeats occurs once.

use std::str::FromStr;

use anyhow::{Context, Result};
use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};
use swarmdr_vault::settings::unit_length::Seconds;

use super::on_change::OnChange;
use crate::outcome::failure::Failure;

/// The `[schedule]` section of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// When a backup is due: minute hour day-of-month month day-of-week, optionally seconds first; with `off` none is
    /// ever due. Default: each night at 03:30.
    pub cron: Option<String>,
    /// IANA name of the time zone that `cron` is read in; default: the host's.
    pub timezone: Option<String>,
    /// Seconds that the next manager in line waits for a due backup before it makes one itself; default: a quarter of
    /// the time between two due times, 1 minute to 1 hour. Must be longer than a backup takes, upload included.
    pub takeover_after: Option<Seconds>,
    /// Backups after changes, beside those of `cron`; default: none.
    pub on_change: Option<OnChange>,
}

impl ScheduleConfig {
    /// Returns the settings of backups after changes; a usage error without them.
    pub fn require_on_change(&self) -> Result<OnChange> {
        self.on_change.ok_or_else(|| {
            Failure::usage("backups after changes are not configured")
                .advice("write `on_change = { after = \"5s\", at_most_every = \"30s\" }` below `[schedule]`")
                .into()
        })
    }
}

/// Due times where none are configured.
pub const DEFAULT: &str = "30 3 * * *";

/// Value of `cron` where another scheduler calls the agent.
const OFF: &str = "off";

/// Bounds of the default of `takeover_after`.
const SHORTEST_TAKEOVER: SignedDuration = SignedDuration::from_mins(1);
const LONGEST_TAKEOVER: SignedDuration = SignedDuration::from_hours(1);

/// Due times of backups.
#[derive(Debug, Clone)]
pub struct Schedule {
    times: cron::Schedule,
    zone: TimeZone,
    takeover_after: Option<SignedDuration>,
}

impl Schedule {
    /// Reads the schedule. Returns `None` where it is `off`: then no backup is ever due.
    pub fn from_config(config: &ScheduleConfig) -> Result<Option<Self>> {
        let expression = config.cron.as_deref().unwrap_or(DEFAULT);
        if expression == OFF {
            return Ok(None);
        }
        let zone = match &config.timezone {
            None => TimeZone::system(),
            // UTC needs no tzdata, which small hosts lack.
            Some(name) if name == "UTC" => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|cause| {
                Failure::usage(format!("schedule.timezone `{name}` is not known on this host"))
                    .advice("write an IANA name such as `Europe/Berlin` or `UTC` (package tzdata)")
                    .because(cause)
            })?,
        };
        let times = parse(expression).with_context(|| format!("failed to read schedule.cron = \"{expression}\""))?;
        let takeover_after = config.takeover_after.map(Seconds::signed);
        Ok(Some(Self { times, zone, takeover_after }))
    }

    /// The first due time after `after`; `None` if the expression has no further one.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let wall = to_chrono(after.to_zoned(self.zone.clone()).datetime())?;
        self.times
            .after(&wall)
            .filter_map(|wall| self.zone.to_timestamp(to_civil(&wall)?).ok())
            .find(|due| *due > after)
    }

    /// How long each manager in line waits for the one before it; see [`crate::backup::designation`].
    pub fn takeover_after(&self, now: Timestamp) -> SignedDuration {
        if let Some(configured) = self.takeover_after {
            return configured;
        }
        let next = self.next_after(now);
        let interval = next.and_then(|next| Some(self.next_after(next)?.duration_since(next)));
        interval.map_or(LONGEST_TAKEOVER, |interval| (interval / 4).clamp(SHORTEST_TAKEOVER, LONGEST_TAKEOVER))
    }

    /// Whether a due time is between the newest backup and now, or there is no backup at all.
    pub fn is_due(&self, newest: Option<Timestamp>, now: Timestamp) -> bool {
        newest.is_none_or(|newest| self.next_after(newest).is_some_and(|due| due <= now))
    }
}

/// Fails if this is no expression that [`ScheduleConfig::cron`] could be.
pub fn require_cron(expression: &str) -> Result<()> {
    parse(expression).with_context(|| format!("failed to read cron = \"{expression}\""))?;
    Ok(())
}

fn parse(expression: &str) -> Result<cron::Schedule> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let fields = match fields.len() {
        5 => [&["0"][..], &fields].concat(),
        6 => fields,
        other => {
            return Err(Failure::usage(format!(
                "it has {}, not 5 or 6",
                crate::outcome::count::count(other as u64, "field")
            ))
            .advice("write minute, hour, day of month, month, day of week: `30 3 * * *` is every day at 3:30")
            .into());
        }
    };
    if fields[5].bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(Failure::usage("the day of the week is a number")
            .advice("name the days (`Mon`, `Mon-Fri`, `Sat,Sun`): numbers mean different days to different crons")
            .into());
    }
    cron::Schedule::from_str(&fields.join(" ")).map_err(|cause| {
        Failure::usage("it is no cron expression")
            .because(anyhow::anyhow!("{}", cause.to_string().trim_end().to_owned()))
            .into()
    })
}

/// The zone's wall clock, in the type that `cron` takes: `Utc` here means "no zone".
fn to_chrono(wall: civil::DateTime) -> Option<DateTime<Utc>> {
    let field = |value: i8| u32::try_from(value).ok();
    let date = NaiveDate::from_ymd_opt(wall.year().into(), field(wall.month())?, field(wall.day())?)?;
    let time = date.and_hms_opt(field(wall.hour())?, field(wall.minute())?, field(wall.second())?)?;
    Some(time.and_utc())
}

fn to_civil(wall: &DateTime<Utc>) -> Option<civil::DateTime> {
    let field = |value: u32| i8::try_from(value).ok();
    civil::DateTime::new(
        i16::try_from(wall.year()).ok()?,
        field(wall.month())?,
        field(wall.day())?,
        field(wall.hour())?,
        field(wall.minute())?,
        field(wall.second())?,
        0,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::failure::Rendered;

    fn schedule(cron: &str, zone: &str) -> Schedule {
        let config = ScheduleConfig {
            cron: Some(cron.to_owned()),
            timezone: Some(zone.to_owned()),
            ..ScheduleConfig::default()
        };
        Schedule::from_config(&config).expect("is valid").expect("has an expression")
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("is a time")
    }

    #[test]
    fn next_is_on_the_zones_wall_clock() {
        let cases = [
            ("30 3 * * *", "UTC", "2026-11-21T03:30:00Z", "2026-11-22T03:30:00Z"),
            ("30 3 * * *", "Europe/Berlin", "2026-11-21T00:00:00Z", "2026-11-21T02:30:00Z"),
            ("0 */15 * * * Mon-Fri", "UTC", "2026-11-20T23:50:00Z", "2026-11-23T00:00:00Z"),
            // 02:30 does not exist on the day of the change to summer time.
            ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"),
            // 02:30 exists twice on the day of the change back, and comes up once.
            ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ];
        for (cron, zone, after, next) in cases {
            assert_eq!(
                schedule(cron, zone).next_after(time(after)),
                Some(time(next)),
                "{cron} in {zone} after {after}"
            );
        }
    }

    #[test]
    fn each_night_unless_it_is_told_otherwise() {
        let config = ScheduleConfig { timezone: Some("UTC".to_owned()), ..ScheduleConfig::default() };
        let nightly = Schedule::from_config(&config).expect("is valid").expect("is on");
        assert_eq!(nightly.next_after(time("2026-11-21T12:00:00Z")), Some(time("2026-11-22T03:30:00Z")));
        assert!(nightly.is_due(None, time("2026-11-21T12:00:00Z")), "the first one is due at once");
        let off = ScheduleConfig { cron: Some("off".to_owned()), ..ScheduleConfig::default() };
        assert!(Schedule::from_config(&off).expect("is valid").is_none());
    }

    #[test]
    fn due_when_a_time_lies_between_the_newest_backup_and_now() {
        let daily = schedule("30 3 * * *", "UTC");
        let newest = Some(time("2026-11-20T03:31:00Z"));
        assert!(!daily.is_due(newest, time("2026-11-21T03:29:59Z")));
        assert!(daily.is_due(newest, time("2026-11-21T03:30:00Z")));
        assert!(daily.is_due(None, time("2026-11-21T00:00:00Z")));
    }

    #[test]
    fn others_take_over_after_a_quarter_of_the_interval() {
        let now = time("2026-11-21T00:00:00Z");
        for (cron, minutes) in [("30 3 * * *", 60), ("0 * * * *", 15), ("* * * * * *", 1), ("0 3 1 1 *", 60)] {
            assert_eq!(schedule(cron, "UTC").takeover_after(now), SignedDuration::from_mins(minutes), "{cron}");
        }
        let config = ScheduleConfig {
            cron: Some("30 3 * * *".to_owned()),
            takeover_after: Some(Seconds::new(5)),
            ..ScheduleConfig::default()
        };
        let configured = Schedule::from_config(&config).expect("is valid").expect("has an expression");
        assert_eq!(configured.takeover_after(now), SignedDuration::from_secs(5));
    }

    #[test]
    fn refuses_what_means_different_days() {
        for (cron, said) in [
            ("30 3 * * 1", "the day of the week is a number"),
            ("30 3 * *", "it has 4 fields"),
            ("61 3 * * *", "no cron expression"),
        ] {
            let error = parse(cron).expect_err(cron);
            assert!(Rendered::of(&error).to_string().contains(said), "{cron}: {error:?}");
        }
    }
}
