//! Whether the newest backup is as fresh as the schedule promises.

use jiff::{SignedDuration, Timestamp};
use swarmdr_archive::BackupId;

use super::{Check, Diagnosis};
use crate::config::{Config, schedule::Schedule};

/// Grace for a due backup, which may wait for the designated runner, its timer and its upload.
const GRACE: SignedDuration = SignedDuration::from_hours(1);

/// Age from which a backup is old where there is no schedule: a day and two hours.
const OLD: SignedDuration = SignedDuration::from_hours(26);

pub fn check(config: &Config, newest: Option<BackupId>, now: Timestamp, diagnosis: &mut Diagnosis) {
    let schedule = match Schedule::from_config(&config.schedule) {
        Ok(schedule) => schedule,
        Err(error) => return diagnosis.add(Check::failed("backup.fresh", &error)),
    };
    diagnosis.add(judge(schedule.as_ref(), newest, now));
}

fn judge(schedule: Option<&Schedule>, newest: Option<BackupId>, now: Timestamp) -> Check {
    const NAME: &str = "backup.fresh";
    let run = "run `swarmdr-agent backup`, and see why the timer did not";
    let Some(newest) = newest else {
        return Check::fail(NAME, "no vault has a backup that verifies").fix("run `swarmdr-agent backup`");
    };
    let age = now.duration_since(newest.created_at());
    let found = format!("the newest is {newest}, {} hours old", age.as_hours());
    if age < -SignedDuration::from_mins(10) {
        return Check::warn(NAME, format!("the newest is {newest}, which is in the future"))
            .fix("check the clocks of the managers");
    }
    match schedule.map(|schedule| schedule.next_after(newest.created_at())) {
        Some(Some(due)) if due + GRACE < now => Check::fail(NAME, format!("{found}; one was due at {due}")).fix(run),
        Some(_) => Check::ok(NAME, found),
        None if age > OLD => Check::warn(NAME, format!("{found}, and schedule.cron is `off`")).fix(run),
        None => Check::ok(NAME, format!("{found}; schedule.cron is `off`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::schedule::ScheduleConfig, observe::doctor::Level};

    #[test]
    fn late_by_the_schedule_is_a_failure() {
        let config = ScheduleConfig {
            cron: Some("30 3 * * *".to_owned()),
            timezone: Some("UTC".to_owned()),
            ..ScheduleConfig::default()
        };
        let daily = Schedule::from_config(&config).expect("is valid");
        let newest: Option<BackupId> = "20261120T033100Z-00000001".parse().ok();
        let level = |schedule: Option<&Schedule>, newest, now: &str| {
            judge(schedule, newest, now.parse().expect("is a time")).level
        };
        assert_eq!(level(daily.as_ref(), newest, "2026-11-21T03:29:00Z"), Level::Ok);
        assert_eq!(level(daily.as_ref(), newest, "2026-11-21T04:29:00Z"), Level::Ok);
        assert_eq!(level(daily.as_ref(), newest, "2026-11-21T04:31:00Z"), Level::Fail);
        assert_eq!(level(None, newest, "2026-11-21T04:31:00Z"), Level::Ok);
        assert_eq!(level(None, newest, "2026-11-21T06:31:00Z"), Level::Warn);
        assert_eq!(level(None, newest, "2026-11-20T03:00:00Z"), Level::Warn);
        assert_eq!(level(daily.as_ref(), None, "2026-11-21T04:31:00Z"), Level::Fail);
    }
}
