//! From a swarm that is this host's alone to one that is as it was; safe to repeat.

use std::{net::SocketAddr, path::Path, time::Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::{POLL, bound::Bound};
use crate::{
    host::{engine::EngineFacts, joining::NodeSpec, key_file, listing, view::ManagerView},
    report::Phases,
    restore::{
        Readdressed,
        change::Change,
        confirm::Confirmed,
        journal::Phase,
        plan::{Target, checks},
        prune::UNTIL_DOWN,
        strictness::Strictness,
    },
    swarm::{
        Identity, Inventory, StateDir,
        inventory::{Change as ChangeOf, Compared, Difference, ObjectKind},
    },
};

impl Change<'_> {
    /// Takes the old node off the list, gives the new one its work, and compares.
    pub(in crate::restore) async fn finish_elsewhere(
        &mut self,
        strictness: Strictness,
        phases: &mut Phases,
    ) -> Result<Confirmed> {
        let here = self.engine.facts().await?.swarm;
        let (own, plan) = (here.node_id, &self.record().plan);
        // Nothing is removed from another swarm than the restored one.
        if here.cluster_id != plan.cluster_id {
            bail!("this host is part of swarm {} instead of {}", here.cluster_id, plan.cluster_id);
        }
        let target = plan.readdress.clone().context("the plan names no new address")?;
        let old = plan.node_id.clone();
        let recorded = self.record().recorded.clone().context("the journal has no inventory")?;
        let mut attention = self.attention.clone();
        attention.extend(self.remove_old(&old, strictness).await?);
        if self.is_to_be_put_to_work(strictness, &own).await? {
            self.put_to_work(&own, &old, &recorded, &target).await?;
        }
        self.enter(Phase::Confirm, phases)?;
        let works = |facts: &EngineFacts| checks::works(&facts.swarm);
        self.engine.wait(self.start_limit, "the restored swarm to be active", works).await?;
        let view = self.engine.manager_view().await?;
        match (self.check_swarm(&view, &own, &target, &recorded), strictness) {
            (Err(error), Strictness::Fresh) => return Err(error),
            // Somebody may have rotated them since.
            (Err(error), Strictness::Late) => attention.push(format!("{error:#}")),
            (Ok(()), _) => {}
        }
        let mut compared = Compared::of(&recorded, &listing::inventory(&view));
        compared.lost.retain(|difference| !is_removed(difference, &old));
        compared.harmless.retain(|difference| difference.id != own);
        attention.extend(self.check_settings(&view));
        let differences = strictness.weigh(compared)?;
        let bound = Bound::find(&view, &recorded, &old, &own);
        attention.extend(bound.unplaceable.iter().cloned());
        let readdressed = Some(Readdressed { node_id: own, addr: target.addr, bound });
        Ok(Confirmed { strictness, differences, attention, readdressed })
    }

    /// The old node went with the second engine. Late, one that still runs, or runs again somewhere, is somebody's wish: it
    /// is told.
    async fn remove_old(&self, old: &str, strictness: Strictness) -> Result<Option<String>> {
        let since = Instant::now();
        loop {
            let nodes = self.engine.nodes().await?;
            let Some(node) = nodes.iter().find(|node| node.id == old) else { return Ok(None) };
            if strictness == Strictness::Fresh || node.state == "down" {
                self.engine.remove_node(old).await?;
                return Ok(None);
            }
            if since.elapsed() > UNTIL_DOWN {
                return Ok(Some(format!(
                    "the old node {old} is {}, not down: `docker node rm --force {old}` once it is gone",
                    node.state
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The node joined drained. Late, whoever gave it work in the meantime is not overruled.
    async fn is_to_be_put_to_work(&self, strictness: Strictness, own: &str) -> Result<bool> {
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

    /// Same swarm, same CA, same tokens, at the new address.
    fn check_swarm(&self, view: &ManagerView, own: &str, target: &Target, recorded: &Inventory) -> Result<()> {
        let listed = listing::inventory(view).cluster;
        let (was, is) = (&recorded.cluster, &listed);
        if was.root_ca_digest.is_some() && was.root_ca_digest != is.root_ca_digest {
            bail!("the restored swarm has another root CA than the one that was backed up");
        }
        if was.join_token_digests.is_some() && was.join_token_digests != is.join_token_digests {
            bail!("the restored swarm has other join tokens than the one that was backed up");
        }
        let raft_addr = view.raft_addr(own);
        if raft_addr.as_deref() != Some(target.addr.to_string().as_str()) {
            bail!("the restored manager is at {raft_addr:?} in its raft log, not at {}", target.addr);
        }
        Ok(())
    }

    /// Waits for what the new manager does by itself; answers with what did not come.
    pub(in crate::restore) async fn settle_down_elsewhere(&self, target: &Target) -> Result<Vec<String>> {
        let state_dir = self.placement.state_dir();
        let mut attention = Vec::new();
        let locked = || Ok(key_file::is_locked_in(&state_dir).unwrap_or_default());
        if self.record().plan.init.auto_lock_managers && !self.wait_until(locked).await? {
            attention.push(format!(
                "the engine has not locked {}: whoever reads this disk reads the swarm; `docker swarm unlock-key --rotate` makes it try",
                state_dir.display()
            ));
        }
        // It is being written.
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
