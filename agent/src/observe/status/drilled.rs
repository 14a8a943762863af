//! The last drill, and the last one that proved a backup, according to the receipts in the vaults.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use swarmdr_vault::settings::unit_length::Days;

use super::Level;
use crate::{
    config::DrillConfig,
    restore::drill::{Outcome, Receipt},
};

/// Default of `drill.max_age_days`: two weeks, for weekly drills, and a day.
const USUAL_DAYS: u32 = 15;

#[derive(Debug, Clone, Default, Serialize)]
pub struct Drilled {
    pub last: Option<Drill>,
    /// The last drill that proved its backup.
    pub proven: Option<Drill>,
    /// Days after which `proven` is too old; absent if it is not configured and no drill was ever made.
    pub max_age_days: Option<u32>,
}

/// Days after which a proof is too old: those of the configuration, or the usual ones once anybody drills.
pub(super) fn max_age_days(config: &DrillConfig, was_drilled: bool) -> Option<u32> {
    config.max_age_days.map(Days::count).or(was_drilled.then_some(USUAL_DAYS))
}

/// The part of a receipt that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drill {
    pub at: Timestamp,
    pub backup: String,
    pub engine: String,
    pub host: String,
    pub proven: bool,
    pub problem: Option<String>,
}

impl Drill {
    pub fn of(receipt: &Receipt) -> Self {
        Self {
            at: receipt.at,
            backup: receipt.backup.to_string(),
            engine: receipt.engine.clone(),
            host: receipt.host.clone(),
            proven: receipt.outcome == Outcome::Proven,
            problem: receipt.problem.clone(),
        }
    }
}

impl Drilled {
    pub fn new(config: &DrillConfig, receipts: &[Receipt]) -> Self {
        let newest = |proven_only: bool| {
            let wanted = receipts.iter().filter(|receipt| !proven_only || receipt.outcome == Outcome::Proven);
            wanted.max_by_key(|receipt| receipt.id).map(Drill::of)
        };
        let max_age_days = max_age_days(config, !receipts.is_empty());
        Self { last: newest(false), proven: newest(true), max_age_days }
    }

    pub fn judge(&self, now: Timestamp, say: &mut impl FnMut(Level, String)) {
        if let Some(failed) = self.last.as_ref().filter(|last| !last.proven) {
            let why = failed.problem.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            say(Level::Critical, format!("backup {} failed its drill at {}{why}", failed.backup, failed.at));
        }
        let Some(days) = self.max_age_days else { return };
        match &self.proven {
            Some(proven) if proven.at + SignedDuration::from_hours(24 * i64::from(days)) >= now => {}
            Some(proven) => say(
                Level::Warning,
                format!("no drill has proven a backup for {days} days (the last one was at {})", proven.at),
            ),
            None => say(Level::Warning, "no drill has ever proven a backup".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(at: &str, proven: bool) -> Drill {
        Drill {
            at: at.parse().expect("is a time"),
            backup: "20261114T033000Z-00000001".to_owned(),
            engine: "26.1.5".to_owned(),
            host: "m1".to_owned(),
            proven,
            problem: (!proven).then(|| "secret db-password is missing".to_owned()),
        }
    }

    fn said(drilled: &Drilled) -> Vec<(Level, String)> {
        let mut said = Vec::new();
        drilled.judge("2026-11-21T12:00:00Z".parse().expect("is a time"), &mut |level, text| said.push((level, text)));
        said
    }

    #[test]
    fn a_proof_ages_and_a_failure_is_told() {
        let fresh = Drilled {
            last: Some(drill("2026-11-15T05:00:00Z", true)),
            proven: Some(drill("2026-11-15T05:00:00Z", true)),
            max_age_days: Some(15),
        };
        assert_eq!(said(&fresh), []);
        let old = Drilled { max_age_days: Some(6), ..fresh.clone() };
        assert!(matches!(&said(&old)[..], [(Level::Warning, text)] if text.contains("for 6 days")));
        let failed = Drilled { last: Some(drill("2026-11-21T05:00:00Z", false)), ..fresh };
        assert!(matches!(&said(&failed)[..], [(Level::Critical, text)] if text.contains("db-password")));
    }

    #[test]
    fn that_none_was_held_matters_only_if_somebody_asked() {
        assert_eq!(said(&Drilled::new(&DrillConfig::default(), &[])), []);
        let asked = Drilled::new(&DrillConfig { max_age_days: Some(Days::new(30)) }, &[]);
        assert!(matches!(&said(&asked)[..], [(Level::Warning, _)]));
    }
}
