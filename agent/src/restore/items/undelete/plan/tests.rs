use super::{
    super::{
        living::testing,
        wanted::{choose, is_of_swarm},
    },
    *,
};
use crate::{host::engine::view::Node, restore::items::selection::Selection};

fn web(more: Value) -> Item {
    let mut spec = json!({
        "Name": "web",
        "Labels": { "com.docker.stack.namespace": "shop" },
        "Mode": { "Replicated": { "Replicas": 2 } },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "old/web:1",
                "Secrets": [{ "SecretID": "s1", "SecretName": "key", "File": { "Name": "key" } }],
            },
            "Networks": [{ "Target": "n1", "Aliases": ["web"] }, { "Target": "h1" }],
        },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    Item::test(ObjectKind::Service, "w1", "web", spec)
}

fn items(more: Value) -> Vec<Item> {
    let network = json!({ "Name": "back", "Driver": "overlay", "Labels": {} });
    vec![
        web(more),
        Item::test(ObjectKind::Network, "n1", "back", network),
        Item { is_predefined: true, ..Item::test(ObjectKind::Network, "h1", "host", json!({ "Name": "host" })) },
        Item::test(ObjectKind::Secret, "s1", "key", json!({ "Name": "key", "Labels": {} })),
    ]
}

fn request() -> Request {
    let selection = Selection { services: vec!["web".to_owned()], ..Selection::default() };
    Request { selection, ..Request::default() }
}

fn planned(items: &[Item], request: &Request, living: &Living, contents: &Contents) -> Plan {
    let chosen = choose(items, request, living).expect("are there");
    make(&chosen, &Basis { items, nodes: &[], request, living, contents, date: "20261121" })
}

fn shown(plan: &Plan) -> Vec<String> {
    let lines = plan.objects.iter().map(|it| format!("{:?} {} {}", it.action, it.kind, it.name));
    lines.chain(plan.obstacles.iter().map(|it| it.what.clone())).collect()
}

/// The living swarm after `items` came back: with other ids.
fn alive() -> Living {
    let spec = json!({
        "Name": "web",
        "Labels": { "com.docker.stack.namespace": "shop" },
        "Mode": { "Replicated": { "Replicas": 2 } },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "old/web:1",
                "Secrets": [{ "SecretID": "S9", "SecretName": "key", "File": { "Name": "key" } }],
                "Init": null,
            },
            "Networks": [{ "Target": "N9", "Aliases": ["web"] }, { "Target": "host" }],
        },
    });
    Living::of(
        vec![testing::service("W9", spec), testing::network("N9", "back", "10.0.1.0/24"), testing::secret("S9", "key")],
        vec![Node { id: "m1".to_owned(), hostname: "manager".to_owned(), ..Node::default() }],
    )
}

fn same_key(items: &[Item]) -> Contents {
    Contents::test(&[(&items[3], "S9", super::super::contents::Content::Same)])
}

#[test]
fn what_is_gone_is_created_after_what_it_refers_to() {
    let items = items(json!({}));
    let plan = planned(&items, &request(), &Living::default(), &Contents::default());
    assert_eq!(shown(&plan), ["Create network back", "Create secret key", "Create service web"]);
    let task = &plan.objects[2].spec["TaskTemplate"];
    assert_eq!(task["Networks"], json!([{ "Target": "back", "Aliases": ["web"] }, { "Target": "host" }]));
    assert_eq!(task["ContainerSpec"]["Secrets"][0]["SecretID"], "key");
    assert!(plan.attention.is_empty() && plan.notes.is_empty(), "{plan:?}");
    assert!(plan.objects[0].dependency && !plan.objects[2].dependency);
}

#[test]
fn a_second_run_has_nothing_to_do() {
    let items = items(json!({}));
    let living = alive();
    let pairs = pairs(&choose(&items, &request(), &living).expect("are there"), &request(), &living, "20261121");
    assert_eq!(pairs.len(), 1, "only the secret's value is not known");
    let plan = planned(&items, &request(), &living, &same_key(&items));
    assert_eq!(shown(&plan), ["Keep network back", "Keep secret key", "Keep service web"]);
    assert_eq!(plan.changes().count(), 0);
    assert!(plan.attention.is_empty(), "{plan:?}");
}

#[test]
fn a_secret_under_another_name_is_what_the_service_uses() {
    let items = items(json!({}));
    let rename = Request { conflict: Conflict::Rename, ..request() };
    let known = Contents::test(&[(&items[3], "S9", super::super::contents::Content::Other)]);
    let living = Living::of(vec![testing::secret("S9", "key")], Vec::new());
    let plan = planned(&items, &rename, &living, &known);
    assert_eq!(shown(&plan), ["Create network back", "Create secret key.20261121", "Create service web"]);
    let secret = &plan.objects[2].spec["TaskTemplate"]["ContainerSpec"]["Secrets"][0];
    assert_eq!(*secret, json!({ "SecretID": "key.20261121", "SecretName": "key.20261121", "File": { "Name": "key" } }));
    assert_eq!(plan.attention.len(), 1);
    let refused = planned(&items, &request(), &living, &known);
    assert_eq!(refused.obstacles.len(), 1);
    assert_eq!(refused.objects[1].action, Action::Refuse);
}

#[test]
fn a_service_that_was_changed_shows_every_field() {
    let items = items(json!({ "Labels": {} }));
    let living = alive();
    let plan = planned(&items, &request(), &living, &same_key(&items));
    let paths: Vec<&str> = plan.objects[2].differences.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["Labels"]);
    assert_eq!(plan.objects[2].action, Action::Refuse);
    let replace = Request { conflict: Conflict::Replace, ..request() };
    let plan = planned(&items, &replace, &living, &same_key(&items));
    let web = &plan.objects[2];
    assert_eq!((web.action, web.id.as_deref()), (Action::Replace, Some("W9")));
    assert_eq!(web.living_spec["TaskTemplate"]["Networks"][0]["Target"], "N9");
    assert_eq!(plan.notes.len(), 1, "it keeps its credentials");
    let reverting = self::items(json!({ "Labels": {}, "UpdateConfig": { "FailureAction": "rollback" } }));
    let plan = planned(&reverting, &replace, &living, &same_key(&reverting));
    assert!(plan.notes.iter().any(|note| note.contains("docker service ps web")), "{plan:?}");
}

#[test]
fn a_stopped_service_has_no_replicas_and_one_without_replicas_cannot_be_stopped() {
    let stopped = Request { stopped: true, ..request() };
    let replicated = items(json!({}));
    let plan = planned(&replicated, &stopped, &Living::default(), &Contents::default());
    assert_eq!(plan.objects[2].spec["Mode"], json!({ "Replicated": { "Replicas": 0 } }));
    assert!(plan.notes[0].contains("docker service scale web=2"), "{:?}", plan.notes);
    let global = items(json!({ "Mode": { "Global": {} } }));
    let plan = planned(&global, &stopped, &Living::default(), &Contents::default());
    assert!(plan.obstacles[0].what.contains("cannot come back stopped"), "{:?}", plan.obstacles);
}

#[test]
fn what_is_in_the_way_is_named_before_anything_is_changed() {
    let port = |mode: &str| json!({ "Ports": [{ "Protocol": "tcp", "PublishedPort": 80, "PublishMode": mode }] });
    let mut taken = alive();
    taken = Living::of(
        vec![
            testing::service("o1", json!({ "Name": "other", "EndpointSpec": port("ingress") })),
            (ObjectKind::Network, vec![json!({ "Id": "i1", "Name": "ingress", "Scope": "swarm", "Ingress": true })]),
        ],
        taken.nodes,
    );
    let plan = planned(&items(json!({ "EndpointSpec": port("host") })), &request(), &taken, &Contents::default());
    assert_eq!(plan.obstacles[0].what, "the port 80/tcp of service `web` is taken by service `other`");
    let mesh = items(json!({ "EndpointSpec": port("ingress") }));
    let plan = planned(&mesh, &request(), &Living::default(), &Contents::default());
    assert!(plan.obstacles[0].what.contains("no ingress network"), "{:?}", plan.obstacles);

    let mut cluster = items(json!({}));
    cluster[0].spec["TaskTemplate"]["ContainerSpec"]["Mounts"] = json!([{ "Type": "cluster", "Source": "group:x" }]);
    let plan = planned(&cluster, &request(), &Living::default(), &Contents::default());
    assert!(plan.obstacles[0].what.contains("cluster volume"), "{:?}", plan.obstacles);

    let mut newer = items(json!({}));
    newer[3].unknown = vec![swarm_state::specs::Unknown::Field { message: "SecretSpec".to_owned(), field: 31 }];
    let plan = planned(&newer, &request(), &Living::default(), &Contents::default());
    assert!(plan.obstacles[0].what.contains("field 31 of SecretSpec"), "{:?}", plan.obstacles);

    let lost: Vec<Item> = items(json!({})).into_iter().filter(|item| item.id != "s1").collect();
    let plan = planned(&lost, &request(), &Living::default(), &Contents::default());
    assert!(plan.obstacles[0].what.contains("secret (s1) that the backup does not have"), "{:?}", plan.obstacles);
}

#[test]
fn images_are_mapped_before_anything_is_compared() {
    let images = swarmdr_registry::ImageMap::new(vec!["old=new".parse().expect("is a rule")]);
    let mapped = Request { images, ..request() };
    let items = items(json!({}));
    let plan = planned(&items, &mapped, &alive(), &same_key(&items));
    let image = &plan.objects[2].differences[0];
    assert_eq!((image.backup.as_str(), image.living.as_str()), ("new/web:1", "old/web:1"));
}

#[test]
fn two_networks_never_get_one_name() {
    let network = |id: &str, name: &str| {
        Item::test(ObjectKind::Network, id, name, json!({ "Name": name, "Driver": "overlay", "Attachable": true }))
    };
    let items = vec![network("n1", "back"), network("n2", "back-20261121")];
    let both = Selection { networks: vec!["back".to_owned(), "back-20261121".to_owned()], ..Selection::default() };
    let rename = |selection| Request { selection, conflict: Conflict::Rename, ..Request::default() };
    let living = Living::of(vec![testing::network("N9", "back", "10.0.1.0/24")], Vec::new());
    let plan = planned(&items, &rename(both.clone()), &living, &Contents::default());
    assert_eq!(shown(&plan), ["Create network back-20261121-2", "Create network back-20261121"]);
    // The other one lives, and is not taken for the first.
    let mut twin = testing::network("N8", "back-20261121", "10.0.2.0/24");
    twin.1[0]["Attachable"] = true.into();
    let living = Living::of(vec![testing::network("N9", "back", "10.0.1.0/24"), twin], Vec::new());
    for selection in [both, Selection { networks: vec!["back".to_owned()], ..Selection::default() }] {
        let plan = planned(&items, &rename(selection), &living, &Contents::default());
        assert_eq!(shown(&plan)[0], "Create network back-20261121-2");
    }
    // A new name that a network has which comes back along with it.
    let chosen = Chosen {
        all: [&items[0], &items[1]].map(|item| Wanted { item, name: "back".to_owned(), is_dependency: false }).into(),
        left_out: Vec::new(),
    };
    let (request, living, contents) = (Request::default(), Living::default(), Contents::default());
    let basis =
        Basis { items: &items, nodes: &[], request: &request, living: &living, contents: &contents, date: "20261121" };
    assert_eq!(make(&chosen, &basis).obstacles[0].what, "two networks would be named `back`");
}

#[test]
fn credentials_are_not_sent_to_another_registry() {
    let images = |rule: &str| swarmdr_registry::ImageMap::new(vec![rule.parse().expect("is a rule")]);
    let mut items = items(json!({}));
    items[0].has_registry_auth = true;
    items[0].spec["TaskTemplate"]["ContainerSpec"]["Image"] = "old:5000/web:1".into();
    let with = |rule, conflict| Request { images: images(rule), conflict, ..request() };
    let plan = |request: &Request, living: &Living| planned(&items, request, living, &same_key(&items));
    let moved = plan(&with("old:5000=new:5000", Conflict::Refuse), &Living::default());
    assert!(!moved.objects[2].has_registry_auth);
    assert!(moved.attention.len() == 1 && moved.attention[0].contains("not sent to new:5000"), "{moved:?}");
    let within = plan(&with("old:5000/web=old:5000/shop/web", Conflict::Refuse), &Living::default());
    assert!(within.objects[2].has_registry_auth && within.attention.is_empty(), "{within:?}");
    let replaced = plan(&with("old:5000=new:5000", Conflict::Replace), &alive());
    assert!(!replaced.objects[2].has_registry_auth);
    assert!(replaced.attention.iter().any(|told| told.contains("keeps them, though they are for docker.io")));
}

#[test]
fn swarms_own_networks_are_referred_to_by_name() {
    assert!(is_of_swarm(&items(json!({}))[2]));
    let mesh = json!({ "Name": "mesh", "Ingress": true });
    let mut attached = items(json!({}));
    attached.push(Item::test(ObjectKind::Network, "i1", "mesh", mesh));
    attached[0].spec["TaskTemplate"]["Networks"] = json!([{ "Target": "i1" }]);
    let plan = planned(&attached, &request(), &Living::default(), &Contents::default());
    assert_eq!(plan.obstacles.len(), 1, "no service can be attached to the mesh: {plan:?}");
}
