//! Recovery of a majority that is lost: a new cluster from the state of one manager that survived.
//!
//! A restore from a backup that this host makes of itself first: nothing is lost but what the dead managers alone had
//! agreed on. The same guards, the same journal and the same way back.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    backup::{self, Backup, BackupPlan, Chain, Courier, Sent, Stranded, stranded},
    exit::Exit,
    fault::Fault,
    host::{
        as_found::AsFound,
        engine::{EngineFacts, SwarmState},
        engine_units::EngineControl,
        failsafe::Failsafe,
        key_file,
        leftovers::{RunNote, Stage},
        network,
        placement::Placement,
        space,
    },
    report::Phases,
    restore::{
        self, Change, FORMING, Overrides, Restore, RestorePlan, RestoreReport,
        fence::listed,
        holding::{self, OnDisk, Wanted},
        journal,
        plan::{self, Decision, checks},
        unfinished,
    },
    stage,
    swarm::{self, Examined, UnlockKey, identity::usable},
    terminal::{joined, shown},
    unlock_key::GivenKey,
};

/// For copying and sealing, beyond what the engine may take to stop: then the failsafe starts it again.
const SEALING: Duration = Duration::from_secs(600);

/// For an address that is late, as at a boot.
const ADDRESS: Duration = Duration::from_secs(60);

/// An engine without a leader writes its votes now and then.
const ATTEMPTS: u32 = 3;

/// A run and what it works with.
#[derive(Debug)]
pub struct Recovery<'a> {
    pub restore: Restore<'a>,
    pub backup: Backup<'a>,
    /// The operator vouches that the other managers are gone.
    pub fenced: bool,
    /// The operator says that no interface of this host needs to have its address.
    pub address_elsewhere: bool,
}

/// What a run comes to.
#[derive(Debug)]
pub enum Step {
    /// The swarm has a leader.
    Works,
    Ready(Box<Ready>),
}

/// What was found out before anything is touched.
#[derive(Debug)]
pub struct Ready {
    pub plan: RecoveryPlan,
    facts: EngineFacts,
    backup: BackupPlan,
    restore: RestorePlan,
    others: Vec<SocketAddr>,
}

/// Plain data, for `--dry-run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecoveryPlan {
    pub cluster_id: String,
    pub node_id: String,
    pub raft_addr: SocketAddr,
    pub engine: String,
    /// Managers that the new cluster starts without.
    pub without: Vec<String>,
    pub units: Vec<String>,
    /// What ends with the engine, and runs again after it.
    pub found: AsFound,
    pub state_dir: PathBuf,
    /// Where the backup is sealed before anything changes.
    pub spool_file: PathBuf,
}

/// The stable JSON form of `recover-quorum --json`.
#[derive(Debug, Serialize)]
pub struct RecoveryReport {
    /// The backup that was made first.
    pub backup: Sent,
    #[serde(flatten)]
    pub restored: RestoreReport,
}

impl Recovery<'_> {
    /// Asks and checks everything; changes nothing.
    pub async fn prepare(&self, may_start: bool) -> Result<Step> {
        let asked = self.restore.await_engine(Duration::ZERO, may_start).await?;
        if checks::works(&asked.swarm) {
            return Ok(Step::Works);
        }
        check_state(&asked)?;
        let facts = self.settled(&asked, may_start).await?;
        if checks::works(&facts.swarm) {
            return Ok(Step::Works);
        }
        check_state(&facts)?;
        checks::engine_settings(&facts)?;
        let state_dir = facts.data_root.join("swarm");
        let examined = self.examine(&state_dir)?;
        let addresses = self.addresses(&examined).await?;
        let backup = stranded::plan(&self.backup, &facts, &examined, &addresses)?;
        let needed = self.backup.check_stranded(&backup)? + FORMING + journal::START;
        space::require(&facts.data_root, needed, "the copy of the state and the new manager's log")?;
        Placement::new(&facts.data_root, &backup.id.to_string())?;
        let others = holding::peers(&examined);
        if !self.fenced {
            if asked.swarm.state == SwarmState::Locked && !others.is_empty() {
                return Err(silent(&others));
            }
            self.fence(&others).await?;
        }
        let restore = self.plan(&facts, &backup, &examined, &addresses)?;
        let plan = RecoveryPlan {
            cluster_id: backup.cluster_id.clone(),
            node_id: backup.node_id.clone(),
            raft_addr: backup.raft_addr,
            engine: facts.version.clone(),
            without: others.iter().map(ToString::to_string).collect(),
            units: backup.units.clone(),
            found: AsFound::default(),
            state_dir,
            spool_file: backup.spool_file.clone(),
        };
        Ok(Step::Ready(Box::new(Ready { plan, facts, backup, restore, others })))
    }

    /// What is going to be done with the copy. It is the same host, so addresses are as they were found: translated ones
    /// and one of its own for the overlay traffic too.
    fn plan(
        &self,
        facts: &EngineFacts,
        backup: &BackupPlan,
        examined: &Examined,
        addresses: &[network::LocalAddress],
    ) -> Result<RestorePlan> {
        if let swarm::Proof::Unproven(damage) = &examined.proof {
            return Err(stranded::breaks(damage));
        }
        let manifest = stranded::draft(&self.backup, backup, examined, &Chain::default())?;
        let seen = plan::Seen {
            facts,
            addresses,
            living: &[],
            unasked: &[],
            on_disk: &OnDisk::read(&backup.state_dir),
            receipt: None,
            newest: false,
            has_unlock_key: self.key().is_some(),
            now: self.restore.now,
        };
        let overrides = Overrides {
            force: true,
            address_elsewhere: true,
            data_path_addr: manifest.restore.data_path_addr.clone().filter(|addr| !addr.is_empty()),
            readdress: None,
        };
        match RestorePlan::make(&manifest, "this host", &backup.units, &seen, &overrides)? {
            Decision::Restore(plan) => Ok(*plan),
            Decision::AlreadyThere | Decision::AlreadyThereLocked => {
                anyhow::bail!("a forced restore has something to do")
            }
        }
    }

    async fn fence(&self, others: &[SocketAddr]) -> Result<()> {
        let asked = self.restore.ask_managers(others).await;
        fence(&asked.living)?;
        restore::fence::require_asked(&asked.unasked())
    }

    /// The addresses of this host. One that the manager needs and that is late is waited for: without it the cluster
    /// would be formed where nobody reaches it.
    async fn addresses(&self, examined: &Examined) -> Result<Vec<network::LocalAddress>> {
        let Some(needed) = needed_address(examined).filter(|_| !self.address_elsewhere) else {
            return network::local_addresses();
        };
        let addresses = self.restore.await_address(ADDRESS, needed).await?;
        if network::has(&addresses, needed) {
            return Ok(addresses);
        }
        Err(Fault::refused(format!("this manager is at {needed}, and this host has {}", network::describe(&addresses)))
            .advice(format!("give this host the address {needed} again, and run this once more"))
            .advice(format!("if {needed} is translated to this host (NAT), say --address-elsewhere"))
            .into())
    }

    /// What is only on its way is waited for: a leader, an address, a key. Then there is nothing to recover.
    async fn settled(&self, asked: &EngineFacts, may_change: bool) -> Result<EngineFacts> {
        let on_disk = OnDisk::read(&asked.data_root.join("swarm"));
        let Some(held) = on_disk.held() else { return Ok(asked.clone()) };
        let wanted = Wanted { cluster_id: &held.cluster_id, node_id: Some(&held.node_id) };
        Ok(self.restore.await_settled(wanted, Duration::ZERO, may_change).await?.facts)
    }

    fn key(&self) -> Option<&UnlockKey> {
        self.restore.unlock_key.as_ref().map(GivenKey::for_state)
    }

    /// Reads the state of the running engine. A locked one needs its key.
    fn examine(&self, state_dir: &std::path::Path) -> Result<Examined> {
        if key_file::is_locked_in(state_dir)? && self.key().is_none() {
            return Err(Fault::refused("this manager is autolocked, and its unlock key was not given")
                .advice("name it with --unlock-key FILE")
                .into());
        }
        let mut examined = swarm::examine(state_dir, self.key());
        for _ in 1..ATTEMPTS {
            if matches!(&examined, Ok(examined) if examined.proof == swarm::Proof::Proven) {
                break;
            }
            examined = swarm::examine(state_dir, self.key());
        }
        examined.map_err(|error| match error {
            swarm::Error::WrongUnlockKey { .. } => {
                Fault::refused("the unlock key that was given does not open this manager's state").because(error).into()
            }
            swarm::Error::NotAManager { .. } => {
                Fault::refused("this host is a worker: only a manager holds the swarm's state")
                    .advice("run this on the manager that survived")
                    .because(error)
                    .into()
            }
            error => {
                anyhow::Error::new(error).context("the state on this host is not one that a swarm can be formed from")
            }
        })
    }

    /// Seals a backup, forms the new cluster, and stores the backup. What was there is put back if it cannot.
    pub async fn run(&self, ready: Ready) -> Result<RecoveryReport> {
        let mut phases = Phases::new();
        let mut courier = Courier::open(&self.backup).await?;
        let control = EngineControl::connect(self.restore.config).await?;
        unfinished::note_data_root(self.restore.config, &ready.facts.data_root);
        let mut note = RunNote::write(self.restore.config, backup::note(&ready.backup))?;
        let delay = Duration::from_secs(self.restore.config.engine.stop_timeout) + SEALING;
        let failsafe = Failsafe::arm(control.systemd(), &ready.backup.id.to_string(), &control.rescue(), delay).await?;
        phases.begin("quiesce");
        note.advance(Stage::EngineAway);
        let until = (failsafe.fires_at(), delay);
        let sealed = async {
            let stopped = self.restore.shutdown.or_interrupted(control.stop()).await?;
            phases.begin("backup");
            let held = async || control.check_stopped(&stopped).await;
            let sealing = self.backup.seal_stranded(&ready.backup, self.key(), &mut courier, until, held);
            let limit = failsafe.fires_at().saturating_duration_since(Instant::now());
            let sealed = tokio::time::timeout(limit, sealing).await;
            let stranded = sealed.with_context(|| {
                format!("the backup was not sealed within {} s, after which the engine is started", limit.as_secs())
            })??;
            let change = async {
                // An engine that is back may have found its leader: then the copy is not the newest any more.
                control.check_stopped(&stopped).await?;
                if !self.fenced {
                    self.fence(&ready.others).await?;
                }
                self.change(&ready, &stranded).await
            };
            let change = change.await.inspect_err(|_| drop(std::fs::remove_dir_all(&stranded.copy)))?;
            anyhow::Ok((stranded, change, stopped))
        };
        let (stranded, mut change, stopped) = match sealed.await {
            Ok(sealed) => sealed,
            Err(error) => {
                control.start().await?;
                failsafe.disarm().await?;
                note.advance(Stage::EngineBack);
                return Err(error.context("nothing was changed; the engine runs again"));
            }
        };
        change.take_on(failsafe, stopped);
        let restored = change.carry_out(&mut phases).await;
        note.advance(Stage::Sealed);
        phases.begin("store");
        let delivered = self.backup.deliver_stranded(&stranded, &mut courier).await;
        let mut restored = restored?;
        // It is sealed and on this host: the next run sends it.
        let backup = delivered.unwrap_or_else(|error| Sent {
            id: stranded.manifest.id,
            kept: Vec::new(),
            missing: vec![format!("{error:#}")],
        });
        restored.attention.extend(backup.missing.iter().map(|why| {
            format!(
                "the backup from before is not in every vault ({why}); it waits in {}",
                stranded.spooled.path.display()
            )
        }));
        restored.phases = phases.finish();
        Ok(RecoveryReport { backup, restored })
    }

    /// The copy becomes what is placed.
    async fn change<'s>(&'s self, ready: &Ready, stranded: &Stranded) -> Result<Change<'s>> {
        let placement = Placement::new(&ready.facts.data_root, &stranded.manifest.id.to_string())?;
        let staging = placement.make_staging()?;
        std::fs::remove_dir(&staging)?;
        std::fs::rename(&stranded.copy, &staging).context("failed to stage the copy")?;
        stage::take_out_engine_state(&staging)?;
        stage::flush_tree(&staging)?;
        let aside = placement.aside().map(std::path::Path::to_owned);
        let (counts, inventory) = (stranded.manifest.counts, stranded.inventory.clone());
        let mut record = journal::Record::new(self.restore.now, ready.restore.clone(), aside, counts, inventory);
        record.locked_key = key_file::locked_text(&staging)?;
        let journal = journal::Journal::begin(&ready.facts.data_root, record)?;
        Change::new(&self.restore, placement, journal).await
    }
}

/// The address that an interface of this host must have: the one in the raft log, unless the engine wrote down that it
/// is known by another one on this host (moby `daemon/cluster/swarm.go`, `Init`: `LocalAddr` is the advertised address
/// only where an interface has it).
fn needed_address(examined: &Examined) -> Option<IpAddr> {
    let engine = examined.identity.engine.as_ref();
    let own = engine.and_then(|engine| [&engine.listen_addr, &engine.local_addr].into_iter().find_map(|it| usable(it)));
    own.or(examined.raft_address).map(|addr| addr.ip())
}

/// Refuses hosts whose state is not that of a manager without a leader.
fn check_state(facts: &EngineFacts) -> Result<()> {
    match facts.swarm.state {
        SwarmState::Inactive => {
            Err(Fault::refused("this host is not part of a swarm; there is nothing to recover from")
                .advice("run this on a manager that survived, or bring the swarm back with `swarmdr-agent restore`")
                .into())
        }
        // A manager that only waits for its leader may look the same, but has its certificate.
        SwarmState::Pending if !facts.data_root.join("swarm/certificates/swarm-node.crt").exists() => {
            Err(Fault::refused("this host is still joining a swarm, and has no state of a manager yet")
                .advice(
                    "run this on a manager that survived, or bring the swarm back with `swarmdr-agent restore --force`",
                )
                .into())
        }
        SwarmState::Active if !facts.swarm.is_manager => {
            Err(Fault::refused("this host is a worker: only a manager holds the swarm's state")
                .advice("run this on the manager that survived")
                .into())
        }
        _ => Ok(()),
    }
}

/// A locked manager listens nowhere: after a power cut all of an autolocked swarm are silent, and well.
fn silent(others: &[SocketAddr]) -> anyhow::Error {
    Fault::refused(format!(
        "this manager was locked, so the others may only be locked too, and do not answer for that reason: {}",
        listed(others)
    ))
    .advice("unlock them: `docker swarm unlock` on each; with a majority the swarm is back")
    .advice("if they are gone for good, say --fenced")
    .into()
}

fn fence(living: &[SocketAddr]) -> Result<()> {
    if living.is_empty() {
        return Ok(());
    }
    Err(Fault::refused(format!(
        "other managers of this swarm answer at {}: a new cluster of this one would make them delete their state",
        listed(living)
    ))
    .advice("if the swarm can have its majority back, bring the missing managers back instead")
    .advice("if they are dying, shut them down or cut them off for good, then say --fenced")
    .advice(
        "if one of them has the newer state (`swarmdr-agent inspect --dir`), recover there and join this host to it",
    )
    .into())
}

impl RecoveryReport {
    pub fn exit(&self) -> Exit {
        self.restored.exit()
    }
}

impl fmt::Display for RecoveryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Recovery of swarm {} on its manager {}", shown(&self.cluster_id), shown(&self.node_id))?;
        writeln!(f, "  at         {}, engine {}", self.raft_addr, shown(&self.engine))?;
        writeln!(f, "  without    {}", joined(&self.without, ", "))?;
        writeln!(f, "  1. stop    {}", joined(&self.units, ", "))?;
        writeln!(f, "  2. backup  sealed in {}, stored when the swarm is back", shown(self.spool_file.display()))?;
        writeln!(f, "  3. aside   {}", shown(self.state_dir.display()))?;
        writeln!(f, "  4. place   a copy of it, and start the engine")?;
        writeln!(f, "  5. init    force a new cluster of this manager alone")?;
        writeln!(f, "  6. confirm cluster, node and every object")?;
        self.found.lines().iter().try_for_each(|line| writeln!(f, "  note: {}", shown(line)))
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.restored.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::Rendered, host::engine::LocalSwarm, restore::plan::tests::examined, swarm::identity::EngineState,
    };

    #[test]
    fn an_address_is_needed_unless_the_engine_knows_another_one_of_this_host() {
        for (listen, local, expected) in [
            // `docker swarm init`, alone or with the address of an interface.
            ("0.0.0.0:2377", "10.0.0.4", "10.0.0.4"),
            ("10.0.0.4:2377", "10.0.0.4", "10.0.0.4"),
            // With the address of a router: what the engine listens on is the one that may be late.
            ("0.0.0.0:2377", "192.168.7.5", "192.168.7.5"),
            ("192.168.7.5:2377", "", "192.168.7.5"),
            // `docker swarm join`: nothing is known of another one.
            ("0.0.0.0:2377", "", "10.0.0.4"),
        ] {
            let mut state = examined();
            state.raft_address = Some("10.0.0.4:2377".parse().expect("is an address"));
            let engine = EngineState { listen_addr: listen.into(), local_addr: local.into(), ..EngineState::default() };
            state.identity.engine = Some(engine);
            let needed = needed_address(&state).map(|ip| ip.to_string());
            assert_eq!(needed.as_deref(), Some(expected), "{listen} {local}");
        }
    }

    #[test]
    fn a_living_manager_and_a_host_without_a_swarm_are_refused() {
        fence(&[]).expect("nobody answers");
        let rendered =
            Rendered::of(&fence(&["10.0.0.5:2377".parse().expect("is an address")]).expect_err("one answers"));
        assert!(rendered.exit == Exit::Refused && rendered.what.contains("10.0.0.5:2377"), "{rendered}");
        assert_eq!(rendered.advice.len(), 3, "{rendered}");
        let data_root = tempfile::tempdir().expect("is made");
        let facts = |state, is_manager| EngineFacts {
            version: String::new(),
            hostname: String::new(),
            data_root: data_root.path().to_owned(),
            live_restore: false,
            swarm: LocalSwarm { state, is_manager, ..LocalSwarm::default() },
        };
        let rendered = Rendered::of(&check_state(&facts(SwarmState::Pending, false)).expect_err("it has nothing yet"));
        assert!(rendered.exit == Exit::Refused && rendered.what.contains("still joining"), "{rendered}");
        let certificates = data_root.path().join("swarm/certificates");
        std::fs::create_dir_all(&certificates).expect("is made");
        std::fs::write(certificates.join("swarm-node.crt"), "").expect("is written");
        for (state, is_manager, allowed) in [
            (SwarmState::Active, true, true),
            (SwarmState::Pending, false, true),
            (SwarmState::Locked, false, true),
            (SwarmState::Active, false, false),
            (SwarmState::Inactive, false, false),
        ] {
            assert_eq!(check_state(&facts(state, is_manager)).is_ok(), allowed, "{state:?} {is_manager}");
        }
    }

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        crate::terminal::tests::assert_tame(|text| RecoveryPlan {
            cluster_id: text.into(),
            node_id: text.into(),
            raft_addr: "10.0.0.4:2377".parse().expect("is an address"),
            engine: text.into(),
            without: vec![text.into()],
            units: vec![text.into()],
            found: AsFound::default(),
            state_dir: text.into(),
            spool_file: text.into(),
        });
    }
}
