//! Whether another site has the swarm, as the status shows it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::ClusterId;

use super::{Level, living};
use crate::{
    claims::{
        Judged, Memory, label, left,
        standing::{self, Here},
    },
    config::Config,
    host::{engine::Engine, lock::HostLock},
    keys::promoter::Promoter,
    restore::claim::origin,
    vaults::Connected,
};

/// Time limit of the question which claim the swarm carries: monitors do not wait longer.
const LIMIT: Duration = Duration::from_secs(20);

/// The claims on the swarm of this host.
#[derive(Debug, Clone, Serialize)]
pub struct Claimed {
    #[serde(flatten)]
    pub judged: Judged,
    /// Whether the operator named promoters.
    #[serde(skip)]
    pub is_configured: bool,
}

/// Judges the claims on the swarm that this host manages; `None` if it manages none that is known, or if it knows no
/// promoter.
pub async fn look(
    config: &Config,
    vaults: &[Connected],
    cluster: Option<&ClusterId>,
    now: Timestamp,
) -> anyhow::Result<Option<Claimed>> {
    let promoter = Promoter::for_watching(config)?;
    if promoter.trusted.is_empty() {
        return Ok(None);
    }
    let Some(here) = carried(config, cluster).await else { return Ok(None) };
    let judged = standing::of_this_host(config, vaults, &promoter, &here, now).await;
    Ok(Some(Claimed { judged, is_configured: promoter.is_configured }))
}

/// Describes the claim that an earlier run of this host left before it had placed anything, unless a run is under way that
/// may have made it.
pub async fn left_here(config: &Config, vaults: &[Connected], now: Timestamp) -> anyhow::Result<Option<String>> {
    let Some(record) = left::find(config).filter(|_| !HostLock::is_held(&HostLock::default_path())) else {
        return Ok(None);
    };
    Ok(left::describe(vaults, &Promoter::for_watching(config)?, &record, now).await)
}

/// Returns the swarm of this host and the claim that it carries: from the engine if it can be asked, else as the last
/// backup run saw it.
async fn carried(config: &Config, cluster: Option<&ClusterId>) -> Option<Here> {
    let ask = async {
        living::require_active(&config.engine).await?;
        let engine = Engine::at(&config.engine.socket);
        let facts = engine.facts().await?;
        let (origin, swarm) = (origin(&facts)?, facts.swarm);
        let cluster = swarm.cluster_id.clone().filter(|_| swarm.is_manager && swarm.works());
        let cluster = cluster.ok_or_else(|| anyhow::anyhow!("this host manages no swarm that works"))?;
        anyhow::Ok(Here { cluster, node: swarm.node_id.clone(), label: label::read(&engine).await?, origin })
    };
    let asked = tokio::time::timeout(LIMIT, ask).await.ok().and_then(Result::ok);
    let remembered = || Memory::read(config, cluster).map(Here::from);
    asked.or_else(remembered).filter(|here| cluster.is_none_or(|cluster| *cluster == here.cluster))
}

impl Claimed {
    /// Says what is wrong: nothing is worse than to work on where another site does.
    pub(super) fn judge(&self, say: &mut impl FnMut(Level, String)) {
        if let Some(superseded) = self.judged.superseded() {
            say(Level::Critical, format!("this swarm was taken over, and what it does now is lost: {superseded}"));
        }
        for finding in &self.judged.findings {
            say(Level::Warning, finding.clone());
        }
        // Who named promoters relies on being told when another site takes the swarm over.
        for why in self.judged.unread.iter().filter(|_| self.is_configured) {
            say(Level::Warning, format!("whether another site has this swarm is not known: {why}"));
        }
    }
}
