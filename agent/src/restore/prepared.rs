//! A backup that is prepared for a restore: found, and compared with this host.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Result;
use swarm_state::{Examined, identity::usable};
use swarmdr_archive::{BackupId, manifest::Manifest, point::Point};
use swarmdr_vault::catalog::Filter;

use super::{
    Decision, Here, Overrides, Request, Restore, RestorePlan, Waits, fence,
    holding::{Holding, Wanted},
    interrupted,
    journal::Journal,
    on_disk::OnDisk,
    peers, plan,
    silence::Looked,
};
use crate::{
    archive::source::{Choice, Found, Source},
    host::{
        engine::{Engine, EngineFacts},
        network,
    },
    keys::identities,
    outcome::failure::Failure,
};

/// Time that vaults get to answer the second time: they did a while ago.
const AGAIN: Duration = Duration::from_secs(30);

/// A backup that was found: its verified head, and the source of the rest.
#[derive(Debug)]
pub struct Prepared {
    pub(super) found: Found,
    terms: Terms,
    /// Content of this host's state directory when the plan was made.
    pub(super) on_disk: OnDisk,
    was_unlocked: bool,
    /// The caller's own look at signs of life.
    looked: Option<Looked>,
}

/// The part of a request that matters when a backup is compared with this host.
#[derive(Debug, Clone)]
struct Terms {
    overrides: Overrides,
    fenced: bool,
    looks_for_life: bool,
    /// True if the newest backup was asked for, and none by name.
    newest: bool,
}

impl Prepared {
    pub fn id(&self) -> BackupId {
        self.found.head.manifest.id
    }

    /// The backup that was found, without the rest of its archive.
    pub fn manifest(&self) -> &Manifest {
        &self.found.head.manifest
    }

    /// True if this host's engine was unlocked to see what it holds.
    pub fn was_unlocked(&self) -> bool {
        self.was_unlocked
    }

    /// True if the operator vouches that the old managers are gone.
    pub fn is_fenced(&self) -> bool {
        self.terms.fenced
    }

    /// Notes a look at signs of life that the caller made itself, to be repeated right before the claim.
    pub fn note_look(&mut self, looked: Option<Looked>) {
        self.looked = looked;
    }

    pub fn looked(&self) -> Option<&Looked> {
        self.looked.as_ref()
    }

    /// Adds what is found later.
    pub(super) fn note_findings(&mut self, found: Vec<String>) {
        let new: Vec<String> = found.into_iter().filter(|found| !self.found.findings.contains(found)).collect();
        self.found.findings.extend(new);
    }

    /// The recovery point that names the backup, if it was chosen by one.
    pub fn point(&self) -> Option<&Point> {
        self.found.point.as_deref()
    }

    /// Findings in the vaults that the operator should see.
    pub fn findings(&self) -> &[String] {
        &self.found.findings
    }
}

/// Whether the newest backup is meant, and none by name.
fn means_newest(choice: &Choice) -> bool {
    match choice {
        Choice::Vaults(Filter { id, before, .. }) => id.is_none() && before.is_none(),
        Choice::Point(which, filter) => which.is_newest() && filter.before.is_none(),
        Choice::File(_) => false,
    }
}

impl Restore<'_> {
    /// Finds the backup and compares it with this host. Reads only the head of the archive. Changes nothing, except
    /// that an engine that does not work with the state on this host's disk may be started, unlocked or restarted,
    /// unless this is a dry run.
    pub async fn prepare(&self, request: &Request) -> Result<(Decision, Prepared)> {
        let facts = self.await_engine(request.waits.engine, !request.dry_run).await?;
        if !request.overrides.force {
            interrupted::unfinished::require_mounted(self.run.config, &facts.data_root)?;
        }
        let heals = !request.dry_run && !request.overrides.force;
        let unlocked_first = heals && self.heal_restored(&facts, request.waits).await?;
        let mut found = self.await_backup(request.waits.vault, &request.choice).await?;
        let manifest = &found.head.manifest;
        let wanted = manifest.raft_addr.ip();
        let elsewhere = request.overrides.readdress.is_some();
        let is_awaited = !elsewhere && !request.overrides.address_elsewhere;
        let limit = if is_awaited { request.waits.address } else { Duration::ZERO };
        self.await_address(limit, wanted).await?;
        // Only now: the swarm on this host may have been waiting for the same things as the waits above.
        let holding = match request.overrides.force {
            true => self.look().await?,
            false => {
                let node = (!elsewhere).then_some(&manifest.node_id);
                let wanted = Wanted { cluster: &manifest.cluster_id, node };
                self.await_settled(wanted, request.waits.engine, !request.dry_run).await?
            }
        };
        let terms = Terms {
            overrides: request.overrides.clone(),
            fenced: request.fenced,
            looks_for_life: request.looks_for_life,
            newest: means_newest(&request.choice),
        };
        let decision = self.decide(manifest, &found.source, &holding, &terms).await?;
        if matches!(decision, Decision::Restore(_)) {
            identities::require(&self.keyring.identities, manifest)?;
            if !(request.fenced || request.looks_for_life) {
                let cluster = manifest.cluster_id.clone();
                found.findings.extend(self.await_silence(request.waits.silence, &cluster).await?);
            }
        }
        let prepared = Prepared {
            found,
            terms,
            on_disk: holding.on_disk,
            was_unlocked: holding.was_unlocked || unlocked_first,
            looked: None,
        };
        Ok((decision, prepared))
    }

    /// Brings a state that a completed restore left on this host to work before any vault is asked: it needs none.
    /// Returns true if the engine was unlocked for that.
    async fn heal_restored(&self, facts: &EngineFacts, waits: Waits) -> Result<bool> {
        let Some(journal) = Journal::read(&facts.data_root)? else { return Ok(false) };
        let plan = &journal.record.plan;
        if journal.record.restored().is_none() || plan.readdress.is_some() {
            return Ok(false);
        }
        let wanted = Wanted { cluster: &plan.cluster_id, node: Some(&plan.node_id) };
        if !wanted.is(&OnDisk::read(&facts.data_root.join("swarm"))) {
            return Ok(false);
        }
        if plan.interface.is_some() {
            self.await_address(waits.address, plan.raft_addr.ip()).await?;
        }
        Ok(self.await_settled(wanted, waits.engine, true).await?.was_unlocked)
    }

    async fn decide(&self, manifest: &Manifest, source: &Source, holding: &Holding, terms: &Terms) -> Result<Decision> {
        let facts = &holding.facts;
        let elsewhere = terms.overrides.readdress.is_some();
        let (living, unasked) = match terms.fenced {
            true => Default::default(),
            false => self.living_managers(manifest, elsewhere, holding).await?,
        };
        let last_restore = Journal::read(&facts.data_root)?.and_then(|journal| journal.record.restored());
        let seen = plan::Seen {
            here: Here {
                facts,
                addresses: &network::local_addresses()?,
                on_disk: &holding.on_disk,
                has_unlock_key: self.keyring.unlock_key.is_some(),
                now: self.run.now,
            },
            living: &living,
            unasked: &unasked,
            last_restore,
            newest: terms.newest,
        };
        let units = self.run.config.engine.units();
        let decision = RestorePlan::make(manifest, &source.to_string(), &units, &seen, &terms.overrides)?;
        if let Decision::Restore(plan) = &decision {
            self.require_port(plan).await?;
        }
        Ok(decision)
    }

    /// Reads what this host holds at this moment.
    async fn look(&self) -> Result<Holding> {
        let facts = Engine::at(&self.run.config.engine.socket).facts().await?;
        Ok(Holding { on_disk: OnDisk::read(&facts.data_root.join("swarm")), facts, was_unlocked: false })
    }

    /// Returns the old managers that accept a connection on their raft port, and those that could not be asked. They
    /// are those of the backup, those of the same swarm in the state that is replaced, which may have joined since, and
    /// that of the site that has claimed the swarm.
    /// The restored manager itself is among them if this host does not have its address.
    async fn living_managers(
        &self,
        manifest: &Manifest,
        elsewhere: bool,
        holding: &Holding,
    ) -> Result<(Vec<String>, Vec<String>)> {
        let claimed = self.claimed_addresses(&manifest.cluster_id).await?;
        let mut others: BTreeMap<SocketAddr, Option<&str>> = BTreeMap::new();
        if holding.on_disk.held().is_some_and(|held| held.own.cluster == manifest.cluster_id) {
            let peers = self.present_peers(&holding.facts.data_root.join("swarm")).await;
            others.extend(peers.into_iter().map(|addr| (addr, None)));
        }
        others.extend(
            manifest.managers.iter().filter_map(|manager| Some((usable(&manager.addr)?, manager.hostname.as_deref()))),
        );
        others.extend(claimed.iter().map(|(addr, site)| (*addr, Some(site.as_str()))));
        match elsewhere {
            true => others.insert(manifest.raft_addr, Some(manifest.hostname.as_str())),
            false => others.remove(&manifest.raft_addr),
        };
        let asked = self.ask_managers(&others.keys().copied().collect::<Vec<_>>()).await;
        let living = asked.living.iter().map(|addr| match others.get(addr) {
            Some(Some(hostname)) => format!("{addr} ({hostname})"),
            _ => addr.to_string(),
        });
        Ok((living.collect(), asked.unasked_from(elsewhere)))
    }

    /// Repeats the checks right before the engine is stopped, since fetching the archive may have taken long. Managers
    /// in the unpacked state are asked too: the manifest holds only what its writer claims. Doubts that are new are told.
    pub(super) async fn check_again(&self, prepared: &mut Prepared, staged: &Examined) -> Result<()> {
        if !prepared.terms.fenced {
            let elsewhere = prepared.terms.overrides.readdress.is_some();
            let asked = self.ask_managers(&peers::peers(staged)).await;
            plan::checks::fence(&asked.living)?;
            fence::require_asked(&asked.unasked_from(elsewhere))?;
            if !prepared.terms.looks_for_life {
                let doubts = self.await_silence(AGAIN, &prepared.found.head.manifest.cluster_id).await?;
                prepared.note_findings(doubts);
            }
        }
        let holding = self.look().await?;
        let what = if holding.on_disk == prepared.on_disk {
            let decided =
                self.decide(&prepared.found.head.manifest, &prepared.found.source, &holding, &prepared.terms).await?;
            match decided {
                Decision::Restore(_) => return Ok(()),
                Decision::AlreadyThere | Decision::AlreadyThereLocked => "its swarm works again",
            }
        } else {
            "there is another state on its disk"
        };
        Err(Failure::refused(format!(
            "this host changed while the backup was made ready for it: {what}; nothing was changed by this run"
        ))
        .advice("see `docker info` and `docker node ls`; run it again if the swarm there is still to be replaced")
        .into())
    }
}
