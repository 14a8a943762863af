//! A state that is formed beforehand: a second engine forms the swarm of a backup alone, and writes a snapshot of its log
//! while it is alone.
//!
//! An engine tries to lead at once only after the first batch of its log, which ends at 64 KiB, and only if no change of the
//! members is behind that (swarmkit `manager/state/raft/raft.go`; etcd `MaxCommittedSizePerReady`). Removing the other
//! managers comes last in the log, so with a longer log it waits for the election timer: 10 to 20 s (seen on 26.1). A state
//! whose snapshot was written by a lone manager has neither a long log nor a change of members.
//!
//! All of it is in the second engine's own directory, which goes with it however this process ends. What comes out of it is
//! sealed before that.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use swarm_state::{Examined, Inventory, Proof, inventory::Compared, state_dir::SNAP_DIR};
use swarmdr_archive::{Digest, Recipient, manifest::Manifest};

use super::seal;
use crate::{
    archive::{fetched::Fetched, proof, source::Found, specs::Specs},
    backup::pack::{self, Parts},
    claims::{ClaimId, label},
    host::{
        engine::{Engine, swarm_spec::SwarmSpec},
        random,
        second_engine::{SecondEngine, Spec},
        systemd::Systemd,
        wait,
    },
    keys::Keyring,
    outcome::{failpoint, phases::Phases},
    restore::{
        self,
        plan::{checks, old_addresses},
    },
    run::Run,
};

/// Most entries of the log behind the snapshot: each has about a kilobyte, and 64 of them may be one too many.
const BEHIND_MAX: u64 = 40;

/// Most changes that are made for a snapshot; the first or second is enough for every engine that was seen.
const CHANGES: u32 = 20;

/// Time that an engine may take to write a snapshot after a change.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(3);

const POLL: Duration = Duration::from_millis(20);

/// Label of the swarm that is set and removed again, so that its log grows.
const LABEL: &str = "swarmdr.snapshot";

/// A state that was formed and sealed.
#[derive(Debug)]
pub struct FormedState {
    /// Digest of the manifest of its archive.
    pub manifest: Digest,
    pub engine: String,
    /// The claim that the swarm carries.
    pub claim: Option<ClaimId>,
}

/// Forms states of backups.
#[derive(Debug)]
pub struct Former<'a> {
    pub run: Run<'a>,
    pub keyring: &'a Keyring,
    /// Data root of the host's engine, which is hidden from the second one.
    pub data_root: &'a Path,
}

impl Former<'_> {
    /// Forms the state of a backup, and seals it in the new file `out`. Nothing in clear is left when this returns.
    pub async fn form(&self, found: &Found, archive: Fetched, out: &Path, phases: &mut Phases) -> Result<FormedState> {
        phases.begin("make");
        let manifest = &found.head.manifest;
        let systemd = Systemd::connect().await?;
        let id = swarmdr_archive::BackupId::new(self.run.now, random::tag()?);
        let own = [self.data_root.to_owned(), self.run.config.engine.socket.clone()];
        let spec = Spec::new("standby", id, old_addresses(manifest), own);
        let mut second = SecondEngine::make(&systemd, self.run.config, &spec).await?;
        let work = self.in_it(&mut second, found, archive, out, phases);
        let formed = self.run.shutdown.or_interrupted(work).await;
        let formed = formed.map_err(|error| second.with_engine_log(error));
        phases.begin("end");
        second.end().await?;
        formed
    }

    async fn in_it(
        &self,
        second: &mut SecondEngine,
        found: &Found,
        archive: Fetched,
        out: &Path,
        phases: &mut Phases,
    ) -> Result<FormedState> {
        let manifest = &found.head.manifest;
        let config = self.run.config;
        phases.begin("unpack");
        let staged = archive.stage(second.state_dir(), self.keyring, Specs::Skip).await?;
        checks::staged(&staged.examined, manifest, self.run.now)?;
        let recorded = staged.recorded()?;
        failpoint::reach("standby-unpacked");
        phases.begin("form");
        let facts = second.boot(config.engine.start_timeout.duration()).await?;
        checks::engine_version(manifest, &facts)?;
        let limit = config.restore.init_timeout.duration();
        restore::form_apart(second.engine(), manifest, staged.examined.inventory.as_ref(), limit).await?;
        failpoint::reach("standby-formed");
        phases.begin("snapshot");
        let before = second.engine().swarm_spec().await?;
        write_snapshot(second.engine(), &second.state_dir(), &before).await?;
        put_back(second.engine(), &before).await?;
        restore::compare_apart(second.engine(), manifest, &recorded).await?;
        let claim = label::read(second.engine()).await?;
        // Last, and the engine ends with it: tasks that it was given would be refused here.
        give_back_availability(second.engine(), manifest, &recorded).await?;
        second.kill_engine().await?;
        failpoint::reach("standby-ended");
        phases.begin("seal");
        let manifest = self.seal(&second.state_dir(), found, recorded, facts.version.clone(), out).await?;
        Ok(FormedState { manifest, engine: facts.version, claim })
    }

    /// Checks the state that the engine left, and seals it. Returns the digest of the new manifest.
    async fn seal(
        &self,
        state_dir: &Path,
        found: &Found,
        recorded: Inventory,
        engine: String,
        out: &Path,
    ) -> Result<Digest> {
        let manifest = found.head.manifest.clone();
        let recipients: Vec<Recipient> = manifest
            .payload
            .recipients
            .iter()
            .map(|text| text.parse::<Recipient>().with_context(|| format!("`{text}` is no recipient to seal it for")))
            .collect::<Result<_>>()?;
        let (key, level) = (seal::key(self.run.config)?, self.run.config.backup.compression_level);
        let (state_dir, out) = (state_dir.to_owned(), out.to_owned());
        let (bars, shutdown) = (self.run.progress, self.run.shutdown.clone());
        let backup = found.head.manifest_digest;
        let version = engine.clone();
        let work = move || {
            let examined = swarm_state::examine(&state_dir, None)?;
            require_formed(&examined, &manifest, &recorded)?;
            let stated = proof::state(&examined);
            let mut draft = manifest.into_draft();
            draft.previous = Some(backup);
            draft.raft = stated.raft;
            draft.engine_version = version;
            // What a promotion compares the swarm with is the backup's; how far it was used since shows in the log.
            let inventory = Inventory { raft: examined.raft, ..recorded };
            let inventory = serde_json::to_value(&inventory)?;
            let parts = Parts { manifest: draft, inventory, recipients, level, key };
            pack::pack_still(&state_dir, parts, &out, bars, &shutdown)
        };
        let sealed = tokio::task::spawn_blocking(work).await.context("the sealing ended unexpectedly")??;
        Ok(sealed.manifest_digest)
    }
}

/// Makes the engine write a snapshot: with an interval of one entry, the next change does it.
async fn write_snapshot(engine: &Engine, state_dir: &Path, before: &SwarmSpec) -> Result<()> {
    let there = snapshots(state_dir)?;
    let had_label = before.get("Labels").and_then(|labels| labels.get(LABEL)).is_some();
    ensure!(!had_label, "the swarm has a label `{LABEL}`, which is used here to make its log grow");
    for change in 0..CHANGES {
        engine.update_swarm_spec(|spec| grow(spec, change)).await?;
        let is_new = async || match snapshots(state_dir) {
            Ok(now) => now.difference(&there).next().is_some().then_some(()),
            Err(_) => None,
        };
        if wait::poll(SNAPSHOT_LIMIT, POLL, is_new).await.is_some() {
            return Ok(());
        }
    }
    anyhow::bail!("the second engine wrote no snapshot of its log after {CHANGES} changes")
}

/// Sets the interval of snapshots to one entry, and changes a label that has no meaning.
fn grow(spec: &mut SwarmSpec, change: u32) {
    set(spec, "Raft", "SnapshotInterval", json!(1));
    set(spec, "Labels", LABEL, json!(change.to_string()));
}

fn set(spec: &mut SwarmSpec, object: &str, field: &str, value: Value) {
    let found = spec.entry(object).or_insert(Value::Null);
    if !found.is_object() {
        *found = json!({});
    }
    found[field] = value;
}

/// Puts the swarm's settings back, and checks that they are what they were.
async fn put_back(engine: &Engine, before: &SwarmSpec) -> Result<()> {
    engine.update_swarm_spec(|spec| spec.clone_from(before)).await?;
    let now = engine.swarm_spec().await?;
    ensure!(now == *before, "the settings of the swarm are not what they were: {}", changed_fields(before, &now));
    Ok(())
}

/// Names the fields that differ, without their values.
fn changed_fields(before: &SwarmSpec, now: &SwarmSpec) -> String {
    let all: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let changed: Vec<&str> =
        all.into_iter().filter(|field| before.get(*field) != now.get(*field)).map(String::as_str).collect();
    changed.join(", ")
}

/// Gives the node the availability that it had in the backup.
async fn give_back_availability(engine: &Engine, manifest: &Manifest, recorded: &Inventory) -> Result<()> {
    let id = manifest.node_id.as_str();
    let availability = availability(recorded, id).context("the backup does not name its own manager")?.to_owned();
    engine.update_node(id, |spec| drop(spec.insert("Availability".to_owned(), json!(availability)))).await
}

fn availability<'a>(inventory: &'a Inventory, id: &str) -> Option<&'a str> {
    inventory.nodes.iter().find(|node| node.id == id).map(|node| node.availability.as_str())
}

/// Checks that the state on disk is the backup's, formed alone, with a snapshot that an engine leads from at once.
fn require_formed(examined: &Examined, manifest: &Manifest, recorded: &Inventory) -> Result<()> {
    if let Proof::Unproven(damage) = &examined.proof {
        anyhow::bail!("the log of the second engine breaks: {damage}");
    }
    let raft = examined.raft.as_ref().context("the state of the second engine has no log that can be read")?;
    ensure!(
        raft.members.iter().all(|member| member.raft_id == raft.raft_id),
        "the state of the second engine has other members: {:?}",
        raft.members
    );
    let snapshot = raft.snapshot_index.context("the state of the second engine has no snapshot")?;
    let behind = raft.last_index.saturating_sub(snapshot);
    ensure!(behind <= BEHIND_MAX, "{behind} entries lie behind the newest snapshot of the second engine");
    let actual = examined.inventory.as_ref().context("the state of the second engine has no inventory")?;
    if let Some(loss) = Compared::of(recorded, actual).loss() {
        anyhow::bail!("the state of the second engine is not what was recorded: {loss}");
    }
    let id = manifest.node_id.as_str();
    ensure!(
        availability(actual, id) == availability(recorded, id)
            && actual.cluster.snapshot_interval == recorded.cluster.snapshot_interval,
        "the second engine ended with other settings than it began with"
    );
    Ok(())
}

/// Returns the names of the snapshots in a state.
fn snapshots(state_dir: &Path) -> Result<BTreeSet<std::ffi::OsString>> {
    let dir = state_dir.join(SNAP_DIR);
    if !dir.exists() {
        return Ok(BTreeSet::new());
    }
    let listed = fs::read_dir(&dir).with_context(|| format!("failed to list {}", dir.display()))?;
    let names = listed.filter_map(|entry| Some(entry.ok()?.file_name()));
    Ok(names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "snap")).collect())
}
