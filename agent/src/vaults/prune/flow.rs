//! Prunes all vaults that are configured, one after the other.

use anyhow::Result;
use swarmdr_archive::{ClusterId, TrustedKeys};

use super::{LifePlan, PruneReport, VaultPlan, lifecycle, list, plan};
use crate::{
    config::retention::Policy,
    keys::signing,
    run::Run,
    vaults::{self, Connected},
};

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    pub policy: Policy,
    /// Only backups of this cluster; all clusters if `None`.
    pub cluster: Option<ClusterId>,
    /// Makes the plan and removes nothing.
    pub dry_run: bool,
    /// Deletes versions in buckets too.
    pub delete_versions: bool,
}

/// Prunes every vault. One that cannot be listed or pruned is reported, and the others are pruned anyway.
pub async fn run(run: &Run<'_>, request: &Request) -> Result<PruneReport> {
    let keys = signing::trusted_for_watching(run.config)?;
    let mut report = PruneReport {
        result: "",
        dry_run: request.dry_run,
        policy: request.policy,
        plans: Vec::new(),
        signs_of_life: Vec::new(),
        removed: 0,
        attention: Vec::new(),
    };
    for connected in vaults::connect(run.config).await? {
        if let Err(error) = one(run, request, &connected, &keys, &mut report).await {
            run.shutdown.check()?;
            report.attention.push(format!("{error:#}"));
        }
    }
    report.result = report.exit().word();
    Ok(report)
}

async fn one(
    run: &Run<'_>,
    request: &Request,
    connected: &Connected,
    keys: &TrustedKeys,
    report: &mut PruneReport,
) -> Result<()> {
    let lifecycle = lifecycle::rule(&connected.settings, &request.policy);
    let acts = lifecycle.is_none() || request.delete_versions;
    for (cluster, held) in list(connected, request.cluster.as_ref(), keys, run.shutdown, run.now).await? {
        let backups = plan(&held, &request.policy, run.now);
        let vault = connected.settings.url.clone();
        let plan = VaultPlan { vault, cluster, backups, lifecycle: lifecycle.clone(), acts };
        let carried_out = if request.dry_run { Ok(0) } else { plan.carry_out(connected, run.shutdown).await };
        report.plans.push(plan);
        report.removed += carried_out?;
    }
    let shows_only = request.dry_run || !acts;
    let mut signs = LifePlan::make(connected, request.cluster.as_ref(), !shows_only, run.now).await?;
    let carried_out = signs.carry_out(connected.vault.as_ref(), run.shutdown).await;
    report.signs_of_life.push(signs);
    carried_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, TrustedKey},
        host::shutdown::Shutdown,
        outcome::{exit::Exit, progress::Progress},
    };
    use swarmdr_http::Proxies;
    use swarmdr_vault::{
        VaultSettings,
        testkit::archives::{CLUSTER, archive, key, minute, put},
    };

    #[tokio::test]
    async fn a_vault_that_cannot_be_listed_is_reported_and_the_next_one_is_pruned() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let url = format!("file://{}", dir.path().display());
        let key = key();
        let config = Config {
            trusted_keys: vec![TrustedKey::Always(key.public().to_string())],
            vault: vec![VaultSettings::new(format!("{url}/missing")), VaultSettings::new(url)],
            ..Config::default()
        };
        let target = config.vault[1].target().expect("is valid");
        let vault = target.connect(&Proxies::none()).await.expect("connects");
        for at in [0, 10] {
            put(vault.as_ref(), &archive(CLUSTER, at, &key)).await;
        }
        let shutdown = Shutdown::default();
        let context = Run { config: &config, shutdown: &shutdown, progress: Progress::hidden(), now: minute(60) };
        let policy = Policy { keep_last: 1, ..Policy::default() };
        let request = |dry_run| Request { policy, cluster: None, dry_run, delete_versions: false };
        for (dry_run, removed) in [(true, 0), (false, 1)] {
            let report = run(&context, &request(dry_run)).await.expect("goes through all");
            assert_eq!((report.removed, report.plans.len(), report.exit()), (removed, 1, Exit::Attention));
            assert!(report.attention[0].contains("missing"), "{:?}", report.attention);
        }
    }
}
