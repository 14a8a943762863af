//! The way back: this site gives up the newest epoch, so that another one may be promoted, or go on.
//!
//! The swarm here is left as it is: what runs there is stopped by whoever moves the traffic and the data. It goes
//! on until another site is promoted, which its claim no longer stops; sites from before that claim stay superseded.

mod dead;

use std::{collections::BTreeSet, fmt};

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::{ClusterId, untrusted::shown};

pub use self::dead::Dead;
use crate::{
    claims::{
        self, Claim, Query, Record, ReleaseKind, label, lacking,
        standing::{self, Here, Standing},
    },
    host::engine::Engine,
    keys::{Keyring, promoter::Promoter},
    outcome::{exit::Exit, failpoint, failure::Failure},
    restore::claim::origin,
    run::Run,
    vaults::{self, Connected},
};

/// A run of `step-down` and its context.
#[derive(Debug)]
pub struct StepDown<'a> {
    pub run: Run<'a>,
    pub keyring: Keyring,
    pub reason: Option<String>,
    /// A claim behind which nobody stands; `None` to give up that of this host.
    pub dead: Option<Dead>,
}

/// What is to be released, and where.
struct Target {
    kind: ReleaseKind,
    claim: Claim,
    /// Vaults that are not known to have the release.
    lacking: Vec<Connected>,
    /// Whether an earlier run released it, in some of the vaults.
    is_repeated: bool,
    findings: Vec<String>,
}

/// The stable JSON form of `step-down --json`.
#[derive(Debug, Serialize)]
pub struct StepDownReport {
    /// `released`, or `would-release`.
    pub result: &'static str,
    pub cluster_id: ClusterId,
    pub claim: Claim,
    /// Vaults that do not have the release. Exit 6.
    pub attention: Vec<String>,
    pub findings: Vec<String>,
}

impl StepDown<'_> {
    /// Releases the claim of this host's swarm, or the one that was named. Refuses (exit 4) if another site has the
    /// newest one, or nobody, or if somebody stands behind the one that was named.
    pub async fn run(&self, dry_run: bool) -> Result<StepDownReport> {
        let promoter = Promoter::find(self.run.config, &self.keyring.identities)?;
        let signer = promoter.signer.as_ref().ok_or_else(no_key)?;
        let connected = vaults::connect(self.run.config).await?;
        let target = async {
            match &self.dead {
                Some(dead) => self.dead_claim(&connected, &promoter, dead).await,
                None => self.own_claim(&connected, &promoter).await,
            }
        };
        let Target { kind, claim, lacking, is_repeated, findings } = self.run.shutdown.or_interrupted(target).await?;
        let cluster_id = claim.cluster_id.clone();
        let mut report = StepDownReport { result: "would-release", cluster_id, claim, attention: Vec::new(), findings };
        if dry_run {
            return Ok(report);
        }
        let reason = self.reason.as_deref().unwrap_or("step-down");
        let release = claims::release(&lacking, signer, &report.claim, kind, reason, self.run.now);
        report.attention = match self.run.shutdown.or_interrupted(release).await {
            Err(error) if is_repeated && !self.run.shutdown.is_requested() => vec![format!("{error:#}")],
            released => released?,
        };
        failpoint::reach("released");
        if kind == ReleaseKind::Undone {
            Record::forget(self.run.config, report.claim.claim_id);
        }
        report.result = "released";
        Ok(report)
    }

    /// Returns the claim of the swarm on this host.
    async fn own_claim(&self, connected: &[Connected], promoter: &Promoter) -> Result<Target> {
        let config = self.run.config;
        let engine = Engine::at(&config.engine.socket);
        let facts = engine.facts().await?;
        let cluster = facts.swarm.cluster_id.clone().filter(|_| facts.swarm.works()).ok_or_else(|| {
            Failure::refused("this host is no manager that works, so it has no swarm to give up")
                .advice("run it on a manager of the site that is to step down")
                .advice("for a claim behind which nobody stands: --claim EPOCH")
        })?;
        let (node, origin) = (facts.swarm.node_id.clone(), origin(&facts)?);
        let here = Here { cluster, node, label: label::read(&engine).await?, origin };
        let judged = standing::of_this_host(config, connected, promoter, &here, self.run.now).await;
        let (claim, kind) = (own(judged.standing)?, ReleaseKind::SteppedDown);
        let query = Query { first: &[claim.epoch], ..Query::new(&claim.cluster_id, &promoter.trusted, self.run.now) };
        let lacking = lacking(connected, &claims::read_all(connected, query).await, &claim, kind);
        let is_repeated = judged.has_stepped_down;
        if is_repeated && lacking.is_empty() {
            return Err(Failure::refused(format!("this site has given the swarm up already, epoch {}", claim.epoch))
                .advice("nothing is left to do here: another site may be promoted")
                .into());
        }
        Ok(Target { kind, claim, lacking, is_repeated, findings: judged.findings })
    }

    /// Returns the swarm of this host, or else the only one that has claims in the vaults.
    async fn cluster(&self, connected: &[Connected]) -> Result<ClusterId> {
        let facts = Engine::at(&self.run.config.engine.socket).facts().await;
        if let Some(own) = facts.ok().and_then(|facts| facts.swarm.cluster_id) {
            return Ok(own);
        }
        let mut all = BTreeSet::new();
        for connected in connected {
            all.extend(claims::clusters(connected.vault.as_ref()).await?);
        }
        match (all.pop_first(), all.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Failure::refused("there are no claims in the vaults, so there is nothing to end").into()),
            _ => {
                Err(Failure::usage("several swarms have claims in the vaults").advice("name one with --cluster").into())
            }
        }
    }
}

fn no_key() -> Failure {
    Failure::usage("this host has no key that signs claims, so it cannot give one up")
        .advice("name the promoter's key with standby.promoter_key, or the age identity with --identity FILE")
}

/// Returns this site's claim if it is the newest.
fn own(standing: Standing) -> Result<Claim> {
    let refused = match standing {
        Standing::Own { claim } => return Ok(claim),
        Standing::Superseded { claim, since, vault } => Failure::refused(format!(
            "this site does not have the swarm: {} claimed it at {since} with epoch {}, by {vault}",
            claim.site, claim.epoch
        ))
        .advice("run it on a manager of that site"),
        Standing::Unclaimed | Standing::NotJudged => {
            Failure::refused("no claim of this site holds, so there is nothing to give up")
                .advice("`swarmdr-agent list --claims` shows the claims")
        }
        Standing::Unknown => Failure::failed("no vault shows whose the swarm is")
            .advice("run it again when the vault that has the claim of this site answers"),
    };
    Err(refused.into())
}

impl StepDownReport {
    pub fn exit(&self) -> Exit {
        Exit::with_attention(!(self.attention.is_empty() && self.findings.is_empty()))
    }
}

impl fmt::Display for StepDownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (claim, cluster) = (&self.claim, shown(&self.cluster_id));
        match self.result {
            "released" => writeln!(f, "Site {} gave up swarm {cluster}, epoch {}.", shown(&claim.site), claim.epoch)?,
            _ => writeln!(f, "Site {} would give up swarm {cluster}, epoch {}.", shown(&claim.site), claim.epoch)?,
        }
        for line in self.attention.iter().chain(&self.findings) {
            writeln!(f, "! {}", shown(line))?;
        }
        writeln!(f, "Next:")?;
        for (what, why) in [
            ("stop writes, then `swarmdr-agent backup`", "before this command: the other site starts from that backup"),
            ("docker node update --availability drain NODE", "on each node here, so that nothing runs twice"),
            ("swarmdr-agent promote", "on the other site; see second-site.md for the way back"),
            ("systemctl stop swarmdr-life.timer docker", "on each manager here, once the other site serves"),
        ] {
            writeln!(f, "  {what:46} # {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        claims::testkit::claim,
        outcome::{failure::Rendered, terminal::tests::assert_tame},
    };

    #[test]
    fn only_the_newest_claim_is_given_up_and_only_by_its_own_site() {
        let of = || claim(2, 2, None);
        assert_eq!(own(Standing::Own { claim: of() }).expect("is its own"), of());
        let since = "2026-11-21T03:00:00Z".parse().expect("is a time");
        let superseded = Standing::Superseded { claim: of(), since, vault: "s3://vault".to_owned() };
        for (standing, exit) in [
            (superseded, Exit::Refused),
            (Standing::Unclaimed, Exit::Refused),
            (Standing::NotJudged, Exit::Refused),
            (Standing::Unknown, Exit::Failed),
        ] {
            assert_eq!(Rendered::of(&own(standing).expect_err("is not its own")).exit, exit);
        }
    }

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let told = || vec![text.to_owned()];
            let claim = Claim { site: text.to_owned(), ..claim(2, 2, None) };
            let cluster_id = claim.cluster_id.clone();
            StepDownReport { result: "released", cluster_id, claim, attention: told(), findings: told() }
        });
    }
}
