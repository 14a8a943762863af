//! Leaves a sign of life in every vault.

use std::{fmt, time::Duration};

use anyhow::{Context, Result, anyhow};
use data_encoding::HEXLOWER;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{
    SwarmNode,
    untrusted::{joined, shown},
};
use swarmdr_vault::replace;

use super::{
    LastSign,
    document::{self, SignOfLife},
};
use crate::{
    claims::{label, site},
    config::Config,
    host::{engine::Engine, random, systemd::Systemd},
    keys::signing,
    outcome::{exit::Exit, failure::Failure},
    run::Run,
    vaults::{self, Connected},
};

/// Time that a vault may take. The next sign follows soon.
const VAULT_LIMIT: Duration = Duration::from_secs(60);

/// A run of `life`.
#[derive(Debug)]
pub struct Leave<'a> {
    pub run: Run<'a>,
    /// Looks whether a sign is due, and leaves none.
    pub dry_run: bool,
}

/// The outcome of `life`, for a person or a script.
#[derive(Debug, Serialize)]
pub struct LifeReport {
    pub result: &'static str,
    pub dry_run: bool,
    /// False if the last sign is young enough.
    pub due: bool,
    /// Key of the sign in each vault.
    pub key: String,
    /// When the last sign was left before this run, by this host's clock.
    pub before: Option<Timestamp>,
    /// Vaults that took the sign.
    pub left: Vec<String>,
    /// Vaults that did not, and why. Exit 6.
    pub attention: Vec<String>,
}

impl LifeReport {
    pub fn exit(&self) -> Exit {
        Exit::with_attention(!self.attention.is_empty())
    }
}

impl Leave<'_> {
    /// Leaves a sign if one is due. Refuses if none is configured (exit 2), on a host whose engine is not a manager that
    /// sees a leader (exit 3), and fails if no vault took the sign.
    pub async fn run(&self) -> Result<LifeReport> {
        let Run { config, shutdown, now, .. } = self.run;
        let every = configured(config)?;
        let engine = Engine::at(&config.engine.socket);
        let living = shutdown.or_interrupted(require_alive(config, &engine)).await?;
        let last = LastSign::read(&config.state_dir);
        let host = last.as_ref().map_or_else(random_id, |last| Ok(last.host.clone()))?;
        let mut report = LifeReport {
            result: Exit::Done.word(),
            dry_run: self.dry_run,
            due: last.as_ref().is_none_or(|last| last.is_due(&living.node.cluster, every, now)),
            key: document::key_of(&living.node, &host),
            before: last.as_ref().filter(|last| last.cluster == living.node.cluster).and_then(|last| last.at),
            left: Vec::new(),
            attention: Vec::new(),
        };
        if report.due && !self.dry_run {
            self.leave(living, host, every, &engine, &mut report).await?;
        }
        report.result = report.exit().word();
        Ok(report)
    }

    async fn leave(
        &self,
        living: Living,
        host: String,
        every: u32,
        engine: &Engine,
        report: &mut LifeReport,
    ) -> Result<()> {
        let Run { config, shutdown, now, .. } = self.run;
        let claim = shutdown.or_interrupted(label::read(engine)).await?;
        let sign = SignOfLife {
            version: SignOfLife::VERSION,
            host,
            cluster_id: living.node.cluster.clone(),
            node_id: living.node.node.clone(),
            site: site(config),
            claim_id: claim.map(|claim| claim.to_string()),
            address: living.address,
            at: now,
            every,
        };
        signing::require_trusted_signer(config, now)?;
        let packed = sign.seal(&signing::load_or_make(config)?.key)?;
        let before = LastSign::read(&config.state_dir).and_then(|last| last.signed);
        let mut last = LastSign {
            host: sign.host,
            cluster: sign.cluster_id,
            at: report.before,
            signed: before.into_iter().chain([now]).max(),
            vaults: Vec::new(),
        };
        // First: if this run ends before it is written again, this host knows its signs all the same.
        last.write(&config.state_dir)?;
        let connected = vaults::connect(config).await?;
        let puts = connected.iter().map(|vault| put(vault, &report.key, &packed, now));
        let answers = shutdown.or_interrupted(async { Ok(join_all(puts).await) }).await?;
        for (vault, answer) in connected.iter().zip(answers) {
            match answer {
                Ok(()) => report.left.push(vault.settings.url.clone()),
                Err(error) => report.attention.push(format!("{error:#}")),
            }
        }
        if report.left.is_empty() {
            return Err(none_took_it(&report.attention));
        }
        last.at = Some(now);
        last.vaults.clone_from(&report.left);
        last.write(&config.state_dir)
    }
}

/// A manager that works.
struct Living {
    node: SwarmNode,
    address: String,
}

fn configured(config: &Config) -> Result<u32> {
    let every = config.standby.sign_of_life.map(|every| every.count());
    Ok(every.ok_or_else(|| {
        Failure::usage("no sign of life is configured, so none is left")
            .advice("write into the configuration how often one is to be left: standby.sign_of_life = \"2m\"")
    })?)
}

/// Returns what this manager is. Asks only an engine whose unit is active: a call would start one that is stopped, as for
/// a backup. A manager that sees no leader, or that the others do not reach, is no life: services of its swarm cannot be
/// changed.
async fn require_alive(config: &Config, engine: &Engine) -> Result<Living> {
    let service = &config.engine.service;
    let unit = Systemd::connect().await?.state(service).await?;
    if !unit.is_active() {
        return Err(no_life(&format!("{service} is {}", unit.active)));
    }
    let facts = engine.facts().await?;
    if !facts.swarm.works() {
        return Err(no_life("this host's engine is no manager that sees a leader"));
    }
    let node = facts.swarm.swarm_node()?;
    let nodes = match engine.nodes().await {
        Ok(nodes) => nodes,
        Err(error) => return Err(no_life(&format!("its swarm does not answer: {error:#}"))),
    };
    let is_led = nodes.iter().any(|it| it.manager.as_ref().is_some_and(|manager| manager.leader));
    let own = nodes.into_iter().find(|it| it.id == node.node.as_str()).and_then(|it| it.manager);
    match own {
        Some(own) if is_led && own.reachable => Ok(Living { node, address: own.addr.unwrap_or_default() }),
        _ => Err(no_life("the swarm has no leader, or does not reach this manager")),
    }
}

fn no_life(why: &str) -> anyhow::Error {
    Failure::new(Exit::NotOurTurn, format!("no sign of life is left: {why}")).into()
}

async fn put(vault: &Connected, key: &str, packed: &[u8], now: Timestamp) -> Result<()> {
    let put = tokio::time::timeout(VAULT_LIMIT, replace(vault.vault.as_ref(), key, packed, now)).await;
    let put = put.map_err(|_| anyhow!("no answer within {} s", VAULT_LIMIT.as_secs()));
    put.and_then(|done| Ok(done?)).with_context(|| format!("{} did not take the sign of life", vault.settings.url))
}

fn none_took_it(why: &[String]) -> anyhow::Error {
    Failure::failed("no vault took the sign of life: another site may take this one for dead")
        .because(anyhow!(joined(why, "; ").to_string()))
        .advice("see whether the vaults can be reached with `swarmdr-agent doctor`")
        .advice("the credentials of managers must be allowed to put new versions below life/ (policy-backup.json, policy-bucket.json)")
        .into()
}

/// Makes an id that nobody else has.
fn random_id() -> Result<String> {
    Ok(HEXLOWER.encode(&random::bytes::<16>()?))
}

impl fmt::Display for LifeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.due, self.dry_run, self.before) {
            (false, _, Some(before)) => writeln!(f, "Not due: the last sign of life was left at {before:.0}.")?,
            (_, true, _) => writeln!(f, "A dry run: a sign of life is due, and none was left.")?,
            _ => writeln!(f, "A sign of life was left in {}.", joined(&self.left, ", "))?,
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        Ok(())
    }
}
