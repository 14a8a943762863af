//! One image that services need.

use std::collections::BTreeSet;

use anyhow::Result;
use swarm_state::{inventory::ObjectKind, specs::Item};
use swarmdr_registry::{ImageName, Login, NotAnImage, Platform, split_registry};

use super::{
    logins::{Logins, Origin},
    platforms,
};
use crate::{archive::open_state::OpenState, restore::items::image};

/// An image as services name it, with the login that a restored swarm would have, and everything else that is known of it
/// without asking a registry.
#[derive(Debug, Clone)]
pub struct Need {
    /// The name as it is written in the specs.
    pub image: String,
    /// The name taken apart.
    pub name: Result<ImageName, NotAnImage>,
    /// Names of the services, sorted.
    pub services: Vec<String>,
    /// Platforms that it has to run on; none if no node was recorded.
    pub platforms: BTreeSet<Platform>,
    /// Where the login comes from.
    pub origin: Origin,
    /// The login that is recorded with these services.
    pub recorded: Option<Login>,
}

/// Returns the images that the services of a state need, sorted by name; one that is used with several logins once for
/// each. Services of every mode count, and those without replicas too: they are there to be started.
pub async fn of(state: &OpenState, logins: &Logins<'_>) -> Result<Vec<Need>> {
    let nodes = platforms::of_nodes(&state.inventory);
    let services = || state.items.iter().filter(|item| item.kind == ObjectKind::Service);
    let wanted = services().filter(|item| item.has_registry_auth).map(|item| (item.kind, item.id.clone()));
    let values = state.values(wanted.collect()).await?;
    let mut needs: Vec<Need> = Vec::new();
    for item in services() {
        let Some(image) = image::of_spec(&item.spec).filter(|image| !image.is_empty()) else { continue };
        let recorded = recorded(item, values.get(ObjectKind::Service, &item.id));
        let origin = logins.origin(split_registry(image).0, recorded.is_some());
        let at =
            needs.iter().position(|need| need.image == image && (need.origin, &need.recorded) == (origin, &recorded));
        let at = at.unwrap_or_else(|| {
            needs.push(Need::new(image, origin, recorded));
            needs.len() - 1
        });
        needs[at].services.push(item.name.clone());
        needs[at].platforms.extend(platforms::of_service(&item.spec, &nodes));
    }
    needs.iter_mut().for_each(|need| need.services.sort());
    needs.sort_by(|a, b| (&a.image, &a.services).cmp(&(&b.image, &b.services)));
    Ok(needs)
}

/// Returns the login that is recorded with a service. One that cannot be read is none: an engine could not use it either.
fn recorded(item: &Item, value: Option<&[u8]>) -> Option<Login> {
    let text = std::str::from_utf8(value.unwrap_or_default()).unwrap_or("?");
    let login = Login::of_engine(text);
    if login.is_err() {
        tracing::warn!("the registry login of {} cannot be read", item.described());
    }
    login.ok().flatten()
}

impl Need {
    pub fn new(image: &str, origin: Origin, recorded: Option<Login>) -> Self {
        Self {
            image: image.to_owned(),
            name: image.parse(),
            services: Vec::new(),
            platforms: BTreeSet::new(),
            origin,
            recorded,
        }
    }
}
