//! Services with random specs, created on an engine: what it stores and returns is what the agent reads.

use std::io::Write;

use anyhow::{Result, ensure};
use proptest::{
    collection::{hash_map, vec},
    option,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use swarmdr_tests::{
    campaign::{full, generations},
    lab::Engine,
};

use crate::{fixture::Fixture, grown::make_with, specs::every_spec_is_listed};

/// Number of services on each engine.
fn many() -> usize {
    if full() { 400 } else { 80 }
}

#[test]
fn random_specs_are_read_as_the_engine_returns_them() -> Result<()> {
    generations().iter().try_for_each(|engine| on(*engine))
}

fn on(engine: Engine) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    let mut runner = TestRunner::deterministic();
    for number in 0..many() {
        let spec = service(number).new_tree(&mut runner).map_err(anyhow::Error::msg)?.current();
        writeln!(file, "{spec}")?;
    }
    let made = make_with(engine, &["random"], &[("BODIES", file.path())])?;
    let fixture = Fixture::at(made.path().join("random"))?;
    let compared = every_spec_is_listed(&fixture)?;
    println!("{engine:?}: {compared} of {} random specs were taken, and are what the engine returns", many());
    ensure!(compared > many() / 2, "the engine refused most of them");
    Ok(())
}

type Any = BoxedStrategy<Value>;

/// Returns an object of which each field is there or not.
fn object(fields: Vec<(&'static str, Any)>) -> Any {
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| option::of(value).prop_map(move |value| (name, value))).collect();
    let object = fields.prop_map(|fields| {
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Value>()
    });
    object.boxed()
}

fn of(values: &'static [&'static str]) -> Any {
    select(values).prop_map(Value::from).boxed()
}

fn number(range: std::ops::Range<i64>) -> Any {
    range.prop_map(Value::from).boxed()
}

fn flag() -> Any {
    any::<bool>().prop_map(Value::from).boxed()
}

/// Any text, but none that ends a line of the file.
fn text() -> Any {
    "[^\\p{Cc}]{0,12}".prop_map(Value::from).boxed()
}

fn texts() -> Any {
    vec(text(), 0..4).prop_map(Value::from).boxed()
}

fn labels() -> Any {
    hash_map("[a-z.]{1,8}", text(), 0..4).prop_map(|labels| labels.into_iter().collect()).boxed()
}

/// A length of time in nanoseconds that every check accepts.
fn length() -> Any {
    prop_oneof![Just(0), 1_000_000..100_000_000_000_i64].prop_map(Value::from).boxed()
}

fn service(number: usize) -> Any {
    let task = object(vec![
        ("Resources", resources()),
        ("LogDriver", object(vec![("Name", of(&["json-file", "none"])), ("Options", labels())])),
        ("ForceUpdate", self::number(0..9)),
        ("RestartPolicy", restart_policy()),
    ]);
    let rest = object(vec![
        ("Labels", labels()),
        ("Mode", mode()),
        ("UpdateConfig", update_config()),
        ("RollbackConfig", update_config()),
        ("EndpointSpec", endpoint(number)),
    ]);
    let whole = (container(), placement(), task, rest).prop_map(move |(container, placement, mut task, mut rest)| {
        task["ContainerSpec"] = container;
        task["Placement"] = placement;
        rest["TaskTemplate"] = task;
        rest["Name"] = format!("random-{number}").into();
        rest
    });
    whole.boxed()
}

fn container() -> Any {
    let first = object(vec![
        ("Labels", labels()),
        ("Command", texts()),
        ("Args", texts()),
        ("Hostname", of(&["a", "{{.Node.Hostname}}"])),
        ("Env", texts()),
        ("Dir", text()),
        ("User", text()),
        ("Groups", texts()),
        ("Init", flag()),
        ("StopSignal", of(&["SIGINT", "9"])),
        ("TTY", flag()),
        ("OpenStdin", flag()),
        ("ReadOnly", flag()),
    ]);
    let second = object(vec![
        ("StopGracePeriod", length()),
        ("Healthcheck", health_check()),
        ("Hosts", texts()),
        ("DNSConfig", object(vec![("Nameservers", of_list("10.0.0.2")), ("Search", texts()), ("Options", texts())])),
        ("Isolation", of(&["default", "process", "hyperv"])),
        ("Sysctls", labels()),
        ("CapabilityAdd", texts()),
        ("CapabilityDrop", texts()),
        ("Ulimits", vec(ulimit(), 0..3).prop_map(Value::from).boxed()),
        ("OomScoreAdj", number(-1000..1000)),
        ("Privileges", privileges()),
        ("Mounts", mounts()),
    ]);
    let container = (first, second).prop_map(|(mut first, second)| {
        let more = second.as_object().cloned().unwrap_or_default();
        if let Some(fields) = first.as_object_mut() {
            fields.extend(more);
        }
        first["Image"] = "registry.example/busybox:1.36".into();
        first
    });
    container.boxed()
}

fn of_list(value: &'static str) -> Any {
    vec(Just(value), 0..2).prop_map(Value::from).boxed()
}

fn health_check() -> Any {
    object(vec![
        ("Test", of_list("CMD")),
        ("Interval", length()),
        ("Timeout", length()),
        ("Retries", number(0..9)),
        ("StartPeriod", length()),
        ("StartInterval", length()),
    ])
}

fn ulimit() -> Any {
    let numbers = (-1..9000_i64, -1..9000_i64);
    numbers.prop_map(|(soft, hard)| json!({ "Name": "nofile", "Soft": soft, "Hard": hard })).boxed()
}

fn privileges() -> Any {
    let context =
        || object(vec![("Disable", flag()), ("User", text()), ("Type", text()), ("Role", text()), ("Level", text())]);
    object(vec![
        ("SELinuxContext", context()),
        ("Seccomp", object(vec![("Mode", of(&["default", "unconfined"]))])),
        ("AppArmor", object(vec![("Mode", of(&["default", "disabled"]))])),
        ("NoNewPrivileges", flag()),
    ])
}

fn mounts() -> Any {
    let bind = object(vec![
        ("Propagation", of(&["rprivate", "private", "rshared", "shared", "rslave", "slave"])),
        ("NonRecursive", flag()),
        ("CreateMountpoint", flag()),
    ]);
    let driver = object(vec![("Name", of(&["local"])), ("Options", labels())]);
    let volume = object(vec![("NoCopy", flag()), ("Labels", labels()), ("DriverConfig", driver)]);
    let tmpfs = object(vec![("SizeBytes", number(0..9_000_000)), ("Mode", number(0..1024))]);
    let of_kind = |kind: &'static str, source: &'static str, options: &'static str, values: Any| {
        let mount = (option::of(values), any::<bool>()).prop_map(move |(values, read_only)| {
            let mut mount =
                json!({ "Type": kind, "Source": source, "Target": format!("/{kind}"), "ReadOnly": read_only });
            if let Some(values) = values {
                mount[options] = values;
            }
            mount
        });
        option::of(mount).boxed()
    };
    let kinds = (
        of_kind("bind", "/srv", "BindOptions", bind),
        of_kind("volume", "data", "VolumeOptions", volume),
        of_kind("tmpfs", "", "TmpfsOptions", tmpfs),
    );
    kinds.prop_map(|(a, b, c)| [a, b, c].into_iter().flatten().collect()).boxed()
}

fn resources() -> Any {
    let generic =
        vec((0..9_i64).prop_map(|value| json!({ "DiscreteResourceSpec": { "Kind": "SSD", "Value": value } })), 0..2);
    let (cpus, memory) = (number(1_000_000..9_000_000_000), number(4_194_304..9_000_000_000));
    object(vec![
        ("Limits", object(vec![("NanoCPUs", cpus.clone()), ("MemoryBytes", memory.clone()), ("Pids", number(0..99))])),
        (
            "Reservations",
            object(vec![
                ("NanoCPUs", cpus),
                ("MemoryBytes", memory),
                ("GenericResources", generic.prop_map(Value::from).boxed()),
            ]),
        ),
    ])
}

fn restart_policy() -> Any {
    object(vec![
        ("Condition", of(&["none", "on-failure"])),
        ("Delay", length()),
        ("MaxAttempts", number(0..9)),
        ("Window", length()),
    ])
}

/// No node has the label, so the tasks stay pending.
fn placement() -> Any {
    let spread = || json!([{ "Spread": { "SpreadDescriptor": "node.labels.zone" } }]);
    let placement = object(vec![
        ("Preferences", Just(spread()).boxed()),
        ("MaxReplicas", number(0..9)),
        ("Platforms", Just(json!([{ "OS": "linux" }, { "Architecture": "x86_64" }])).boxed()),
    ]);
    let placement = placement.prop_map(|mut placement| {
        placement["Constraints"] = json!(["node.labels.never==true"]);
        placement
    });
    placement.boxed()
}

fn mode() -> Any {
    prop_oneof![
        Just(json!({ "Global": {} })),
        Just(json!({ "Replicated": {} })),
        (0..9_u64).prop_map(|replicas| json!({ "Replicated": { "Replicas": replicas } })),
        (1..9_u64, 1..9_u64).prop_map(
            |(concurrent, total)| json!({ "ReplicatedJob": { "MaxConcurrent": concurrent, "TotalCompletions": total } })
        ),
        Just(json!({ "GlobalJob": {} })),
    ]
    .boxed()
}

fn update_config() -> Any {
    let ratio = (0..=1000_u32).prop_map(|thousandths| Value::from(f64::from(thousandths) / 1000.0)).boxed();
    object(vec![
        ("Parallelism", number(0..9)),
        ("Delay", length()),
        ("FailureAction", of(&["pause", "continue"])),
        ("Monitor", length()),
        ("MaxFailureRatio", ratio),
        ("Order", of(&["stop-first", "start-first"])),
    ])
}

/// Each service publishes ports of its own.
fn endpoint(number: usize) -> Any {
    let port = object(vec![
        ("Name", text()),
        ("Protocol", of(&["tcp", "udp", "sctp"])),
        ("PublishMode", of(&["ingress", "host"])),
    ]);
    let port = port.prop_map(move |mut port| {
        port["TargetPort"] = 80.into();
        port["PublishedPort"] = (10_000 + number).into();
        port
    });
    object(vec![
        ("Mode", of(&["vip"])),
        ("Ports", option::of(port).prop_map(|port| port.into_iter().collect()).boxed()),
    ])
}
