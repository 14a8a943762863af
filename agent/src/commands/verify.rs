//! `verify`

use std::{
    fmt,
    fs::File,
    io::{BufReader, Seek},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;
use swarmdr_archive::{
    Identities, TrustedKeys,
    reader::{self, Head},
};

use super::{Context, drill};
use crate::{
    cli::VerifyArgs,
    exit::Exit,
    history::Proved,
    inspection::plain,
    proof::{self, Reproved},
    scratch::Scratch,
    source::{Choice, Source, admitted},
    swarm::UnlockKey,
    vault::{
        Renewed,
        catalog::{Filter, Survey},
        renew,
    },
    vaults,
    watch::{Ended, Watch},
};

/// Every backup that was chosen is fetched whole and checked; one that fails makes this exit 1; one that was stored
/// unproven, a wrong unlock key, or a forged or damaged object beside good ones exit 6.
pub async fn run(context: &Context, args: &VerifyArgs) -> Result<Exit> {
    if args.boot {
        return drill::all(context, args).await;
    }
    let watch = Watch::over(&context.loaded.config, "verify")?;
    let ended = match verify(context, args).await {
        Ok(report) => {
            context.output.print(&report)?;
            Ended { proved: report.proved(context.now), ..Ended::with(report.exit()) }
        }
        Err(error) => Ended::failed(error),
    };
    // A file says nothing of the vaults.
    if args.choice.file.is_none() {
        watch.end(&ended).await;
    }
    ended.into_exit()
}

async fn verify(context: &Context, args: &VerifyArgs) -> Result<Report> {
    let verifier = Verifier {
        context,
        keys: context.trusted(&args.trust)?,
        identities: Arc::new(context.identities(&args.trust)?),
        unlock_key: args.unlock.read(&context.loaded.config)?,
    };
    let one = args.choice.file.is_some() || args.choice.latest || args.choice.id.is_some();
    let mut report = if one {
        verifier.one(&Choice::of(&args.choice, context.now)).await?
    } else {
        verifier.all(&admitted(&args.choice.among, context.now)).await?
    };
    if args.choice.file.is_none() {
        verifier.renew(args.choice.among.cluster.as_deref(), &mut report).await?;
    }
    Ok(report)
}

struct Verifier<'a> {
    context: &'a Context,
    keys: TrustedKeys,
    identities: Arc<Identities>,
    unlock_key: Option<UnlockKey>,
}

impl Verifier<'_> {
    async fn one(&self, choice: &Choice) -> Result<Report> {
        let found = Source::find(&self.context.loaded.config, choice, &self.keys, self.context.now).await?;
        let result = self.check(&found.source, &found.head).await?;
        Ok(Report { results: vec![result], findings: found.findings, ..Report::default() })
    }

    async fn all(&self, filter: &Filter) -> Result<Report> {
        let mut survey = Survey::new(filter, &self.keys, self.context.now);
        let mut results = Vec::new();
        for connected in vaults::connect(&self.context.loaded.config).await? {
            let mut visit = survey.vault(connected.vault.as_ref()).await;
            while let Some(found) = visit.next().await {
                let source = Source::Vault { vault: Arc::clone(&connected.vault), at: found.at };
                results.push(self.check(&source, &found.head).await?);
            }
        }
        let surveyed = survey.end();
        Ok(Report { results, findings: surveyed.findings, silent: surveyed.silent, renewed: Vec::new() })
    }

    /// The weekly look keeps the last backup locked, also when nobody makes new ones. Who may only read is told when a
    /// lock needs it.
    async fn renew(&self, cluster: Option<&str>, report: &mut Report) -> Result<()> {
        for connected in vaults::connect(&self.context.loaded.config).await? {
            match renew(connected.vault.as_ref(), cluster, &self.keys, self.context.now).await {
                Ok(renewed) => report.renewed.extend(renewed),
                // That it does not answer was told above.
                Err(error) if error.is_transient() => {}
                Err(error) => report.findings.push(format!("the lock of the newest backup was not renewed: {error}")),
            }
        }
        Ok(())
    }

    async fn check(&self, source: &Source, head: &Head) -> Result<Checked> {
        let unpacked = if self.opens(head) { head.manifest.payload.tar_size } else { 0 };
        let scratch = Scratch::make(&self.context.loaded.config, source.room(head).saturating_add(unpacked))?;
        let fetch = source.fetch(head.archive_size, scratch.path(), self.context.progress);
        let archive = self.context.shutdown.or_interrupted(fetch).await;
        let outcome = match archive {
            Ok(archive) => self.check_archive(archive, head, scratch).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            self.context.shutdown.check()?;
        }
        let (verdict, problem) = outcome.unwrap_or_else(|error| (Verdict::Bad, Some(format!("{error:#}"))));
        Ok(Checked {
            id: head.manifest.id.to_string(),
            source: source.to_string(),
            key_id: head.key_id.to_string(),
            good: verdict.is_good(),
            depth: verdict.depth(),
            verdict,
            problem,
        })
    }

    fn opens(&self, head: &Head) -> bool {
        !head.manifest.is_encrypted() || !self.identities.is_empty()
    }

    /// Answers with how far the check went, and with what it met.
    async fn check_archive(
        &self,
        mut archive: File,
        head: &Head,
        scratch: Scratch,
    ) -> Result<(Verdict, Option<String>)> {
        let (keys, identities) = (self.keys.clone(), Arc::clone(&self.identities));
        let (unlock_key, shutdown) = (self.unlock_key.clone(), self.context.shutdown.clone());
        let opens = self.opens(head);
        let check = tokio::task::spawn_blocking(move || -> Result<(Verdict, Option<String>)> {
            archive.rewind()?;
            let archive = BufReader::new(archive);
            if !opens {
                reader::verify_stored(archive, &keys)?;
                return Ok((Verdict::Stored, None));
            }
            let state = scratch.state()?;
            let reproved = proof::reprove(archive, &keys, &identities, &state, unlock_key.as_ref(), &shutdown)?;
            Ok(Verdict::of(reproved))
        });
        check.await.context("the check ended unexpectedly")?
    }
}

/// The stable JSON form of `verify --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    results: Vec<Checked>,
    findings: Vec<String>,
    /// Vaults that could not be searched, and may hold more.
    silent: Vec<String>,
    /// Locks of the newest good backups that hold for longer now.
    renewed: Vec<Renewed>,
}

#[derive(Debug, Serialize)]
struct Checked {
    id: String,
    source: String,
    key_id: String,
    /// It is what it says it is, and nothing that was looked at forbids a restore.
    good: bool,
    verdict: Verdict,
    /// How far the check went; empty if it failed.
    depth: &'static str,
    problem: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Proven,
    /// Encrypted, and not opened.
    Stored,
    Sealed,
    WrongUnlockKey,
    /// As its manifest says.
    Unproven,
    Bad,
}

impl Verdict {
    fn of(reproved: Reproved) -> (Self, Option<String>) {
        match reproved {
            Reproved::Proven => (Self::Proven, None),
            Reproved::Sealed => (Self::Sealed, None),
            Reproved::WrongUnlockKey(why) => (Self::WrongUnlockKey, Some(why)),
            Reproved::Unproven(why) => (Self::Unproven, Some(format!("the raft log breaks: {why}"))),
        }
    }

    fn is_good(self) -> bool {
        !matches!(self, Self::Unproven | Self::Bad)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Proven | Self::Stored => "good",
            Self::Sealed | Self::WrongUnlockKey => "sealed",
            Self::Unproven => "UNPROVEN",
            Self::Bad => "BAD",
        }
    }

    fn depth(self) -> &'static str {
        match self {
            Self::Proven => "every file; raft log replayed, and it holds what was recorded",
            Self::Stored => "signature and stored bytes; not opened, since no identity was given",
            Self::Sealed => "every file; autolocked, so the raft log was checked but not opened: give --unlock-key",
            Self::WrongUnlockKey => "every file; autolocked, so the raft log was checked but not opened",
            Self::Unproven => "every file, as they were stored",
            Self::Bad => "",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Proven | Self::Stored | Self::Sealed => Exit::Done,
            Self::WrongUnlockKey | Self::Unproven => Exit::Attention,
            Self::Bad => Exit::Failed,
        }
    }
}

impl Report {
    /// What this host remembers of it; nothing if there was nothing to read back.
    fn proved(&self, at: Timestamp) -> Option<Proved> {
        let newest = self.results.iter().map(|result| result.id.clone()).max();
        let good = self.results.iter().all(|result| result.verdict != Verdict::Bad);
        newest.map(|newest| Proved { at, good, checked: self.results.len() as u64, newest: Some(newest) })
    }

    fn exit(&self) -> Exit {
        let has = |exit| self.results.iter().any(|result| result.verdict.exit() == exit);
        if self.results.is_empty() {
            Exit::NothingUsable
        } else if has(Exit::Failed) {
            Exit::Failed
        } else if has(Exit::Attention) || !self.findings.is_empty() {
            Exit::Attention
        } else {
            Exit::Done
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            let Checked { id, source, key_id, verdict, depth, problem, .. } = result;
            write!(f, "{:<8}  {}  {}", verdict.word(), plain(id), plain(source))?;
            if *verdict != Verdict::Bad {
                write!(f, "  signed by {}: {}", plain(key_id), plain(depth))?;
            }
            match problem {
                Some(problem) => writeln!(f, ": {}", plain(problem))?,
                None => writeln!(f)?,
            }
        }
        match (self.results.is_empty(), self.silent.is_empty()) {
            (true, true) => writeln!(f, "No backup to verify.")?,
            (true, false) => writeln!(f, "Not known: {} could not be searched.", plain(&self.silent.join(", ")))?,
            (false, _) => {}
        }
        for renewed in &self.renewed {
            writeln!(f, "  {}", plain(&renewed.to_string()))?;
        }
        for finding in &self.findings {
            writeln!(f, "! {}", plain(finding))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::tests::assert_tame;

    #[test]
    fn texts_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| {
            let own = || text.to_owned();
            let checked = |verdict| Checked {
                id: own(),
                source: own(),
                key_id: own(),
                good: false,
                verdict,
                depth: "read",
                problem: Some(own()),
            };
            let results = vec![checked(Verdict::Bad), checked(Verdict::Proven)];
            Report { results, findings: vec![own()], renewed: Vec::new(), silent: vec![own()] }
        });
    }
}
