//! The nodes of a swarm as its leader lists them at one moment.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    host::engine::{Engine, EngineFacts, listing, objects::Objects, view::Node},
    outcome::{exit::Exit, failure::Failure},
    restore::{images::leader, items::undelete::checks},
};

/// A node of the list.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    pub node: Node,
    /// Labels that the engine was started with.
    pub engine_labels: BTreeMap<String, String>,
    /// Moment of the last change of anything about the node, its state included.
    pub updated_at: Option<Timestamp>,
    /// As the engine listed it.
    pub raw: Value,
}

impl Listed {
    pub fn id(&self) -> &str {
        &self.node.id
    }

    /// Hostname, or the id where there is none.
    pub fn name(&self) -> &str {
        if self.node.hostname.is_empty() { &self.node.id } else { &self.node.hostname }
    }

    pub fn of(raw: Value) -> Option<Self> {
        let node = listing::nodes(&Value::Array(vec![raw.clone()])).pop()?;
        let labels = raw["Description"]["Engine"]["Labels"].as_object();
        let labels = labels.into_iter().flatten();
        Some(Self {
            node,
            engine_labels: labels
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
            updated_at: raw["UpdatedAt"].as_str().and_then(|text| text.parse().ok()),
            raw,
        })
    }

    /// Sends the node's spec back with a change; nothing else of it is touched. The engine refuses if somebody else has
    /// changed the node since it was read.
    pub async fn update(&self, objects: &Objects, change: impl FnOnce(&mut Value)) -> Result<()> {
        let version =
            self.node.version.with_context(|| format!("the node {} is listed without a version", self.id()))?;
        let mut spec = self.raw["Spec"].clone();
        change(&mut spec);
        objects.update_node(self.id(), version, &spec).await
    }
}

/// Sets a label in the spec of a node, or removes it; the others stay.
pub fn set_label(spec: &mut Value, name: &str, value: Option<String>) {
    if !spec["Labels"].is_object() && value.is_some() {
        spec["Labels"] = json!({});
    }
    match (spec["Labels"].as_object_mut(), value) {
        (Some(labels), Some(value)) => drop(labels.insert(name.to_owned(), value.into())),
        (Some(labels), None) => drop(labels.remove(name)),
        (None, _) => {}
    }
}

/// A swarm whose leader is the engine of this host.
#[derive(Debug)]
pub struct Led {
    pub engine: Engine,
    pub objects: Objects,
    pub facts: EngineFacts,
    pub own: String,
}

impl Led {
    /// Refuses an engine that is no manager of a swarm with a leader (exit 4), and every manager but the leader (exit 3).
    /// `does` is what the leader does, in the words of the refusal.
    pub async fn of(engine: Engine, does: &str) -> Result<Self> {
        let facts = engine.facts().await?;
        if facts.swarm.is_manager && !facts.swarm.works() {
            return Err(without_leader(&facts.swarm.error));
        }
        checks::cluster(&facts)?;
        leader::require(&engine, &facts, does).await?;
        let own = facts.swarm.node_id.clone().context("the engine does not say which node it is")?;
        Ok(Self { objects: engine.objects().await?, engine, facts, own: own.to_string() })
    }

    /// Lists all nodes, sorted by id. An error if another manager leads by now.
    pub async fn nodes(&self) -> Result<Vec<Listed>> {
        let mut nodes: Vec<Listed> = self.objects.nodes().await?.into_iter().filter_map(Listed::of).collect();
        nodes.sort_by(|a, b| a.id().cmp(b.id()));
        match nodes.iter().find(|node| node.node.manager.as_ref().is_some_and(|manager| manager.leader)) {
            Some(leader) if leader.id() == self.own => Ok(nodes),
            Some(leader) => Err(Failure::new(
                Exit::NotOurTurn,
                format!("{} leads the swarm by now, and goes on when this is run there", leader.name()),
            )
            .into()),
            None => Err(anyhow!("the swarm has no leader")),
        }
    }
}

/// The refusal of a manager whose swarm cannot be changed.
fn without_leader(error: &str) -> anyhow::Error {
    Failure::refused("the swarm of this manager cannot be changed at this moment: it has no leader, or is locked")
        .advice("bring back the managers that are missing, or unlock this one: see `journalctl -u docker`")
        .advice(
            "if the others are gone for good, `swarmdr-agent recover-quorum` here makes a swarm of this manager alone",
        )
        .because(anyhow!(error.to_owned()))
        .into()
}

/// True for an error that says that another manager leads.
pub fn is_led_elsewhere(error: &anyhow::Error) -> bool {
    crate::outcome::failure::Rendered::of(error).exit == Exit::NotOurTurn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_comes_and_goes_without_the_others() {
        let mut spec = json!({ "Labels": { "zone": "a" } });
        set_label(&mut spec, "swarmdr.x", Some("y".to_owned()));
        assert_eq!(spec, json!({ "Labels": { "zone": "a", "swarmdr.x": "y" } }));
        set_label(&mut spec, "swarmdr.x", None);
        assert_eq!(spec, json!({ "Labels": { "zone": "a" } }));
        let mut bare = json!({ "Labels": null });
        set_label(&mut bare, "swarmdr.x", None);
        assert_eq!(bare, json!({ "Labels": null }));
        set_label(&mut bare, "swarmdr.x", Some("y".to_owned()));
        assert_eq!(bare["Labels"]["swarmdr.x"], "y");
    }
}
