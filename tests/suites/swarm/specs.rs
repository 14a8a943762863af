//! Specs, compared with what each engine returns of the same objects.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use swarm_state::{examine_items, inventory::ObjectKind, specs::Item};

use crate::fixture::{ENGINES, Fixture, PLANTED};

const KINDS: [&str; 8] =
    ["plain", "snapshots", "truncated", "locked", "rotated", "members", "members-c", "every-field"];

/// Fields of a listed network that are not in its spec, or that only some versions have.
const OF_NO_SPEC: [&str; 6] = ["Id", "Created", "EnableIPv4", "ConfigOnly", "Containers", "Peers"];

#[test]
fn every_spec_is_what_the_engine_returns() -> Result<()> {
    for engine in ENGINES {
        let mut compared = 0;
        for name in KINDS {
            let fixture = Fixture::unpack(engine, name)?;
            compared += every_spec_is_listed(&fixture).with_context(|| format!("{engine} {name}"))?;
        }
        println!("{engine}: {compared} specs are what the engine returns");
        ensure!(compared > 60, "{compared}");
    }
    Ok(())
}

/// Specs by id.
type Specs = Vec<(String, Value)>;

/// Compares all specs of a state with those that its engine returned; returns their number.
pub fn every_spec_is_listed(fixture: &Fixture) -> Result<usize> {
    let items = items(fixture)?;
    let listed = of_the_engine(&fixture.api()?)?;
    listed.into_iter().map(|(kind, listed)| same(kind, &items, listed)).sum()
}

/// The fixture holds what it is made for: a field that the engine did not take would be missed by the comparison.
#[test]
fn the_fixture_of_every_field_sets_every_field_that_its_engine_has() -> Result<()> {
    for engine in ENGINES {
        let fixture = Fixture::unpack(engine, "every-field")?;
        let items = items(&fixture)?;
        let service = find(&items, ObjectKind::Service, "every-field")?;
        let container = &service.spec["TaskTemplate"]["ContainerSpec"];
        let since: &[(&str, &str)] = &[
            (
                "Image Labels Command Args Hostname Env Dir User Groups Privileges Init StopSignal TTY OpenStdin ReadOnly",
                "",
            ),
            ("Mounts StopGracePeriod Healthcheck Hosts DNSConfig Secrets Configs Isolation Sysctls CapabilityAdd", ""),
            ("CapabilityDrop Ulimits", ""),
            ("OomScoreAdj", "28"),
        ];
        for (fields, since) in since {
            for field in fields.split(' ').filter(|_| engine >= *since) {
                ensure!(container.get(field).is_some(), "{engine}: {field} is not set");
            }
        }
        ensure!(service.has_registry_auth, "{engine}");
    }
    Ok(())
}

#[test]
fn what_the_api_loses_is_read_from_the_log() -> Result<()> {
    for engine in ENGINES {
        let fixture = Fixture::unpack(engine, "every-field")?;
        let items = items(&fixture)?;
        let network = find(&items, ObjectKind::Network, "every-field")?;
        let asked = json!([
            { "Subnet": "10.231.0.0/16", "IPRange": "10.231.7.0/24", "Gateway": "10.231.0.9" },
            { "Subnet": "fd00:231::/64" }
        ]);
        assert_eq!(network.spec["IPAM"]["Config"], asked, "{engine}");
        assert_eq!(network.spec["IPAM"]["Options"], json!({ "x": "y" }), "{engine}");
        let plain = find(&items, ObjectKind::Network, "plain")?;
        assert_eq!(plain.spec.get("IPAM"), None, "{engine}: it asked for no subnet");
        ensure!(plain.listed["IPAM"]["Config"][0]["Subnet"].is_string(), "{engine}: it was given one");

        let wanted = items.iter().map(|item| (item.kind, item.id.clone()));
        let values = swarm_state::read_values(&fixture.state(), None, wanted)?;
        let value = |kind, name| -> Result<String> {
            let id = &find(&items, kind, name)?.id;
            Ok(String::from_utf8(values.get(kind, id).context("has no value")?.to_vec())?)
        };
        assert_eq!(value(ObjectKind::Secret, "secret")?, format!("{PLANTED}-secret\n"));
        assert_eq!(value(ObjectKind::Config, "credentials")?, "{}\n");
        let auth = data_encoding::BASE64.decode(value(ObjectKind::Service, "every-field")?.as_bytes())?;
        let auth: Value = serde_json::from_slice(&auth)?;
        assert_eq!(auth, json!({ "username": "u", "password": format!("{PLANTED}-auth") }));
        let shown = format!("{items:?} {} {values:?}", serde_json::to_string(&items)?);
        for never in [format!("{PLANTED}-secret"), format!("{PLANTED}-auth")] {
            ensure!(!shown.contains(&never), "{engine}: {never}");
        }
    }
    Ok(())
}

fn items(fixture: &Fixture) -> Result<Vec<Item>> {
    let (_, items) = examine_items(&fixture.state(), fixture.unlock_key.as_ref())?;
    for item in &items {
        ensure!(item.unknown.is_empty(), "{} {}: {:?}", item.kind, item.name, item.unknown);
    }
    Ok(items)
}

fn find<'a>(items: &'a [Item], kind: ObjectKind, name: &str) -> Result<&'a Item> {
    items.iter().find(|item| item.kind == kind && item.name == name).with_context(|| format!("no {kind} {name}"))
}

/// Returns the specs in a capture of `scenario.sh` by kind and id, in one form for all versions.
fn of_the_engine(api: &Value) -> Result<Vec<(ObjectKind, Specs)>> {
    let specs = |name: &str, spec: fn(&Value) -> Value| -> Result<Specs> {
        let objects = api[name].as_array().into_iter().flatten();
        let specs = objects.map(|object| {
            let id = object["ID"].as_str().or(object["Id"].as_str()).or(object["ClusterVolume"]["ID"].as_str());
            Ok((id.context("has an id")?.to_owned(), without_nothing(spec(object))))
        });
        specs.collect()
    };
    let own = |object: &Value| object["Spec"].clone();
    let mut services = specs("services", own)?;
    services.extend(specs("plugins", own)?);
    Ok(vec![
        (ObjectKind::Service, services),
        (ObjectKind::Network, specs("networks", network)?),
        (ObjectKind::Secret, specs("secrets", own)?),
        (ObjectKind::Config, specs("configs", config)?),
    ])
}

fn network(object: &Value) -> Value {
    let mut fields = object.as_object().cloned().unwrap_or_default();
    fields.retain(|field, _| !OF_NO_SPEC.contains(&field.as_str()));
    Value::Object(fields)
}

/// The content is compared apart.
fn config(object: &Value) -> Value {
    let mut spec = object["Spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("Data");
    }
    spec
}

/// Removes what some versions write for "nothing" and others leave out.
fn without_nothing(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().map(|(name, value)| (name, without_nothing(value)));
            Value::Object(kept.filter(|(name, value)| !is_nothing(name, value)).collect::<Map<_, _>>())
        }
        Value::Array(values) => values.into_iter().map(without_nothing).collect(),
        other => other,
    }
}

fn is_nothing(name: &str, value: &Value) -> bool {
    match (name, value) {
        (_, Value::Null) => true,
        ("NoNewPrivileges", Value::Bool(false)) => true,
        ("Network" | "Driver", Value::String(text)) => text.is_empty(),
        ("ConfigFrom" | "Labels" | "Options", Value::Object(fields)) => fields.is_empty(),
        ("Config", Value::Array(values)) => values.is_empty(),
        _ => false,
    }
}

/// Compares all objects of a kind; returns their number.
fn same(kind: ObjectKind, items: &[Item], listed: Specs) -> Result<usize> {
    let ours: Vec<&Item> = items.iter().filter(|item| item.kind == kind && !item.is_predefined).collect();
    ensure!(ours.len() == listed.len(), "{kind}: {} here, {} there", ours.len(), listed.len());
    let count = ours.len();
    for (id, theirs) in listed {
        let item = ours.iter().find(|item| item.id == id).with_context(|| format!("{kind} {id} is missing"))?;
        let own = without_nothing(item.listed.clone());
        ensure!(own == theirs, "{kind} {}:\nours   {own}\ntheirs {theirs}", item.name);
    }
    Ok(count)
}
