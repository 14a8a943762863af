//! The cost of an export of many services.

use anyhow::{Result, ensure};
use serde_json::json;
use swarmdr_tests::{campaign::full, measure::on_one_processor, scenario::agent_binary, states::MadeState};

use crate::engine;

/// Largest memory of an export of a thousand services, in bytes. The tables of a run are what grows.
const MOST_MEMORY: u64 = 128 << 20;

#[test]
fn a_thousand_services_are_exported_at_once() -> Result<()> {
    let counts: &[usize] = if full() { &[50, 500, 1_000, 5_000] } else { &[50, 1_000] };
    println!("{:>9} {:>12} {:>10} {:>9}", "services", "processor", "in all", "memory");
    let mut memory = Vec::new();
    for count in counts {
        let made = state_of(*count)?;
        let out = made.directory().join("out");
        let paths = [made.state(), out.clone()];
        let [state, to] = paths.each_ref().map(|path| path.to_str().unwrap_or_default());
        let cost = on_one_processor(&agent_binary()?.path, &["export", "--dir", state, "--to", to], &[0])?;
        println!(
            "{count:>9} {:>9} ms {:>7} ms {:>5} MiB",
            cost.processor.as_millis(),
            cost.wall.as_millis(),
            cost.memory >> 20
        );
        let scripts = std::fs::read_dir(out.join("_alone/services"))?.count();
        ensure!(scripts == *count, "{scripts} of {count} services were exported");
        memory.push(cost.memory);
    }
    ensure!(memory.iter().zip(counts).all(|(bytes, count)| *count > 1_000 || *bytes < MOST_MEMORY), "{memory:?}");
    Ok(())
}

/// Makes a state with this many services, as an engine writes it.
fn state_of(count: usize) -> Result<MadeState> {
    let service = |number: usize| {
        let env: Vec<String> = (0..10).map(|at| format!("VARIABLE_{at}=value of {number}")).collect();
        let container = json!({ "Image": "registry.example/shop:1", "Env": env, "Labels": { "traefik.enable": "true" }, "Init": false });
        let placement = json!({ "Constraints": ["node.labels.never==true"] });
        // Without tasks, so that the engine has nothing else to do.
        json!({
            "Name": format!("service-{number}"), "Mode": { "Replicated": { "Replicas": 0 } },
            "TaskTemplate": { "ContainerSpec": container, "Placement": placement },
        })
    };
    MadeState::with_services(engine(), &(0..count).map(service).collect::<Vec<_>>())
}
