//! What becomes of an object whose name is taken.

use serde_json::Value;
use swarm_state::inventory::ObjectKind;

use super::{
    living::{Living, LivingObject},
    obstacle::Obstacle,
    request::{Conflict, is_name, other_names},
    sameness::{Difference, Sameness},
    wanted::Wanted,
};

/// The decision about one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Settled<'a> {
    /// It is created under this name.
    Create {
        name: String,
    },
    /// The living one stays and is used. `labels` differ.
    Keep {
        living: &'a LivingObject,
        labels: Vec<Difference>,
    },
    /// The living one is replaced.
    Replace {
        living: &'a LivingObject,
        differences: Vec<Difference>,
    },
    Refuse {
        living: Option<&'a LivingObject>,
        differences: Vec<Difference>,
        obstacle: Obstacle,
    },
}

/// What a decision depends on, beside the object.
pub struct Rules<'a, 'r> {
    pub living: &'a Living,
    pub conflict: Conflict,
    /// Date of the backup as in the new names: `20261121`.
    pub date: &'a str,
    /// Whether the object may not get another name of its own, or share it: the name is that of another one.
    pub is_of_another: &'r dyn Fn(&str) -> bool,
    /// Whether this plan has given the name to another object of the kind.
    pub is_given: &'r dyn Fn(&str) -> bool,
}

/// Compares the object, under a name, with a living one.
pub type Compare<'a> = &'a dyn Fn(&str, &LivingObject) -> Sameness;

impl<'a> Rules<'a, '_> {
    /// Decides about an object.
    pub fn settle(&self, wanted: &Wanted<'_>, compare: Compare<'_>) -> Settled<'a> {
        let kind = wanted.item.kind;
        if (self.is_given)(&wanted.name) {
            return named_twice(wanted);
        }
        let Some(living) = self.living.named(kind, &wanted.name) else { return self.free(wanted, compare) };
        let (differences, why) = match compare(&wanted.name, living) {
            Sameness::Same => return Settled::Keep { living, labels: Vec::new() },
            Sameness::Labels(labels) => return Settled::Keep { living, labels },
            Sameness::Other(differences) => (differences, None),
            Sameness::Unknown(why, differences) => (differences, Some(why)),
        };
        match (self.conflict, kind) {
            (Conflict::Rename, ObjectKind::Secret | ObjectKind::Config | ObjectKind::Network) => {
                self.renamed(wanted, compare)
            }
            // What may be the same is not removed, since the value of a secret would be lost.
            (Conflict::Replace, ObjectKind::Secret | ObjectKind::Config) if why.is_none() => {
                self.replaced(living, differences)
            }
            (Conflict::Replace, ObjectKind::Service) => updated(wanted, living, differences),
            _ => refused(self, wanted, living, differences, why),
        }
    }

    /// Decides about an object whose name no object of the swarm has. Engines since 25.0 refuse a network if the host
    /// has one of that name (moby `libnetwork/controller.go`, `NewNetwork`).
    fn free(&self, wanted: &Wanted<'_>, compare: Compare<'_>) -> Settled<'a> {
        let name = wanted.name.clone();
        if wanted.item.kind != ObjectKind::Network || !self.living.is_local(&name) {
            return Settled::Create { name };
        }
        if self.conflict == Conflict::Rename {
            return self.renamed(wanted, compare);
        }
        let what = format!("this manager's host has a network `{name}` of its own, which is not the swarm's");
        let obstacle = Obstacle::new(what)
            .advice(format!("remove that one with `docker network rm {name}` if nothing needs it"))
            .advice("or run this through another manager, or with --conflict rename");
        Settled::Refuse { living: None, differences: Vec::new(), obstacle }
    }

    /// Finds another name: the first one that is free or that the same object has already.
    fn renamed(&self, wanted: &Wanted<'_>, compare: Compare<'_>) -> Settled<'a> {
        let kind = wanted.item.kind;
        for name in other_names(kind, &wanted.name, self.date) {
            if !is_name(kind, &name) {
                break;
            }
            if (self.is_of_another)(&name) {
                continue;
            }
            match self.living.named(kind, &name) {
                None if kind == ObjectKind::Network && self.living.is_local(&name) => {}
                None => return Settled::Create { name },
                Some(living) => match compare(&name, living) {
                    Sameness::Same => return Settled::Keep { living, labels: Vec::new() },
                    Sameness::Labels(labels) => return Settled::Keep { living, labels },
                    Sameness::Other(_) | Sameness::Unknown(..) => {}
                },
            }
        }
        let what =
            format!("there is no other name for the {kind} `{}`: it is too long, or too many are taken", wanted.name);
        let obstacle = Obstacle::new(what).advice(format!("bring it back alone with --{kind} and --as NAME"));
        Settled::Refuse { living: None, differences: Vec::new(), obstacle }
    }

    /// Removes a secret or a config, and creates it again, if no service uses it.
    fn replaced(&self, living: &'a LivingObject, differences: Vec<Difference>) -> Settled<'a> {
        let users = self.living.users_of(living.kind, &living.id);
        if users.is_empty() {
            return Settled::Replace { living, differences };
        }
        let users: Vec<String> = users.iter().map(|user| format!("`{user}`")).collect();
        let what = format!("{} cannot be replaced, since services use it: {}", living.described(), users.join(", "));
        let obstacle = Obstacle::new(what)
            .advice("bring the backup's one back under another name: --conflict rename")
            .advice("or take it from those services first: `docker service update`");
        Settled::Refuse { living: Some(living), differences, obstacle }
    }
}

/// Refuses the second one of two objects that would have one name: services would be given one in the place of both.
fn named_twice<'a>(wanted: &Wanted<'_>) -> Settled<'a> {
    let (kind, name) = (wanted.item.kind, &wanted.name);
    let what = format!("two {kind}s would be named `{name}`");
    let obstacle = Obstacle::new(what).advice("bring them back one by one, and one of them with another --as NAME");
    Settled::Refuse { living: None, differences: Vec::new(), obstacle }
}

/// Updates a service, unless the engine would refuse that (swarmkit `manager/controlapi/service.go`, `UpdateService`).
fn updated<'a>(wanted: &Wanted<'_>, living: &'a LivingObject, differences: Vec<Difference>) -> Settled<'a> {
    let (own, theirs) = (mode(&wanted.item.spec), mode(living.spec()));
    let what = if own != theirs {
        format!(
            "service `{}` cannot be replaced: it is `{}` in the backup and `{}` now, which no update changes",
            living.name,
            own.unwrap_or_default(),
            theirs.unwrap_or_default()
        )
    } else if living.name != wanted.name {
        format!("service `{}` cannot be replaced: `{}` lives, and no update changes a name", wanted.name, living.name)
    } else {
        return Settled::Replace { living, differences };
    };
    let obstacle = Obstacle::new(what)
        .advice(format!("remove the one that lives with `docker service rm {}`, then run this again", living.name))
        .advice("or bring the backup's one back alone under another name with --service and --as NAME");
    Settled::Refuse { living: Some(living), differences, obstacle }
}

fn refused<'a>(
    rules: &Rules<'_, '_>,
    wanted: &Wanted<'_>,
    living: &'a LivingObject,
    differences: Vec<Difference>,
    why: Option<String>,
) -> Settled<'a> {
    let (kind, name) = (wanted.item.kind, &wanted.name);
    let what = match why {
        Some(why) => format!("{kind} `{name}` lives, and it is not known whether it is the backup's: {why}"),
        None if living.name != *name => {
            format!("a {kind} `{}` lives, whose name differs from `{name}` in upper and lower case only", living.name)
        }
        None => {
            let paths: Vec<&str> = differences.iter().map(|difference| difference.path.as_str()).collect();
            format!("another {kind} `{name}` lives, which is not the backup's: they differ in {}", paths.join(", "))
        }
    };
    let mut obstacle = Obstacle::new(what);
    if kind != ObjectKind::Service {
        let other = other_names(kind, name, rules.date).next().unwrap_or_default();
        obstacle = obstacle.advice(format!("bring the backup's one back as `{other}`: --conflict rename"));
    }
    obstacle = match kind {
        ObjectKind::Network => obstacle.advice(format!(
            "or remove the one that lives with `docker network rm {}`, once no service uses it: none can be changed",
            living.name
        )),
        ObjectKind::Service => obstacle
            .advice("see the differences with --dry-run, and give the living one the backup's spec: --conflict replace")
            .advice("or bring the backup's one back alone under another name with --service and --as NAME"),
        _ if rules.conflict == Conflict::Replace => {
            obstacle.advice(format!("or remove the one that lives with `docker {kind} rm {}`", living.name))
        }
        _ => obstacle.advice("or remove the one that lives, which no service may use for that: --conflict replace"),
    };
    Settled::Refuse { living: Some(living), differences, obstacle }
}

/// Returns the name of a service's mode, such as `Replicated`.
pub fn mode(spec: &Value) -> Option<&str> {
    spec["Mode"].as_object().and_then(|mode| mode.keys().next()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swarm_state::specs::Item;

    use super::{super::living::testing, *};

    const DATE: &str = "20261121";

    fn other() -> Sameness {
        let (backup, living) = ("a".to_owned(), "b".to_owned());
        Sameness::Other(vec![Difference { path: "Field".to_owned(), backup, living }])
    }

    fn settled(living: &Living, conflict: Conflict, item: &Item, compare: Compare<'_>) -> String {
        let wanted = Wanted { item, name: item.name.clone(), is_dependency: false };
        let rules = Rules {
            living,
            conflict,
            date: DATE,
            is_of_another: &|name| name == "many.20261121",
            is_given: &|name| name == "given",
        };
        match rules.settle(&wanted, compare) {
            Settled::Create { name } => format!("create {name}"),
            Settled::Keep { living, labels } => format!("keep {} {}", living.name, labels.len()),
            Settled::Replace { living, .. } => format!("replace {}", living.name),
            Settled::Refuse { obstacle, .. } => format!("refuse: {}", obstacle.what),
        }
    }

    /// The table of conflicts: what lives under the name, the rule, and what becomes of the object.
    #[test]
    fn a_name_that_is_taken_is_settled_as_asked() {
        let spec = |mode: &str| json!({ "Name": "web", "Mode": { mode: {} } });
        let secrets = json!([{ "SecretID": "used", "SecretName": "used" }]);
        let user = json!({ "Name": "user", "TaskTemplate": { "ContainerSpec": { "Secrets": secrets } } });
        let living = Living::of(
            vec![
                testing::secret("s1", "key"),
                testing::secret("used", "used"),
                testing::secret("s2", "twice"),
                testing::secret("s3", "twice.20261121"),
                testing::secret("s4", "many"),
                testing::network("n1", "back", "10.0.1.0/24"),
                testing::service("w1", spec("Replicated")),
                testing::service("u1", user),
            ],
            Vec::new(),
        );
        let secret = |name: &str| Item::test(ObjectKind::Secret, "s0", name, json!({}));
        let network = Item::test(ObjectKind::Network, "n0", "back", json!({}));
        let service = |name: &str, mode: &str| Item::test(ObjectKind::Service, "w0", name, spec(mode));
        use Conflict::{Refuse, Rename, Replace};
        for (item, conflict, expected) in [
            (secret("free"), Refuse, "create free"),
            (secret("key"), Refuse, "refuse: another secret `key` lives"),
            (secret("KEY"), Refuse, "refuse: a secret `key` lives, whose name differs"),
            (secret("key"), Rename, "create key.20261121"),
            (secret("twice"), Rename, "create twice.20261121-2"),
            (secret("many"), Rename, "create many.20261121-2"),
            (secret("given"), Rename, "refuse: two secrets would be named `given`"),
            (secret("key"), Replace, "replace key"),
            (secret("used"), Replace, "refuse: secret `used` (used) cannot be replaced"),
            (network.clone(), Refuse, "refuse: another network `back` lives"),
            (network.clone(), Rename, "create back-20261121"),
            (network, Replace, "refuse: another network `back` lives"),
            (service("web", "Replicated"), Refuse, "refuse: another service `web` lives"),
            (service("web", "Replicated"), Rename, "refuse: another service `web` lives"),
            (service("web", "Replicated"), Replace, "replace web"),
            (service("web", "Global"), Replace, "refuse: service `web` cannot be replaced: it is `Global`"),
            (service("WEB", "Replicated"), Replace, "refuse: service `WEB` cannot be replaced: `web` lives"),
        ] {
            let found = settled(&living, conflict, &item, &|_, _| other());
            assert!(found.starts_with(expected), "{} {conflict:?}: {found}", item.name);
        }
        let same = |_: &str, _: &LivingObject| Sameness::Same;
        assert_eq!(settled(&living, Refuse, &secret("key"), &same), "keep key 0");
        let unknown = |_: &str, _: &LivingObject| Sameness::Unknown("no answer".to_owned(), Vec::new());
        assert!(settled(&living, Refuse, &secret("key"), &unknown).contains("not known whether"));
        assert!(settled(&living, Replace, &secret("key"), &unknown).contains("not known whether"));
        assert_eq!(settled(&living, Rename, &secret("key"), &unknown), "create key.20261121");
    }

    #[test]
    fn an_object_that_came_back_under_another_name_is_found_again() {
        let living = Living::of(vec![testing::secret("s1", "key"), testing::secret("s2", "key.20261121")], Vec::new());
        let item = Item::test(ObjectKind::Secret, "s0", "key", json!({}));
        let compare = |name: &str, _: &LivingObject| if name == "key" { other() } else { Sameness::Same };
        assert_eq!(settled(&living, Conflict::Rename, &item, &compare), "keep key.20261121 0");
    }

    #[test]
    fn a_network_of_the_host_is_in_the_way() {
        let list = vec![json!({ "Id": "l1", "Name": "back", "Scope": "local", "Containers": {} })];
        let living = Living::of(vec![(ObjectKind::Network, list)], Vec::new());
        let item = Item::test(ObjectKind::Network, "n0", "back", json!({}));
        let found = settled(&living, Conflict::Refuse, &item, &|_, _| other());
        assert!(found.starts_with("refuse: this manager's host has a network `back`"), "{found}");
        assert_eq!(settled(&living, Conflict::Rename, &item, &|_, _| other()), "create back-20261121");
    }
}
