//! What became of one service.

use serde::Serialize;
use swarmdr_archive::untrusted::shown;

use super::{OwedService, Planned, living::Obstacle};

/// A service, and what became of it. Part of a stable JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceOutcome {
    pub service: String,
    pub id: String,
    /// The image as it was.
    pub image: String,
    /// Other name of the image, if it gets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_image: Option<String>,
    /// Registry of the image afterwards.
    pub registry: String,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether `docker service rollback` had something to go back to, which it has no more.
    pub rollback_lost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The image has the other name, with the login for its registry.
    Renamed,
    /// The new login is recorded.
    Renewed,
    /// The login is recorded already.
    Same,
    /// It was left alone.
    Left {
        why: String,
        needs_attention: bool,
        #[serde(skip)]
        is_owed: bool,
    },
    /// The configured helper or file gave no login.
    NoLogin { why: String },
    /// The swarm did not take the update.
    Failed { why: String },
}

impl Outcome {
    pub fn left(obstacle: &Obstacle) -> Self {
        let (needs_attention, is_owed) = (obstacle.needs_attention(), obstacle.is_owed());
        Self::Left { why: obstacle.to_string(), needs_attention, is_owed }
    }

    pub fn is_change(&self) -> bool {
        matches!(self, Self::Renamed | Self::Renewed)
    }
}

impl ServiceOutcome {
    pub(super) fn of(planned: &Planned, outcome: Outcome) -> Self {
        let service = &planned.service;
        Self {
            service: service.name.clone(),
            id: service.id.clone(),
            image: service.image.clone(),
            new_image: planned.new_image.clone(),
            registry: planned.registry().to_owned(),
            rollback_lost: service.can_roll_back && outcome.is_change(),
            outcome,
        }
    }

    /// Returns the service if a later run is to try again.
    pub fn owed(&self) -> Option<OwedService> {
        let is_owed = match &self.outcome {
            Outcome::Left { is_owed, .. } => *is_owed,
            Outcome::NoLogin { .. } | Outcome::Failed { .. } => true,
            Outcome::Renamed | Outcome::Renewed | Outcome::Same => false,
        };
        is_owed.then(|| OwedService { id: self.id.clone(), image: self.image.clone() })
    }

    /// Describes what somebody has to look after; `None` if there is nothing.
    pub fn attention(&self) -> Option<String> {
        let (name, what) = (&self.service, self.aim());
        match &self.outcome {
            Outcome::Left { why, needs_attention: true, .. } => Some(format!("the service {name} {what}: {why}")),
            Outcome::NoLogin { why } | Outcome::Failed { why } => Some(format!("the service {name} {what}: {why}")),
            _ => None,
        }
    }

    fn aim(&self) -> String {
        match &self.new_image {
            Some(new) => format!("keeps its image {} and does not get {new}", self.image),
            None => format!("keeps its old login for {}", self.registry),
        }
    }

    /// Returns a line of a report, without a line that [`attention`](Self::attention) replaces.
    pub fn line(&self, dry_run: bool) -> Option<String> {
        let service = shown(&self.service);
        let would = if dry_run { "would be " } else { "" };
        match &self.outcome {
            Outcome::Renamed => {
                let (from, to) = (shown(&self.image), shown(self.new_image.as_deref().unwrap_or_default()));
                Some(format!("{would}renamed   {service}: {from} is {to}"))
            }
            Outcome::Renewed => Some(format!("{would}renewed   {service}, for {}", shown(&self.registry))),
            Outcome::Same => Some(format!("same      {service}, for {}", shown(&self.registry))),
            Outcome::Left { why, needs_attention: false, .. } => Some(format!("left      {service}: {}", shown(why))),
            _ => None,
        }
    }

    /// Says what an update has taken away.
    pub fn loss(&self) -> Option<String> {
        self.rollback_lost.then(|| {
            format!(
                "`docker service rollback {}` would bring back only the old {}: an update keeps one spec before it",
                self.service,
                if self.new_image.is_some() { "image name" } else { "login" }
            )
        })
    }
}
