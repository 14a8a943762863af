//! Whether an object of a backup and a living one are the same, and field by field where they differ.

use serde::Serialize;
use serde_json::{Map, Value, json};
use swarm_state::{
    inventory::ObjectKind,
    specs::{Item, differences},
};

use super::{
    contents::Content,
    living::{Living, LivingObject},
    normal,
};

/// Options that the engine adds to what was asked for (moby `libnetwork/drivers/overlay`, `libnetwork/ipam`).
const OF_ENGINE: [&str; 2] = ["com.docker.network.driver.overlay.vxlanid_list", "com.docker.network.ipam.serial"];

/// One field that differs. Values of secrets, contents of configs and credentials are not shown; variables of services
/// are, as by `diff`: which one differs is what an operator has to decide about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Names of the fields from the outermost one on, joined by dots.
    pub path: String,
    /// Value in the backup, with names in the place of ids; empty if it has none.
    pub backup: String,
    /// Value that lives, in the same form.
    pub living: String,
}

/// Result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sameness {
    Same,
    /// Only the labels of a network, a secret or a config differ, which change nothing for those who use it.
    Labels(Vec<Difference>),
    Other(Vec<Difference>),
    /// It could not be found out, for this reason; fields that are known to differ.
    Unknown(String, Vec<Difference>),
}

/// Compares an object that is not a service, under the name that it gets, with a living one.
pub fn of_item(item: &Item, name: &str, content: Content, living: &LivingObject) -> Sameness {
    match item.kind {
        ObjectKind::Network => of_network(item, name, living),
        _ => of_content(item, name, content, living),
    }
}

/// Compares the spec of a service, with names in the place of ids, with a living one.
pub fn of_service(spec: &Value, living: &LivingObject, all: &Living) -> Sameness {
    match between(&normal::service(spec), &all.named_spec(living)) {
        found if found.is_empty() => Sameness::Same,
        found => Sameness::Other(found),
    }
}

/// Compares a secret or a config.
fn of_content(item: &Item, name: &str, content: Content, living: &LivingObject) -> Sameness {
    let fields = |spec: &Value| match normal::normal(spec) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let (mut backup, mut lives) = (fields(&item.spec), fields(living.spec()));
    backup.insert("Name".to_owned(), name.into());
    let labels = labels_differ(backup.remove("Labels"), lives.remove("Labels"));
    // The content is compared apart, and not shown.
    lives.remove("Data");
    let mut found = between(&Value::Object(backup), &Value::Object(lives));
    match content {
        Content::Unknown(why) => return Sameness::Unknown(why, found.into_iter().chain(labels).collect()),
        Content::Other => found.push(Difference {
            path: "Data".to_owned(),
            backup: "(not shown)".to_owned(),
            living: "(not shown, another)".to_owned(),
        }),
        Content::Same => {}
    }
    judged(found, labels)
}

/// Compares what was asked of a network with what it was given: the API returns the latter only. Networks are never
/// changed, so one with the same id is the same.
fn of_network(item: &Item, name: &str, living: &LivingObject) -> Sameness {
    if item.id == living.id {
        return Sameness::Same;
    }
    let mut found = between(&asked(item, name, &living.listed), &given(&living.listed, &item.spec));
    let labels = labels_differ(Some(item.spec["Labels"].clone()), Some(living.listed["Labels"].clone()));
    if living.listed["Driver"].as_str().is_none_or(str::is_empty) {
        found.retain(|it| !["Driver", "Options", "IPAM"].iter().any(|unknown| it.path.starts_with(unknown)));
        let why = "the swarm has not given it any addresses".to_owned();
        return Sameness::Unknown(why, found.into_iter().chain(labels).collect());
    }
    judged(found, labels)
}

fn judged(found: Vec<Difference>, labels: Vec<Difference>) -> Sameness {
    match (found.is_empty(), labels.is_empty()) {
        (true, true) => Sameness::Same,
        (true, false) => Sameness::Labels(labels),
        (false, _) => Sameness::Other(found.into_iter().chain(labels).collect()),
    }
}

/// The fields of a network that count. Subnets that were not asked for are taken from the living one.
fn asked(item: &Item, name: &str, living: &Value) -> Value {
    let spec = &item.spec;
    let driver = spec["Driver"].as_str().filter(|driver| !driver.is_empty()).unwrap_or("overlay");
    let subnets = spec["IPAM"]["Config"].as_array().filter(|subnets| !subnets.is_empty());
    let subnets = match subnets {
        None => living["IPAM"]["Config"].clone(),
        Some(subnets) => subnets.iter().map(|asked| with_given(asked, &living["IPAM"]["Config"])).collect(),
    };
    counted(spec, name, driver, subnets)
}

fn given(living: &Value, asked: &Value) -> Value {
    let driver = living["Driver"].as_str().unwrap_or_default();
    let mut given = living.clone();
    for (place, asked) in [("/Options", &asked["Options"]), ("/IPAM/Options", &asked["IPAM"]["Options"])] {
        if let Some(options) = given.pointer_mut(place).and_then(Value::as_object_mut) {
            options.retain(|name, _| !OF_ENGINE.contains(&name.as_str()) || asked.get(name).is_some());
        }
    }
    let name = living["Name"].as_str().unwrap_or_default();
    let subnets = living["IPAM"]["Config"].clone();
    counted(&given, name, driver, subnets)
}

fn counted(network: &Value, name: &str, driver: &str, subnets: Value) -> Value {
    let ipam = network["IPAM"]["Driver"].as_str().filter(|driver| !driver.is_empty()).unwrap_or("default");
    normal::normal(&json!({
        "Name": name,
        "Driver": driver,
        "Options": network["Options"],
        "EnableIPv6": network["EnableIPv6"],
        "Internal": network["Internal"],
        "Attachable": network["Attachable"],
        "Ingress": network["Ingress"],
        "ConfigFrom": network["ConfigFrom"],
        "IPAM": { "Driver": ipam, "Options": network["IPAM"]["Options"], "Config": subnets },
    }))
}

/// Adds to a subnet that was asked for what was given with it: a gateway, and whatever else the API returns.
fn with_given(asked: &Value, given: &Value) -> Value {
    let same = |subnet: &&Value| subnet["Subnet"] == asked["Subnet"];
    let mut whole = given.as_array().into_iter().flatten().find(same).cloned().unwrap_or_else(|| json!({}));
    for (field, value) in asked.as_object().into_iter().flatten() {
        whole[field] = value.clone();
    }
    whole
}

fn labels_differ(backup: Option<Value>, living: Option<Value>) -> Vec<Difference> {
    let labels =
        |labels: Option<Value>| json!({ "Labels": labels.filter(Value::is_object).unwrap_or_else(|| json!({})) });
    between(&labels(backup), &labels(living))
}

fn between(backup: &Value, living: &Value) -> Vec<Difference> {
    let found = differences(backup, living).into_iter();
    found.map(|it| Difference { path: it.path, backup: it.before, living: it.after }).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::living::testing, *};

    fn network(spec: Value) -> Item {
        Item::test(ObjectKind::Network, "n0", "back", spec)
    }

    fn compared(spec: Value) -> Vec<String> {
        let living = Living::of(vec![testing::network("n1", "back", "10.0.1.0/24")], Vec::new());
        let lives = living.named(ObjectKind::Network, "back").expect("lives");
        shown(of_item(&network(spec), "back", Content::Same, lives))
    }

    fn shown(sameness: Sameness) -> Vec<String> {
        let lines = |word: &str, found: Vec<Difference>| {
            let lines = found.into_iter().map(|it| format!("{word} {}: {} | {}", it.path, it.backup, it.living));
            lines.collect()
        };
        match sameness {
            Sameness::Same => Vec::new(),
            Sameness::Labels(found) => lines("labels", found),
            Sameness::Other(found) => lines("other", found),
            Sameness::Unknown(why, found) => [vec![why], lines("unknown", found)].concat(),
        }
    }

    #[test]
    fn a_network_is_the_same_if_it_has_what_was_asked_for() {
        let none = json!({ "Name": "back", "Driver": "overlay", "Labels": {} });
        assert!(compared(none).is_empty(), "any subnet will do");
        let subnet =
            |subnet: Value| json!({ "Driver": "overlay", "IPAM": { "Driver": "default", "Config": [subnet] } });
        assert!(compared(subnet(json!({ "Subnet": "10.0.1.0/24" }))).is_empty(), "the gateway is the engine's choice");
        for (spec, expected) in [
            (subnet(json!({ "Subnet": "10.9.0.0/16" })), "other IPAM.Config: "),
            (subnet(json!({ "Subnet": "10.0.1.0/24", "Gateway": "10.0.1.9" })), "other IPAM.Config: "),
            (json!({ "Driver": "overlay", "Options": { "encrypted": "" } }), "other Options: "),
            (json!({ "Driver": "overlay", "Attachable": true }), "other Attachable: true | "),
            (json!({ "Driver": "macvlan" }), "other Driver: macvlan | overlay"),
            (json!({ "Driver": "overlay", "Labels": { "a": "b" } }), "labels Labels.a: b | "),
        ] {
            let found = compared(spec);
            assert!(found[0].starts_with(expected) && found.len() == 1, "{found:?}");
        }
    }

    #[test]
    fn a_network_without_addresses_is_not_known() {
        let (kind, mut list) = testing::network("n1", "back", "10.0.1.0/24");
        list[0]["Driver"] = "".into();
        let living = Living::of(vec![(kind, list)], Vec::new());
        let lives = living.named(kind, "back").expect("lives");
        let found = of_item(&network(json!({ "Driver": "overlay" })), "back", Content::Same, lives);
        let Sameness::Unknown(_, known) = &found else { panic!("{found:?}") };
        assert!(known.is_empty(), "its driver and its subnets are not known: {known:?}");
        let same = Item { id: "n1".to_owned(), ..network(json!({ "Driver": "overlay" })) };
        assert_eq!(of_item(&same, "back", Content::Same, lives), Sameness::Same);
    }

    #[test]
    fn a_secret_is_the_same_by_name_value_and_driver() {
        let living = Living::of(vec![testing::secret("s1", "key")], Vec::new());
        let lives = living.named(ObjectKind::Secret, "key").expect("lives");
        let compared = |name: &str, spec: Value, content| {
            shown(of_item(&Item::test(ObjectKind::Secret, "s0", "key", spec), name, content, lives))
        };
        let plain = || json!({ "Name": "key", "Labels": {} });
        assert!(compared("key", plain(), Content::Same).is_empty());
        assert_eq!(compared("key", plain(), Content::Other), ["other Data: (not shown) | (not shown, another)"]);
        assert_eq!(compared("KEY", plain(), Content::Same), ["other Name: KEY | key"]);
        assert_eq!(compared("key", plain(), Content::Unknown("why".to_owned())), ["why"]);
        let labelled = json!({ "Name": "key", "Labels": { "a": "b" } });
        assert_eq!(compared("key", labelled, Content::Same), ["labels Labels.a: b | "]);
        let templated = json!({ "Name": "key", "Templating": { "Name": "golang" } });
        assert_eq!(compared("key", templated, Content::Same), ["other Templating: {\"Name\":\"golang\"} | "]);
    }
}
