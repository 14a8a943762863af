//! New places of images: whether they can be pulled there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use swarmdr_registry::{Platform, split_registry};

use super::{Plan, Planned, living::Obstacle, recorded::Known};
use crate::{
    config::Config,
    restore::images::{
        check::{self, Options},
        line::Line,
        logins::Origin,
        need::Need,
        platforms,
    },
};

/// Time that one registry gets for all images. One that is not there must not keep somebody waiting.
const LIMIT: Duration = Duration::from_secs(60);

/// Time for which a busy registry may ask to come back later, in all.
const PATIENCE: Duration = Duration::from_secs(30);

/// Services whose image cannot be pulled from its new place, or may not be there, with the reason to leave them.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<String, Obstacle>);

impl Places {
    /// Asks for each image that gets another name once, with the login that its services will have. `nodes` are the
    /// platforms of nodes that are there: those of others may never come back.
    pub async fn ask(config: &Config, plan: &Plan, nodes: &BTreeSet<Platform>, known: &Known) -> Self {
        let mut registries: BTreeMap<&str, Vec<Need>> = BTreeMap::new();
        for planned in plan.services.iter().filter(|planned| is_asked(planned)) {
            add(registries.entry(planned.registry()).or_default(), planned, nodes, known);
        }
        let answers = registries.iter().map(|(registry, needs)| ask_one(config, registry, needs));
        Self(join_all(answers).await.into_iter().flatten().collect())
    }

    pub fn obstacle(&self, service: &str) -> Option<&Obstacle> {
        self.0.get(service)
    }
}

fn is_asked(planned: &Planned) -> bool {
    planned.new_image.is_some() && !planned.service.obstacle().is_some_and(|obstacle| obstacle.is_job())
}

/// Adds a service to the need that it shares with others. The services of these needs are ids.
fn add(needs: &mut Vec<Need>, planned: &Planned, nodes: &BTreeSet<Platform>, known: &Known) {
    let Planned { service, new_image: Some(image) } = planned else { return };
    let is_same = planned.registry() == split_registry(&service.image).0;
    let recorded = known.of(&service.id).filter(|_| is_same).cloned();
    let platforms = platforms::of_service(&service.spec, nodes);
    let is_it = |need: &&mut Need| need.image == *image && need.recorded == recorded && need.platforms == platforms;
    if let Some(need) = needs.iter_mut().find(is_it) {
        need.services.push(service.id.clone());
        return;
    }
    let mut need = Need::new(image, Origin::Anonymous, recorded);
    need.services.push(service.id.clone());
    need.platforms = platforms;
    needs.push(need);
}

async fn ask_one(config: &Config, registry: &str, needs: &[Need]) -> Vec<(String, Obstacle)> {
    let of = |services: &[String], obstacle: &Obstacle| -> Vec<_> {
        services.iter().map(|id| (id.clone(), obstacle.clone())).collect()
    };
    match tokio::time::timeout(LIMIT, check::run(config, needs, &Options::default(), PATIENCE)).await {
        Ok(lines) => lines.iter().filter_map(|line| Some(of(&line.services, &obstacle(line)?))).flatten().collect(),
        Err(_) => {
            let late = Obstacle::PlaceUnknown(format!("{registry} gave no answer within {} s", LIMIT.as_secs()));
            needs.iter().flat_map(|need| of(&need.services, &late)).collect()
        }
    }
}

fn obstacle(line: &Line) -> Option<Obstacle> {
    match line.trouble() {
        Some(trouble) => Some(Obstacle::NotInPlace(trouble.problems.join("; "))),
        None => (!line.unknown.is_empty()).then(|| Obstacle::PlaceUnknown(line.unknown.join("; "))),
    }
}
