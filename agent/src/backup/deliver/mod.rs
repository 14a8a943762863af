//! Delivery of sealed archives from the spool into the vaults.
//!
//! Each run has one [`Uploader`]. It checks each vault once, and does not use a vault that stops answering for the rest
//! of the run. An archive stays in the spool until every vault has it. Storing it again in a vault that has it makes no
//! second copy ([`swarmdr_vault::store`]), so no record of which vault has which archive is needed.

mod clock;
mod delivery;
mod renewal;
mod waiting;

use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use jiff::Timestamp;
use swarmdr_archive::{ClusterId, TrustedKeys};
use swarmdr_vault::{VaultError, catalog::lineage::Remembered, object_name::REHEARSAL};

use super::previous::PreviousBackups;
use crate::{
    backup::spool::Spool,
    config::SpoolConfig,
    host::shutdown::Shutdown,
    keys::signing,
    outcome::progress::Progress,
    run::Run,
    vaults::{Archive, Connected, Shared, StoredBackup, delivery_record::DeliveryRecord},
};
use clock::check_clock;
use delivery::Missing;

pub use delivery::{Delivery, Sent};

/// Pause before a vault that did not answer is tried again; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Takes sealed archives from the spool into the vaults of one run.
#[derive(Debug)]
pub struct Uploader {
    pub spool: Spool,
    routes: Vec<Route>,
    memory: DeliveryRecord,
    keys: TrustedKeys,
    /// Keys whose signatures count on data streams.
    on_streams: TrustedKeys,
    limits: SpoolConfig,
    now: Timestamp,
    progress: Progress,
    shutdown: Shutdown,
    /// Findings for the operator, apart from vaults that lack an archive (see [`Delivery::complaints`]).
    pub attention: Vec<String>,
}

#[derive(Debug)]
struct Route {
    to: Connected,
    /// True if a backup has failed unless this vault has it.
    required: bool,
    /// True if a backup of the cluster was found there, so the vault has taken one before.
    is_proven: bool,
    /// The reason why nothing more is sent there in this run.
    trouble: Option<String>,
}

impl Uploader {
    /// Returns the vaults of this run.
    pub fn connected(&self) -> Vec<Connected> {
        self.routes.iter().map(|route| route.to.clone()).collect()
    }

    /// Connects to the vaults, and checks that a put could work in each. A vault that is not ready is no error yet.
    pub async fn open(run: &Run<'_>, vaults: &Shared) -> Result<Self> {
        let config = run.config;
        let connected = vaults.get(config).await?.to_vec();
        // On first use the default vault is not there yet: preparing the spool creates the directory that holds both.
        let first_use = config.vault.is_empty() && !config.state_dir.exists();
        let only = connected.len() == 1;
        let mut routes = Vec::new();
        for to in connected {
            let ready = if first_use { Ok(()) } else { to.vault.check().await };
            let trouble = ready.err().map(|error| error.to_string());
            if let Some(trouble) = &trouble {
                tracing::warn!("a vault is not ready: {trouble}");
            }
            routes.push(Route { required: to.settings.required || only, is_proven: false, to, trouble });
        }
        Ok(Self {
            spool: Spool::at(&config.spool_dir()),
            routes,
            memory: DeliveryRecord::of(config),
            keys: signing::trusted_for_watching(config)?,
            on_streams: signing::trusted_on_streams_for_watching(config)?,
            limits: config.spool,
            now: run.now,
            progress: run.progress,
            shutdown: run.shutdown.clone(),
            attention: Vec::new(),
        })
    }

    /// Fails if a required vault, or every vault, is not ready. Called before the engine is touched.
    pub fn require_vaults(&self) -> Result<()> {
        let broken = |route: &&Route| route.trouble.is_some();
        let required = self.routes.iter().filter(|route| route.required).find(broken);
        let all = self.routes.iter().all(|route| broken(&route));
        match required.or(self.routes.first().filter(|_| all)).and_then(|route| route.trouble.as_ref()) {
            Some(trouble) => {
                Err(anyhow::anyhow!("{trouble}").context("the vault is not ready, so the engine was not touched"))
            }
            None => Ok(()),
        }
    }

    /// Fails if the clock of this host is ahead of a vault's. The backup would be dated after the vault got it, and no
    /// command that chooses a backup would believe it.
    pub async fn require_clock(&mut self) -> Result<()> {
        for route in self.routes.iter().filter(|route| route.trouble.is_none()) {
            let Ok(Some(theirs)) = route.to.vault.clock().await else { continue };
            let judged = check_clock(Timestamp::now(), theirs, &route.to.settings.url)?;
            self.attention.extend(judged);
        }
        Ok(())
    }

    /// Reads the newest backups of the cluster in all vaults that answer. Fails if a required one does not.
    pub async fn previous_backups(&mut self, cluster: &ClusterId) -> Result<PreviousBackups> {
        let (previous, unlisted) = self.known_backups(cluster).await;
        match unlisted {
            Some(error) => Err(error.context("the vault is not ready, so the engine was not touched")),
            None => Ok(previous),
        }
    }

    /// Reads the newest backups of the cluster in all vaults that answer. Also returns why a required one does not.
    pub async fn known_backups(&mut self, cluster: &ClusterId) -> (PreviousBackups, Option<Error>) {
        let (mut previous, mut unlisted) = (PreviousBackups::default(), None);
        for route in self.routes.iter_mut().filter(|route| route.trouble.is_none()) {
            let vault = route.to.vault.as_ref();
            let look = async {
                self.memory.require_history(vault, cluster).await?;
                let there = previous.extend_from(vault, cluster, &self.keys, self.now).await?;
                Ok::<_, VaultError>((there.has_any, self.memory.lost(vault, cluster, there.newest, self.now).await?))
            };
            match look.await {
                Ok((has_any, lost)) => {
                    route.is_proven |= has_any;
                    self.attention.extend(lost.filter(|lost| !self.attention.contains(lost)));
                }
                Err(error) if route.required => unlisted = unlisted.or(Some(Error::new(error))),
                Err(error) => {
                    tracing::warn!("a vault that is not required cannot be listed: {error}");
                    route.trouble = Some(error.to_string());
                }
            }
        }
        (previous, unlisted)
    }

    /// Checks that each vault in which no backup was found supports all that a put asks for. The engine must not be
    /// stopped for an archive that no attempt could store.
    pub async fn rehearse(&mut self) -> Result<()> {
        for route in self.routes.iter_mut().filter(|route| route.trouble.is_none() && !route.is_proven) {
            if let Err(error) = route.to.vault.rehearse(REHEARSAL, self.now).await {
                tracing::warn!("a vault cannot take a backup: {error}");
                route.trouble = Some(error.to_string());
            }
        }
        self.require_vaults()
    }

    /// Stores an archive in every vault, and removes it from the spool if all have it. A vault that does not answer is
    /// tried again until `patience` is over; one that refuses is not.
    pub async fn deliver(&mut self, archive: &Archive, patience: Duration) -> Result<Delivery> {
        let mut delivery =
            Delivery { id: archive.id, cluster: archive.cluster.clone(), kept: Vec::new(), missing: Vec::new() };
        let since = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut pending: Vec<usize> = (0..self.routes.len()).collect();
        loop {
            let last = since.elapsed() + pause > patience;
            pending = self.round(pending, archive, last, &mut delivery).await?;
            if pending.is_empty() {
                break;
            }
            tracing::warn!(id = %archive.id, "a vault does not answer; trying again in {} s", pause.as_secs());
            let wait = async {
                tokio::time::sleep(pause).await;
                Ok(())
            };
            self.shutdown.or_interrupted(wait).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if delivery.missing.is_empty() {
            self.spool.release(&archive.path)?;
        }
        Ok(delivery)
    }

    /// Tries each of these routes once. Returns those to try again; none if this is the `last` round.
    async fn round(
        &mut self,
        pending: Vec<usize>,
        archive: &Archive,
        last: bool,
        delivery: &mut Delivery,
    ) -> Result<Vec<usize>> {
        let mut again = Vec::new();
        for index in pending {
            let route = &mut self.routes[index];
            let required = route.required;
            if let Some(trouble) = &route.trouble {
                delivery.missing.push(Missing { required, error: anyhow::anyhow!("{trouble}") });
                continue;
            }
            let keep = async {
                self.memory.require_history(route.to.vault.as_ref(), &archive.cluster).await?;
                route.to.keep(archive, self.now, self.progress).await
            };
            let error = match self.shutdown.or_interrupted(keep).await {
                Ok(kept) => {
                    self.memory.note(route.to.vault.as_ref(), remembered(archive, &kept), self.now);
                    delivery.kept.push(kept);
                    continue;
                }
                Err(error) if self.shutdown.is_requested() => return Err(error),
                Err(error) => error,
            };
            let transient = error.downcast_ref::<VaultError>().is_some_and(VaultError::is_transient);
            if transient && !last {
                again.push(index);
                continue;
            }
            if transient {
                route.trouble = Some(format!("{error:#}"));
            }
            delivery.missing.push(Missing { required, error });
        }
        Ok(again)
    }
}

/// Record of a stored backup, which the next run expects to find in the vault.
fn remembered(archive: &Archive, kept: &StoredBackup) -> Remembered {
    Remembered {
        id: archive.id,
        cluster: archive.cluster.clone(),
        sequence: archive.sequence,
        locked_until: kept.lock.map(|lock| lock.until),
        digest: Some(archive.digest),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{config::Config, outcome::failure::Rendered};
    use swarmdr_vault::{
        Vault, VaultSettings,
        testkit::{
            archives::{CLUSTER, archive, cluster_id, key, minute, put, vault},
            injector::{Call, Injected, InjectingVault},
        },
    };

    /// Uploader of a run with one vault, which does not support all that a put asks for.
    fn uploader(vault: Arc<dyn Vault>, keys: TrustedKeys, state_dir: &std::path::Path) -> Uploader {
        let lacking = || VaultError::NotSupported {
            vault: "v".into(),
            action: "rehearse".into(),
            what: "the header `if-none-match`".into(),
            detail: "501".into(),
            way_out: "set `conditional_put = false`",
        };
        let decide = move |call: &Call| match call {
            Call::Rehearse => Injected::Before(lacking()),
            Call::Put { .. } => panic!("nothing is put"),
            _ => Injected::None,
        };
        let config = Config { state_dir: state_dir.to_owned(), ..Config::default() };
        let vault = Arc::new(InjectingVault::new(vault, decide));
        let to = Connected { settings: VaultSettings::new("s3://bucket"), vault };
        Uploader {
            spool: Spool::at(&config.spool_dir()),
            routes: vec![Route { to, required: true, is_proven: false, trouble: None }],
            memory: DeliveryRecord::of(&config),
            on_streams: keys.clone(),
            keys,
            limits: config.spool,
            now: minute(0),
            progress: Progress::hidden(),
            shutdown: Shutdown::default(),
            attention: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_vault_that_lacks_something_is_found_out_before_its_first_backup_and_not_asked_after_it() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (vault, key) = (Arc::new(vault("v")), key());
        let keys = TrustedKeys::from(key.public());
        let mut first = uploader(vault.clone(), keys.clone(), dir.path());
        first.previous_backups(&cluster_id()).await.expect("it can be listed");
        let error = Rendered::of(&first.rehearse().await.expect_err("it cannot take a backup")).to_string();
        assert!(error.contains("conditional_put = false") && error.contains("the engine was not touched"), "{error}");
        put(vault.as_ref(), &archive(CLUSTER, 0, &key)).await;
        let mut second = uploader(vault, keys, dir.path());
        second.previous_backups(&cluster_id()).await.expect("it can be listed");
        second.rehearse().await.expect("it took one before");
    }

    #[tokio::test]
    async fn what_waits_is_sent_with_the_usual_locks_and_not_with_those_of_this_run() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        // The client of this run must not be used for a put: it panics.
        let (usual, key) = (Arc::new(vault("v")), key());
        let mut uploader = uploader(Arc::new(vault("v")), TrustedKeys::from(key.public()), dir.path());
        uploader.spool.prepare().expect("is made");
        let waiting = archive(CLUSTER, 0, &key);
        let path = uploader.spool.partial(waiting.name.id()).with_extension("");
        std::fs::write(&path, &waiting.bytes).expect("writes");
        let client = |url: &str| vec![Connected { settings: VaultSettings::new(url), vault: usual.clone() }];
        uploader.send_waiting_to(client("s3://other")).await.expect_err("is another vault");
        let sent = uploader.send_waiting_to(client("s3://bucket")).await.expect("is sent");
        assert!(sent.len() == 1 && sent[0].is_complete() && !path.exists(), "{sent:?}");
        let (previous, _) = uploader.known_backups(&cluster_id()).await;
        assert_eq!(previous.next_sequence(), 1, "it has its own client again");
    }

    #[tokio::test]
    async fn a_required_vault_that_cannot_be_listed_hides_nothing_of_the_others() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let (there, key) = (Arc::new(vault("there")), key());
        put(there.as_ref(), &archive(CLUSTER, 0, &key)).await;
        let silent = || VaultError::Unreachable { vault: "v".into(), action: "list".into(), detail: "503".into() };
        let decide = move |call: &Call| match call {
            Call::List { .. } => Injected::Before(silent()),
            _ => Injected::None,
        };
        let silent = Arc::new(InjectingVault::new(Arc::new(vault("v")), decide));
        let mut uploader = uploader(silent, TrustedKeys::from(key.public()), dir.path());
        let to = Connected { settings: VaultSettings::new("s3://there"), vault: there };
        uploader.routes.push(Route { to, required: false, is_proven: false, trouble: None });
        let (previous, unlisted) = uploader.known_backups(&cluster_id()).await;
        assert!(unlisted.is_some_and(|error| error.to_string().contains("failed to list: 503")));
        assert!(previous.next_sequence() == 2 && previous.newest_digest().is_some(), "{previous:?}");
        let error =
            Rendered::of(&uploader.previous_backups(&cluster_id()).await.expect_err("a required one is silent"))
                .to_string();
        assert!(error.contains("the engine was not touched"), "{error}");
    }
}
