//! Renewals against an engine on a socket.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_state::inventory::ObjectKind;
use swarmdr_registry::ImageMap;

use super::{recorded::Known, report::Report, *};
use crate::{
    config::{
        Config,
        images::{ImagesConfig, RegistryConfig},
    },
    outcome::{exit::Exit, terminal::tests::assert_tame},
    restore::{
        fake_engine::FakeEngine,
        fake_registry::{DIGEST, FakeRegistry},
    },
};

/// Registries with a helper, one with a helper that fails, and none for any other.
fn config() -> Config {
    let registry = |host: &str, script: &str| RegistryConfig {
        host: host.to_owned(),
        auth_command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..RegistryConfig::default()
    };
    let gives = r#"echo '{"Username":"planted-user","Secret":"planted-secret"}'"#;
    let registry = vec![
        registry("new:5000", gives),
        registry("127.0.0.2:*", gives),
        registry("dead:5000", "echo no such key >&2; exit 1"),
    ];
    Config { images: ImagesConfig { registry, ..ImagesConfig::default() }, ..Config::default() }
}

fn spec(name: &str, image: &str) -> Value {
    let container = json!({ "Image": image, "Healthcheck": { "Test": ["CMD", "true"] }, "FromTheFuture": [1] });
    json!({ "Name": name, "TaskTemplate": { "ContainerSpec": container, "ForceUpdate": 3 }, "Mode": { "Global": {} } })
}

fn login() -> Login {
    Login::with_password("planted-user", "planted-secret")
}

fn map(rules: &[&str]) -> ImageMap {
    ImageMap::new(rules.iter().map(|rule| rule.parse().expect("is a rule")).collect())
}

struct Tried {
    plan: Plan,
    services: Vec<ServiceOutcome>,
}

impl Tried {
    fn outcome(&self, service: &str) -> &Outcome {
        &self.services.iter().find(|it| it.service == service).expect("is among them").outcome
    }

    fn report(self) -> Report {
        Report::of("c1".parse().expect("is an id"), false, &self.plan, self.services)
    }
}

async fn try_it(engine: &FakeEngine, rules: &[&str], change: impl Fn(&mut Renewal<'_>), known: Known) -> Tried {
    try_on(engine, &Scope::all(map(rules)), change, known).await
}

async fn try_on(engine: &FakeEngine, scope: &Scope, change: impl Fn(&mut Renewal<'_>), known: Known) -> Tried {
    let (config, objects, shutdown) = (config(), engine.objects().await, Shutdown::default());
    let logins = Logins::new(&config, Duration::ZERO);
    let (shutdown, dry_run) = (&shutdown, false);
    let mut renewal =
        Renewal { config: &config, objects: &objects, logins: &logins, scope, only: None, shutdown, dry_run };
    change(&mut renewal);
    let plan = renewal.plan().await.expect("lists");
    let services = renewal.carry_out(&plan, &known).await.expect("goes on");
    Tried { plan, services }
}

async fn renew(engine: &FakeEngine) -> Tried {
    try_it(engine, &[], |_| {}, Known::default()).await
}

fn set(engine: &FakeEngine, id: &str, field: &str, value: Value) {
    let mut state = engine.state.lock().expect("no panic");
    let (_, object) = state.objects.iter_mut().find(|(_, object)| object["ID"] == id).expect("is there");
    object[field] = value;
}

#[tokio::test]
async fn a_new_login_changes_nothing_else() {
    let engine = FakeEngine::start();
    let web = engine.add(ObjectKind::Service, spec("web", "new:5000/web:1@sha256:00"), "old");
    let other = engine.add(ObjectKind::Service, spec("other", "other:5000/web:1"), "theirs");
    engine.add(ObjectKind::Service, json!({ "Name": "plugin", "TaskTemplate": { "PluginSpec": {} } }), "");
    let before = engine.one("services", "web");
    engine.state.lock().expect("no panic").conflicts = 2;
    let tried = renew(&engine).await;
    assert_eq!((tried.outcome("web"), tried.plan.without_login), (&Outcome::Renewed, 1));
    let after = engine.one("services", "web");
    assert_eq!(after["Spec"], before["Spec"]);
    assert_eq!(Login::of_engine(&engine.value(&web)), Ok(Some(login())));
    assert_eq!(engine.value(&other), "theirs");
    let requests = engine.requests();
    assert_eq!(requests.len(), 3, "two conflicts: {requests:?}");
    assert_eq!(tried.report().exit(), Exit::Done);

    let known = Known::one(&web, login());
    let tried = try_it(&engine, &[], |_| {}, known).await;
    assert_eq!((tried.outcome("web"), engine.requests()), (&Outcome::Same, Vec::new()));
    let tried = try_it(&engine, &[], |it| it.dry_run = true, Known::default()).await;
    assert_eq!((tried.outcome("web"), engine.requests()), (&Outcome::Renewed, Vec::new()));
    let only = |it: &mut Renewal<'_>| it.only = Some(WildMatch::new("other*"));
    let tried = try_it(&engine, &[], only, Known::default()).await;
    assert!(tried.plan.is_empty() && (tried.plan.without_login, tried.plan.elsewhere) == (1, 1));
}

#[tokio::test]
async fn what_is_under_way_and_jobs_are_left() {
    let engine = FakeEngine::start();
    let paused = engine.add(ObjectKind::Service, spec("paused", "new:5000/web:1"), "old");
    set(&engine, &paused, "UpdateStatus", json!({ "State": "paused" }));
    let job = engine.add(ObjectKind::Service, spec("job", "new:5000/web:1"), "old");
    set(&engine, &job, "JobStatus", json!({}));
    set(&engine, &job, "ServiceStatus", json!({ "DesiredTasks": 0 }));
    let rolled = engine.add(ObjectKind::Service, spec("rolled", "new:5000/web:2"), "old");
    set(&engine, &rolled, "PreviousSpec", spec("rolled", "new:5000/web:1"));
    let tried = renew(&engine).await;
    assert!(matches!(tried.outcome("paused"), Outcome::Left { needs_attention: true, .. }));
    assert!(matches!(tried.outcome("job"), Outcome::Left { needs_attention: false, .. }));
    let requests = engine.requests();
    assert!(requests.len() == 1 && requests[0].contains(&rolled), "{requests:?}");
    let report = tried.report();
    assert_eq!((report.exit(), report.attention.len()), (Exit::Attention, 1));
    let text = report.to_string();
    assert!(text.contains("rollback rolled") && text.contains("paused"), "{text}");
    assert!(!text.contains("planted") && !serde_json::to_string(&report).expect("is JSON").contains("planted"));
}

#[tokio::test]
async fn tasks_that_have_ended_for_good_are_not_begun_again() {
    let engine = FakeEngine::start();
    for (name, condition, state) in [
        ("migrate", "none", "complete"),
        ("failed", "none", "failed"),
        ("init", "on-failure", "complete"),
        ("rejected", "none", "rejected"),
        ("any", "any", "complete"),
    ] {
        let mut spec = spec(name, "new:5000/web:1");
        spec["TaskTemplate"]["RestartPolicy"] = json!({ "Condition": condition });
        let id = engine.add(ObjectKind::Service, spec, "old");
        let task = json!({ "ServiceID": id, "DesiredState": "shutdown", "Status": { "State": state } });
        engine.state.lock().expect("no panic").objects.push(("tasks".to_owned(), task));
    }
    let tried = try_it(&engine, &[], |it| it.dry_run = true, Known::default()).await;
    for it in [tried, renew(&engine).await] {
        for (name, is_left) in
            [("migrate", true), ("failed", true), ("init", true), ("rejected", false), ("any", false)]
        {
            let left = matches!(it.outcome(name), Outcome::Left { needs_attention: false, .. });
            assert_eq!(left, is_left, "{name}: {:?}", it.outcome(name));
        }
        assert_eq!(it.report().exit(), Exit::Done);
    }
    assert_eq!(engine.requests().len(), 2);
}

#[tokio::test]
async fn a_helper_that_fails_is_told_once_for_each_service() {
    let engine = FakeEngine::start();
    engine.add(ObjectKind::Service, spec("a", "dead:5000/a:1"), "old");
    let b = engine.add(ObjectKind::Service, spec("b", "dead:5000/b:1"), "old");
    let report = renew(&engine).await.report();
    assert_eq!((report.exit(), report.attention.len(), engine.requests()), (Exit::Failed, 2, Vec::new()));
    assert!(report.attention[0].contains("no such key"), "{report}");
    engine.add(ObjectKind::Service, spec("c", "new:5000/c:1"), "old");
    assert_eq!(renew(&engine).await.report().exit(), Exit::Attention);
    // A rename without the login for the new place would stop what runs.
    engine.requests();
    let tried = try_it(&engine, &["new:5000=dead:5000"], |_| {}, Known::default()).await;
    assert!(matches!(tried.outcome("c"), Outcome::NoLogin { .. }));
    assert_eq!((engine.requests(), engine.value(&b)), (Vec::new(), "old".to_owned()));
}

#[tokio::test]
async fn the_password_of_a_registry_goes_to_no_other() {
    let engine = FakeEngine::start();
    let new = FakeRegistry::at("127.0.0.2", &["mirror/web"]).host;
    let bare = FakeRegistry::at("127.0.0.3", &["web"]).host;
    let own = FakeRegistry::at("127.0.0.4", &["new/web"]).host;
    let add = |name: &str, image: String| engine.add(ObjectKind::Service, spec(name, &image), "b2xk");
    let with_login = add("with-login", format!("old:5000/web:1@{DIGEST}"));
    let without = add("without", "old:5000/bare/web:1".to_owned());
    let within = add("within", format!("{own}/web:1"));
    let kept = add("kept", format!("{own}/new/web:1"));
    let rules = [format!("old:5000={new}/mirror"), format!("old:5000/bare={bare}"), format!("{own}={own}/new")];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let tried = try_it(&engine, &rules, |_| {}, Known::default()).await;
    for (name, id, image, auth) in [
        ("with-login", with_login, format!("{new}/mirror/web:1@{DIGEST}"), login().for_engine(&new).to_string()),
        ("without", without, format!("{bare}/web:1"), Login::none_for_engine().to_string()),
        ("within", within, format!("{own}/new/web:1"), "b2xk".to_owned()),
        ("kept", kept, format!("{own}/new/web:1"), "b2xk".to_owned()),
    ] {
        let service = engine.one("services", name);
        assert_eq!(service["Spec"], spec(name, &image), "{name}");
        assert_eq!(engine.value(&id), auth, "{name}");
        assert!(name == "kept" || *tried.outcome(name) == Outcome::Renamed, "{:?}", tried.services);
    }
    engine.requests();
    let known = Known::one(&tried.services.iter().find(|it| it.service == "with-login").expect("is there").id, login());
    let again = try_it(&engine, &rules, |_| {}, known).await;
    assert_eq!((again.services.len(), engine.requests()), (1, Vec::new()));
}

#[tokio::test]
async fn a_service_stays_where_its_image_is_not_in_the_new_place() {
    let engine = FakeEngine::start();
    let (new, dead) = (FakeRegistry::at("127.0.0.2", &["there"]), "127.0.0.3:1");
    for name in ["a", "b", "gone", "away"] {
        let repository = if name.len() == 1 { "there" } else { name };
        engine.add(ObjectKind::Service, spec(name, &format!("old:5000/{repository}:1@{DIGEST}")), "old");
    }
    let rules = [format!("old:5000={}", new.host), format!("old:5000/away={dead}/away")];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let rehearsed = try_it(&engine, &rules, |it| it.dry_run = true, Known::default()).await;
    assert_eq!((engine.requests().len(), new.asked().len()), (0, 2), "each image is asked for once");
    let tried = try_it(&engine, &rules, |_| {}, Known::default()).await;
    assert_eq!((engine.requests().len(), new.asked().len()), (2, 2));
    for tried in [rehearsed, tried] {
        assert!(["a", "b"].iter().all(|name| *tried.outcome(name) == Outcome::Renamed), "{:?}", tried.services);
        let report = tried.report();
        assert_eq!(report.exit(), Exit::Attention);
        let [away, gone] = report.attention.as_slice() else { panic!("{report}") };
        assert!(gone.contains(&format!("gone keeps its image old:5000/gone:1@{DIGEST}")), "{gone}");
        assert!(gone.contains("not there") && away.contains("not known") && away.contains(dead), "{gone} {away}");
    }
    new.add("gone");
    let again = try_it(&engine, &rules, |_| {}, Known::default()).await;
    assert_eq!((again.outcome("gone"), engine.requests().len()), (&Outcome::Renamed, 3), "{:?}", again.services);
}

#[tokio::test]
async fn only_what_is_owed_is_looked_at_again() {
    let engine = FakeEngine::start();
    let new = FakeRegistry::at("127.0.0.2", &["there"]);
    let add = |name: &str, repository: &str| {
        engine.add(ObjectKind::Service, spec(name, &format!("old:5000/{repository}:1")), "old")
    };
    let [web, gone, dead, job] = [("web", "there"), ("gone", "gone"), ("dead", "gone"), ("job", "there")]
        .map(|(name, repository)| add(name, repository));
    set(&engine, &job, "JobStatus", json!({}));
    let rule = format!("old:5000={}", new.host);
    let first = try_it(&engine, &[&rule], |_| {}, Known::default()).await;
    let owed: Vec<OwedService> = first.services.iter().filter_map(ServiceOutcome::owed).collect();
    let ids: Vec<&String> = owed.iter().map(|owed| &owed.id).collect();
    assert_eq!((ids, first.outcome("web")), (vec![&dead, &gone], &Outcome::Renamed));
    assert!(matches!(first.outcome("job"), Outcome::Left { needs_attention: true, .. }));
    // Somebody moves one back, and gives another one an image of its own.
    set(&engine, &web, "Spec", spec("web", "old:5000/there:1"));
    set(&engine, &dead, "Spec", spec("dead", "old:5000/there:1"));
    new.add("gone");
    engine.requests();
    let scope = Scope::new(None, map(&[&rule]), owed);
    let again = try_on(&engine, &scope, |_| {}, Known::default()).await;
    let requests = engine.requests();
    assert!(requests.len() == 1 && requests[0].contains(&gone), "{requests:?}");
    assert_eq!((again.services.len(), again.outcome("gone")), (1, &Outcome::Renamed));
}

#[tokio::test]
async fn a_service_that_changes_meanwhile_is_left() {
    let engine = FakeEngine::start();
    let web = engine.add(ObjectKind::Service, spec("web", "new:5000/web:1"), "old");
    let gone = engine.add(ObjectKind::Service, spec("gone", "new:5000/web:1"), "old");
    let (config, objects, shutdown) = (config(), engine.objects().await, Shutdown::default());
    let (logins, scope) = (Logins::new(&config, Duration::ZERO), Scope::all(ImageMap::default()));
    let renewal = Renewal {
        config: &config,
        objects: &objects,
        logins: &logins,
        scope: &scope,
        only: None,
        shutdown: &shutdown,
        dry_run: false,
    };
    let plan = renewal.plan().await.expect("lists");
    set(&engine, &web, "Spec", spec("web", "other:5000/web:1"));
    engine.state.lock().expect("no panic").objects.retain(|(_, object)| object["ID"] != gone);
    let services = renewal.carry_out(&plan, &Known::default()).await.expect("goes on");
    let lefts: Vec<_> = services
        .iter()
        .map(|it| matches!(&it.outcome, Outcome::Left { needs_attention, .. } if *needs_attention == (it.service == "web")))
        .collect();
    assert_eq!((lefts, engine.requests()), (vec![true, true], Vec::new()));
}

#[test]
fn names_of_others_do_not_steer_the_terminal() {
    assert_tame(|text| {
        let outcome = |outcome| ServiceOutcome {
            service: text.to_owned(),
            id: text.to_owned(),
            image: text.to_owned(),
            new_image: Some(text.to_owned()),
            registry: text.to_owned(),
            outcome,
            rollback_lost: true,
        };
        let why = text.to_owned();
        let services = vec![
            outcome(Outcome::Renamed),
            outcome(Outcome::Renewed),
            outcome(Outcome::Same),
            outcome(Outcome::Left { why: why.clone(), needs_attention: false, is_owed: false }),
            outcome(Outcome::Failed { why }),
        ];
        let plan = Plan { services: Vec::new(), without_login: 1, elsewhere: 1 };
        Report::of("c1".parse().expect("is an id"), true, &plan, services)
    });
}
