//! Runs against an engine on a socket.

use std::collections::HashMap;

use jiff::SignedDuration;
use serde_json::{Value, json};
use swarm_state::specs::ValueDigest;

use super::{contents::Content, journal::Outcome, plan::Action, *};
use crate::{
    host::{engine::objects::LivingSecret, shutdown::Shutdown},
    outcome::failure::Rendered,
    restore::{fake_engine::FakeEngine, items::selection::Selection},
};

/// Values of the backup by id.
struct Fixed(HashMap<&'static str, &'static [u8]>);

impl Known for Fixed {
    fn value(&self, _: ObjectKind, id: &str) -> Option<&[u8]> {
        self.0.get(id).copied()
    }
}

fn values() -> Fixed {
    Fixed(HashMap::from([("s0", &b"old value"[..]), ("c0", b"content"), ("w0", b"eyJ1Ijoi")]))
}

const OLD_VALUE: &str = "b2xkIHZhbHVl";

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().expect("is a time")
}

fn cluster() -> ClusterId {
    "c1".parse().expect("is an id")
}

/// A stack: `web` uses everything, `db` the network.
fn items() -> Vec<Item> {
    let labels = || json!({ "com.docker.stack.namespace": "shop" });
    let item = |kind, id: &str, name: &str, more: Value| {
        let mut spec = json!({ "Name": name, "Labels": labels() });
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        Item::test(kind, id, name, spec)
    };
    let container = json!({
        "Image": "web:1",
        "Secrets": [{ "SecretID": "s0", "SecretName": "key", "File": { "Name": "key" } }],
        "Configs": [{ "ConfigID": "c0", "ConfigName": "conf", "File": { "Name": "/conf" } }],
    });
    let web = json!({ "TaskTemplate": { "ContainerSpec": container, "Networks": [{ "Target": "n0" }] } });
    let db = json!({ "TaskTemplate": { "ContainerSpec": { "Image": "db:1" }, "Networks": [{ "Target": "n0" }] } });
    vec![
        item(ObjectKind::Network, "n0", "back", json!({ "Driver": "overlay" })),
        item(ObjectKind::Secret, "s0", "key", json!({})),
        Item { value: Some(ValueDigest::of(b"content")), ..item(ObjectKind::Config, "c0", "conf", json!({})) },
        Item { has_registry_auth: true, ..item(ObjectKind::Service, "w0", "web", web) },
        item(ObjectKind::Service, "d0", "db", db),
    ]
}

fn stack() -> Request {
    Request { selection: Selection { stacks: vec!["shop".to_owned()], ..Selection::default() }, ..Request::default() }
}

async fn plan(fake: &FakeEngine, items: &[Item], request: &Request) -> Plan {
    let objects = fake.objects().await;
    let living = Living::read(&objects, Vec::new()).await.expect("is listed");
    let chosen = wanted::choose(items, request, &living).expect("are there");
    let pairs = plan::pairs(&chosen, request, &living, "20261121");
    let contents = Contents::compare(&objects, &pairs, &values()).await;
    let basis = Basis { items, nodes: &[], request, living: &living, contents: &contents, date: "20261121" };
    plan::make(&chosen, &basis)
}

/// Makes the plan and what is in it, or undoes it.
async fn run(fake: &FakeEngine, request: &Request, shutdown: &Shutdown) -> Result<Plan> {
    let (items, values, objects) = (items(), values(), fake.objects().await);
    let mut plan = plan(fake, &items, request).await;
    assert!(plan.obstacles.is_empty(), "{plan:?}");
    let record = Record::new(now(), request.clone());
    let journal = Journal::begin(&fake.state_dir(), &cluster(), record).expect("is written");
    let mut change = Change::new(&objects, shutdown, &items, &values, journal, fake.state_dir().join("saved"));
    match change.make(&mut plan).await {
        Err(cause) => Err(change.undo(cause).await),
        Ok(()) => {
            change.journal.finish()?;
            Ok(plan)
        }
    }
}

fn journal(fake: &FakeEngine) -> Option<Journal> {
    Journal::read(&fake.state_dir(), &cluster()).expect("is read")
}

#[tokio::test]
async fn a_stack_comes_back_with_living_ids_and_a_second_run_changes_nothing() {
    let fake = FakeEngine::start();
    let made = run(&fake, &stack(), &Shutdown::default()).await.expect("comes back");
    assert_eq!(fake.names(), ["configs conf", "networks back", "secrets key", "services db", "services web"]);
    let spec = &fake.one("services", "web")["Spec"];
    let id = |kind: ObjectKind| made.objects.iter().find(|it| it.kind == kind).and_then(|it| it.id.clone());
    assert_eq!(spec["TaskTemplate"]["Networks"][0]["Target"].as_str(), id(ObjectKind::Network).as_deref());
    let container = &spec["TaskTemplate"]["ContainerSpec"];
    assert_eq!(container["Secrets"][0]["SecretID"].as_str(), id(ObjectKind::Secret).as_deref());
    assert_eq!(container["Configs"][0]["ConfigName"], "conf");
    let stored: Vec<String> =
        fake.state.lock().expect("no panic").values.iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(stored, ["", OLD_VALUE, "Y29udGVudA==", "", "eyJ1Ijoi"], "network, secret, config, db, web");
    let items = items();
    let told = confirm::confirm(&fake.objects().await, &made, &items).await;
    assert!(told.is_empty(), "{told:?}");
    fake.requests();
    let again = plan(&fake, &items, &stack()).await;
    let kept: Vec<_> = again.objects.iter().map(|it| it.action).collect();
    assert_eq!(kept, [Action::Keep; 5], "{again:?}");
    assert!(again.attention.is_empty(), "{again:?}");
    let requests = fake.requests();
    assert!(requests.len() == 1 && requests[0].ends_with("/update?version=0"), "{requests:?}");
}

#[tokio::test]
async fn everything_is_removed_again_if_one_object_cannot_be_made() {
    let fake = FakeEngine::start();
    fake.add(ObjectKind::Secret, json!({ "Name": "other", "Labels": {} }), "x");
    fake.state.lock().expect("no panic").refused.push("web".to_owned());
    let error = run(&fake, &stack(), &Shutdown::default()).await.expect_err("is refused");
    let rendered = Rendered::of(&error);
    assert!(rendered.what.contains("removed again"), "{rendered}");
    assert!(rendered.to_string().contains("the engine does not like it"), "{rendered}");
    assert_eq!(fake.names(), ["secrets other"]);
    assert!(journal(&fake).is_none());
    let removed: Vec<String> =
        fake.requests().into_iter().filter_map(|it| it.strip_prefix("DELETE /v1.51/").map(str::to_owned)).collect();
    let kinds: Vec<&str> = removed.iter().map(|path| path.split('/').next().unwrap_or_default()).collect();
    assert_eq!(kinds, ["services", "configs", "secrets", "networks"], "the newest first");
}

#[tokio::test]
async fn a_stop_request_ends_the_run_between_two_objects() {
    let fake = FakeEngine::start();
    let shutdown = Shutdown::default();
    shutdown.request("a test");
    let error = run(&fake, &stack(), &shutdown).await.expect_err("is stopped");
    assert!(format!("{error:#}").contains("interrupted"), "{error:#}");
    assert!(fake.names().is_empty() && journal(&fake).is_none());
}

#[tokio::test]
async fn what_may_be_of_somebody_else_is_left_and_told() {
    let fake = FakeEngine::start();
    fake.state.lock().expect("no panic").unanswered.push("conf".to_owned());
    let error = run(&fake, &stack(), &Shutdown::default()).await.expect_err("has no answer");
    let rendered = Rendered::of(&error);
    assert!(rendered.advice.iter().any(|advice| advice.contains("docker config rm conf")), "{rendered}");
    assert_eq!(fake.names(), ["configs conf"]);
    let left = journal(&fake).expect("stays").record.entries;
    assert!(left.len() == 1 && left[0].outcome == Outcome::Asked, "{left:?}");
}

#[tokio::test]
async fn the_same_object_of_another_run_is_used_and_never_removed() {
    let fake = FakeEngine::start();
    let (items, values, objects, shutdown) = (items(), values(), fake.objects().await, Shutdown::default());
    let mut plan = plan(&fake, &items, &stack()).await;
    // After the plan, another run makes the same secret; and the second service is refused.
    let secret = json!({ "Name": "key", "Labels": { "com.docker.stack.namespace": "shop" } });
    let theirs = fake.add(ObjectKind::Secret, secret, OLD_VALUE);
    fake.state.lock().expect("no panic").refused.push("web".to_owned());
    let record = Record::new(now(), stack());
    let journal = Journal::begin(&fake.state_dir(), &cluster(), record).expect("is written");
    let mut change = Change::new(&objects, &shutdown, &items, &values, journal, fake.state_dir());
    let cause = change.make(&mut plan).await.expect_err("is refused");
    assert_eq!((plan.objects[1].action, plan.objects[1].id.as_deref()), (Action::Keep, Some(theirs.as_str())));
    change.undo(cause).await;
    assert_eq!(fake.names(), ["secrets key"]);
}

#[tokio::test]
async fn a_service_that_another_run_made_is_used_whatever_the_engine_names_first() {
    let fake = FakeEngine::start();
    let (items, values, objects, shutdown) = (items(), values(), fake.objects().await, Shutdown::default());
    let before = plan(&fake, &items, &stack()).await;
    run(&fake, &stack(), &shutdown).await.expect("another run brings it back");
    // The port of `web` is taken, by `web`.
    fake.state.lock().expect("no panic").refused.push("web".to_owned());
    let mut plan = before;
    let journal = Journal::begin(&fake.state_dir(), &cluster(), Record::new(now(), stack())).expect("is written");
    let mut change = Change::new(&objects, &shutdown, &items, &values, journal, fake.state_dir());
    change.make(&mut plan).await.expect("uses what lives");
    assert!(plan.objects.iter().all(|it| it.action == Action::Keep), "{plan:?}");
}

#[tokio::test]
async fn another_object_that_came_to_be_meanwhile_is_a_refusal() {
    let fake = FakeEngine::start();
    let (items, values, objects, shutdown) = (items(), values(), fake.objects().await, Shutdown::default());
    let mut plan = plan(&fake, &items, &stack()).await;
    fake.add(ObjectKind::Secret, json!({ "Name": "KEY", "Labels": {} }), "another");
    let journal = Journal::begin(&fake.state_dir(), &cluster(), Record::new(now(), stack()));
    let mut change = Change::new(&objects, &shutdown, &items, &values, journal.expect("is written"), fake.state_dir());
    let cause = change.make(&mut plan).await.expect_err("is refused");
    assert!(format!("{cause:#}").contains("came to be while this ran"), "{cause:#}");
    let rendered = Rendered::of(&change.undo(cause).await);
    assert!(
        rendered.what.contains("removed again") && !rendered.to_string().contains("docker secret rm"),
        "{rendered}"
    );
    assert_eq!(fake.names(), ["secrets KEY"]);
}

#[tokio::test]
async fn a_service_that_somebody_changes_meanwhile_stays_as_they_made_it() {
    let fake = FakeEngine::start();
    run(&fake, &stack(), &Shutdown::default()).await.expect("comes back");
    let change = |image: &str| {
        let mut state = fake.state.lock().expect("no panic");
        let db = state.objects.iter_mut().find(|(_, object)| object["Spec"]["Name"] == "db").expect("lives");
        db.1["PreviousSpec"] = db.1["Spec"].clone();
        db.1["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] = image.into();
        let index = db.1["Version"]["Index"].as_u64().expect("has one");
        db.1["Version"]["Index"] = (index + 1000).into();
    };
    change("db:2");
    let selection = Selection { services: vec!["db".to_owned()], ..Selection::default() };
    let replace = Request { selection, conflict: Conflict::Replace, ..Request::default() };
    let (items, values, objects, shutdown) = (items(), values(), fake.objects().await, Shutdown::default());
    let mut plan = plan(&fake, &items, &replace).await;
    change("db:3");
    let journal = Journal::begin(&fake.state_dir(), &cluster(), Record::new(now(), stack()));
    let mut change = Change::new(&objects, &shutdown, &items, &values, journal.expect("is written"), fake.state_dir());
    let cause = change.make(&mut plan).await.expect_err("is another one");
    assert!(format!("{cause:#}").contains("somebody changed the service `db`"), "{cause:#}");
    change.undo(cause).await;
    assert_eq!(fake.one("services", "db")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"], "db:3");
}

#[tokio::test]
async fn a_network_waits_for_the_removed_one_of_its_name() {
    let fake = FakeEngine::start();
    fake.state.lock().expect("no panic").leaving.extend(["back".to_owned(), "back".to_owned()]);
    let made = run(&fake, &stack(), &Shutdown::default()).await.expect("comes back");
    assert_eq!(made.objects[0].action, Action::Create);
    assert!(made.notes[0].contains("`back`"), "{:?}", made.notes);
    assert!(fake.names().contains(&"networks back".to_owned()));
}

#[tokio::test]
async fn a_replaced_service_gets_its_former_spec_back() {
    let fake = FakeEngine::start();
    run(&fake, &stack(), &Shutdown::default()).await.expect("comes back");
    let (id, former) = {
        let mut state = fake.state.lock().expect("no panic");
        state.objects.retain(|(kind, object)| kind != "services" || object["Spec"]["Name"] == "db");
        let db = state.objects.iter_mut().find(|(kind, _)| kind == "services").expect("lives");
        db.1["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] = "db:2".into();
        state.refused.push("web".to_owned());
        let db = state.objects.iter().find(|(kind, _)| kind == "services").expect("lives");
        (db.1["ID"].clone(), db.1["Spec"].clone())
    };
    let selection = Selection { services: vec!["db".to_owned(), "web".to_owned()], ..Selection::default() };
    let replace = Request { selection, conflict: Conflict::Replace, ..Request::default() };
    let error = run(&fake, &replace, &Shutdown::default()).await.expect_err("web is refused");
    let db = fake.one("services", "db");
    assert_eq!((&db["ID"], &db["Spec"]), (&id, &former), "{error:#}");
    let saved = saved::read_spec(&fake.state_dir().join("saved/service-db.json")).expect("is kept");
    assert_eq!(saved, former);
    assert!(journal(&fake).is_none());
    fake.state.lock().expect("no panic").refused.clear();
    run(&fake, &replace, &Shutdown::default()).await.expect("both come back");
    assert_eq!(fake.one("services", "db")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"], "db:1");
}

#[tokio::test]
async fn a_secret_that_nobody_uses_is_replaced() {
    let fake = FakeEngine::start();
    let id = fake.add(ObjectKind::Secret, json!({ "Name": "key", "Labels": {} }), "bmV3");
    let selection = Selection { secrets: vec!["key".to_owned()], ..Selection::default() };
    let request = |conflict| Request { selection: selection.clone(), conflict, ..Request::default() };
    let items = items();
    let refused = plan(&fake, &items, &request(Conflict::Refuse)).await;
    assert_eq!(refused.obstacles.len(), 1);
    assert!(!format!("{refused:?}").contains("bmV3"), "no value is shown");
    let made = run(&fake, &request(Conflict::Replace), &Shutdown::default()).await.expect("is replaced");
    assert_ne!(made.objects[0].id.as_deref(), Some(id.as_str()));
    let again = plan(&fake, &items, &request(Conflict::Replace)).await;
    assert_eq!(again.objects[0].action, Action::Keep);
}

#[tokio::test]
async fn after_a_failure_a_replaced_config_is_as_before_and_a_secret_has_the_backups_value() {
    let fake = FakeEngine::start();
    fake.add(ObjectKind::Secret, json!({ "Name": "key", "Labels": {} }), "bmV3");
    fake.add(ObjectKind::Config, json!({ "Name": "conf", "Labels": {} }), "b3RoZXI=");
    fake.state.lock().expect("no panic").refused.push("web".to_owned());
    let replace = Request { conflict: Conflict::Replace, ..stack() };
    let error = run(&fake, &replace, &Shutdown::default()).await.expect_err("web is refused");
    assert_eq!(fake.names(), ["configs conf", "secrets key"]);
    let id = fake.one("configs", "conf")["ID"].as_str().expect("has one").to_owned();
    assert_eq!(*fake.objects().await.content(&id).await.expect("is read"), b"other");
    let labels = json!({});
    let id = fake.one("secrets", "key")["ID"].as_str().expect("has one").to_owned();
    let secret = LivingSecret { id: &id, name: "key", labels: &labels };
    assert!(fake.objects().await.has_value(secret, b"old value").await.expect("is compared"));
    let rendered = Rendered::of(&error);
    let kept = |advice: &String| advice.contains("secret `key`") && advice.contains("value of the backup");
    assert!(rendered.advice.iter().any(kept), "{rendered}");
    fake.state.lock().expect("no panic").refused.clear();
    run(&fake, &replace, &Shutdown::default()).await.expect("the next one finishes it");
}

#[tokio::test]
async fn a_replaced_secret_that_cannot_be_created_is_said_to_be_gone() {
    let fake = FakeEngine::start();
    fake.add(ObjectKind::Secret, json!({ "Name": "key", "Labels": {} }), "bmV3");
    fake.state.lock().expect("no panic").refused.push("key".to_owned());
    let replace = Request { conflict: Conflict::Replace, ..stack() };
    let error = run(&fake, &replace, &Shutdown::default()).await.expect_err("key is refused");
    assert!(fake.names().is_empty());
    let rendered = Rendered::of(&error);
    let gone = |advice: &String| advice.contains("no secret of this name lives") && advice.contains("--secret key");
    assert!(rendered.advice.iter().any(gone), "{rendered}");
}

#[tokio::test]
async fn values_are_compared_without_a_change() {
    let fake = FakeEngine::start();
    let id = fake.add(ObjectKind::Secret, json!({ "Name": "key", "Labels": {} }), OLD_VALUE);
    let (objects, before) = (fake.objects().await, fake.one("secrets", "key"));
    let labels = json!({});
    let secret = LivingSecret { id: &id, name: "key", labels: &labels };
    assert!(objects.has_value(secret, b"old value").await.expect("is compared"));
    assert!(!objects.has_value(secret, b"another").await.expect("is compared"));
    assert_eq!(fake.one("secrets", "key"), before);
    let gone = LivingSecret { id: "s0", ..secret };
    objects.has_value(gone, b"old value").await.expect_err("is not there");
    let items = items();
    let living = Living::read(&objects, Vec::new()).await.expect("is listed");
    let lives = living.named(ObjectKind::Secret, "key").expect("lives");
    let contents = Contents::compare(&objects, &[(&items[1], lives)], &Fixed(HashMap::new())).await;
    assert!(matches!(contents.of(&items[1], lives), Content::Unknown(_)), "the backup's value was not read");
}

/// Writes the journal of a run for `request` that was killed after these objects.
fn cut_short(fake: &FakeEngine, request: Request, made: &[(ObjectKind, &str, Outcome)]) -> EarlierRun {
    let record = Record::new(now(), request);
    let mut journal = Journal::begin(&fake.state_dir(), &cluster(), record).expect("is written");
    for (kind, name, outcome) in made {
        journal.note(*kind, name, outcome.clone()).expect("is written");
    }
    EarlierRun::of(journal, &stack(), now() + SignedDuration::from_mins(1))
}

fn created(id: &str) -> Outcome {
    Outcome::Created { id: id.to_owned() }
}

fn other_wishes() -> Request {
    Request { stopped: true, ..stack() }
}

#[tokio::test]
async fn a_run_that_was_cut_short_is_finished_by_the_same_command() {
    let fake = FakeEngine::start();
    let network = fake.add(ObjectKind::Network, json!({ "Name": "back" }), "");
    let earlier = cut_short(&fake, stack(), &[(ObjectKind::Network, "back", created(&network))]);
    assert!(earlier.told().is_some_and(|told| told.contains("would finish it (network `back`)")));
    let settled = earlier.settle(&fake.objects().await, &Plan::default()).await.expect("is settled");
    assert_eq!(settled.carried.expect("is carried").entries.len(), 1);
    assert!(settled.attention.is_empty() && journal(&fake).is_some());
    assert_eq!(fake.names(), ["networks back"]);
}

#[tokio::test]
async fn of_a_run_with_other_wishes_only_what_nothing_uses_is_removed() {
    let fake = FakeEngine::start();
    let network = fake.add(ObjectKind::Network, json!({ "Name": "back" }), "");
    let uses = json!({ "Name": "web", "TaskTemplate": { "Networks": [{ "Target": network }] } });
    let web = fake.add(ObjectKind::Service, uses, "");
    let secret = fake.add(ObjectKind::Secret, json!({ "Name": "lone" }), "");
    let conf = fake.add(ObjectKind::Config, json!({ "Name": "conf" }), "");
    let made = [
        (ObjectKind::Network, "back", created(&network)),
        (ObjectKind::Secret, "lone", created(&secret)),
        (ObjectKind::Config, "conf", created(&conf)),
        (ObjectKind::Service, "web", created(&web)),
    ];
    let selection = Selection { configs: vec!["conf".to_owned()], ..Selection::default() };
    let request = Request { selection, ..Request::default() };
    let mut plan = plan(&fake, &items(), &request).await;
    plan.objects[0].name = "CONF".to_owned();
    let settled = cut_short(&fake, other_wishes(), &made).settle(&fake.objects().await, &plan).await;
    let told = settled.expect("is settled").attention;
    assert_eq!(fake.names(), ["configs conf", "networks back", "services web"]);
    assert!(told.len() == 3 && told[0].contains("secret `lone` is removed again"), "{told:?}");
    assert!(told[1].contains("docker service rm web") && told[2].contains("service `web` uses it"), "{told:?}");
    assert!(journal(&fake).is_none());
}

#[tokio::test]
async fn a_service_that_a_run_with_other_wishes_replaced_keeps_its_spec() {
    let fake = FakeEngine::start();
    let web = fake.add(ObjectKind::Service, json!({ "Name": "web" }), "");
    let saved = fake.state_dir().join("service-web.json");
    let made = [(ObjectKind::Service, "web", Outcome::Updated { id: web, saved })];
    let earlier = cut_short(&fake, other_wishes(), &made);
    let told = earlier.settle(&fake.objects().await, &Plan::default()).await.expect("is settled").attention;
    assert!(told.len() == 1 && told[0].contains("service-web.json"), "{told:?}");
    assert!(fake.requests().is_empty(), "nothing is changed");
}

#[tokio::test]
async fn a_run_with_nothing_to_do_removes_nothing_of_another_one() {
    let fake = FakeEngine::start();
    let secret = fake.add(ObjectKind::Secret, json!({ "Name": "lone" }), "");
    let made = [(ObjectKind::Secret, "lone", created(&secret))];
    let told = cut_short(&fake, other_wishes(), &made).end_untouched().expect("is ended");
    assert!(told.is_some_and(|told| told.contains("secret `lone`")) && journal(&fake).is_some());
    assert_eq!(cut_short(&fake, stack(), &made).end_untouched().expect("is ended"), None);
    assert!(journal(&fake).is_none() && fake.requests().is_empty());
    assert_eq!(fake.names(), ["secrets lone"]);
}

#[tokio::test]
async fn a_run_that_goes_on_and_fails_removes_only_what_it_made_itself() {
    let fake = FakeEngine::start();
    let (items, values, objects, shutdown) = (items(), values(), fake.objects().await, Shutdown::default());
    run(&fake, &stack(), &shutdown).await.expect("comes back");
    let db = fake.one("services", "db")["ID"].as_str().expect("has one").to_owned();
    {
        let mut state = fake.state.lock().expect("no panic");
        state.objects.retain(|(_, object)| object["Spec"]["Name"] != "web" && object["Spec"]["Name"] != "conf");
        state.refused.push("web".to_owned());
    }
    let earlier = cut_short(&fake, stack(), &[(ObjectKind::Service, "db", created(&db))]);
    let mut plan = plan(&fake, &items, &stack()).await;
    let record = earlier.settle(&objects, &plan).await.expect("is settled").carried.expect("is carried");
    let journal_of_this = Journal::begin(&fake.state_dir(), &cluster(), record).expect("is written");
    let mut change = Change::new(&objects, &shutdown, &items, &values, journal_of_this, fake.state_dir());
    let cause = change.make(&mut plan).await.expect_err("is refused");
    let rendered = Rendered::of(&change.undo(cause).await);
    assert_eq!(fake.names(), ["networks back", "secrets key", "services db"], "the config is removed again");
    assert!(rendered.advice.iter().any(|advice| advice.contains("docker service rm db")), "{rendered}");
    assert_eq!(journal(&fake).expect("stays").record.entries.len(), 1);
}

#[tokio::test]
async fn what_an_earlier_run_may_have_made_is_named_if_this_one_fails() {
    let fake = FakeEngine::start();
    let (items, values, objects, shutdown) = (items(), values(), fake.objects().await, Shutdown::default());
    let labels = json!({ "com.docker.stack.namespace": "shop" });
    fake.add(ObjectKind::Network, json!({ "Name": "back", "Labels": labels }), "");
    fake.state.lock().expect("no panic").refused.push("web".to_owned());
    let earlier = cut_short(&fake, stack(), &[(ObjectKind::Network, "back", Outcome::Asked)]);
    let mut plan = plan(&fake, &items, &stack()).await;
    let record = earlier.settle(&objects, &plan).await.expect("is settled").carried.expect("is carried");
    let journal_of_this = Journal::begin(&fake.state_dir(), &cluster(), record).expect("is written");
    let mut change = Change::new(&objects, &shutdown, &items, &values, journal_of_this, fake.state_dir());
    let cause = change.make(&mut plan).await.expect_err("is refused");
    let rendered = Rendered::of(&change.undo(cause).await);
    assert_eq!(fake.names(), ["networks back"]);
    assert!(rendered.advice.iter().any(|advice| advice.contains("docker network rm back")), "{rendered}");
    assert_eq!(journal(&fake).expect("stays").record.entries.len(), 1);
}

#[tokio::test]
async fn without_a_leader_no_network_is_taken_for_removed() {
    let fake = FakeEngine::start();
    let objects = fake.objects().await;
    let network = fake.add(ObjectKind::Network, json!({ "Name": "back" }), "");
    let made = [(ObjectKind::Network, "back", created(&network)), (ObjectKind::Network, "front", Outcome::Asked)];
    cut_short(&fake, stack(), &made);
    fake.state.lock().expect("no panic").has_no_leader = true;
    objects.list(ObjectKind::Network).await.expect_err("is not believed");
    let mut left = journal(&fake).expect("is there");
    let taken = undo::take_back(&objects, &mut left, &[]).await;
    assert_eq!((taken.done.len(), taken.left.len(), left.record.entries.len()), (0, 2, 2), "{taken:?}");
    fake.state.lock().expect("no panic").has_no_leader = false;
    let taken = undo::take_back(&objects, &mut left, &[]).await;
    assert_eq!((taken.done.len(), taken.left.len()), (1, 0), "{taken:?}");
    assert!(fake.names().is_empty());
}
