//! The comparison of what came back with the backup, after everything was made. Nothing is undone from here on.

use std::time::Duration;

use anyhow::Result;
use swarm_state::{inventory::ObjectKind, specs::Item};

use super::{
    contents::Content,
    living::Living,
    plan::{Plan, Planned},
    sameness::{self, Difference, Sameness},
};
use crate::host::{engine::objects::Objects, wait};

/// How long the swarm may take to give addresses to new networks.
const ALLOCATED: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(250);

/// Returns what is not as in the backup, as sentences.
pub async fn confirm(objects: &Objects, plan: &Plan, items: &[Item]) -> Vec<String> {
    let made: Vec<&Planned> = plan.changes().collect();
    let look = async || look(objects, &made, items).await;
    let settled = wait::poll(ALLOCATED, POLL, async || match look().await {
        Ok((found, false)) => Some(Ok(found)),
        _ => None,
    });
    let found = match settled.await {
        Some(found) => found,
        None => look().await.map(|(found, _)| found),
    };
    found.unwrap_or_else(|error| vec![format!("what came back could not be compared with the backup: {error:#}")])
}

/// Compares everything; true if a network has no addresses yet.
async fn look(objects: &Objects, made: &[&Planned], items: &[Item]) -> Result<(Vec<String>, bool)> {
    let living = Living::read(objects, Vec::new()).await?;
    let mut is_unfinished = false;
    let mut found = Vec::new();
    for planned in made {
        let sameness = compare(planned, items, &living);
        is_unfinished |= planned.kind == ObjectKind::Network && matches!(sameness, Some(Sameness::Unknown(..)));
        found.extend(told(planned, sameness));
    }
    Ok((found, is_unfinished))
}

/// Returns `None` for an object that is gone again.
fn compare(planned: &Planned, items: &[Item], living: &Living) -> Option<Sameness> {
    let lives = living.with_id(planned.kind, planned.id.as_deref()?)?;
    if planned.kind == ObjectKind::Service {
        return Some(sameness::of_service(&planned.spec, lives, living));
    }
    let item = items.iter().find(|item| item.kind == planned.kind && item.id == planned.backup_id)?;
    Some(sameness::of_item(item, &planned.name, Content::Same, lives))
}

fn told(planned: &Planned, sameness: Option<Sameness>) -> Option<String> {
    let (kind, name) = (planned.kind, &planned.name);
    match sameness {
        Some(Sameness::Same) => None,
        None => Some(format!("{kind} `{name}` came back, and is gone again")),
        Some(Sameness::Labels(found) | Sameness::Other(found)) => {
            let all: Vec<String> = found.iter().map(shown).collect();
            Some(format!(
                "{kind} `{name}` came back, but the engine made it differ from the backup: {}",
                all.join("; ")
            ))
        }
        Some(Sameness::Unknown(why, _)) => {
            let what = format!("{kind} `{name}` came back, but {why}");
            Some(match kind {
                ObjectKind::Network => {
                    format!(
                        "{what}: its subnet may overlap that of another network, and tasks that use it stay pending"
                    )
                }
                _ => what,
            })
        }
    }
}

fn shown(difference: &Difference) -> String {
    let Difference { path, backup, living } = difference;
    format!("{path} is `{living}` and was `{backup}`")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{living::testing, plan::Action},
        *,
    };

    fn planned(kind: ObjectKind, id: &str, spec: serde_json::Value) -> Planned {
        Planned {
            kind,
            name: "web".to_owned(),
            backup_name: "web".to_owned(),
            backup_id: "w0".to_owned(),
            id: Some(id.to_owned()),
            action: Action::Create,
            dependency: false,
            differences: Vec::new(),
            living_spec: serde_json::Value::Null,
            spec,
            has_registry_auth: false,
        }
    }

    #[test]
    fn what_the_engine_dropped_is_told_field_by_field() {
        let living = Living::of(vec![testing::service("w1", json!({ "Name": "web" }))], Vec::new());
        let service = |id: &str, spec| planned(ObjectKind::Service, id, spec);
        let of = |planned: &Planned| told(planned, compare(planned, &[], &living));
        assert_eq!(of(&service("w1", json!({ "Name": "web" }))), None);
        let dropped = of(&service("w1", json!({ "Name": "web", "Privileges": { "NoNewPrivileges": true } })));
        assert!(dropped.as_ref().is_some_and(|told| told.contains("Privileges")), "{dropped:?}");
        assert!(of(&service("w2", json!({}))).is_some_and(|told| told.contains("gone again")));
    }
}
