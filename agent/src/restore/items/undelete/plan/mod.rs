//! The plan: what becomes of each object, and everything that is in the way. Made without a change of anything.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Value, json};
use swarm_state::{
    inventory::{Node, ObjectKind},
    specs::Item,
};

use super::{
    conflict::{Rules, Settled, mode},
    contents::{Contents, is_open},
    hints::{self, Nodes},
    image,
    living::{Living, LivingObject},
    obstacle::Obstacle,
    ports::{Ports, needs_ingress},
    references,
    request::{Conflict, Request, other_names},
    sameness::{self, Difference, Sameness},
    wanted::{Chosen, Wanted, is_of_swarm},
};

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It lives and stays as it is.
    Keep,
    Create,
    /// A living one is replaced by it.
    Replace,
    /// Nothing: see the obstacles.
    Refuse,
}

/// One object of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    pub kind: ObjectKind,
    /// Name in the living swarm.
    pub name: String,
    /// Name in the backup.
    pub backup_name: String,
    /// Id in the backup.
    pub backup_id: String,
    /// Id of the object that lives; absent until it is created.
    pub id: Option<String>,
    pub action: Action,
    /// True if it was not asked for, and a service that comes back refers to it.
    pub dependency: bool,
    /// Where the living object of the name differs from the backup's.
    pub differences: Vec<Difference>,
    /// Spec of the living object, which may be replaced only as long as it is this one.
    #[serde(skip)]
    pub living_spec: Value,
    /// What is created, with names in the place of ids.
    #[serde(skip)]
    pub spec: Value,
    /// Whether the backup's credentials are sent along.
    #[serde(skip)]
    pub has_registry_auth: bool,
}

/// The whole plan; objects in the order in which they are created.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub objects: Vec<Planned>,
    /// If there is any, nothing is changed.
    pub obstacles: Vec<Obstacle>,
    /// What does not come back as it was, or is still to be done by hand. Exit 6.
    pub attention: Vec<String>,
    pub notes: Vec<String>,
}

impl Plan {
    /// Returns the objects that are created or replaced.
    pub fn changes(&self) -> impl Iterator<Item = &Planned> {
        self.objects.iter().filter(|object| object.is_change())
    }
}

impl Planned {
    pub fn is_change(&self) -> bool {
        matches!(self.action, Action::Create | Action::Replace)
    }
}

/// What a plan is made of, beside the chosen objects.
pub struct Basis<'a> {
    /// All objects of the backup.
    pub items: &'a [Item],
    /// Nodes of the backup.
    pub nodes: &'a [Node],
    pub request: &'a Request,
    pub living: &'a Living,
    pub contents: &'a Contents,
    /// Date of the backup as in new names: `20261121`.
    pub date: &'a str,
}

/// Returns the pairs of an object of the backup and a living one whose contents must be compared for the plan.
pub fn pairs<'a>(
    chosen: &Chosen<'a>,
    request: &Request,
    living: &'a Living,
    date: &str,
) -> Vec<(&'a Item, &'a LivingObject)> {
    let mut found = Vec::new();
    for wanted in &chosen.all {
        let kind = wanted.item.kind;
        let Some(own) = living.named(kind, &wanted.name) else { continue };
        found.push((wanted.item, own));
        if request.conflict == Conflict::Rename {
            let others = other_names(kind, &wanted.name, date).filter_map(|name| living.named(kind, &name));
            found.extend(others.map(|other| (wanted.item, other)));
        }
    }
    found.retain(|(item, living)| is_open(item, living));
    found
}

/// Makes the plan.
pub fn make<'a>(chosen: &Chosen<'a>, basis: &'a Basis<'a>) -> Plan {
    let items = basis.items.iter().map(|item| ((item.kind, item.id.as_str()), item)).collect();
    let wanted = chosen.all.iter().map(|it| (it.item, it.name.to_lowercase())).collect();
    let (names, ports) = (HashMap::new(), Ports::of(basis.living));
    let mut planner = Planner { basis, items, wanted, names, ports, plan: Plan::default() };
    for wanted in &chosen.all {
        planner.add(wanted);
    }
    let mut plan = planner.plan;
    plan.attention.extend(chosen.left_out.iter().map(|volume| {
        format!("{volume} is not brought back: its content is with the plugin that made it; see `docker volume create`")
    }));
    plan
}

struct Planner<'a> {
    basis: &'a Basis<'a>,
    items: HashMap<(ObjectKind, &'a str), &'a Item>,
    /// All chosen objects, with the names in lower case that they were to get.
    wanted: Vec<(&'a Item, String)>,
    /// Names in the living swarm of the objects that were planned, by kind and id in the backup.
    names: HashMap<(ObjectKind, String), String>,
    ports: Ports,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn add(&mut self, wanted: &Wanted<'_>) {
        let item = wanted.item;
        let mut spec = item.spec.clone();
        let mut obstacles = Vec::new();
        if !item.unknown.is_empty() {
            obstacles.push(not_known(item));
        }
        if item.kind == ObjectKind::Service {
            obstacles.extend(self.prepare(item, &mut spec));
        }
        let settled = self.settle(wanted, &spec);
        let mut planned = planned(wanted, spec, &settled);
        if item.kind == ObjectKind::Service {
            self.keep_credentials_home(item, &mut planned);
        }
        if planned.is_change() && item.kind == ObjectKind::Service {
            obstacles.extend(self.look_around(&planned));
        }
        self.names.insert((item.kind, item.id.clone()), planned.name.clone());
        self.tell(wanted, &planned, &settled);
        if let Settled::Refuse { obstacle, .. } = settled {
            obstacles.push(obstacle);
        }
        let action = if obstacles.is_empty() { planned.action } else { Action::Refuse };
        self.plan.obstacles.extend(obstacles);
        self.plan.objects.push(Planned { action, ..planned });
    }

    /// Makes the spec of a service what was asked for, with the names of what lives or is about to.
    fn prepare(&self, item: &Item, spec: &mut Value) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        image::rename(spec, &self.basis.request.images);
        if hints::mounts_cluster_volumes(spec) {
            let what = format!("service `{}` mounts a cluster volume, which is not brought back", item.name);
            obstacles.push(Obstacle::new(what).advice("leave the service out, and make it by hand"));
        }
        if self.basis.request.stopped {
            obstacles.extend(stop(item, spec));
        }
        obstacles.extend(self.name_references(item, spec));
        obstacles
    }

    /// Sends the credentials of a service to no other registry than that for which they are.
    fn keep_credentials_home(&mut self, item: &Item, planned: &mut Planned) {
        let (old, new) = (image::registry_of(&item.spec), image::registry_of(&planned.spec));
        let is_dropped = planned.has_registry_auth && old != new;
        planned.has_registry_auth &= !is_dropped;
        if !planned.is_change() {
            return;
        }
        let name = &planned.name;
        let others =
            format!("`docker service update --with-registry-auth {name}` gives it others, after a `docker login`");
        if is_dropped {
            self.plan.attention.push(format!(
                "service `{name}` comes back without its registry credentials, which are for {old} and are not sent to \
                 {new}: {others}"
            ));
        }
        let lives = image::registry_of(&planned.living_spec);
        if planned.action == Action::Replace && !planned.has_registry_auth && lives != new {
            self.plan.attention.push(format!(
                "if the service `{name}` that lives has registry credentials, the engine keeps them, though they are for \
                 {lives} and its image is now pulled from {new}: {others}"
            ));
        }
    }

    fn name_references(&self, item: &Item, spec: &mut Value) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        references::name(spec, |kind, id| {
            let found = self.items.get(&(kind, id)).copied();
            let name = found.and_then(|found| match is_of_swarm(found) {
                true => found.is_predefined.then(|| found.name.clone()),
                false => Some(self.names.get(&(kind, id.to_owned())).unwrap_or(&found.name).clone()),
            });
            if name.is_none() {
                let what = format!("service `{}` refers to a {kind} ({id}) that the backup does not have", item.name);
                obstacles.push(Obstacle::new(what).advice("see what it has with `swarmdr-agent inspect`"));
            }
            name
        });
        obstacles
    }

    fn settle(&self, wanted: &Wanted<'_>, spec: &Value) -> Settled<'a> {
        let Basis { living, contents, request, date, .. } = *self.basis;
        let compare = |name: &str, other: &LivingObject| -> Sameness {
            match wanted.item.kind {
                ObjectKind::Service => sameness::of_service(&named(spec, name), other, living),
                _ => sameness::of_item(wanted.item, name, contents.of(wanted.item, other), other),
            }
        };
        let is_given = |name: &str| self.is_given(wanted.item.kind, name);
        let is_of_another = |name: &str| is_given(name) || self.is_of_another(wanted.item, name);
        let conflict = request.conflict;
        let rules = Rules { living, conflict, date, is_of_another: &is_of_another, is_given: &is_given };
        rules.settle(wanted, &compare)
    }

    /// Whether an object that was planned has the name.
    fn is_given(&self, kind: ObjectKind, name: &str) -> bool {
        let lower = name.to_lowercase();
        self.names.iter().any(|((own, _), given)| *own == kind && given.to_lowercase() == lower)
    }

    /// Whether another object of the backup has the name, or is to get it.
    fn is_of_another(&self, item: &Item, name: &str) -> bool {
        let lower = name.to_lowercase();
        let is_other = |other: &Item| other.kind == item.kind && other.id != item.id;
        let is_wanted = self.wanted.iter().any(|(other, name)| is_other(other) && *name == lower);
        is_wanted || self.items.values().any(|other| is_other(other) && other.name.to_lowercase() == lower)
    }

    /// Looks for what keeps a service from being created, and tells what keeps its tasks from running.
    fn look_around(&mut self, planned: &Planned) -> Vec<Obstacle> {
        let (name, spec) = (&planned.name, &planned.spec);
        let clashes = self.ports.clashes(spec, planned.id.as_deref());
        let taken = clashes.iter().filter(|clash| clash.is_refused).map(|clash| {
            let (port, service) = (&clash.port, &clash.service);
            Obstacle::new(format!("the port {port} of service `{name}` is taken by service `{service}`")).advice(
                format!("free it with `docker service update --publish-rm`, or with `docker service rm {service}`"),
            )
        });
        let mut obstacles: Vec<Obstacle> = taken.collect();
        if needs_ingress(spec) && !self.basis.living.has_ingress() {
            let what = format!("service `{name}` publishes ports, and the swarm has no ingress network");
            let make = "make one with `docker network create --ingress --driver overlay ingress`";
            obstacles.push(Obstacle::new(what).advice(make));
        }
        let nodes = Nodes { living: &self.basis.living.nodes, former: self.basis.nodes };
        let hints = hints::of_service(name, spec, nodes, &clashes);
        self.plan.attention.extend(hints.attention);
        self.plan.notes.extend(hints.notes);
        obstacles
    }

    /// Tells what is not as it was.
    fn tell(&mut self, wanted: &Wanted<'_>, planned: &Planned, settled: &Settled<'_>) {
        let (kind, name) = (planned.kind, &planned.name);
        let plan = &mut self.plan;
        if *name != wanted.name && !matches!(settled, Settled::Refuse { .. }) {
            let told = hints::of_rename(kind, &wanted.name, name);
            if planned.is_change() { plan.attention.push(told) } else { plan.notes.push(told) }
        }
        match settled {
            Settled::Create { .. } if kind == ObjectKind::Network && self.basis.living.is_leaving(name) => {
                plan.notes.push(format!(
                    "the network `{name}` that was removed is still on this host, in use by containers that are \
                     ending: the new one may have to wait for that"
                ));
            }
            Settled::Keep { labels, .. } if !labels.is_empty() => plan.attention.push(format!(
                "{kind} `{name}` lives and is used as it is, though its labels are not the backup's; no update is made"
            )),
            Settled::Replace { .. } if kind == ObjectKind::Secret => plan.attention.push(format!(
                "the value that secret `{name}` had before cannot be read from a swarm: only a backup that was made \
                 since then has it"
            )),
            Settled::Replace { .. } if kind == ObjectKind::Service && !wanted.item.has_registry_auth => {
                plan.notes.push(format!(
                    "service `{name}` has no registry credentials in the backup: if the living one has some, it keeps \
                     them"
                ));
            }
            _ => {}
        }
        if matches!(settled, Settled::Replace { .. }) && reverts(&planned.spec) {
            plan.notes.push(hints::of_revert(name));
        }
        if self.basis.request.stopped && planned.is_change() && kind == ObjectKind::Service {
            plan.notes.push(format!("service `{name}` comes back without replicas: {}", scale(wanted.item, name)));
        }
    }
}

fn not_known(item: &Item) -> Obstacle {
    let what = format!("{} is not wholly known to this version: {}", item.described(), item.unknown_parts());
    Obstacle::new(what).advice("use a newer version of the agent: a newer engine wrote this").advice("or leave it out")
}

/// Takes the replicas of a service away. Services of other modes always have tasks.
fn stop(item: &Item, spec: &mut Value) -> Option<Obstacle> {
    match spec.pointer_mut("/Mode/Replicated") {
        Some(replicated) => {
            *replicated = json!({ "Replicas": 0 });
            None
        }
        None => {
            let mode = mode(&item.spec).unwrap_or("(none)");
            let what = format!(
                "service `{}` cannot come back stopped: its mode is `{mode}`, which has no replicas",
                item.name
            );
            Some(
                Obstacle::new(what).advice(
                    "name the other services one by one with --service, and bring this one back without --stopped",
                ),
            )
        }
    }
}

fn scale(item: &Item, name: &str) -> String {
    let replicas = item.spec.pointer("/Mode/Replicated/Replicas").and_then(Value::as_u64).unwrap_or(1);
    format!("`docker service scale {name}={replicas}` starts it")
}

/// Whether the swarm gives a service its former spec again if tasks of this one fail.
fn reverts(spec: &Value) -> bool {
    spec["UpdateConfig"]["FailureAction"] == "rollback"
}

fn named(spec: &Value, name: &str) -> Value {
    let mut spec = spec.clone();
    spec["Name"] = name.into();
    spec
}

fn planned(wanted: &Wanted<'_>, spec: Value, settled: &Settled<'_>) -> Planned {
    let (action, living, differences) = match settled {
        Settled::Create { .. } => (Action::Create, None, &[][..]),
        Settled::Keep { living, labels } => (Action::Keep, Some(*living), labels.as_slice()),
        Settled::Replace { living, differences } => (Action::Replace, Some(*living), differences.as_slice()),
        Settled::Refuse { living, differences, .. } => (Action::Refuse, *living, differences.as_slice()),
    };
    let name = match settled {
        Settled::Create { name } => name.clone(),
        // A service that is attached to it has to use the very name that lives.
        Settled::Keep { living, .. } => living.name.clone(),
        _ => wanted.name.clone(),
    };
    Planned {
        kind: wanted.item.kind,
        spec: named(&spec, &name),
        name,
        backup_name: wanted.item.name.clone(),
        backup_id: wanted.item.id.clone(),
        id: living.map(|living| living.id.clone()),
        action,
        dependency: wanted.is_dependency,
        differences: differences.to_vec(),
        living_spec: living.map(|living| living.spec().clone()).unwrap_or_default(),
        has_registry_auth: wanted.item.has_registry_auth,
    }
}

#[cfg(test)]
mod tests;
