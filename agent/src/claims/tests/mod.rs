//! The promises of claims, against vaults that anyone may write to.

mod copies;
mod junk;
mod left;
mod releases;
mod rivals;
mod turns;
mod vaults;
mod whose;

use std::sync::Arc;

use jiff::Timestamp;
use swarmdr_archive::{Identities, SecretKey};
use swarmdr_vault::{
    LockMode, LockPolicy, Vault, VaultError, VaultSettings,
    settings::unit_length::Seconds,
    store_bytes,
    testkit::{
        archives::key,
        injector::{Call, Injected, InjectingVault, broken},
        memory::MemoryVault,
    },
};

use super::{
    testkit::{cluster, second_at},
    *,
};
use crate::{
    config::Config,
    keys::promoter::Promoter,
    outcome::{exit::Exit, failure::Rendered},
    vaults::Connected,
};

/// A host that restores: its state directory, and the keys that all its rivals have too.
struct Host {
    _dir: tempfile::TempDir,
    config: Config,
    promoter: Promoter,
}

impl Host {
    fn with(identities: &Identities) -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        config.standby.claim_settle = Seconds::new(0);
        let promoter = Promoter::find(&config, identities).expect("finds");
        Self { _dir: dir, config, promoter }
    }

    async fn attempt(&self, vaults: &[Connected], second: i64, terms: &Terms) -> Result<Outcome, (Exit, String)> {
        let draft = Draft {
            cluster_id: cluster(),
            site: "here".to_owned(),
            addresses: Vec::new(),
            promoted_from: testkit::claim(1, 0, None).promoted_from,
            verb: Verb::Restore,
            reason: None,
            fence: Vec::new(),
            formed: false,
        };
        let made = make(&self.config, vaults, &self.promoter, &draft, terms, second_at(second)).await;
        made.map_err(|error| (Rendered::of(&error).exit, Rendered::of(&error).to_string()))
    }

    /// Makes a claim that is expected to hold, and a swarm that carries it.
    async fn claim(&self, vaults: &[Connected], second: i64, terms: &Terms) -> Made {
        let made = self.win(vaults, second, terms).await;
        Record::advance(&self.config, made.id(), Stage::Used).expect("writes");
        made
    }

    /// Makes a claim that is expected to hold, and nothing else.
    async fn win(&self, vaults: &[Connected], second: i64, terms: &Terms) -> Made {
        match self.attempt(vaults, second, terms).await {
            Ok(Outcome::Made(made)) => *made,
            other => panic!("no claim: {other:?}"),
        }
    }

    /// Makes a claim that is expected to be refused with this exit code, and returns why.
    async fn refused(&self, vaults: &[Connected], second: i64, exit: Exit) -> String {
        match self.attempt(vaults, second, &terms()).await {
            Err((code, text)) if code == exit => text,
            other => panic!("not refused with {exit:?}: {other:?}"),
        }
    }

    async fn read(&self, vault: &dyn Vault, second: i64) -> Reading {
        let cluster = cluster();
        read(vault, Query::new(&cluster, &self.promoter.trusted, second_at(second))).await.expect("reads")
    }
}

fn terms() -> Terms {
    Terms { fenced: false, carried: Carried::Nothing, demand: Demand::UnlessUnknown, limit: None }
}

fn fenced() -> Terms {
    Terms { fenced: true, ..terms() }
}

fn locking() -> MemoryVault {
    MemoryVault::new("v", Some(LockPolicy { mode: LockMode::Compliance, days: 30 }))
}

fn connected(vault: Arc<dyn Vault>, name: &str) -> Connected {
    Connected { settings: VaultSettings::new(format!("s3://{name}")), vault }
}

fn one(vault: MemoryVault) -> (Arc<MemoryVault>, Vec<Connected>) {
    let vault = Arc::new(vault);
    (Arc::clone(&vault), vec![connected(vault, "v")])
}

async fn holder(host: &Host, vault: &dyn Vault) -> Option<Claim> {
    let reading = host.read(vault, 10_000).await;
    newest(&judge(&reading, &Ended::of([&reading]))).map(|seen| seen.claim.clone())
}

/// What a manager with this host's memory says of its swarm, which carries this claim.
async fn standing_of(host: &Host, vaults: &[Connected], label: Option<ClaimId>, second: i64) -> Judged {
    let here = standing::Here { cluster: cluster(), node: None, label, origin: Origin::Unknown };
    standing::of_this_host(&host.config, vaults, &host.promoter, &here, second_at(second)).await
}

fn word(judged: &Judged) -> String {
    match &judged.standing {
        standing::Standing::Own { claim } => format!("own {}", claim.epoch),
        standing::Standing::Superseded { claim, .. } => format!("superseded {}", claim.epoch),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn named(name: &str) -> Connected {
    let vault = MemoryVault::new(name, Some(LockPolicy { mode: LockMode::Compliance, days: 30 }));
    connected(Arc::new(vault), name)
}

/// Copies what is missing, and returns what is told.
async fn copy(host: &Host, vaults: &[Connected], judged: &Judged, second: i64) -> Vec<String> {
    let mut told = Vec::new();
    for missing in &judged.missing {
        told.extend(missing.copy(vaults, &host.promoter.trusted, second_at(second)).await.map(|(_, why)| why));
    }
    told
}

const HOUR: i64 = 3600;

/// The epoch of a claim that is made at this second without sight of all others.
fn minutes(second: i64) -> u32 {
    u32::try_from(second_at(second).as_second() / 60).expect("is small")
}

fn failing(
    inner: &Arc<MemoryVault>,
    fails: impl Fn(&Call) -> Option<VaultError> + Send + Sync + 'static,
) -> Arc<dyn Vault> {
    Arc::new(InjectingVault::new(Arc::clone(inner) as Arc<dyn Vault>, move |call| match fails(call) {
        Some(error) => Injected::Before(error),
        None => Injected::None,
    }))
}

fn denied(call: &Call) -> Option<VaultError> {
    let (vault, action, detail) = ("v".to_owned(), "store".to_owned(), "403".to_owned());
    matches!(call, Call::Put { .. }).then_some(VaultError::AccessDenied { vault, action, detail })
}

fn away(name: &'static str) -> Connected {
    let vault = InjectingVault::new(Arc::new(locking()), move |_| Injected::Before(broken(name, "any")));
    connected(Arc::new(vault), name)
}
