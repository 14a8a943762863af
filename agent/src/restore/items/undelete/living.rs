//! What the living swarm has.

use std::collections::HashMap;

use anyhow::Result;
use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use super::{normal, references};
use crate::host::engine::{objects::Objects, view::Node};

/// The kinds of objects that can be brought back.
pub const KINDS: [ObjectKind; 4] = [ObjectKind::Network, ObjectKind::Secret, ObjectKind::Config, ObjectKind::Service];

/// Everything that lives, found by kind and name or id. Names are compared without regard to case, as swarmkit does
/// (`manager/state/store`).
#[derive(Debug, Default)]
pub struct Living {
    objects: Vec<LivingObject>,
    by_name: HashMap<(ObjectKind, String), usize>,
    by_id: HashMap<(ObjectKind, String), usize>,
    /// Names of swarm's copies of the engine's own networks, by id.
    predefined: HashMap<String, String>,
    /// Networks that are removed from the swarm, while this host has containers in them.
    leaving: Vec<String>,
    /// Networks that only this host has.
    local: Vec<String>,
    pub nodes: Vec<Node>,
}

/// One object as the engine lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct LivingObject {
    pub kind: ObjectKind,
    pub id: String,
    pub name: String,
    pub listed: Value,
}

impl LivingObject {
    fn read(kind: ObjectKind, listed: Value) -> Option<Self> {
        let text = |path: &str| listed.pointer(path).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            kind,
            id: text("/ID").or_else(|| text("/Id"))?,
            name: text("/Spec/Name").or_else(|| text("/Name"))?,
            listed,
        })
    }

    /// Returns the spec; of a network the whole listing, which is all that the API has.
    pub fn spec(&self) -> &Value {
        if self.kind == ObjectKind::Network { &self.listed } else { &self.listed["Spec"] }
    }

    /// Returns kind, name and id, as in messages: ``service `web` (x1y2)``.
    pub fn described(&self) -> String {
        format!("{} `{}` ({})", self.kind, self.name, self.id)
    }
}

impl Living {
    /// Lists everything. Objects that are written between two of its calls may be missing.
    pub async fn read(objects: &Objects, nodes: Vec<Node>) -> Result<Self> {
        let mut lists = Vec::new();
        for kind in KINDS {
            lists.push((kind, objects.list(kind).await?));
        }
        let mut living = Self::of(lists, nodes);
        living.name_predefined(objects).await?;
        Ok(living)
    }

    /// Lists the objects of one kind only.
    pub async fn read_kind(objects: &Objects, kind: ObjectKind) -> Result<Self> {
        Ok(Self::of(vec![(kind, objects.list(kind).await?)], Vec::new()))
    }

    /// Reads lists of the engine.
    pub fn of(lists: Vec<(ObjectKind, Vec<Value>)>, nodes: Vec<Node>) -> Self {
        let mut living = Self { nodes, ..Self::default() };
        for (kind, list) in lists {
            for object in list.into_iter().filter_map(|listed| LivingObject::read(kind, listed)) {
                living.add(object);
            }
        }
        living
    }

    /// Adds an object. A network that this host alone still has is listed with its containers, one of the swarm without
    /// (moby `api/server/router/network/network_routes.go`, `getNetworksList`).
    fn add(&mut self, object: LivingObject) {
        if object.kind == ObjectKind::Network {
            match (object.listed["Scope"].as_str(), object.listed["Containers"].is_object()) {
                (Some("swarm"), false) => {}
                (Some("swarm"), true) => return self.leaving.push(object.name.to_lowercase()),
                _ => return self.local.push(object.name.to_lowercase()),
            }
        }
        let at = self.objects.len();
        self.by_name.insert((object.kind, object.name.to_lowercase()), at);
        self.by_id.insert((object.kind, object.id.clone()), at);
        self.objects.push(object);
    }

    /// Finds the names of networks that services use and no engine lists.
    async fn name_predefined(&mut self, objects: &Objects) -> Result<()> {
        let used = self.services().flat_map(|service| references::all(&normal::service(service.spec())));
        let unlisted: Vec<String> = used
            .filter(|(kind, id)| *kind == ObjectKind::Network && self.with_id(*kind, id).is_none())
            .map(|(_, id)| id)
            .collect();
        for id in unlisted {
            if self.predefined.contains_key(&id) {
                continue;
            }
            // A service that is removed at this moment may refer to a network that is gone.
            match objects.one(ObjectKind::Network, &id).await {
                Ok(network) => {
                    let name = network["Name"].as_str().unwrap_or(&id).to_owned();
                    self.predefined.insert(id, name);
                }
                Err(error) => tracing::debug!("{error:#}"),
            }
        }
        Ok(())
    }

    pub fn named(&self, kind: ObjectKind, name: &str) -> Option<&LivingObject> {
        self.by_name.get(&(kind, name.to_lowercase())).map(|at| &self.objects[*at])
    }

    pub fn with_id(&self, kind: ObjectKind, id: &str) -> Option<&LivingObject> {
        self.by_id.get(&(kind, id.to_owned())).map(|at| &self.objects[*at])
    }

    pub fn services(&self) -> impl Iterator<Item = &LivingObject> {
        self.objects.iter().filter(|object| object.kind == ObjectKind::Service)
    }

    /// Whether a network of this name is about to leave this host, after it was removed from the swarm.
    pub fn is_leaving(&self, network: &str) -> bool {
        self.leaving.contains(&network.to_lowercase())
    }

    /// Whether this host alone has a network of this name.
    pub fn is_local(&self, network: &str) -> bool {
        self.local.contains(&network.to_lowercase())
    }

    /// Whether the swarm has its routing mesh.
    pub fn has_ingress(&self) -> bool {
        let mut networks = self.objects.iter().filter(|object| object.kind == ObjectKind::Network);
        networks.any(|network| network.listed["Ingress"] == true)
    }

    /// Returns the spec of a service in the form in which it is compared, with names in the place of ids.
    pub fn named_spec(&self, service: &LivingObject) -> Value {
        let mut spec = normal::service(service.spec());
        references::name(&mut spec, |kind, id| match self.with_id(kind, id) {
            Some(object) => Some(object.name.clone()),
            None => self.predefined.get(id).cloned(),
        });
        spec
    }

    /// Returns the names of the services that refer to the object of this kind and id.
    pub fn users_of(&self, kind: ObjectKind, id: &str) -> Vec<&str> {
        let object = (kind, id.to_owned());
        let uses = |service: &&LivingObject| references::all(&normal::service(service.spec())).contains(&object);
        self.services().filter(uses).map(|service| service.name.as_str()).collect()
    }
}

#[cfg(test)]
pub mod testing {
    use serde_json::json;

    use super::*;

    pub fn service(id: &str, spec: Value) -> (ObjectKind, Vec<Value>) {
        (ObjectKind::Service, vec![json!({ "ID": id, "Version": { "Index": 7 }, "Spec": spec })])
    }

    pub fn secret(id: &str, name: &str) -> (ObjectKind, Vec<Value>) {
        let spec = json!({ "Name": name, "Labels": {} });
        (ObjectKind::Secret, vec![json!({ "ID": id, "Version": { "Index": 5 }, "Spec": spec })])
    }

    pub fn network(id: &str, name: &str, subnet: &str) -> (ObjectKind, Vec<Value>) {
        let options = json!({ "com.docker.network.driver.overlay.vxlanid_list": "4097" });
        let config = json!([{ "Subnet": subnet, "Gateway": "10.0.1.1" }]);
        let network = json!({
            "Id": id, "Name": name, "Scope": "swarm", "Driver": "overlay", "Options": options, "Labels": null,
            "IPAM": { "Driver": "default", "Options": null, "Config": config }, "Containers": null,
            "Internal": false, "Attachable": false, "Ingress": false, "EnableIPv6": false,
        });
        (ObjectKind::Network, vec![network])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_ignore_case_and_networks_of_this_host_are_not_the_swarms() {
        let network = |name: &str, scope: &str, containers: Value| {
            let id = name;
            json!({ "Id": id, "Name": name, "Scope": scope, "Containers": containers })
        };
        let networks = vec![
            network("Back", "swarm", Value::Null),
            network("gone", "swarm", json!({})),
            network("bridge", "local", json!({})),
        ];
        let living = Living::of(vec![(ObjectKind::Network, networks)], Vec::new());
        assert_eq!(living.named(ObjectKind::Network, "BACK").expect("lives").id, "Back");
        assert!(living.named(ObjectKind::Network, "gone").is_none() && living.is_leaving("Gone"));
        assert!(living.named(ObjectKind::Network, "bridge").is_none() && living.is_local("bridge"));
        assert!(!living.has_ingress());
    }

    #[test]
    fn a_service_is_seen_with_names_and_its_objects_know_their_users() {
        let secrets = json!([{ "SecretID": "s1", "SecretName": "key" }]);
        let spec = json!({ "Name": "web", "TaskTemplate": {
            "Networks": [{ "Target": "n1" }, { "Target": "gone" }], "ContainerSpec": { "Secrets": secrets } } });
        let lists = vec![
            testing::service("w1", spec),
            testing::secret("s1", "key"),
            testing::network("n1", "back", "10.0.1.0/24"),
        ];
        let living = Living::of(lists, Vec::new());
        let seen = living.named_spec(living.named(ObjectKind::Service, "web").expect("lives"));
        assert_eq!(seen["TaskTemplate"]["Networks"], json!([{ "Target": "back" }, { "Target": "gone" }]));
        assert_eq!(seen["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["SecretID"], "key");
        assert_eq!(living.users_of(ObjectKind::Secret, "s1"), ["web"]);
    }
}
