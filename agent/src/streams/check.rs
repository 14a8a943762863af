//! Checks stored streams as a whole.

use std::{fmt, sync::Arc};

use anyhow::Result;
use serde::Serialize;
use swarmdr_archive::{Identities, TrustedKeys, stream_archive::StreamName, untrusted::shown};
use swarmdr_vault::catalog::{Filter, Survey};

use super::{
    get::{Chosen, get},
    output::Output,
};
use crate::{outcome::exit::Exit, run::Run, vaults};

/// The stable JSON form of `verify --streams --json`.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    pub results: Vec<Checked>,
    pub findings: Vec<String>,
}

/// One stream, and what is wrong with it.
#[derive(Debug, Serialize)]
pub struct Checked {
    pub vault: String,
    pub name: String,
    pub id: String,
    /// Whether it was opened, or only compared with its signed list of chunks because there is no identity.
    pub opened: bool,
    pub good: bool,
    pub why: Option<String>,
}

/// Fetches every stream that the filter admits and checks each byte: what is stored, and with an identity what it holds.
pub async fn check_all(
    run: &Run<'_>,
    name: Option<StreamName>,
    filter: &Filter,
    keys: &TrustedKeys,
    identities: Arc<Identities>,
) -> Result<CheckReport> {
    let mut survey = Survey::of_streams(name, filter, keys, run.now);
    let mut results = Vec::new();
    for connected in vaults::connect(run.config).await? {
        let mut chosen = Vec::new();
        let list = async {
            let mut visit = survey.vault(connected.vault.as_ref()).await;
            while let Some(found) = visit.next().await {
                chosen.push((found.at, found.head));
            }
            Ok(())
        };
        run.shutdown.or_interrupted(list).await?;
        for (at, head) in chosen {
            let (name, id) = (head.manifest.name.to_string(), head.manifest.id.to_string());
            let opened = !(head.manifest.is_encrypted() && identities.is_empty());
            let output = if opened { Output::nowhere() } else { Output::stored_only() };
            let chosen = Chosen { vault: Arc::clone(&connected.vault), at, head, findings: Vec::new() };
            let checked = get(run, chosen, Arc::clone(&identities), output).await;
            run.shutdown.check()?;
            let why = checked.err().map(|error| format!("{error:#}"));
            results.push(Checked { vault: connected.settings.url.clone(), name, id, opened, good: why.is_none(), why });
        }
    }
    Ok(CheckReport { results, findings: survey.end().findings })
}

impl CheckReport {
    /// 1 if a stream is not what was signed, 5 if there is none, 6 if the vaults hold what should be looked at.
    pub fn exit(&self) -> Exit {
        match (self.results.iter().all(|result| result.good), self.results.is_empty(), self.findings.is_empty()) {
            (false, ..) => Exit::Failed,
            (true, true, _) => Exit::NothingUsable,
            (true, false, false) => Exit::Attention,
            (true, false, true) => Exit::Done,
        }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Checked { vault, name, id, opened, why, .. } in &self.results {
            let state = match (why, opened) {
                (Some(why), _) => format!("BAD: {}", shown(why)),
                (None, true) => "good".to_owned(),
                (None, false) => "good as stored; not opened: no identity".to_owned(),
            };
            writeln!(f, "{} {id} in {}: {state}", shown(name), shown(vault))?;
        }
        for finding in &self.findings {
            writeln!(f, "  {}", shown(finding))?;
        }
        if self.results.is_empty() {
            writeln!(f, "there is no stream")?;
        }
        Ok(())
    }
}
