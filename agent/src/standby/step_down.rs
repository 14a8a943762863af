//! The way back: this site gives up the newest epoch, so that another one may be promoted, or go on.
//!
//! The swarm here is left as it is: what runs there is stopped by whoever moves the traffic and the data. From then on its
//! backups are refused if another site has a claim, and another site's promotion is not stopped by this one's claim.

use std::fmt;

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::{ClusterId, untrusted::shown};

use crate::{
    claims::{
        self, Claim, label,
        standing::{self, Standing},
    },
    host::engine::Engine,
    keys::{Keyring, promoter::Promoter},
    outcome::{exit::Exit, failpoint, failure::Failure},
    run::Run,
    vaults,
};

/// A run of `step-down` and its context.
#[derive(Debug)]
pub struct StepDown<'a> {
    pub run: Run<'a>,
    pub keyring: Keyring,
    pub reason: Option<String>,
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
    /// Releases the claim of this host's swarm. Refuses (exit 4) if another site has the newest one, or nobody.
    pub async fn run(&self, dry_run: bool) -> Result<StepDownReport> {
        let config = self.run.config;
        let engine = Engine::at(&config.engine.socket);
        let facts = self.run.shutdown.or_interrupted(engine.facts()).await?;
        let cluster_id = facts.swarm.cluster_id.clone().filter(|_| facts.swarm.works()).ok_or_else(|| {
            Failure::refused("this host is no manager that works, so it has no swarm to give up")
                .advice("run it on a manager of the site that is to step down")
        })?;
        let promoter = Promoter::find(config, &self.keyring.identities)?;
        let signer = promoter.signer.as_ref().ok_or_else(no_key)?;
        let connected = vaults::connect(config).await?;
        let label = label::read(&engine).await?;
        let judge =
            async { Ok(standing::of_this_host(config, &connected, &promoter, &cluster_id, label, self.run.now).await) };
        let judged = self.run.shutdown.or_interrupted(judge).await?;
        let claim = own(judged.standing)?;
        let mut report = StepDownReport {
            result: "would-release",
            cluster_id,
            claim,
            attention: Vec::new(),
            findings: judged.findings,
        };
        if dry_run {
            return Ok(report);
        }
        let reason = self.reason.as_deref().unwrap_or("step-down");
        let release = claims::release(&connected, signer, &report.claim, reason, self.run.now);
        report.attention = self.run.shutdown.or_interrupted(release).await?;
        failpoint::reach("released");
        report.result = "released";
        Ok(report)
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
        Standing::Unknown => Failure::failed("no vault could be read, so whose the swarm is is not known")
            .advice("run it again when a vault answers"),
    };
    Err(refused.into())
}

impl StepDownReport {
    pub fn exit(&self) -> Exit {
        if self.attention.is_empty() && self.findings.is_empty() { Exit::Done } else { Exit::Attention }
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
