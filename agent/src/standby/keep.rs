//! The run of a standby: the newest backup that verifies is fetched, proven, formed beforehand and kept, all sealed.
//!
//! A run that finds what it kept before changes nothing. Otherwise the record of what is kept is replaced last, so that a
//! promotion finds the old backup or the new one, each whole.

use std::path::PathBuf;

use anyhow::{Context, Result};
use swarmdr_archive::manifest::Manifest;
use swarmdr_vault::catalog::Filter;

use super::{
    form::Former,
    report::{Outcome, StandbyReport},
    seal,
};
use crate::{
    archive::{
        fetched::Fetched,
        inspection::{Inspector, Subject},
        kept::{Formed, Kept, Shelf, archive_name, formed_name},
        proof::ProofResult,
        scratch::Scratch,
        source::{Choice, Found, Source, find_payload_mismatch},
        specs::Specs,
    },
    config::{Config, images::Check},
    host::{
        engine::{Engine, EngineFacts, SwarmState},
        files::space,
        lock::HostLock,
        network,
    },
    keys::Keyring,
    outcome::{exit::Exit, failpoint, failure::Failure, phases::Phases},
    restore::{
        drill::Drill,
        images::{
            check::{self, Options, PATIENCE},
            logins::Logins,
            need,
        },
        on_disk::OnDisk,
        plan::checks,
    },
    run::Run,
};

/// Number of copies with a payload mismatch after which the run ends.
const MOST_MISMATCHES: usize = 8;

/// Room beside the archives for a second engine's log: it preallocates two segments.
const FORMING: u64 = crate::restore::FORMING;

/// A standby's run and its context.
#[derive(Debug)]
pub struct Standby<'a> {
    pub run: Run<'a>,
    pub keyring: Keyring,
}

/// Result of the look at the vaults and at what is kept.
#[derive(Debug)]
pub enum Step {
    /// There is nothing to do, or nothing can be done.
    Settled(Box<StandbyReport>),
    Ready(Box<Ready>),
}

/// A backup that is to be kept.
#[derive(Debug)]
pub struct Ready {
    found: Found,
    facts: EngineFacts,
    /// What is kept of this very backup, if its archive is whole.
    kept: Option<Kept>,
    forming: Forming,
}

impl Ready {
    pub fn manifest(&self) -> &Manifest {
        &self.found.head.manifest
    }
}

/// Whether the state is to be formed beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Forming {
    Wanted,
    /// The reason why it is not.
    Not(String),
}

impl Forming {
    fn of(manifest: &Manifest, keyring: &Keyring) -> Self {
        if manifest.managers.is_empty() {
            return Self::Not("a swarm of one manager leads at once in any case".to_owned());
        }
        if manifest.autolock {
            return Self::Not(
                "the swarm is autolocked: its state is formed on the day, with its unlock key".to_owned(),
            );
        }
        if manifest.is_encrypted() && keyring.identities.is_empty() {
            return Self::Not(
                "no identity is configured on this host, so the archive stays closed until the day".to_owned(),
            );
        }
        Self::Wanted
    }
}

impl Standby<'_> {
    /// Finds the newest backup and compares it with what is kept. Changes nothing.
    pub async fn prepare(&self) -> Result<Step> {
        let config = self.run.config;
        let facts = self.look_at_host().await?;
        let shelf = Shelf::of(config);
        let kept = shelf.read()?;
        let found = match self.find(&Filter { cluster: config.standby.cluster.clone(), ..Filter::default() }).await {
            Ok(found) => found,
            Err(error) => return Ok(Step::Settled(Box::new(not_found(kept, error)?))),
        };
        let forming = Forming::of(&found.head.manifest, &self.keyring);
        let same = kept.filter(|kept| kept.manifest == found.head.manifest_digest);
        let whole = match same {
            Some(kept) if self.is_whole(&kept.path(&shelf), &found).await => Some(kept),
            _ => None,
        };
        match whole {
            Some(kept) if self.has_formed(&kept, &forming, &facts).await => {
                let mut report = StandbyReport::of(Outcome::Unchanged, &kept, found.findings.clone());
                report.attention = self.complaints(&found.head.manifest, &facts);
                report.attention.extend(kept.attention);
                Ok(Step::Settled(Box::new(report)))
            }
            kept => Ok(Step::Ready(Box::new(Ready { found, facts, kept, forming }))),
        }
    }

    /// Reports what would be kept.
    pub fn rehearse(&self, ready: &Ready) -> StandbyReport {
        let kept = self.record(ready, None);
        let mut report = StandbyReport::of(Outcome::Planned, &kept, ready.found.findings.clone());
        report.attention = self.complaints(ready.manifest(), &ready.facts);
        report
            .notes
            .extend((ready.forming == Forming::Wanted).then(|| "its state would be formed beforehand".to_owned()));
        report
    }

    /// Keeps the backup: fetches it unless it is there, proves it, forms its state, and replaces the record.
    pub async fn keep(&self, mut ready: Ready) -> Result<StandbyReport> {
        let config = self.run.config;
        let _keeping = HostLock::acquire(&HostLock::standby_path())?;
        let mut phases = Phases::new();
        let shelf = Shelf::of(config);
        shelf.make()?;
        shelf.sweep(shelf.read()?.as_ref());
        if ready.kept.is_none() {
            phases.begin("fetch");
            ready.found = self.fetch(ready.found, &shelf).await?;
        }
        let manifest = ready.found.head.manifest.clone();
        let mut attention = self.complaints(&manifest, &ready.facts);
        let local = self.local(&ready.found, shelf.path(&archive_name(manifest.id)));
        if self.keyring.identities.is_empty() && manifest.is_encrypted() {
            tracing::info!(
                "no identity is configured here: signature and digests were checked, and nothing was opened"
            );
        } else {
            phases.begin("prove");
            attention.extend(self.prove(&local).await?);
        }
        let formed = match ready.forming {
            Forming::Wanted => match self.form(&ready, &local, &shelf, &mut phases).await {
                Ok(formed) => Some(formed),
                Err(error) => {
                    self.run.shutdown.check()?;
                    attention.push(format!(
                        "its state could not be formed beforehand, so a promotion takes longer: {error:#}"
                    ));
                    None
                }
            },
            Forming::Not(_) => None,
        };
        if config.standby.drill {
            phases.begin("drill");
            attention.extend(self.drill(&ready.found).await);
        }
        if config.images.check != Check::Off {
            phases.begin("images");
            attention.extend(self.images(&local).await);
        }
        self.run.shutdown.check()?;
        phases.begin("record");
        let kept = Kept { attention, ..self.record(&ready, formed) };
        self.commit(&shelf, &kept).await?;
        let outcome = if ready.kept.is_some() { Outcome::Completed } else { Outcome::Kept };
        let mut report = StandbyReport::of(outcome, &kept, ready.found.findings);
        report.notes.extend(away(&manifest)?);
        report.phases = phases.finish();
        Ok(report)
    }

    /// Finds the newest backup, whose head verifies.
    async fn find(&self, filter: &Filter) -> Result<Found> {
        let choice = Choice::Vaults(filter.clone());
        let find = Source::find(self.run.config, &choice, &self.keyring.trusted, self.run.now);
        self.run.shutdown.or_interrupted(find).await
    }

    /// Refuses a host that is no spare host: what is kept there would replace a swarm.
    async fn look_at_host(&self) -> Result<EngineFacts> {
        let facts = Engine::at(&self.run.config.engine.socket).facts().await?;
        require_spare(&facts, &OnDisk::read(&facts.data_root.join("swarm")))?;
        Ok(facts)
    }

    /// True if the kept archive is the one that was found, with every byte.
    async fn is_whole(&self, path: &std::path::Path, found: &Found) -> bool {
        let local = self.local(found, path.to_owned());
        match self.verified(&local).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!("what is kept in {} is not whole, and is fetched again: {error:#}", path.display());
                false
            }
        }
    }

    /// True if nothing has to be formed, or what was formed is whole, and of the engine that is installed now.
    async fn has_formed(&self, kept: &Kept, forming: &Forming, facts: &EngineFacts) -> bool {
        let Some(formed) = &kept.formed else { return matches!(forming, Forming::Not(_)) };
        if formed.engine != facts.version {
            return false;
        }
        let opened = async {
            let found = formed_source(self.run.config, kept, &self.keyring, self.run.now).await?;
            self.verified(&found).await
        };
        match opened.await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!("the state that was formed beforehand is formed again: {error:#}");
                false
            }
        }
    }

    /// Verifies every stored byte of an archive that is a local file.
    async fn verified(&self, found: &Found) -> Result<Fetched> {
        let keyring = match found.head.manifest.previous {
            // It may be one that was formed here.
            Some(_) => seal::keyring_with(self.run.config, &self.keyring),
            None => self.keyring.clone(),
        };
        let fetched = Fetched::get(&self.run, found, &self.run.config.state_dir).await?;
        Ok(fetched.verify_stored(&keyring).await??)
    }

    /// Fetches the newest backup whose payload is what its head says, and puts it on the shelf. Its name is not yet in the
    /// record.
    async fn fetch(&self, mut found: Found, shelf: &Shelf) -> Result<Found> {
        let mut filter = Filter { cluster: self.run.config.standby.cluster.clone(), ..Filter::default() };
        loop {
            let error = match self.fetch_one(&found, shelf).await {
                Ok(()) => return Ok(found),
                Err(error) => error,
            };
            let mismatch = find_payload_mismatch(&error).cloned().filter(|_| filter.except.len() < MOST_MISMATCHES);
            let mismatch = mismatch.ok_or(error)?;
            tracing::warn!("{mismatch}; going on to the next best copy");
            filter.except.push(mismatch);
            found = self.find(&filter).await?;
        }
    }

    async fn fetch_one(&self, found: &Found, shelf: &Shelf) -> Result<()> {
        let source = &found.source;
        let state_dir = &self.run.config.state_dir;
        space::require(state_dir, 2 * found.head.archive_size, "the archive and a copy of it")?;
        // In the shelf: the scratch place of another run may be in memory.
        let fetched = Fetched::get(&self.run, found, &shelf.path("")).await?;
        let verified = fetched.verify_stored(&self.keyring).await;
        let verified = verified.and_then(|verified| verified.map_err(|why| source.payload_mismatch(why)));
        let fetched =
            verified.with_context(|| format!("backup {} from {source} is not whole", found.head.manifest.id))?;
        let name = archive_name(found.head.manifest.id);
        let new = shelf.path(&format!("{name}.new"));
        fetched.copy_to(new.clone()).await?;
        failpoint::reach("standby-fetched");
        std::fs::rename(&new, shelf.path(&name)).context("failed to put the archive on its place")?;
        shelf.flush()
    }

    /// Repeats the whole proof. Returns what has to be looked after.
    async fn prove(&self, local: &Found) -> Result<Option<String>> {
        let room = local.head.manifest.payload.tar_size;
        let scratch = Scratch::make(self.run.config, room)?;
        let fetched = Fetched::get(&self.run, local, scratch.path()).await?;
        let proven = fetched.reprove(scratch, &self.keyring).await;
        Ok(match proven.with_context(|| format!("backup {} cannot be proven", local.head.manifest.id))? {
            ProofResult::Proven => None,
            ProofResult::Sealed => {
                Some("it is autolocked, and its unlock key is not on this host: name it on the day".to_owned())
            }
            ProofResult::WrongUnlockKey(why) => Some(format!("the unlock key of this host does not open it: {why}")),
            ProofResult::Unproven(why) => Some(format!("its raft log breaks, as its manifest says: {why}")),
        })
    }

    async fn form(&self, ready: &Ready, local: &Found, shelf: &Shelf, phases: &mut Phases) -> Result<Formed> {
        let manifest = ready.manifest();
        space::require(
            &self.run.config.state_dir,
            manifest.payload.tar_size + FORMING,
            "the state that is formed beforehand",
        )?;
        let name = formed_name(manifest.id);
        let new = shelf.path(&format!("{name}.new"));
        let archive = Fetched::get(&self.run, local, &shelf.path("")).await?;
        let former = Former { run: self.run, keyring: &self.keyring, data_root: &ready.facts.data_root };
        let formed = former.form(local, archive, &new, phases).await?;
        failpoint::reach("standby-sealed");
        std::fs::rename(&new, shelf.path(&name)).context("failed to put the formed state on its place")?;
        shelf.flush()?;
        Ok(Formed { archive: name, manifest: formed.manifest, engine: formed.engine, at: jiff::Timestamp::now() })
    }

    /// Boots the backup as `drill` does. Returns what has to be looked after.
    async fn drill(&self, found: &Found) -> Vec<String> {
        let drill = Drill { run: self.run, keyring: self.keyring.clone() };
        match drill.rehearse(found).await {
            Ok(report) if report.is_proven() => report.attention,
            Ok(report) => vec![format!("it failed the drill: {}", report.receipt.problem.unwrap_or_default())],
            Err(error) => vec![format!("no drill was held: {error:#}")],
        }
    }

    /// Asks for the images that the backup's services need. Returns a line for each that a promotion would miss.
    async fn images(&self, local: &Found) -> Vec<String> {
        let asked = async {
            let path = match &local.source {
                Source::File(path) => path.clone(),
                Source::Vault { .. } => anyhow::bail!("it is not on this host"),
            };
            let inspector = Inspector { run: self.run, keyring: self.keyring.clone(), specs: Specs::Read };
            let state = inspector.open_state(&Subject::Backup(Choice::File(path))).await?;
            let needs = need::of(&state, &Logins::new(self.run.config, std::time::Duration::ZERO)).await?;
            Ok(check::run(self.run.config, &needs, &Options::of(&self.run.config.images), PATIENCE).await)
        };
        match self.run.shutdown.or_interrupted(asked).await {
            Ok(lines) => {
                let told = |line: &crate::restore::images::line::Line| match line.trouble() {
                    Some(trouble) => Some(format!("an image cannot be pulled: {trouble}")),
                    None if line.unknown.is_empty() => None,
                    None => Some(format!(
                        "it is not known whether {} can be pulled: {}",
                        line.name(),
                        line.unknown.join("; ")
                    )),
                };
                lines.iter().filter_map(told).collect()
            }
            Err(error) => vec![format!("its images were not asked for: {error:#}")],
        }
    }

    /// Replaces the record, unless a promotion of this host began meanwhile.
    async fn commit(&self, shelf: &Shelf, kept: &Kept) -> Result<()> {
        let _alone = HostLock::acquire(&HostLock::default_path())?;
        self.look_at_host().await?;
        failpoint::reach("standby-record");
        shelf.replace(kept)
    }

    fn record(&self, ready: &Ready, formed: Option<Formed>) -> Kept {
        let Found { source, head, .. } = &ready.found;
        let not_formed = match &ready.forming {
            Forming::Not(why) => Some(why.clone()),
            Forming::Wanted => None,
        };
        Kept {
            version: Kept::version(),
            backup: head.manifest.id,
            cluster_id: head.manifest.cluster_id.clone(),
            manifest: head.manifest_digest,
            created_at: head.manifest.created_at,
            source: ready.kept.as_ref().map_or_else(|| source.to_string(), |kept| kept.source.clone()),
            kept_at: self.run.now,
            archive: archive_name(head.manifest.id),
            formed,
            not_formed,
            attention: Vec::new(),
            promoted_at: None,
        }
    }

    /// The same backup, read from this host.
    fn local(&self, found: &Found, path: PathBuf) -> Found {
        Found { source: Source::File(path), head: found.head.clone(), findings: Vec::new() }
    }

    /// Returns what would keep this host from being promoted to this backup.
    fn complaints(&self, manifest: &Manifest, facts: &EngineFacts) -> Vec<String> {
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

/// Finds the state that was formed beforehand: its archive is signed by this host's own key, and names the kept backup.
pub(super) async fn formed_source(
    config: &Config,
    kept: &Kept,
    keyring: &Keyring,
    now: jiff::Timestamp,
) -> Result<Found> {
    let formed = kept.formed.as_ref().context("no state was formed beforehand")?;
    let sealed = seal::keyring(config, keyring)?;
    let choice = Choice::File(Shelf::of(config).path(&formed.archive));
    let found = Source::find(config, &choice, &sealed.trusted, now).await?;
    let manifest = &found.head.manifest;
    anyhow::ensure!(
        manifest.previous == Some(kept.manifest) && manifest.id == kept.backup,
        "{} was not formed from backup {}",
        found.source,
        kept.backup
    );
    Ok(found)
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

/// Reports that no vault could be asked, or that none has a backup: what is kept stays.
fn not_found(kept: Option<Kept>, error: anyhow::Error) -> Result<StandbyReport> {
    let Some(kept) = kept.filter(Kept::waits) else {
        return Err(Failure::failed("nothing is kept on this host, and no backup could be fetched")
            .because(error)
            .into());
    };
    let mut report = StandbyReport::of(Outcome::NotAsked, &kept, Vec::new());
    report.attention = vec![format!("whether there is a newer backup is not known: {error:#}")];
    report.attention.extend(kept.attention);
    Ok(report)
}

/// Tells that the swarm's address is not here yet, as is usual.
fn away(manifest: &Manifest) -> Result<Option<String>> {
    let wanted = manifest.raft_addr.ip();
    let is_here = network::has(&network::local_addresses()?, wanted);
    Ok((!is_here).then(|| {
        format!(
            "the swarm's address {wanted} is not on this host: it gets it on the day, or `promote --readdress` is used"
        )
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use swarmdr_archive::{Identities, SwarmNode, manifest::Manager};

    use super::*;
    use crate::{
        archive::kept::tests::kept,
        host::engine::LocalSwarm,
        outcome::failure::Rendered,
        restore::{on_disk::Held, plan::tests::manifest},
    };

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

    #[test]
    fn a_vault_that_is_away_costs_nothing_that_is_kept() {
        let away = || anyhow::anyhow!("no vault answers");
        let report = not_found(Some(kept("20261121T030000Z-00000001")), away()).expect("keeps it");
        assert_eq!(report.exit(), Exit::Attention);
        assert!(report.attention[0].contains("no vault answers"), "{:?}", report.attention);
        let promoted = Kept {
            promoted_at: Some("2026-11-21T04:00:00Z".parse().expect("is a time")),
            ..kept("20261121T030000Z-00000001")
        };
        for nothing in [None, Some(promoted)] {
            assert_eq!(Rendered::of(&not_found(nothing, away()).expect_err("has nothing")).exit, Exit::Failed);
        }
    }

    #[test]
    fn a_state_is_formed_beforehand_if_it_can_be_opened_and_would_wait() {
        let with = |others: bool, autolock: bool, recipients: &[&str]| {
            let mut manifest = manifest();
            let manager = || Manager { node_id: "other".into(), addr: "10.0.0.5:2377".into(), hostname: None };
            manifest.managers = if others { vec![manager()] } else { Vec::new() };
            manifest.autolock = autolock;
            manifest.payload.recipients = recipients.iter().map(|text| (*text).to_owned()).collect();
            manifest
        };
        let closed = Keyring::without_archives(None);
        let open = Keyring { identities: Arc::new(Identities::generate()), ..closed.clone() };
        for (manifest, keyring, expected) in [
            (with(true, false, &["age1x"]), &open, None),
            (with(true, false, &[]), &closed, None),
            (with(true, false, &["age1x"]), &closed, Some("no identity")),
            (with(true, true, &["age1x"]), &open, Some("autolocked")),
            (with(false, false, &["age1x"]), &open, Some("one manager")),
        ] {
            match (Forming::of(&manifest, keyring), expected) {
                (Forming::Wanted, None) => {}
                (Forming::Not(why), Some(word)) if why.contains(word) => {}
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        }
    }
}
