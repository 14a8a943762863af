//! The backup flow: plan, pre-copy, quiesce, snapshot, resume, examine, pack, store, confirm.
//!
//! Everything that can refuse comes before the engine is touched; everything that takes time comes
//! before that too, or after it is back. Between the two there is nothing but the copy of what changed last.

mod deliver;
mod manifest;
mod pack;
pub mod plan;
pub mod quorum;
mod report;
mod snapshot;
mod take;

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use swarmdr_archive::{Recipient, writer::Sealed};

pub use plan::BackupPlan;
pub use report::BackupReport;
use snapshot::Snapshot;
use take::Taken;

use crate::{
    config::{Config, Mode},
    exit::Exit,
    fault::Fault,
    host::{
        engine::{Engine, ManagerView},
        engine_units::EngineControl,
        freeze::Freezer,
        leftovers::{Note, RunNote, Stage},
        listing, network, space,
        unlock::RunningKey,
    },
    progress::Progress,
    report::Phases,
    schedule::Schedule,
    shutdown::Shutdown,
    signing::{self, SigningKey},
    spool::Spool,
    swarm::{self, Examined, Identity, Inventory, Proof, UnlockKey},
    vaults::{self, Archive, Connected},
};

/// What a run is asked to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request {
    pub if_due: bool,
    pub allow_quorum_loss: bool,
}

/// A run and what it works with.
#[derive(Debug)]
pub struct Backup<'a> {
    pub config: &'a Config,
    pub shutdown: &'a Shutdown,
    pub progress: Progress,
    pub now: Timestamp,
}

/// What was found out before the engine is touched.
#[derive(Debug)]
pub struct Prepared {
    pub plan: BackupPlan,
    view: ManagerView,
    vaults: Vec<Connected>,
    recipients: Vec<Recipient>,
    chain: manifest::Chain,
    /// Of an autolocked swarm.
    unlock_key: Option<RunningKey>,
}

impl Backup<'_> {
    /// Asks and checks everything; changes nothing.
    pub async fn prepare(&self, request: Request) -> Result<Prepared> {
        let config = self.config;
        let recipients = parse_recipients(config)?;
        let engine = Engine::at(&config.engine.socket);
        let facts = engine.facts().await?;
        plan::check_manager(&facts)?;
        let view = engine.manager_view().await?;
        let addresses = network::local_addresses()?;
        let mut random = [0; 4];
        SystemRandom::new().fill(&mut random).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
        let seen = plan::Seen { facts: &facts, view: &view, addresses: &addresses, now: self.now, random };
        let plan = BackupPlan::make(config, &seen, request.allow_quorum_loss || config.backup.allow_quorum_loss)?;
        let vaults = vaults::connect(config).await?;
        let chain = self.check_vaults(&plan, &vaults).await?;
        if request.if_due {
            self.check_due(&chain)?;
        }
        let unlock_key = self.unlock_key(&plan).await?;
        if plan.mode == Mode::Freeze {
            Freezer::prepare(&EngineControl::connect(config).await?, &plan.state_dir).await?;
        }
        Ok(Prepared { plan, view, vaults, recipients, chain, unlock_key })
    }

    /// An autolocked manager must not be stopped without the key that brings it back.
    async fn unlock_key(&self, plan: &BackupPlan) -> Result<Option<RunningKey>> {
        if !plan.autolock {
            return Ok(None);
        }
        let key = RunningKey::ask(&self.config.engine.socket).await.map_err(|cause| {
            Fault::refused("this swarm is autolocked, and without its unlock key a stopped manager stays locked")
                .because(cause)
        })?;
        Ok(Some(key))
    }

    /// Asks each vault whether a put could work, and for the newest backup of this cluster.
    async fn check_vaults(&self, plan: &BackupPlan, vaults: &[Connected]) -> Result<manifest::Chain> {
        let mut chain = manifest::Chain::default();
        if self.config.vault.is_empty() && !self.config.state_dir.exists() {
            // The default vault on first use: the spool is what makes the directory that holds both.
            return Ok(chain);
        }
        let keys = signing::own_and_trusted(self.config)?;
        for connected in vaults {
            let ready = async {
                connected.vault.check().await?;
                chain.extend_from(connected, &plan.cluster_id, &keys).await
            };
            match ready.await {
                Ok(()) => {}
                Err(error) if connected.settings.required || vaults.len() == 1 => {
                    return Err(error.context("the vault is not ready, so the engine was not touched"));
                }
                Err(error) => {
                    tracing::warn!("a vault that is not required is not ready: {error:#}");
                }
            }
        }
        Ok(chain)
    }

    fn check_due(&self, chain: &manifest::Chain) -> Result<()> {
        let Some(schedule) = Schedule::from_config(&self.config.schedule)? else {
            return Err(Fault::usage("--if-due needs a schedule, and none is configured")
                .advice("write `cron = \"30 3 * * *\"` below `[schedule]`")
                .into());
        };
        if schedule.is_due(chain.newest_at(), self.now) {
            return Ok(());
        }
        let next = chain.newest_at().and_then(|newest| schedule.next_after(newest));
        let next = next.map_or_else(|| "never".to_owned(), |next| next.to_string());
        Err(Fault::new(Exit::NotOurTurn, format!("no backup is due before {next}")).into())
    }

    /// Does what was planned.
    pub async fn run(&self, prepared: Prepared) -> Result<BackupReport> {
        let Prepared { mut plan, view, vaults, recipients, chain, unlock_key } = prepared;
        let spool = Spool::open(&self.config.spool_dir())?;
        let key = signing::load_or_make(self.config)?;
        check_space(&plan)?;
        let mut phases = Phases::new();

        let mut note = RunNote::write(self.config, note(&plan))?;

        let taken = self.take(&plan, unlock_key.as_ref(), &mut phases, &mut note).await?;
        let Taken { snapshot, downtime, notes, mut attention } = taken;
        plan.notes.extend(notes);

        phases.begin("examine");
        let state_key = unlock_key.as_ref().map(RunningKey::for_state).transpose()?;
        let (snapshot, examined) = examine(snapshot, state_key).await?;
        check_identity(&examined.identity, &plan)?;
        if let Proof::Unproven(damage) = &examined.proof {
            attention.push(format!("the backup is stored but cannot be relied on: its raft log breaks at {damage}"));
        }
        // The log itself is exact; the engine's listing was made a moment before the stop.
        let inventory = examined.inventory.clone().unwrap_or_else(|| listing::inventory(&view));

        phases.begin("pack");
        let draft = manifest::draft(&plan, &view, &examined, &inventory, &downtime, &chain);
        let sealed = self.pack(snapshot, draft, &inventory, recipients, &key, &spool.partial(plan.id)).await?;
        let spooled = spool.admit(plan.id)?;

        phases.begin("store");
        let kept = self.store(&vaults, &spool, &Archive::sealed(&spooled.path, &sealed), &mut attention).await;
        let kept = kept.map_err(|cause| {
            Fault::failed("the backup was made but could not be stored")
                .advice(format!(
                    "it waits, sealed, in {}; repair the vault, and the next backup sends it too",
                    spooled.path.display()
                ))
                .because(cause)
        })?;
        self.send_waiting(&vaults, &spool, &mut attention).await?;
        Ok(BackupReport::new(plan, sealed, downtime, kept, phases.finish(), self.key_note(&key), attention))
    }

    async fn pack(
        &self,
        snapshot: Snapshot,
        manifest: swarmdr_archive::ManifestDraft,
        inventory: &Inventory,
        recipients: Vec<Recipient>,
        key: &SigningKey,
        out: &Path,
    ) -> Result<Sealed> {
        let inventory = serde_json::to_value(inventory)?;
        let (key, out) = (Arc::clone(&key.key), out.to_owned());
        let (progress, shutdown) = (self.progress, self.shutdown.clone());
        let level = self.config.backup.compression_level;
        let pack = tokio::task::spawn_blocking(move || {
            let parts = pack::Parts { manifest, inventory, recipients: &recipients, level, key: &key };
            pack::pack(&snapshot, parts, &out, progress, &shutdown)
        });
        pack.await.context("the packing ended unexpectedly")?
    }

    fn key_note(&self, key: &SigningKey) -> report::KeyNote {
        report::KeyNote {
            made: key.made,
            secret: self.config.signing_key_path(),
            public: key.key.public().to_string(),
            public_path: self.config.public_key_path(),
        }
    }
}

/// Reads the copied state as an engine would; runs beside the runtime, since it reads all of it.
async fn examine(snapshot: Snapshot, key: Option<UnlockKey>) -> Result<(Snapshot, Examined)> {
    let examine = tokio::task::spawn_blocking(move || {
        let examined = swarm::examine(snapshot.dir(), key.as_ref());
        (snapshot, examined)
    });
    let (snapshot, examined) = examine.await.context("the examination ended unexpectedly")?;
    let examined =
        examined.context("the copied state is not one that a swarm could be restored from; nothing was stored")?;
    Ok((snapshot, examined))
}

fn note(plan: &BackupPlan) -> Note {
    Note {
        id: plan.id.to_string(),
        process: std::process::id(),
        begun_at: plan.created_at,
        mode: plan.mode,
        stage: Stage::BeforePause,
        snapshot_dir: plan.snapshot_dir.clone(),
    }
}

fn parse_recipients(config: &Config) -> Result<Vec<Recipient>> {
    config
        .recipients
        .iter()
        .map(|text| {
            text.parse().map_err(|cause: swarmdr_archive::Error| {
                Fault::usage(format!("`recipients` holds `{text}`, which is no age recipient")).because(cause).into()
            })
        })
        .collect()
}

/// The copy takes what the state's files have allocated; the archive is at most as large again.
fn check_space(plan: &BackupPlan) -> Result<()> {
    let state = space::allocated_bytes(&plan.state_dir)?;
    let data_root = plan.state_dir.parent().context("the state directory has no parent")?;
    let spool = plan.spool_file.parent().context("the spool has a parent")?;
    if space::same_filesystem(data_root, spool)? {
        return space::require(data_root, 2 * state, "a copy of the state and its archive");
    }
    space::require(data_root, state, "a copy of the state")?;
    space::require(spool, state, "the archive")
}

/// The files must belong to the swarm that the engine said it is in.
fn check_identity(identity: &Identity, plan: &BackupPlan) -> Result<()> {
    if identity.cluster_id == plan.cluster_id && identity.node_id == plan.node_id {
        return Ok(());
    }
    Err(Fault::failed(format!(
        "{} holds node {} of swarm {}, but the engine is node {} of swarm {}; nothing was stored",
        plan.state_dir.display(),
        identity.node_id,
        identity.cluster_id,
        plan.node_id,
        plan.cluster_id
    ))
    .advice("check that `data-root` in /etc/docker/daemon.json is what the running engine uses")
    .into())
}
