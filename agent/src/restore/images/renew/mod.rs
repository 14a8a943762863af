//! Services that live get the logins that are configured for their registries, and their images other names.
//!
//! An update sends the service's own spec back as raw JSON, so nothing of it is lost, with another `X-Registry-Auth`. An
//! orchestrator that compares tasks with the spec ignores the login of tasks that have their image (swarmkit
//! `manager/orchestrator/task.go`, `IsTaskDirty`): no task that runs is restarted for it, and one that could not be pulled
//! is tried with the new login (seen on 20.10, 26.1 and 28.5). A task that is being pulled begins anew.
//!
//! An image that gets another name is asked for at its new place first: a service stays as it is if nodes could not pull
//! from there.
//!
//! What an update does besides (swarmkit `manager/controlapi/service.go`, `UpdateService`) decides what is left alone:
//!
//! - It forgets the state of an update, so one that is paused would go on. A service in the middle of an update or a
//!   rollback is left.
//! - It begins the next run of a job, whatever changed, and starts tasks again that have ended for good by their restart
//!   policy. Both are left.
//! - The previous spec, which `docker service rollback` returns to, becomes the one that was replaced: after a new login a
//!   rollback leads to the same service with the old login. There is no call that keeps it. So a service whose recorded
//!   login is the new one already is not updated, and what is lost is reported.

mod asked;
pub(crate) mod living;
mod outcome;
mod places;
mod recorded;
pub mod report;
mod scope;
pub(crate) mod slots;
pub(crate) mod surplus;
mod update;

#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Result;
use swarmdr_registry::{Login, split_registry};
use wildmatch::WildMatch;

use super::{logins::Logins, platforms};
use crate::{
    config::Config,
    host::{engine::objects::Objects, shutdown::Shutdown},
    outcome::failpoint,
};
use asked::Asked;
use living::{LivingService, Obstacle};
pub use outcome::{Outcome, ServiceOutcome};
use places::Places;
pub use recorded::Recorded;
pub use scope::{Owed, OwedService, Scope, joined};
use surplus::Suspects;
use update::{Ended, Wanted};

/// A renewal, and what it is about.
#[derive(Debug)]
pub struct Renewal<'a> {
    pub config: &'a Config,
    pub objects: &'a Objects,
    pub logins: &'a Logins<'a>,
    /// Services that this is about, and other places of their images.
    pub scope: &'a Scope,
    /// Registries that are meant; all without it.
    pub only: Option<WildMatch>,
    pub shutdown: &'a Shutdown,
    pub dry_run: bool,
}

/// Services that are to be changed, and those that are not.
#[derive(Debug)]
pub struct Plan {
    services: Vec<Planned>,
    /// Number of services with images of registries that are meant, for which no login is configured and no other name is
    /// given.
    pub without_login: u64,
    /// Number of services with images of registries that are not meant.
    pub elsewhere: u64,
}

/// A service that is to be changed.
#[derive(Debug)]
struct Planned {
    service: LivingService,
    /// Other name of its image, if it gets one.
    new_image: Option<String>,
}

impl Planned {
    /// The registry from which its image is pulled afterwards.
    fn registry(&self) -> &str {
        split_registry(self.new_image.as_deref().unwrap_or(&self.service.image)).0
    }
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Reads the logins that are recorded with these services from the state directory of the manager.
    pub async fn recorded(&self, in_state: &Recorded<'_>, dir: &Path) -> recorded::Known {
        in_state.read(dir, self.services.iter().map(|planned| planned.service.id.clone()).collect()).await
    }
}

impl Renewal<'_> {
    /// Lists the services, and finds those that are to be changed.
    pub async fn plan(&self) -> Result<Plan> {
        let mut plan = Plan { services: Vec::new(), without_login: 0, elsewhere: 0 };
        for object in self.objects.services().await? {
            let Some(service) = LivingService::of(&object)? else { continue };
            let Some(map) = self.scope.map_of(&service) else { continue };
            let new_image = map.apply_once(&service.image);
            let planned = Planned { service, new_image };
            if self.only.as_ref().is_some_and(|only| !only.matches(planned.registry())) {
                plan.elsewhere += 1;
            } else if planned.new_image.is_none() && !self.logins.is_configured(planned.registry()) {
                plan.without_login += 1;
            } else {
                plan.services.push(planned);
            }
        }
        plan.services.sort_by(|a, b| a.service.name.cmp(&b.service.name));
        Ok(plan)
    }

    /// Changes the services of a plan, one after the other. What cannot be done with one of them is in its outcome, and the
    /// next one follows.
    pub async fn carry_out(&self, plan: &Plan, known: &recorded::Known) -> Result<Vec<ServiceOutcome>> {
        let places = self.places(plan, known).await?;
        let mut asked = Asked::of(self.logins);
        let mut outcomes = Vec::new();
        for planned in &plan.services {
            self.shutdown.check()?;
            outcomes.push(self.change(planned, &mut asked, known, &places).await);
        }
        if !self.dry_run {
            self.end_surplus(plan, &outcomes).await;
        }
        Ok(outcomes)
    }

    /// Finds out which images cannot be pulled from their new places.
    async fn places(&self, plan: &Plan, known: &recorded::Known) -> Result<Places> {
        if plan.services.iter().all(|planned| planned.new_image.is_none()) {
            return Ok(Places::default());
        }
        let nodes = platforms::of_ready(&self.objects.nodes().await?);
        Ok(Places::ask(self.config, plan, &nodes, known).await)
    }

    /// Looks after services whose update starts new tasks first, also those that an earlier run has updated.
    async fn end_surplus(&self, plan: &Plan, outcomes: &[ServiceOutcome]) {
        let mut suspects = Suspects::default();
        for (planned, it) in plan.services.iter().zip(outcomes).filter(|(it, _)| it.service.starts_first()) {
            match &it.outcome {
                outcome if outcome.is_change() => suspects.updated.insert(it.id.clone()),
                Outcome::Same => suspects.others.insert(planned.service.id.clone()),
                _ => false,
            };
        }
        if let Err(error) = suspects.end_surplus(self.objects).await {
            tracing::warn!("it is not known whether services have too many tasks: {error:#}");
        }
    }

    async fn change(
        &self,
        planned: &Planned,
        asked: &mut Asked<'_>,
        known: &recorded::Known,
        places: &Places,
    ) -> ServiceOutcome {
        let told = |outcome| ServiceOutcome::of(planned, outcome);
        if let Some(job) = planned.service.obstacle().filter(Obstacle::is_job) {
            return told(Outcome::left(&job));
        }
        let login = match asked.login(planned.registry()).await {
            Ok(login) => login,
            Err(why) => return told(Outcome::NoLogin { why }),
        };
        // Before anything else: an earlier run may have begun the update that is under way.
        if planned.new_image.is_none() && login.is_some() && known.of(&planned.service.id) == login.as_ref() {
            return told(Outcome::Same);
        }
        match update::obstacle(self.objects, &planned.service).await {
            Ok(None) => {}
            Ok(Some(obstacle)) => return told(Outcome::left(&obstacle)),
            Err(error) => return told(Outcome::Failed { why: format!("{error:#}") }),
        }
        if let Some(obstacle) = places.obstacle(&planned.service.id) {
            return told(Outcome::left(obstacle));
        }
        let done = || if planned.new_image.is_some() { Outcome::Renamed } else { Outcome::Renewed };
        if self.dry_run {
            return told(done());
        }
        let header = header(planned, login.as_ref());
        let wanted = Wanted { planned, header: header.as_ref().map(|header| header.as_str()) };
        let outcome = match update::update(self.objects, self.shutdown, &wanted).await {
            Ok(Ended::Updated) => done(),
            Ok(Ended::Left(obstacle)) => Outcome::left(&obstacle),
            Err(error) => Outcome::Failed { why: format!("{error:#}") },
        };
        failpoint::reach("service-updated");
        told(outcome)
    }
}

/// Returns the credentials that are sent; without any the engine keeps those that are recorded, which are for the old
/// registry only.
fn header(planned: &Planned, login: Option<&Login>) -> Option<zeroize::Zeroizing<String>> {
    let registry = planned.registry();
    match login {
        Some(login) => Some(login.for_engine(registry)),
        None if registry == split_registry(&planned.service.image).0 => None,
        None => Some(Login::none_for_engine()),
    }
}
