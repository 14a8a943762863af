//! A stream that is read from the task of a service, on the host where it runs.

use anyhow::{Result, ensure};
use swarmdr_tests::{
    campaign::generations,
    lab::{Engine, HostSpec, Role, addr},
    scenario::{agent, agent_json},
};

use super::site::{Streams, require};

fn stream(lines: &str) -> String {
    format!("\n[[stream]]\nname = \"shop-db\"\n{lines}\n")
}

#[tokio::test]
async fn the_host_with_the_task_stores_it() -> Result<()> {
    for engine in generations() {
        stores_it(*engine).await?;
    }
    Ok(())
}

async fn stores_it(engine: Engine) -> Result<()> {
    let streams = Streams::new(engine, 1).await?;
    let (site, manager) = (&streams.site, &streams.host);
    let worker = site.lab.boot(HostSpec::new("w1", engine, addr(21)))?;
    worker.join(manager, Role::Worker)?;
    for host in [manager, &worker] {
        host.load_image()?;
    }
    site.configure_manager(&worker)?;
    worker.install(&swarmdr_tests::scenario::agent_with_faults()?)?;
    let exec = "exec = [\"sh\", \"-c\", \"hostname >&2; seq 200000; exit ${FAIL:-0}\"]";
    let config = site.config("s3://vault/prod") + &stream(&format!("service = \"db\"\n{exec}\ncron = \"* * * * *\""));
    site.configure(manager, &config)?;
    site.configure(&worker, &config)?;
    require(&agent(manager, &["put", "shop-db"])?, 3, &["no task of the service db runs on this host"])?;
    let pinned = [
        "docker",
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--init",
        "--name=db",
        "--network=host",
        "--constraint=node.role==worker",
        "lab/busybox:1",
        "sleep",
        "1000000",
    ];
    ensure!(manager.run(&pinned)?.status.success(), "the service cannot be created");
    worker.wait_containers("db", 1)?;
    require(&agent(manager, &["put", "--due"])?, 3, &["no task of the service db"])?;
    require(&agent(&worker, &["put", "--due"])?, 0, &["shop-db"])?;
    require(&agent(&worker, &["put", "--due"])?, 3, &[])?;
    let sum = streams.sum_of("shop-db")?;
    ensure!(sum == manager.sh("seq 200000 | sha256sum | cut -d' ' -f1")?, "another stream came back");

    // The worker makes no backups, and nobody blames it for that.
    let status = agent_json(&worker, 0, &["status"])?;
    ensure!(status["streams_only"] == true && status["streams"][0]["stale"] == false, "{status:#}");
    let at_manager = agent_json(manager, 5, &["status"])?;
    ensure!(at_manager["streams"][0]["newest"]["hostname"] == "w1", "{at_manager:#}");

    // The exit status in the container counts.
    let failing = stream("service = \"db\"\nexec = [\"sh\", \"-c\", \"seq 200000; echo broken >&2; exit 9\"]");
    site.configure(&worker, &(site.config("s3://vault/prod") + &failing))?;
    require(&agent(&worker, &["put", "shop-db"])?, 1, &["ended with 9", "broken"])?;
    let endless = stream("service = \"db\"\nexec = [\"sh\", \"-c\", \"echo begun; sleep 4711\"]\ntimeout = 3");
    site.configure(&worker, &(site.config("s3://vault/prod") + &endless))?;
    require(&agent(&worker, &["put", "shop-db"])?, 1, &["did not end within 3 s"])?;
    worker.wait_for("the command to be gone", std::time::Duration::from_secs(60), || {
        Ok(worker.sh("! pgrep -f '[s]leep 4711'").ok())
    })?;
    let closing = stream(
        "service = \"db\"\nexec = [\"sh\", \"-c\", \"echo begun; exec >&- 2>&-; sleep 4712; true\"]\ntimeout = 3",
    );
    site.configure(&worker, &(site.config("s3://vault/prod") + &closing))?;
    require(&agent(&worker, &["put", "shop-db"])?, 1, &["did not end within 3 s"])?;
    worker.wait_for("the command and its child to be gone", std::time::Duration::from_secs(60), || {
        Ok(worker.sh("! pgrep -f '[s]leep 4712'").ok())
    })?;
    ensure!(streams.stored().await?.len() == 1, "what failed is visible");

    // Of two tasks on one host nobody knows which has the data.
    manager.docker(&["service", "scale", "--detach", "db=2"])?;
    worker.wait_containers("db", 2)?;
    require(&agent(&worker, &["put", "shop-db"])?, 4, &["2 tasks of the service db"])?;
    Ok(())
}
