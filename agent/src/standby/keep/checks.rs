//! What a host has to be to keep a backup, and to be promoted to it.

use anyhow::Result;
use swarmdr_archive::manifest::Manifest;

use super::{FORMING, Standby};
use crate::{
    host::{
        engine::{Engine, EngineFacts, SwarmState},
        files::space,
    },
    outcome::{exit::Exit, failure::Failure},
    restore::{on_disk::OnDisk, plan::checks},
};

impl Standby<'_> {
    /// Refuses a host that is no spare host: what is kept there would replace a swarm.
    pub(super) async fn look_at_host(&self) -> Result<EngineFacts> {
        let facts = Engine::at(&self.run.config.engine.socket).facts().await?;
        require_spare(&facts, &OnDisk::read(&facts.data_root.join("swarm")))?;
        Ok(facts)
    }

    /// Returns what would keep this host from being promoted to this backup.
    pub(super) fn complaints(&self, manifest: &Manifest, facts: &EngineFacts) -> Vec<String> {
        let data_root = &facts.data_root;
        let room = manifest.payload.tar_size + FORMING;
        let checked = [
            checks::engine_settings(facts),
            checks::engine_version(manifest, facts),
            checks::state(manifest, self.keyring.unlock_key.is_some(), self.run.now),
            space::require(data_root, room, "the state of the swarm"),
        ];
        checked
            .into_iter()
            .filter_map(|checked| Some(format!("a promotion would be refused: {:#}", checked.err()?)))
            .collect()
    }
}

/// Refuses a host whose engine is in a swarm, or has a state of one on its disk.
fn require_spare(facts: &EngineFacts, on_disk: &OnDisk) -> Result<()> {
    match (facts.swarm.state, on_disk) {
        (SwarmState::Inactive | SwarmState::Error, OnDisk::Nothing) => Ok(()),
        (SwarmState::Active | SwarmState::Locked, _) if is_manager(facts, on_disk) => {
            Err(Failure::new(Exit::NotOurTurn, "this host is a manager, so it is a site now and no standby").into())
        }
        _ => Err(Failure::refused("this host is in a swarm, or has the state of one on its disk: it is no spare host")
            .advice("a standby host has an engine that is in no swarm (`docker swarm leave`)")
            .advice("disable swarmdr-standby.timer on hosts that are nodes")
            .into()),
    }
}

fn is_manager(facts: &EngineFacts, on_disk: &OnDisk) -> bool {
    facts.swarm.is_manager || on_disk.held().is_some_and(|held| held.is_manager)
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::SwarmNode;

    use super::*;
    use crate::{host::engine::LocalSwarm, outcome::failure::Rendered, restore::on_disk::Held};

    fn facts(state: SwarmState, is_manager: bool) -> EngineFacts {
        EngineFacts {
            version: "26.1.5".to_owned(),
            hostname: "spare".to_owned(),
            data_root: "/d".into(),
            live_restore: false,
            swarm: LocalSwarm { state, is_manager, ..LocalSwarm::default() },
        }
    }

    fn held(is_manager: bool) -> OnDisk {
        let own = SwarmNode::parse("cluster", "node").expect("are ids");
        OnDisk::State(Held { own, is_manager, is_taken_up: true })
    }

    #[test]
    fn only_a_host_without_a_swarm_is_a_spare_host() {
        for (state, is_manager, on_disk, expected) in [
            (SwarmState::Inactive, false, OnDisk::Nothing, None),
            (SwarmState::Active, true, held(true), Some(Exit::NotOurTurn)),
            (SwarmState::Locked, false, held(true), Some(Exit::NotOurTurn)),
            (SwarmState::Active, false, held(false), Some(Exit::Refused)),
            (SwarmState::Pending, false, held(true), Some(Exit::Refused)),
            (SwarmState::Inactive, false, OnDisk::Unknown, Some(Exit::Refused)),
            (SwarmState::Inactive, false, held(true), Some(Exit::Refused)),
        ] {
            let refused = require_spare(&facts(state, is_manager), &on_disk).err();
            assert_eq!(refused.map(|error| Rendered::of(&error).exit), expected, "{state:?} {on_disk:?}");
        }
    }
}
