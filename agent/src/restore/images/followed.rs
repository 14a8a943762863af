//! What became of the services that follow their images.

use std::fmt;

use serde::Serialize;
use swarmdr_archive::untrusted::shown;

use super::renew::{Outcome, OwedService, ServiceOutcome};

/// The part of a restore's report about images; a stable JSON form.
#[derive(Debug, Clone, Serialize)]
pub struct Followed {
    /// Services whose image has another name now, or whose login was renewed; also those with which that failed.
    pub services: Vec<ServiceOutcome>,
    /// Number of services whose login is recorded already.
    pub same: u64,
    #[serde(skip)]
    dry_run: bool,
}

impl Followed {
    pub fn of(all: Vec<ServiceOutcome>, dry_run: bool) -> Self {
        let (same, services): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.outcome == Outcome::Same);
        Self { services, same: same.len() as u64, dry_run }
    }

    /// Returns the services that are left for a later run.
    pub fn owed(&self) -> Vec<OwedService> {
        self.services.iter().filter_map(ServiceOutcome::owed).collect()
    }

    /// Whether a service was left because it has come to its end.
    pub fn is_at_rest(&self, service: &str) -> bool {
        let is_quiet = |it: &ServiceOutcome| matches!(it.outcome, Outcome::Left { needs_attention: false, .. });
        self.services.iter().any(|it| it.service == service && is_quiet(it))
    }

    /// Describes what has to be looked after, and how it is tried again.
    pub fn attention(&self) -> Vec<String> {
        let mut attention: Vec<String> = self.services.iter().filter_map(ServiceOutcome::attention).collect();
        if !self.owed().is_empty() {
            attention
                .push("the restore is complete: to try only the images again, run the same command again".to_owned());
        }
        attention
    }
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.services.iter().filter_map(|service| service.line(self.dry_run)) {
            writeln!(f, "  {line}")?;
        }
        for loss in self.services.iter().filter_map(ServiceOutcome::loss) {
            writeln!(f, "  note: {}", shown(loss))?;
        }
        Ok(())
    }
}
