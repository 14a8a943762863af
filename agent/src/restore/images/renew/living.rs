//! A service that lives, as far as a change of its image or its login is concerned.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::restore::items::{image, normal};

/// States of an update in which a new one would make it go on, or forget that it was paused (moby
/// `api/types/swarm/service.go`, `UpdateState`).
const UNDER_WAY: [&str; 4] = ["updating", "paused", "rollback_started", "rollback_paused"];

/// A service whose tasks run containers of an image.
#[derive(Debug)]
pub struct LivingService {
    pub id: String,
    pub name: String,
    pub version: u64,
    pub image: String,
    /// The spec as it was read; sent back as a whole.
    pub spec: Value,
    /// Whether `docker service rollback` leads to another service than this one, apart from the login.
    pub can_roll_back: bool,
    obstacle: Option<Obstacle>,
}

/// Reason to leave a service alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// An update of it is in this state.
    UnderWay(String),
    /// It is a job that has not come to its end, and an update would begin another run of it.
    Job,
    /// It is a job that has come to its end.
    FinishedJob,
    /// Its tasks have come to their end, and an update would begin them again.
    Ended,
    /// As `Ended`, but some of its tasks run.
    PartlyEnded,
    /// Its image cannot be pulled from the new place.
    NotInPlace(String),
    /// It is not known whether its image can be pulled from the new place.
    PlaceUnknown(String),
    /// It has another image than when the plan was made.
    OtherImage,
    /// Somebody removed it meanwhile.
    Removed,
}

impl Obstacle {
    pub fn is_job(&self) -> bool {
        matches!(self, Self::Job | Self::FinishedJob)
    }

    /// Whether it does not end by itself.
    pub fn stays(&self) -> bool {
        matches!(self, Self::UnderWay(state) if state.ends_with("paused"))
    }

    /// Whether a later run is to try again what this one has not done.
    pub fn is_owed(&self) -> bool {
        matches!(self, Self::UnderWay(_) | Self::NotInPlace(_) | Self::PlaceUnknown(_))
    }

    /// Whether somebody has to look after the service.
    pub fn needs_attention(&self) -> bool {
        !matches!(self, Self::FinishedJob | Self::Ended | Self::Removed)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnderWay(state) if self.stays() => write!(
                f,
                "its update is `{state}`, and would go on: end it with `docker service update --with-registry-auth` or \
                 `docker service rollback`"
            ),
            Self::UnderWay(state) => write!(f, "its update is `{state}`: run this again when that has ended"),
            Self::Job => f.write_str(
                "it is a job that has not ended, and every update begins it again: \
                 `docker service update --with-registry-auth` does that if you want it",
            ),
            Self::FinishedJob => f.write_str("it is a job that has ended, and every update begins it again"),
            Self::Ended => f.write_str("its tasks have ended for good, and every update begins them again"),
            Self::PartlyEnded => f.write_str(
                "some of its tasks have ended for good, and every update begins them again: \
                 `docker service update --with-registry-auth` does that if you want it",
            ),
            Self::NotInPlace(why) => f.write_str(why),
            Self::PlaceUnknown(why) => write!(
                f,
                "it is not known whether it can be pulled: {why}; if nodes can, `docker service update --image` changes it"
            ),
            Self::OtherImage => f.write_str("somebody gave it another image while this ran: run this again"),
            Self::Removed => f.write_str("somebody removed it while this ran"),
        }
    }
}

impl LivingService {
    /// Reads a service as the engine lists it; `None` if it has no image, as one of a plugin.
    pub fn of(object: &Value) -> Result<Option<Self>> {
        let spec = &object["Spec"];
        let Some(image) = image::of_spec(spec).filter(|image| !image.is_empty()) else { return Ok(None) };
        let id = object["ID"].as_str().context("a service is listed without an id")?;
        let version = object["Version"]["Index"].as_u64();
        let previous = &object["PreviousSpec"];
        Ok(Some(Self {
            id: id.to_owned(),
            name: spec["Name"].as_str().unwrap_or(id).to_owned(),
            version: version.with_context(|| format!("the service {id} is listed without a version"))?,
            image: image.to_owned(),
            spec: spec.clone(),
            can_roll_back: previous.is_object() && normal::service(previous) != normal::service(spec),
            obstacle: obstacle(object),
        }))
    }

    /// Whether an update starts a new task before it ends the old one.
    pub fn starts_first(&self) -> bool {
        self.spec["UpdateConfig"]["Order"] == "start-first"
    }

    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle.clone()
    }
}

fn obstacle(object: &Value) -> Option<Obstacle> {
    if is_job(object) {
        return Some(if has_ended(object) { Obstacle::FinishedJob } else { Obstacle::Job });
    }
    let state = object["UpdateStatus"]["State"].as_str().unwrap_or_default();
    UNDER_WAY.contains(&state).then(|| Obstacle::UnderWay(state.to_owned()))
}

fn is_job(object: &Value) -> bool {
    let mode = &object["Spec"]["Mode"];
    object["JobStatus"].is_object() || mode["ReplicatedJob"].is_object() || mode["GlobalJob"].is_object()
}

/// Whether all tasks of a job are complete. For a job on each node the engine counts those that are not (swarmkit
/// `manager/controlapi/service.go`, `ListServiceStatuses`).
fn has_ended(job: &Value) -> bool {
    let status = |field: &str| job["ServiceStatus"][field].as_u64();
    let replicated = &job["Spec"]["Mode"]["ReplicatedJob"];
    match replicated.is_object() {
        true => {
            let wanted = replicated["TotalCompletions"].as_u64().or(replicated["MaxConcurrent"].as_u64()).unwrap_or(1);
            status("CompletedTasks").is_some_and(|completed| completed >= wanted)
        }
        false => status("DesiredTasks") == Some(0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(more: Value) -> Value {
        let mut object = json!({
            "ID": "s1", "Version": { "Index": 7 },
            "Spec": { "Name": "web", "TaskTemplate": { "ContainerSpec": { "Image": "r:5000/web:1" } } },
        });
        for (path, value) in more.as_object().into_iter().flatten() {
            let mut place = &mut object;
            for part in path.split('/') {
                place = &mut place[part];
            }
            *place = value.clone();
        }
        object
    }

    #[test]
    fn what_an_update_would_make_go_on_is_left() {
        let job = |mode: Value, status: Value| json!({ "Spec/Mode": mode, "JobStatus": {}, "ServiceStatus": status });
        let replicated = |total: u64| json!({ "ReplicatedJob": { "MaxConcurrent": 1, "TotalCompletions": total } });
        for (more, expected) in [
            (json!({}), None),
            (json!({ "UpdateStatus": { "State": "completed" } }), None),
            (json!({ "UpdateStatus": { "State": "rollback_completed" } }), None),
            (json!({ "UpdateStatus": { "State": "updating" } }), Some(Obstacle::UnderWay("updating".to_owned()))),
            (
                json!({ "UpdateStatus/State": "rollback_paused" }),
                Some(Obstacle::UnderWay("rollback_paused".to_owned())),
            ),
            (job(replicated(2), json!({ "CompletedTasks": 1, "DesiredTasks": 1 })), Some(Obstacle::Job)),
            (job(replicated(2), json!({ "CompletedTasks": 2, "DesiredTasks": 1 })), Some(Obstacle::FinishedJob)),
            (job(replicated(2), json!(null)), Some(Obstacle::Job)),
            (job(json!({ "GlobalJob": {} }), json!({ "DesiredTasks": 0 })), Some(Obstacle::FinishedJob)),
            (job(json!({ "GlobalJob": {} }), json!({ "DesiredTasks": 3 })), Some(Obstacle::Job)),
        ] {
            let read = LivingService::of(&service(more.clone())).expect("is read").expect("has an image");
            assert_eq!(read.obstacle(), expected, "{more}");
        }
    }

    #[test]
    fn a_rollback_that_leads_to_the_same_is_no_loss() {
        let spec = service(json!({}))["Spec"].clone();
        let older = service(json!({ "Spec/TaskTemplate/ContainerSpec/Image": "r:5000/web:0" }))["Spec"].clone();
        for (previous, expected) in [(json!(null), false), (spec, false), (older, true)] {
            let read = LivingService::of(&service(json!({ "PreviousSpec": previous }))).expect("is read");
            assert_eq!(read.expect("has an image").can_roll_back, expected);
        }
    }
}
