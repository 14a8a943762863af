//! A swarm that has lost its workers: each joined, had a task on a small network, and never came back.

use std::{thread, time::Duration};

use anyhow::{Context, Result, anyhow};
use swarmdr_tests::{
    lab::{Engine, Host, HostSpec, IMAGE, Lab, Role, addr},
    scenario::{agent_json, agent_with_faults},
};

/// The network: 16 addresses, of which 13 are for tasks and for the load balancers of nodes.
pub const NETWORK: &str = "small";

pub const LIMIT: Duration = Duration::from_secs(180);

/// How often each of two hosts joins, each time as another node.
const LIVES: usize = 5;

/// Number of lives in which a node gets a task: three nodes of each of two hosts use twelve addresses.
const BUSY: usize = 3;

/// A restored manager, ten workers that are dead, and one that lives.
pub struct Bereft {
    _lab: Lab,
    pub manager: Host,
    pub survivor: Host,
}

impl Bereft {
    pub fn new(engine: Engine) -> Result<Self> {
        let lab = Lab::new()?;
        let spec = |name, last| HostSpec::new(name, engine, addr(last));
        let [manager, survivor, first, second] =
            lab.boot_all([spec("m1", 11), spec("w3", 23), spec("w1", 21), spec("w2", 22)])?;
        manager.install(&agent_with_faults()?)?;
        manager.swarm_init()?;
        [&manager, &survivor].into_iter().try_for_each(Host::load_image)?;
        survivor.join(&manager, Role::Worker)?;
        manager.docker(&["network", "create", "--driver=overlay", "--subnet=10.99.0.0/28", NETWORK])?;
        let on_the_others = ["--constraint=node.role==worker", "--constraint=node.hostname!=w3"];
        service(&manager, &[&["--name=old", "--mode=global"], &on_the_others[..]].concat())?;
        thread::scope(|scope| {
            let lives = [&first, &second].map(|worker| scope.spawn(|| live_and_die(worker, &manager)));
            lives.into_iter().try_for_each(|it| it.join().map_err(|_| anyhow!("a life panicked"))?)
        })?;
        [first, second].into_iter().try_for_each(Host::destroy)?;
        wait_down(&manager, 2 * LIVES)?;
        let bereft = Self { _lab: lab, manager, survivor };
        bereft.restore()?;
        Ok(bereft)
    }

    fn restore(&self) -> Result<()> {
        let host = &self.manager;
        agent_json(host, 0, &["backup"])?;
        host.sh("systemctl stop docker.socket docker.service; rm -rf /var/lib/docker/swarm
             systemctl start docker.socket docker.service")?;
        host.wait_engine()?;
        agent_json(host, 0, &["restore", "--latest"])?;
        self.wait_survivor("Ready")
    }

    pub fn wait_survivor(&self, state: &str) -> Result<()> {
        self.manager.wait_for(&format!("the survivor to be {state}"), LIMIT, || {
            let nodes = self.manager.docker(&["node", "ls", "--format={{.Hostname}} {{.Status}}"])?;
            Ok(nodes.lines().any(|line| line == format!("w3 {state}")).then_some(()))
        })
    }
}

/// Creates a service on the network.
pub fn service(host: &Host, more: &[&str]) -> Result<()> {
    let network = format!("--network={NETWORK}");
    let fixed = ["service", "create", "--detach", "--no-resolve-image", "--init", "--endpoint-mode=dnsrr"];
    host.docker(&[&fixed[..], &["--restart-delay=200ms", &network], more, &[IMAGE, "sleep", "1000000"]].concat())
        .map(drop)
}

fn live_and_die(worker: &Host, manager: &Host) -> Result<()> {
    let token = manager.docker(&["swarm", "join-token", "--quiet", "worker"])?;
    let (own, remote) = (worker.addr().to_string(), format!("{}:2377", manager.addr()));
    for life in 0..LIVES {
        worker.docker(&["swarm", "join", "--advertise-addr", &own, "--token", &token, &remote])?;
        if life < BUSY {
            let id = worker.docker(&["info", "--format={{.Swarm.NodeID}}"])?;
            let allocated = manager.wait_for("a task on the node", LIMIT, || {
                let tasks = manager.docker(&["node", "ps", "--format={{.CurrentState}}", &id])?;
                Ok(tasks.lines().any(|line| !line.starts_with("New")).then_some(()))
            });
            allocated.with_context(|| format!("life {life} of {}", worker.name()))?;
        }
        die(worker)?;
    }
    Ok(())
}

/// Ends the engine of a worker without a word to its swarm, and empties it.
fn die(worker: &Host) -> Result<()> {
    worker.sh("kill -KILL $(cat /run/docker.pid); systemctl stop docker.socket docker.service
         systemctl reset-failed docker.service docker.socket; rm -rf /var/lib/docker/swarm
         systemctl start docker.socket docker.service")?;
    worker.wait_engine()?;
    worker.sh("docker ps -aq | xargs -r docker rm -f").map(drop)
}

fn wait_down(manager: &Host, wanted: usize) -> Result<()> {
    manager.wait_for("the workers to be down", LIMIT, || Ok((down(manager)?.len() == wanted).then_some(())))
}

/// Ids of the nodes that the leader calls down.
pub fn down(manager: &Host) -> Result<Vec<String>> {
    let nodes = manager.docker(&["node", "ls", "--format={{.ID}} {{.Status}}"])?;
    Ok(nodes.lines().filter_map(|line| line.strip_suffix(" Down").map(str::to_owned)).collect())
}
