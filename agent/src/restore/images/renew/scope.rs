//! Services that a renewal is about, and where their images are to be.

use serde::{Deserialize, Serialize};
use swarmdr_registry::{ImageMap, Rule};

use super::living::LivingService;

/// What earlier runs have not done. Part of a journal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Owed {
    /// The rules that those runs were given.
    pub rules: Vec<Rule>,
    pub services: Vec<OwedService>,
}

/// A service that was left or could not be changed, with the image that it had. With another one nothing is owed: somebody
/// has looked after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedService {
    pub id: String,
    pub image: String,
}

/// Joins rules; those that come first count.
pub fn joined(first: &[Rule], second: &[Rule]) -> Vec<Rule> {
    let second = second.iter().filter(|rule| !first.contains(rule));
    first.iter().chain(second).cloned().collect()
}

/// All services, or only those that something is owed to.
#[derive(Debug, Default)]
pub struct Scope {
    /// Other places of the images of all services; `None` if most are not meant.
    all: Option<ImageMap>,
    /// Other places of the images of the services below.
    owed_map: ImageMap,
    owed: Vec<OwedService>,
}

impl Scope {
    /// All services, with these places of their images; with an empty map no image gets another name.
    pub fn all(map: ImageMap) -> Self {
        Self { all: Some(map), ..Self::default() }
    }

    /// Also the services that something is owed to.
    pub fn new(all: Option<ImageMap>, owed_map: ImageMap, owed: Vec<OwedService>) -> Self {
        Self { all, owed_map, owed }
    }

    /// Returns the places of images that count for a service; `None` if it is not meant.
    pub(super) fn map_of(&self, service: &LivingService) -> Option<&ImageMap> {
        let is_it = |owed: &OwedService| owed.id == service.id && owed.image == service.image;
        if self.owed.iter().any(is_it) { Some(&self.owed_map) } else { self.all.as_ref() }
    }
}
