//! `verify`

use std::{
    fmt,
    fs::File,
    io::{BufReader, Seek},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use swarmdr_archive::{
    Identities, TrustedKeys,
    reader::{self, Head},
};

use super::Context;
use crate::{
    cli::VerifyArgs,
    exit::Exit,
    proof,
    source::{Choice, Source, scratch_dir},
    vault::{
        Vault,
        catalog::{Entry, Filter, Verdict, Walk},
    },
    vaults,
};

/// Every backup that was chosen is fetched whole and checked; one that fails makes this exit 1, a
/// forged or damaged object beside good ones exit 6.
pub async fn run(context: &Context, args: &VerifyArgs) -> Result<Exit> {
    let verifier = Verifier {
        context,
        keys: context.trusted(&args.trust)?,
        identities: Arc::new(context.identities(&args.trust)?),
    };
    let one = args.choice.file.is_some() || args.choice.latest || args.choice.id.is_some();
    let report = if one {
        verifier.one(&Choice::of(&args.choice)).await?
    } else {
        verifier.all(args.choice.cluster.clone()).await?
    };
    context.output.print(&report)?;
    Ok(report.exit())
}

struct Verifier<'a> {
    context: &'a Context,
    keys: TrustedKeys,
    identities: Arc<Identities>,
}

impl Verifier<'_> {
    async fn one(&self, choice: &Choice) -> Result<Report> {
        let found = Source::find(&self.context.loaded.config, choice, &self.keys).await?;
        let result = self.check(&found.source, &found.head).await?;
        Ok(Report { results: vec![result], findings: found.findings })
    }

    async fn all(&self, cluster: Option<String>) -> Result<Report> {
        let mut report = Report::default();
        for connected in vaults::connect(&self.context.loaded.config).await? {
            let filter = Filter { cluster: cluster.clone(), ..Filter::default() };
            let mut walk = Walk::new(connected.vault.as_ref(), filter, &self.keys);
            loop {
                match walk.next().await {
                    Ok(Some(entry)) => self.check_entry(&connected.vault, entry, &mut report).await?,
                    Ok(None) => break,
                    Err(error) => {
                        report.findings.push(error.to_string());
                        break;
                    }
                }
            }
        }
        Ok(report)
    }

    async fn check_entry(&self, vault: &Arc<dyn Vault>, entry: Entry, report: &mut Report) -> Result<()> {
        match &entry.verdict {
            Verdict::Good(head) => {
                let source = Source::Vault { vault: Arc::clone(vault), at: entry.at.clone() };
                report.results.push(self.check(&source, head).await?);
            }
            _ => report.findings.push(format!("{}: {entry}", vault.address())),
        }
        Ok(())
    }

    async fn check(&self, source: &Source, head: &Head) -> Result<Checked> {
        let scratch = scratch_dir();
        let fetch = source.fetch(head.archive_size, &scratch, self.context.progress);
        let archive = self.context.shutdown.or_interrupted(fetch).await;
        let outcome = match archive {
            Ok(archive) => self.check_archive(archive, head, scratch).await,
            Err(error) => {
                self.context.shutdown.check()?;
                Err(error)
            }
        };
        let manifest = &head.manifest;
        let (good, depth, problem) = match outcome {
            Ok(depth) => (true, depth, None),
            Err(error) => (false, "", Some(format!("{error:#}"))),
        };
        Ok(Checked {
            id: manifest.id.to_string(),
            source: source.to_string(),
            key_id: head.key_id.to_string(),
            good,
            depth,
            problem,
        })
    }

    /// Answers with how far the check went.
    async fn check_archive(&self, mut archive: File, head: &Head, scratch: std::path::PathBuf) -> Result<&'static str> {
        let (keys, identities) = (self.keys.clone(), Arc::clone(&self.identities));
        let opens = !head.manifest.is_encrypted() || !identities.is_empty();
        let check = tokio::task::spawn_blocking(move || -> Result<&'static str> {
            archive.rewind()?;
            if opens {
                return full(archive, &keys, &identities, &scratch);
            }
            reader::verify_stored(BufReader::new(archive), &keys)?;
            Ok("signature and stored bytes; not opened, since no identity was given")
        });
        check.await.context("the check ended unexpectedly")?
    }
}

/// Unpacks into scratch space and proves the state there as the backup did.
fn full(archive: File, keys: &TrustedKeys, identities: &Identities, scratch: &Path) -> Result<&'static str> {
    let dir = tempfile::tempdir_in(scratch).context("failed to make a scratch directory")?;
    proof::reprove(BufReader::new(archive), keys, identities, dir.path())
}

/// The stable JSON form of `verify --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    results: Vec<Checked>,
    findings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Checked {
    id: String,
    source: String,
    key_id: String,
    good: bool,
    /// How far the check went; empty if it failed.
    depth: &'static str,
    problem: Option<String>,
}

impl Report {
    fn exit(&self) -> Exit {
        if self.results.is_empty() {
            Exit::NothingUsable
        } else if self.results.iter().any(|result| !result.good) {
            Exit::Failed
        } else if self.findings.is_empty() {
            Exit::Done
        } else {
            Exit::Attention
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            match &result.problem {
                None => writeln!(
                    f,
                    "good  {}  {}  signed by {}: {}",
                    result.id, result.source, result.key_id, result.depth
                )?,
                Some(problem) => writeln!(f, "BAD   {}  {}: {problem}", result.id, result.source)?,
            }
        }
        if self.results.is_empty() {
            writeln!(f, "No backup to verify.")?;
        }
        for finding in &self.findings {
            writeln!(f, "! {finding}")?;
        }
        Ok(())
    }
}
