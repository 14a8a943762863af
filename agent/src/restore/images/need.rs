//! One image that services need.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use swarm_state::inventory::ObjectKind;
use swarmdr_registry::{ImageName, Login, NotAnImage, Platform};

use super::platforms;
use crate::{archive::open_state::OpenState, restore::items::image};

/// An image as services name it, with everything that is known of it without asking a registry.
#[derive(Debug, Clone)]
pub struct Need {
    /// The name as it is written in the specs.
    pub image: String,
    /// The name taken apart.
    pub name: Result<ImageName, NotAnImage>,
    /// Names of the services, sorted.
    pub services: Vec<String>,
    /// Platforms that it has to run on; none if no node was recorded.
    pub platforms: Vec<Platform>,
    /// Logins that are recorded with the services, each once.
    pub recorded: Vec<Login>,
    /// Services whose recorded login cannot be read.
    pub unreadable: Vec<String>,
}

/// Returns the images that the services of a state need, sorted by name. Services of every mode count, and those without
/// replicas too: they are there to be started.
pub async fn of(state: &OpenState) -> Result<Vec<Need>> {
    let nodes = platforms::of_nodes(&state.inventory);
    let services = || state.items.iter().filter(|item| item.kind == ObjectKind::Service);
    let wanted = services().filter(|item| item.has_registry_auth).map(|item| (item.kind, item.id.clone()));
    let values = state.values(wanted.collect()).await?;
    let mut needs: BTreeMap<String, (Need, BTreeSet<Platform>)> = BTreeMap::new();
    for item in services() {
        let Some(image) = image::of_spec(&item.spec).filter(|image| !image.is_empty()) else { continue };
        let (need, wanted) = needs.entry(image.to_owned()).or_insert_with(|| (Need::of(image), BTreeSet::new()));
        need.services.push(item.name.clone());
        wanted.extend(platforms::of_service(&item.spec, &nodes));
        match recorded(values.get(ObjectKind::Service, &item.id)) {
            Ok(Some(login)) if !need.recorded.contains(&login) => need.recorded.push(login),
            Ok(_) => {}
            Err(()) => need.unreadable.push(item.name.clone()),
        }
    }
    let finished = needs.into_values().map(|(mut need, wanted)| {
        need.services.sort();
        need.platforms = wanted.into_iter().collect();
        need
    });
    Ok(finished.collect())
}

fn recorded(value: Option<&[u8]>) -> Result<Option<Login>, ()> {
    let text = std::str::from_utf8(value.unwrap_or_default()).map_err(drop)?;
    Login::of_engine(text).map_err(drop)
}

impl Need {
    fn of(image: &str) -> Self {
        Self {
            image: image.to_owned(),
            name: image.parse(),
            services: Vec::new(),
            platforms: Vec::new(),
            recorded: Vec::new(),
            unreadable: Vec::new(),
        }
    }
}
