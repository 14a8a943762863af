//! Comparison of the objects of a swarm then and now.

use std::collections::{BTreeSet, HashSet};

use swarm_state::inventory::ObjectKind;

use super::{object::Object, rotation};

/// Returns the objects of `before` that are missing in `after`, in the order of `before`.
///
/// Not missing are: an object with the same id, whatever its name is now; one whose name another object of its kind has
/// by now; a secret or config that was rotated. Names are unique without regard to case (swarmkit
/// `manager/state/store/networks.go`, and so for the other kinds).
pub fn missing(before: &[Object], after: &[Object]) -> Vec<Object> {
    let (gone, new) = (without(before, after), without(after, before));
    let names: HashSet<(ObjectKind, String)> = after.iter().map(|it| (it.kind, it.name.to_lowercase())).collect();
    let rotated = rotated(&gone, &new);
    gone.into_iter()
        .filter(|it| !rotated.contains(&(it.kind, it.id.as_str())))
        .filter(|it| !names.contains(&(it.kind, it.name.to_lowercase())))
        .cloned()
        .collect()
}

/// Returns the objects of `all` whose ids are not in `others`.
fn without<'a>(all: &'a [Object], others: &[Object]) -> Vec<&'a Object> {
    let ids: HashSet<(ObjectKind, &str)> = others.iter().map(|it| (it.kind, it.id.as_str())).collect();
    all.iter().filter(|it| !ids.contains(&(it.kind, it.id.as_str()))).collect()
}

/// Returns kinds and ids of the secrets and configs for which there is a new version.
fn rotated<'a>(gone: &[&'a Object], new: &[&Object]) -> BTreeSet<(ObjectKind, &'a str)> {
    let mut rotated = BTreeSet::new();
    for kind in [ObjectKind::Secret, ObjectKind::Config] {
        let gone: Vec<&'a Object> = gone.iter().copied().filter(|it| it.kind == kind).collect();
        let gone_names: Vec<&str> = gone.iter().map(|it| it.name.as_str()).collect();
        let new_names: Vec<&str> = new.iter().filter(|it| it.kind == kind).map(|it| it.name.as_str()).collect();
        let pairs = rotation::pairs(&gone_names, &new_names);
        rotated.extend(pairs.into_iter().map(|(from, _)| (kind, gone[from].id.as_str())));
    }
    rotated
}

#[cfg(test)]
mod tests {
    use super::{super::object::tests::object, *};

    fn named(kind: ObjectKind, id: &str, name: &str) -> Object {
        Object { id: id.to_owned(), ..object(kind, name, None) }
    }

    #[test]
    fn what_is_gone_and_was_not_replaced_is_missing() {
        use ObjectKind::{Config, Network, Secret, Service};
        for (kind, before, after, expected) in [
            (Service, ("1", "web"), None, true),
            // The same object, also under another name.
            (Service, ("1", "web"), Some((Service, "1", "web")), false),
            (Network, ("1", "net"), Some((Network, "1", "other")), false),
            // Made again under its name, as by a second `docker stack deploy`.
            (Service, ("1", "web"), Some((Service, "2", "web")), false),
            (Service, ("1", "web"), Some((Service, "2", "WEB")), false),
            (Secret, ("1", "key"), Some((Secret, "2", "Key")), false),
            // Another kind of object has the name.
            (Service, ("1", "web"), Some((Network, "2", "web")), true),
            (Service, ("1", "web"), Some((Network, "1", "web")), true),
            // Only secrets and configs are rotated.
            (Secret, ("1", "key-v1"), Some((Secret, "2", "key-v2")), false),
            (Config, ("1", "site.conf"), Some((Config, "2", "site-v2.conf")), false),
            (Secret, ("1", "db1-password"), Some((Secret, "2", "db2-password")), true),
            (Service, ("1", "web-v1"), Some((Service, "2", "web-v2")), true),
            (Secret, ("1", "key-v1"), Some((Config, "2", "key-v2")), true),
        ] {
            let before = [named(kind, before.0, before.1)];
            let after: Vec<Object> = after.into_iter().map(|(kind, id, name)| named(kind, id, name)).collect();
            let expected: &[Object] = if expected { &before } else { &[] };
            assert_eq!(missing(&before, &after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn one_new_version_replaces_one_old_one() {
        let key = |id: &str, name: &str| named(ObjectKind::Secret, id, name);
        let before = [key("1", "key-v1"), key("2", "key-v2"), key("3", "other")];
        assert_eq!(missing(&before, &[key("4", "key-v1")]), [key("2", "key-v2"), key("3", "other")]);
        assert_eq!(missing(&before, &[key("4", "key-v3")]), [key("1", "key-v1"), key("3", "other")]);
        // One that was there before replaces nothing.
        let kept = key("3", "key-v9");
        assert_eq!(missing(&before, &[kept]), [key("1", "key-v1"), key("2", "key-v2")]);
    }
}
