//! From the spool into the vaults.
//!
//! One [`Courier`] serves one run. It asks each vault once whether it works, and leaves one that stops answering alone
//! for the rest of the run. An archive stays in the spool until every vault has it; storing it again where it is
//! already makes no second copy ([`crate::vault::store`]), so nothing has to remember who has what.

use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{BackupId, TrustedKeys};

use super::{Backup, chain::Chain};
use crate::{
    config::SpoolConfig,
    fault::Fault,
    progress::Progress,
    shutdown::Shutdown,
    signing,
    spool::{self, Spool, Spooled},
    vault::{VaultError, catalog::chain::Remembered, clock::SKEW, object_name::REHEARSAL, renew},
    vault_memory::VaultMemory,
    vaults::{self, Archive, Connected, Kept},
};

/// Before a vault that did not answer is tried again; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Takes sealed archives from the spool into the vaults of one run.
#[derive(Debug)]
pub struct Courier {
    pub spool: Spool,
    routes: Vec<Route>,
    memory: VaultMemory,
    keys: TrustedKeys,
    limits: SpoolConfig,
    now: Timestamp,
    progress: Progress,
    shutdown: Shutdown,
    /// What a person should look at, apart from what single deliveries lack.
    pub attention: Vec<String>,
}

#[derive(Debug)]
struct Route {
    to: Connected,
    /// Without it in this vault a backup has failed.
    required: bool,
    /// A backup of the cluster was found there, so the vault has taken one before.
    is_proven: bool,
    /// Why nothing more is sent there in this run.
    trouble: Option<String>,
}

/// Where an archive is now.
#[derive(Debug)]
pub struct Delivery {
    pub id: BackupId,
    pub cluster: String,
    pub kept: Vec<Kept>,
    missing: Vec<Missing>,
}

#[derive(Debug)]
struct Missing {
    required: bool,
    error: Error,
}

/// The same for a report.
#[derive(Debug, Serialize)]
pub struct Sent {
    pub id: BackupId,
    pub kept: Vec<Kept>,
    /// Why other vaults lack it; empty if all have it.
    pub missing: Vec<String>,
}

impl Courier {
    /// Connects, and asks each vault whether a put could work. A vault that does not work is no error yet.
    pub async fn open(run: &Backup<'_>) -> Result<Self> {
        let config = run.config;
        let connected = vaults::connect(config).await?;
        // The default vault on first use: the spool is what makes the directory that holds both.
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
            memory: VaultMemory::of(config),
            keys: signing::believed(config)?,
            limits: config.spool,
            now: run.now,
            progress: run.progress,
            shutdown: run.shutdown.clone(),
            attention: Vec::new(),
        })
    }

    /// Refuses a run whose archive could not be stored where it has to be. Comes before the engine is touched.
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

    /// Refuses a run whose backup would bear a time after the vault got it: nothing that chooses would believe it.
    pub async fn require_clock(&mut self) -> Result<()> {
        for route in self.routes.iter().filter(|route| route.trouble.is_none()) {
            let Ok(Some(theirs)) = route.to.vault.clock().await else { continue };
            let judged = judge_clock(Timestamp::now(), theirs, &route.to.settings.url)?;
            self.attention.extend(judged);
        }
        Ok(())
    }

    /// Keeps the newest good backup of each vault locked, whether or not a new one comes now. Answers with what was done;
    /// what failed is no reason to make no backup.
    pub async fn renew_locks(&mut self, cluster: &str) -> Vec<String> {
        let mut done = Vec::new();
        for route in self.routes.iter().filter(|route| route.trouble.is_none()) {
            match renew(route.to.vault.as_ref(), Some(cluster), &self.keys, self.now).await {
                Ok(renewed) => done.extend(renewed.iter().map(ToString::to_string)),
                Err(error) => self.attention.push(format!("the lock of the newest backup was not renewed: {error}")),
            }
        }
        done.iter().for_each(|line| tracing::info!("{line}"));
        done
    }

    /// The newest backups of the cluster over all vaults that answer.
    pub async fn chain(&mut self, cluster: &str) -> Result<Chain> {
        let mut chain = Chain::default();
        for route in self.routes.iter_mut().filter(|route| route.trouble.is_none()) {
            let vault = route.to.vault.as_ref();
            let look = async {
                self.memory.require_history(vault, cluster).await?;
                let there = chain.extend_from(vault, cluster, &self.keys, self.now).await?;
                Ok::<_, VaultError>((there.has_any, self.memory.lost(vault, cluster, there.newest, self.now).await?))
            };
            match look.await {
                Ok((has_any, lost)) => {
                    route.is_proven |= has_any;
                    self.attention.extend(lost.filter(|lost| !self.attention.contains(lost)));
                }
                Err(error) if route.required => {
                    return Err(Error::new(error).context("the vault is not ready, so the engine was not touched"));
                }
                Err(error) => {
                    tracing::warn!("a vault that is not required cannot be listed: {error}");
                    route.trouble = Some(error.to_string());
                }
            }
        }
        Ok(chain)
    }

    /// Before the first backup in a vault: whether the vault knows what a put asks for. The engine must not be stopped for
    /// an archive that no attempt could store.
    pub async fn rehearse(&mut self) -> Result<()> {
        for route in self.routes.iter_mut().filter(|route| route.trouble.is_none() && !route.is_proven) {
            if let Err(error) = route.to.vault.rehearse(REHEARSAL, self.now).await {
                tracing::warn!("a vault cannot take a backup: {error}");
                route.trouble = Some(error.to_string());
            }
        }
        self.require_vaults()
    }

    /// Sends what earlier runs could not, oldest first. What fails waits on; what is no archive is set aside.
    pub async fn send_waiting(&mut self) -> Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        for waiting in self.spool.waiting()? {
            match self.read(&waiting).await? {
                Ok(archive) => deliveries.push(self.deliver(&archive, Duration::ZERO).await?),
                Err(error) => self.complain(&waiting, &error)?,
            }
        }
        for path in self.spool.damaged()? {
            self.attention.push(format!("{} was set aside because it is damaged; look at it", path.display()));
        }
        self.make_room(&deliveries)?;
        Ok(deliveries)
    }

    async fn read(&self, waiting: &Spooled) -> Result<Result<Archive>> {
        let (path, keys) = (waiting.path.clone(), self.keys.clone());
        let read = tokio::task::spawn_blocking(move || Archive::read(&path, &keys));
        read.await.context("the check of a waiting archive ended unexpectedly")
    }

    /// A file that cannot be read, or that is signed by a key that is not trusted now, may be good: it stays.
    fn complain(&mut self, waiting: &Spooled, error: &Error) -> Result<()> {
        use swarmdr_archive::Error as Bad;
        match error.downcast_ref::<Bad>() {
            Some(Bad::Io { .. } | Bad::UnknownKey { .. } | Bad::UnsupportedVersion { .. }) | None => {
                self.attention.push(format!("{} still waits: {error:#}", waiting.path.display()));
            }
            Some(_) => {
                let to = self.spool.set_aside(waiting)?;
                tracing::error!("{error:#}; it was moved to {}", to.display());
            }
        }
        Ok(())
    }

    /// A vault that is not required must not stop backups by filling the spool with what the others have.
    fn make_room(&mut self, deliveries: &[Delivery]) -> Result<()> {
        let redundant = |spooled: &Spooled| deliveries.iter().find(|it| it.id == spooled.id && it.is_stored());
        loop {
            let waiting = self.spool.waiting()?;
            let oldest = waiting.iter().find_map(|spooled| Some((spooled, redundant(spooled)?)));
            let Some((spooled, delivery)) = oldest.filter(|_| spool::is_full(&waiting, &self.limits)) else {
                return Ok(());
            };
            self.spool.release(&spooled.path)?;
            self.attention.push(format!(
                "the spool is full, so {} no longer waits for a vault that is not required: {}; it is kept in {}",
                delivery.id,
                delivery.complaints().join("; "),
                delivery.places()
            ));
        }
    }

    /// Stores an archive in every vault, and takes it out of the spool if all have it. A vault that does not answer is
    /// tried again for as long as `patience`; one that refuses is not.
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

    /// One attempt at each of these routes; answers with those to try again, none if this is the `last` round.
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
                    self.memory.note(route.to.vault.as_ref(), remembered(archive, &kept));
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

/// What the next run expects to find.
fn remembered(archive: &Archive, kept: &Kept) -> Remembered {
    Remembered {
        id: archive.id,
        cluster: archive.cluster.clone(),
        sequence: archive.sequence,
        locked_until: kept.lock.map(|lock| lock.until),
        digest: Some(archive.digest),
    }
}

/// Answers with what should be looked at.
fn judge_clock(here: Timestamp, there: Timestamp, vault: &str) -> Result<Option<String>> {
    let ahead = here.duration_since(there);
    if ahead > SKEW {
        let what = format!("the clock of this host is {} min ahead of that of {vault}", ahead.as_mins());
        return Err(Fault::failed(format!(
            "{what}, so a backup would bear a time that has not come; the engine was not touched"
        ))
        .advice("set the clock of this host (chrony, systemd-timesyncd)")
        .into());
    }
    let behind = format!("the clock of this host is {} min behind that of {vault}: set it", (-ahead).as_mins());
    Ok((-ahead > SKEW).then_some(behind))
}

impl Delivery {
    /// True if every required vault has it, and at least one.
    pub fn is_stored(&self) -> bool {
        !self.kept.is_empty() && !self.missing.iter().any(|missing| missing.required)
    }

    /// True if every vault has it.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// True if this run put it somewhere.
    pub fn is_news(&self) -> bool {
        self.kept.iter().any(|kept| kept.new)
    }

    /// Why some vaults lack it.
    pub fn complaints(&self) -> Vec<String> {
        self.missing.iter().map(|missing| format!("{:#}", missing.error)).collect()
    }

    fn places(&self) -> String {
        self.kept.iter().map(|kept| kept.vault.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// An error if it is not where it has to be.
    pub fn require_stored(mut self, spooled: &Spooled) -> Result<Self> {
        if self.is_stored() {
            return Ok(self);
        }
        let what = match self.kept.is_empty() {
            true => "the backup was made but could not be stored".to_owned(),
            false => format!("the backup was made and is in {}, but not in every required vault", self.places()),
        };
        let cause = self.missing.iter().position(|missing| missing.required).unwrap_or_default();
        Err(Fault::failed(what)
            .advice(format!(
                "it waits, sealed, in {}; repair the vault, and the next run sends it",
                spooled.path.display()
            ))
            .because(self.missing.swap_remove(cause).error)
            .into())
    }

    pub fn into_sent(self) -> Sent {
        Sent { id: self.id, missing: self.complaints(), kept: self.kept }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::*;
    use crate::{
        config::Config,
        exit::Exit,
        fault::Rendered,
        vault::{
            Vault, VaultSettings,
            catalog::testing::{CLUSTER, archive, key, minute, put, vault},
            faulty::{Call, Fault as Failing, FaultyVault},
        },
    };

    /// A run that sends into one vault, which does not know what a put asks for.
    fn courier(vault: Arc<dyn Vault>, keys: TrustedKeys, state_dir: &std::path::Path) -> Courier {
        let lacking = || VaultError::NotSupported {
            vault: "v".into(),
            action: "rehearse".into(),
            what: "the header `if-none-match`".into(),
            detail: "501".into(),
            way_out: "set `conditional_put = false`",
        };
        let decide = move |call: &Call| match call {
            Call::Rehearse => Failing::Before(lacking()),
            Call::Put { .. } => panic!("nothing is put"),
            _ => Failing::None,
        };
        let config = Config { state_dir: state_dir.to_owned(), ..Config::default() };
        let vault = Arc::new(FaultyVault::new(vault, decide));
        let to = Connected { settings: VaultSettings::new("s3://bucket"), vault };
        Courier {
            spool: Spool::at(&config.spool_dir()),
            routes: vec![Route { to, required: true, is_proven: false, trouble: None }],
            memory: VaultMemory::of(&config),
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
        let mut first = courier(vault.clone(), keys.clone(), dir.path());
        first.chain(CLUSTER).await.expect("it can be listed");
        let error = Rendered::of(&first.rehearse().await.expect_err("it cannot take a backup")).to_string();
        assert!(error.contains("conditional_put = false") && error.contains("the engine was not touched"), "{error}");
        put(vault.as_ref(), &archive(CLUSTER, 0, &key)).await;
        let mut second = courier(vault, keys, dir.path());
        second.chain(CLUSTER).await.expect("it can be listed");
        second.rehearse().await.expect("it took one before");
    }

    #[test]
    fn a_clock_that_is_ahead_stops_a_backup_before_the_engine_is_touched() {
        let there: Timestamp = "2026-11-21T10:00:00Z".parse().expect("is a time");
        let judge = |minutes| judge_clock(there + SignedDuration::from_mins(minutes), there, "s3://a/b");
        for fine in [0, 15, -15] {
            assert_eq!(judge(fine).expect("is fine"), None);
        }
        assert!(judge(-16).expect("is late, no more").expect("is told").contains("16 min behind that of s3://a/b"));
        let error = Rendered::of(&judge(300 * 24 * 60).expect_err("is ahead"));
        assert!(error.exit == Exit::Failed && error.what.contains("the engine was not touched"), "{error}");
    }
}
