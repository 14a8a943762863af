//! Checks of the engine and the swarm on this host: whether it can be backed up, and whether its state could be
//! restored.

use std::net::IpAddr;

use anyhow::Result;
use swarmdr_archive::NodeId;

use super::{Check, Diagnosis};
use crate::{
    backup::plan,
    config::Config,
    host::{
        engine::{Engine, EngineFacts, unlock::RunningKey, version::EngineVersion, view::ManagerView},
        files::space,
        network,
    },
    keys::unlock_key::GivenKey,
    nodes::tidy,
    restore::interrupted::unfinished,
};

/// Oldest engine with all API calls that the agent makes (API 1.41).
const OLDEST: &str = "20.10.0";

/// The manager on this host, if its engine answers.
#[derive(Debug)]
pub struct Manager {
    pub facts: EngineFacts,
}

/// Checks the engine and the swarm. Returns `None` if the engine does not answer or this host is not a manager (it may
/// be a host that only restores).
pub async fn check(config: &Config, diagnosis: &mut Diagnosis) -> Option<Manager> {
    let engine = Engine::at(&config.engine.socket);
    let facts = match engine.facts().await {
        Ok(facts) => facts,
        Err(error) => {
            diagnosis.add(Check::failed("engine.answers", &error));
            return None;
        }
    };
    diagnosis.add(version(&facts.version));
    if let Some(told) = unfinished::in_data_root(&facts.data_root) {
        diagnosis.add(Check::fail("restore.finished", told).fix("run `swarmdr-agent restore --latest`"));
    }
    if let Err(error) = plan::check_manager(&facts) {
        let found = Check::failed("swarm.manager", &error);
        diagnosis.add(Check { level: super::Level::Warn, ..found });
        return None;
    }
    let own = match facts.swarm.swarm_node() {
        Ok(own) => own,
        Err(error) => {
            diagnosis.add(Check::failed("swarm.manager", &error));
            return None;
        }
    };
    diagnosis.add(Check::ok("swarm.manager", format!("manager {} of swarm {}", own.node, own.cluster)));
    match engine.manager_view().await {
        Ok(view) => cluster(config, &own.node, &view, diagnosis).await,
        Err(error) => diagnosis.add(Check::failed("swarm.answers", &error)),
    }
    diagnosis.add(room(config, &facts));
    Some(Manager { facts })
}

fn version(text: &str) -> Check {
    match (EngineVersion::parse(text), EngineVersion::parse(OLDEST)) {
        (Some(found), Some(oldest)) if found < oldest => {
            Check::fail("engine.version", format!("{text} is older than {OLDEST}")).fix("upgrade the engine")
        }
        (Some(_), _) => Check::ok("engine.version", text),
        (None, _) => Check::warn("engine.version", format!("`{text}` is not a version that can be compared"))
            .fix("restore on an engine that is not older than this one"),
    }
}

async fn cluster(config: &Config, own: &NodeId, view: &ManagerView, diagnosis: &mut Diagnosis) {
    diagnosis.add(address(own, view));
    if let Some(left) = left_drained(view) {
        diagnosis.add(left);
    }
    if view.auto_lock() {
        diagnosis.add(unlock_key(config).await);
    }
}

/// Nodes that an interrupted `node tidy` left drained.
fn left_drained(view: &ManagerView) -> Option<Check> {
    let names = tidy::named(&view.nodes);
    (!names.is_empty()).then(|| Check::warn("swarm.drained", tidy::told(&names)).fix(tidy::REMEDY))
}

/// Whether the manager's address is on an interface of this host: a restore needs it there.
fn address(own: &NodeId, view: &ManagerView) -> Check {
    let addr = view.raft_addr(own);
    let ip: Option<IpAddr> = addr.map(|addr| addr.ip());
    let addr = addr.map_or_else(|| "an unknown address".to_owned(), |addr| addr.to_string());
    let local = network::local_addresses().map(|all| all.iter().any(|local| Some(local.ip) == ip));
    match local {
        Ok(true) => Check::ok("swarm.address", format!("{addr} is on an interface of this host")),
        Ok(false) => Check::warn("swarm.address", format!("{addr} is on no interface of this host (NAT?)"))
            .fix("a restore cannot check the address: it will need --address-elsewhere"),
        Err(error) => Check::failed("swarm.address", &error),
    }
}

/// Whether the configured unlock key is the one that the engine returns.
async fn unlock_key(config: &Config) -> Check {
    const NAME: &str = "swarm.unlock-key";
    let compare = async || -> Result<Option<bool>> {
        let running = RunningKey::ask(&config.engine.socket).await?;
        Ok(GivenKey::find(None, config)?.map(|given| running.is_same(&given.for_engine())))
    };
    match compare().await {
        Ok(Some(true)) => Check::ok(NAME, "the swarm is autolocked, and the configured key is its key"),
        Ok(Some(false)) => Check::fail(NAME, "the configured key is not the one of this swarm; was it rotated?")
            .fix("write the output of `docker swarm unlock-key -q` into the file that the configuration names"),
        Ok(None) => {
            Check::warn(NAME, "the swarm is autolocked, and a restore will need its key, which is not in any backup")
                .fix("keep the output of `docker swarm unlock-key -q` in a place that survives the disaster")
        }
        Err(error) => Check::failed(NAME, &error),
    }
}

fn room(config: &Config, facts: &EngineFacts) -> Check {
    const NAME: &str = "host.space";
    let measure = || -> Result<String> {
        let state = space::allocated_bytes(&facts.data_root.join("swarm"))?;
        space::require(&facts.data_root, 2 * state, "a copy of the state and its archive")?;
        if config.state_dir.exists() {
            space::require(&config.state_dir, state, "the archive")?;
        }
        let free = space::free_bytes(&facts.data_root)?;
        Ok(format!("the state has {}, {} are free", space::human_bytes(state), space::human_bytes(free)))
    };
    measure().map_or_else(|error| Check::failed(NAME, &error), |found| Check::ok(NAME, found))
}
