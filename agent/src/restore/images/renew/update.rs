//! The update of one service.

use std::time::Duration;

use anyhow::Result;
use swarm_state::inventory::ObjectKind;

use super::{
    Planned,
    living::{LivingService, Obstacle},
    slots,
};
use crate::{
    host::{
        engine::{
            Refusal,
            objects::{NewObject, Objects},
        },
        shutdown::Shutdown,
        wait::{self, Probe},
    },
    restore::items::image,
};

/// Time limit of an update that keeps conflicting with what the swarm itself writes.
const LIMIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(250);

/// A service with what becomes of it.
pub struct Wanted<'a> {
    pub planned: &'a Planned,
    /// Credentials to send, in the form of the header.
    pub header: Option<&'a str>,
}

pub enum Ended {
    Updated,
    Left(Obstacle),
}

/// Updates a service as it is at this moment. It is read right before, and once more after each conflict: an update may
/// have begun meanwhile.
pub async fn update(objects: &Objects, shutdown: &Shutdown, wanted: &Wanted<'_>) -> Result<Ended> {
    let attempt = async || {
        shutdown.check()?;
        let service = match objects.one(ObjectKind::Service, &wanted.planned.service.id).await {
            Err(error) if Refusal::is_not_found(&error) => return Ok(Probe::Done(Ended::Left(Obstacle::Removed))),
            read => LivingService::of(&read?)?,
        };
        let Some(service) = service.filter(|service| service.image == wanted.planned.service.image) else {
            return Ok(Probe::Done(Ended::Left(Obstacle::OtherImage)));
        };
        if let Some(obstacle) = obstacle(objects, &service).await? {
            return Ok(Probe::Done(Ended::Left(obstacle)));
        }
        match send(objects, &service, wanted).await {
            Err(error) if Refusal::is_out_of_sequence(&error) => Ok(Probe::NotYet(error)),
            sent => sent.map(|()| Probe::Done(Ended::Updated)),
        }
    };
    wait::until(LIMIT, POLL, "the swarm to leave the service alone", attempt).await
}

/// Returns the reason to leave a service alone at this moment.
pub async fn obstacle(objects: &Objects, service: &LivingService) -> Result<Option<Obstacle>> {
    match service.obstacle() {
        None if slots::may_end(&service.spec) => Ok(slots::obstacle(&objects.tasks(&service.id).await?)),
        known => Ok(known),
    }
}

async fn send(objects: &Objects, service: &LivingService, wanted: &Wanted<'_>) -> Result<()> {
    let mut spec = service.spec.clone();
    if let Some(name) = &wanted.planned.new_image {
        image::set(&mut spec, name);
    }
    let registry_auth = wanted.header.map(str::as_bytes);
    let new = NewObject { kind: ObjectKind::Service, spec: &spec, content: None, registry_auth };
    objects.update_service(&service.id, service.version, new).await
}
