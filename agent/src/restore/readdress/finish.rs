//! The end of a move to another address, once the swarm is this host's alone. Safe to repeat.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use swarm_state::{
    Identity, Inventory, StateDir,
    inventory::{Change as ChangeOf, Compared, Difference, ObjectKind},
};
use swarmdr_archive::NodeId;

use super::{POLL, bound::Bound};
use crate::{
    host::{
        engine::{EngineFacts, join::NodeSpec, listing, view::ManagerView},
        files::key_file,
        wait,
    },
    outcome::phases::Phases,
    restore::{
        Readdressed, change::Change, dead_nodes::UNTIL_DOWN, journal::Phase, plan::Target, report::Confirmed,
        strictness::Strictness,
    },
};

impl Change<'_> {
    /// Removes the old node, activates the new one, and compares the swarm with the backup.
    pub(in crate::restore) async fn finish_elsewhere(
        &mut self,
        strictness: Strictness,
        phases: &mut Phases,
    ) -> Result<Confirmed> {
        let here = self.engine.facts().await?.swarm.swarm_node()?;
        let (own, plan) = (here.node.as_str(), &self.record().plan);
        // Never removes a node from another swarm than the restored one.
        if here.cluster != plan.cluster_id {
            bail!("this host is part of swarm {} instead of {}", here.cluster, plan.cluster_id);
        }
        let target = plan.readdress.clone().context("the plan names no new address")?;
        let old = &plan.node_id.to_string();
        let recorded = self.record().recorded.clone().context("the journal has no inventory")?;
        let mut attention = self.attention.clone();
        attention.extend(self.remove_old(old, strictness).await?);
        if self.should_activate(strictness, own).await? {
            self.put_to_work(own, old, &recorded, &target).await?;
        }
        self.enter(Phase::Confirm, phases)?;
        let works = |facts: &EngineFacts| facts.swarm.works();
        self.engine.wait(self.start_limit, "the restored swarm to be active", works).await?;
        let view = self.engine.manager_view().await?;
        match (self.check_swarm(&view, &here.node, &target, &recorded), strictness) {
            (Err(error), Strictness::Fresh) => return Err(error),
            // The tokens may have been rotated since.
            (Err(error), Strictness::Late) => attention.push(format!("{error:#}")),
            (Ok(()), _) => {}
        }
        let mut compared = Compared::of(&recorded, &listing::inventory(&view));
        compared.lost.retain(|difference| !is_removed(difference, old));
        compared.harmless.retain(|difference| difference.id != own);
        attention.extend(self.check_settings(&view));
        let differences = strictness.weigh(compared)?;
        let bound = Bound::find(&view, &recorded, old, own);
        attention.extend(bound.unplaceable.iter().cloned());
        let readdressed = Some(Readdressed { node_id: here.node, addr: target.addr, bound });
        Ok(Confirmed { strictness, differences, attention, readdressed })
    }

    /// Removes the old node, which ended with the second engine. If a late run finds it up again somewhere, an operator
    /// wants it, so it is only reported.
    async fn remove_old(&self, old: &str, strictness: Strictness) -> Result<Option<String>> {
        let mut state = String::new();
        let mut remove = async || -> Result<Option<()>> {
            let nodes = self.engine.nodes().await?;
            let Some(node) = nodes.iter().find(|node| node.id == old) else { return Ok(Some(())) };
            if strictness == Strictness::Fresh || node.state == "down" {
                return self.engine.remove_node(old).await.map(Some);
            }
            node.state.clone_into(&mut state);
            Ok(None)
        };
        let removed = wait::poll(UNTIL_DOWN, POLL, async || remove().await.transpose()).await.transpose()?;
        let told =
            || format!("the old node {old} is {state}, not down: `docker node rm --force {old}` once it is gone");
        Ok(removed.is_none().then(told))
    }

    /// True if the new node, which joined drained, is to be activated. A late run does not overrule an operator who
    /// changed that since.
    async fn should_activate(&self, strictness: Strictness, own: &str) -> Result<bool> {
        let nodes = self.engine.nodes().await?;
        let is_drained = nodes.iter().any(|node| node.id == own && node.availability == "drain");
        Ok(strictness == Strictness::Fresh || (is_drained && self.record().phase != Phase::Confirm))
    }

    async fn put_to_work(&self, own: &str, old: &str, recorded: &Inventory, target: &Target) -> Result<()> {
        let old = recorded.nodes.iter().find(|node| node.id == old).filter(|_| target.copy_labels);
        let availability = match old.map_or("active", |old| old.availability.as_str()) {
            known @ ("pause" | "drain") => known,
            _ => "active",
        };
        let labels = old.and_then(|old| old.labels.clone()).unwrap_or_default();
        let change = |spec: &mut NodeSpec| {
            spec.insert("Availability".to_owned(), availability.into());
            let mut all = spec.get("Labels").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
            all.extend(labels.iter().map(|(name, value)| (name.clone(), value.clone().into())));
            spec.insert("Labels".to_owned(), all.into());
        };
        self.engine.update_node(own, change).await.context("failed to give the new manager its work")
    }

    /// Checks that the swarm, its CA and its tokens are the same, at the new address.
    fn check_swarm(&self, view: &ManagerView, own: &NodeId, target: &Target, recorded: &Inventory) -> Result<()> {
        let listed = listing::inventory(view).cluster;
        let (was, is) = (&recorded.cluster, &listed);
        if was.root_ca_digest.is_some() && was.root_ca_digest != is.root_ca_digest {
            bail!("the restored swarm has another root CA than the one that was backed up");
        }
        if was.join_token_digests.is_some() && was.join_token_digests != is.join_token_digests {
            bail!("the restored swarm has other join tokens than the one that was backed up");
        }
        view.require_raft_addr(own, target.addr)
    }

    /// Waits for the steps that the new manager takes by itself; returns a warning for each that did not happen.
    pub(in crate::restore) async fn converge_elsewhere(&self, target: &Target) -> Result<Vec<String>> {
        let state_dir = self.placement.state_dir();
        let mut attention = Vec::new();
        let locked = || Ok(key_file::is_locked_in(&state_dir).unwrap_or_default());
        if self.record().plan.init.auto_lock_managers && !self.wait_until(locked).await? {
            attention.push(format!(
                "the engine has not locked {}: anyone who can read this disk can read the swarm; `docker swarm unlock-key --rotate` makes it try",
                state_dir.display()
            ));
        }
        // The file is being written.
        let forgotten = || Ok(knows_only(&state_dir, target.addr).unwrap_or_default());
        if !self.wait_until(forgotten).await? {
            attention
                .push("the engine still knows managers at other addresses; it forgets them at its next start".into());
        }
        Ok(attention)
    }
}

fn knows_only(state_dir: &Path, addr: SocketAddr) -> Result<bool> {
    let known = Identity::read(&StateDir::open(state_dir)?)?.known_managers;
    Ok(known.len() == 1 && known[0].addr == addr.to_string())
}

fn is_removed(difference: &Difference, old: &str) -> bool {
    difference.kind == ObjectKind::Node && difference.change == ChangeOf::Missing && difference.id == old
}
