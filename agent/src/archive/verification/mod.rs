//! Verification of stored backups.

mod report;
mod verdict;

use std::sync::Arc;

use anyhow::Result;
use swarmdr_archive::{ClusterId, TrustedKeys, stream_archive::StreamName};
use swarmdr_vault::{
    catalog::{Filter, Survey},
    renew, renew_points, renew_streams,
};

use super::{
    blame,
    fetched::Fetched,
    scratch::Scratch,
    source::{Choice, Found, Source},
};
use crate::{keys::Keyring, run::Run, vaults};
use report::Checked;
pub use report::Report;
use verdict::Verdict;

/// Verifies backups: fetches each one whole and checks it as far as the available keys allow.
#[derive(Debug)]
pub struct Verifier<'a> {
    pub run: Run<'a>,
    pub keyring: Keyring,
}

impl Verifier<'_> {
    /// Verifies the chosen backup.
    pub async fn one(&self, choice: &Choice) -> Result<Report> {
        let mut found = Source::find(self.run.config, choice, &self.keyring.trusted, self.run.now).await?;
        let findings = std::mem::take(&mut found.findings);
        Ok(Report { results: vec![self.check(&found).await?], findings, ..Report::default() })
    }

    /// Verifies every backup that the filter admits.
    pub async fn all(&self, filter: &Filter) -> Result<Report> {
        let mut survey = Survey::new(filter, &self.keyring.trusted, self.run.now);
        let mut results = Vec::new();
        for connected in vaults::connect(self.run.config).await? {
            let mut visit = survey.vault(connected.vault.as_ref()).await;
            while let Some(found) = visit.next().await {
                let source = Source::Vault { vault: Arc::clone(&connected.vault), at: found.at };
                let (head, stored) = (found.head, Some(found.stored));
                let found = Found { source, head, stored, findings: Vec::new(), point: None };
                results.push(self.check(&found).await?);
            }
        }
        let surveyed = survey.end();
        Ok(Report { results, findings: surveyed.findings, silent: surveyed.silent, renewed: Vec::new() })
    }

    /// Extends the lock of the newest good backup, of the newest stream of each name, and of the newest complete recovery
    /// point with what it names, so that the weekly run keeps them locked even if no new ones are made. A missing permission is reported when a lock needs to be extended.
    pub async fn renew(
        &self,
        cluster: Option<&ClusterId>,
        on_streams: &TrustedKeys,
        report: &mut Report,
    ) -> Result<()> {
        for connected in vaults::connect(self.run.config).await? {
            let (vault, keys) = (connected.vault.as_ref(), &self.keyring.trusted);
            report.add_renewed("backup", renew(vault, cluster, keys, self.run.now).await);
            let wanted = |name: &StreamName| self.run.config.renews(name);
            report.add_renewed("streams", renew_streams(vault, cluster, on_streams, self.run.now, wanted).await);
            let renewed = renew_points(vault, cluster, (keys, on_streams), self.run.now, wanted).await;
            report.add_renewed("recovery point", renewed);
        }
        Ok(())
    }

    async fn check(&self, found: &Found) -> Result<Checked> {
        let opens = self.keyring.may_open(&found.head.manifest);
        let unpacked = if opens { found.head.manifest.payload.tar_size } else { 0 };
        // Lack of space on this host says nothing about the backup.
        let scratch = Scratch::make(self.run.config, found.source.room(&found.head).saturating_add(unpacked))?;
        let (verdict, problem) = match self.check_archive(found, opens, scratch).await {
            Ok(checked) => checked,
            Err(error) => {
                self.run.shutdown.check()?;
                // The others are checked anyway, and this one is not known to be good.
                let doubt = if blame::is_of_host(&error) { "it could not be checked: " } else { "" };
                (Verdict::Bad, Some(format!("{doubt}{error:#}")))
            }
        };
        let head = &found.head;
        Ok(Checked {
            id: head.manifest.id.to_string(),
            source: found.source.to_string(),
            key_id: head.key_id.to_string(),
            good: verdict.is_good(),
            depth: verdict.depth(),
            verdict,
            problem,
        })
    }

    /// Checks one archive as far as the available keys allow. Returns the verdict and the problem, if there is one.
    async fn check_archive(&self, found: &Found, opens: bool, scratch: Scratch) -> Result<(Verdict, Option<String>)> {
        let fetched = Fetched::get(&self.run, found, scratch.path()).await?;
        if !opens {
            fetched.verify_stored(&self.keyring).await??;
            return Ok((Verdict::Stored, None));
        }
        Ok(Verdict::of(fetched.reprove(scratch, &self.keyring).await?))
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::reader;
    use swarmdr_vault::testkit::archives::{CLUSTER, archive, key};

    use super::*;
    use crate::{
        config::Config,
        host::shutdown::Shutdown,
        outcome::{failure::Rendered, progress::Progress},
    };

    #[tokio::test]
    async fn a_host_without_room_says_nothing_about_the_backup() {
        let (dir, key) = (tempfile::tempdir().expect("has room"), key());
        let (path, stored) = (dir.path().join("archive"), archive(CLUSTER, 0, &key));
        // What is stored is damaged, so a verdict would be that it is bad.
        std::fs::write(&path, "junk").expect("is written");
        let keyring = Keyring { trusted: key.public().into(), ..Keyring::without_archives(None) };
        let head =
            reader::read_head(&stored.bytes[..]).expect("has a head").verify(&keyring.trusted).expect("is signed");
        let mut found = Found { source: Source::File(path), head, stored: None, findings: Vec::new(), point: None };
        let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        let (shutdown, now) = (Shutdown::default(), "2026-11-21T12:00:00Z".parse().expect("is a time"));
        let run = Run { config: &config, shutdown: &shutdown, progress: Progress::hidden(), now };
        let verifier = Verifier { run, keyring };
        assert!(!verifier.check(&found).await.expect("is a verdict").good);
        found.head.manifest.payload.tar_size = u64::MAX / 2;
        let error = verifier.check(&found).await.expect_err("is of this host");
        assert!(Rendered::of(&error).what.contains("there is no place to unpack to"), "{error:#}");
    }
}
