//! The report of `images auth`.

use std::fmt;

use serde::Serialize;
use swarmdr_archive::{ClusterId, untrusted::shown};

use super::{Outcome, Plan, ServiceOutcome};
use crate::outcome::{count::count, exit::Exit};

/// The stable JSON form of `images auth --json`.
#[derive(Debug, Serialize)]
pub struct Report {
    pub result: &'static str,
    #[serde(skip)]
    exit: Exit,
    pub cluster_id: ClusterId,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Services whose registry has a login, sorted by name.
    pub services: Vec<ServiceOutcome>,
    /// Number of other services that have an image.
    pub without_login: u64,
    /// What has to be looked after. Exit 6, or 1 if nothing worked.
    pub attention: Vec<String>,
}

impl Report {
    pub fn of(cluster_id: ClusterId, dry_run: bool, plan: &Plan, services: Vec<ServiceOutcome>) -> Self {
        let mut attention: Vec<String> = services.iter().filter_map(ServiceOutcome::attention).collect();
        if services.is_empty() && plan.without_login > 0 {
            attention.push(format!(
                "the registries of {} have no login: see images.registry in the configuration for the hosts that it names",
                count(plan.without_login, "service")
            ));
        }
        let worked = |it: &ServiceOutcome| it.outcome.is_change() || matches!(it.outcome, Outcome::Same);
        let failed = |it: &ServiceOutcome| matches!(it.outcome, Outcome::NoLogin { .. } | Outcome::Failed { .. });
        let exit = match () {
            () if services.iter().any(failed) && !services.iter().any(worked) => Exit::Failed,
            () if !attention.is_empty() => Exit::Attention,
            () => Exit::Done,
        };
        let without_login = plan.without_login + plan.elsewhere;
        Self { result: exit.word(), exit, cluster_id, dry_run, services, without_login, attention }
    }

    /// Exits 6 if a service was left that needs its login, 1 if every helper failed.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Logins in the services of swarm {}", shown(&self.cluster_id))?;
        for line in self.services.iter().filter_map(|service| service.line(self.dry_run)) {
            writeln!(f, "  {line}")?;
        }
        for loss in self.services.iter().filter_map(ServiceOutcome::loss) {
            writeln!(f, "  note: {}", shown(loss))?;
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        if self.without_login > 0 {
            writeln!(f, "  left as they are: {} of other registries", count(self.without_login, "service"))?;
        }
        match self.dry_run {
            true => writeln!(f, "Nothing was changed."),
            false => Ok(()),
        }
    }
}
