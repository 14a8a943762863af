//! How the data of a recovery point comes back: the commands, in order, once the state is there.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use swarmdr_archive::{
    TrustedKeys,
    point::{ExternalPart, ImagesPart, Point, Span, StreamPart},
    untrusted::shown,
};
use swarmdr_vault::{
    Vault,
    catalog::{self, CatalogError, Filter},
};
use tokio::time::Instant;

use super::note::reasons;
use crate::{
    config::{Config, stream::StreamConfig},
    outcome::{exit::Exit, program::PROGRAM, shell},
    run::Run,
    vaults::Shared,
};

/// Time that all looks for streams together may take: the state is to come back all the same.
const LIMIT: Duration = Duration::from_secs(60);

/// Number of streams that are looked for at a time.
const AT_ONCE: usize = 8;

/// What a person has to add where no command is known.
const COMMAND: &str = "COMMAND";

/// What was given on the command line, and is needed again with each command.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub trust: Vec<String>,
    pub identities: Vec<PathBuf>,
    /// The configuration that was named in the place of the installed one.
    pub config: Option<PathBuf>,
}

/// The stable JSON form of `point` in the report of `restore --point`.
#[derive(Debug, Clone, Serialize)]
pub struct Recovery {
    pub id: String,
    pub made_at: String,
    pub hostname: String,
    pub complete: bool,
    /// Why it is not complete.
    pub missing: Vec<String>,
    /// Time of its oldest part.
    pub from: Option<String>,
    /// Time of its newest part.
    pub to: Option<String>,
    pub seconds_apart: Option<u64>,
    /// What the last check of the services' images found before the point was made.
    pub images: Option<ImagesPart>,
    /// What brings the data back, in this order, after the state.
    pub steps: Vec<Step>,
    /// What has to be looked after. Exit 6.
    pub attention: Vec<String>,
    #[serde(skip)]
    pub(super) span: Option<Span>,
}

/// One thing to bring back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Step {
    Stream {
        name: String,
        id: String,
        as_of: String,
        /// The line for a shell.
        run: String,
        /// The command that wrote it; empty if it came from standard input, or if it was not found.
        written_by: Vec<String>,
        /// Whether the stream is in a vault that answers.
        found: bool,
    },
    /// A snapshot that another tool made, which that tool brings back.
    External { name: String, id: String, as_of: String, host: String },
}

impl Recovery {
    /// Looks for each stream of the point in the vaults, so that what is gone is known before it is needed; reads heads
    /// only. A vault that does not answer is told.
    pub async fn plan(
        run: &Run<'_>,
        vaults: &Shared,
        point: &Point,
        keys: &TrustedKeys,
        flags: &Flags,
    ) -> Result<Self> {
        Ok(Self::plan_in(&vaults.clients(run.config).await?, run, point, keys, flags).await)
    }

    pub(super) async fn plan_in(
        vaults: &[Arc<dyn Vault>],
        run: &Run<'_>,
        point: &Point,
        keys: &TrustedKeys,
        flags: &Flags,
    ) -> Self {
        let (mut steps, mut attention) = (Vec::new(), Vec::new());
        if !point.is_complete() {
            attention.push(format!("the recovery point {} is not complete: {}", point.id, reasons(point).join(", ")));
        }
        let until = Instant::now() + LIMIT;
        let looks = in_order(run.config, point).into_iter().map(async |part| {
            let look = tokio::time::timeout_at(until, look_for(vaults, run, point, part, keys));
            let late =
                |_| Err(format!("it is not known whether it is still there: no end within {} s", LIMIT.as_secs()));
            (part, look.await.unwrap_or_else(late))
        });
        let mut looks = std::pin::pin!(stream::iter(looks).buffered(AT_ONCE));
        while let Some((part, found)) = looks.next().await {
            attention.extend(found.as_ref().err().map(|why| format!("stream {} {}: {why}", part.name, part.id)));
            steps.push(Step::Stream {
                name: part.name.to_string(),
                id: part.id.to_string(),
                as_of: part.as_of.to_string(),
                run: line(run.config, point, part, flags),
                found: found.is_ok(),
                written_by: found.unwrap_or_default(),
            });
        }
        steps.extend(point.external.iter().map(|ExternalPart { name, id, as_of, host }| Step::External {
            name: name.to_string(),
            id: id.clone(),
            as_of: as_of.to_string(),
            host: host.clone(),
        }));
        let span = point.span();
        Self {
            id: point.id.to_string(),
            made_at: point.made_at.to_string(),
            hostname: point.hostname.clone(),
            complete: point.is_complete(),
            missing: reasons(point),
            from: span.map(|span| span.from.to_string()),
            to: span.map(|span| span.to.to_string()),
            seconds_apart: span.map(|span| span.seconds()),
            images: point.images,
            steps,
            attention,
            span,
        }
    }

    pub fn exit(&self) -> Exit {
        Exit::with_attention(!self.attention.is_empty())
    }
}

/// Returns the streams in the order of this host's configuration, and then those that it does not name.
fn in_order<'a>(config: &Config, point: &'a Point) -> Vec<&'a StreamPart> {
    let place = |part: &StreamPart| config.stream.iter().position(|it| it.name == part.name.as_str());
    let mut streams: Vec<&StreamPart> = point.streams.iter().collect();
    streams.sort_by_key(|part| (place(part).unwrap_or(usize::MAX), part.name.clone()));
    streams
}

/// Returns the command that wrote the stream, if it is in a vault and is the one that the point names; or else why not.
async fn look_for(
    vaults: &[Arc<dyn Vault>],
    run: &Run<'_>,
    point: &Point,
    part: &StreamPart,
    keys: &TrustedKeys,
) -> Result<Vec<String>, String> {
    let filter = Filter { id: Some(part.id), ..Filter::cluster(point.cluster_id.clone()) };
    match catalog::find_latest_stream(vaults, &part.name, &filter, keys, run.now).await {
        Ok(found) if found.head.manifest_digest == part.manifest_digest => Ok(found.head.manifest.command),
        Ok(_) => Err("the one in the vaults is not the one that the point names".to_owned()),
        Err(CatalogError::NothingGood { .. }) => Err("it is in no vault any more".to_owned()),
        Err(other) => Err(format!("it is not known whether it is still there: {other}")),
    }
}

/// Returns the line that hands the stream to its command.
fn line(config: &Config, point: &Point, part: &StreamPart, flags: &Flags) -> String {
    let (name, id) = (part.name.to_string(), part.id.to_string());
    let mut words = vec![PROGRAM.to_owned(), "get".to_owned(), name, id];
    if let Some(config) = &flags.config {
        words.extend(["--config".to_owned(), config.display().to_string()]);
    }
    words.extend(["--cluster".to_owned(), point.cluster_id.to_string()]);
    for key in &flags.trust {
        words.extend(["--trust".to_owned(), key.clone()]);
    }
    for identity in &flags.identities {
        words.extend(["--identity".to_owned(), identity.display().to_string()]);
    }
    let stream = config.stream_named(part.name.as_str());
    if let Some(service) = stream.and_then(StreamConfig::service_to_restore) {
        words.extend(["--service".to_owned(), service.to_owned()]);
    }
    words.push("--".to_owned());
    match stream.map(|stream| &stream.restore).filter(|restore| !restore.is_empty()) {
        Some(restore) => words.extend(restore.iter().cloned()),
        None => words.push(COMMAND.to_owned()),
    }
    shell::line(&words)
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Recovery point {}, made on {}:", self.id, shown(&self.hostname))?;
        if let Some(span) = &self.span {
            writeln!(f, "  its parts are {span}; only the application knows whether they fit each other")?;
        }
        if let Some(ImagesPart { checked_at, images, missing, unknown }) = self.images {
            writeln!(f, "  images as of {checked_at}: {images} needed, {missing} missing, {unknown} unknown")?;
        }
        for attention in &self.attention {
            writeln!(f, "! {}", shown(attention))?;
        }
        if !self.steps.is_empty() {
            writeln!(f, "  once the state is back, in this order:")?;
        }
        self.steps.iter().try_for_each(|step| step.fmt(f))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream { name, as_of, run, written_by, .. } => {
                writeln!(f, "  {}", shown(run))?;
                write!(f, "    # {name} as of {as_of}")?;
                match written_by.is_empty() {
                    true => writeln!(f),
                    false => writeln!(f, ", written by: {}", shown(shell::line(written_by))),
                }
            }
            Self::External { name, id, as_of, host } => {
                writeln!(f, "  # {name} as of {as_of}: the snapshot {} of its tool on {}", shown(id), shown(host))
            }
        }
    }
}

/// A report, and what brings the data back if a recovery point was restored.
#[derive(Debug, Serialize)]
pub struct WithRecovery<'a, T> {
    #[serde(flatten)]
    pub report: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub point: Option<&'a Recovery>,
}

impl<T: fmt::Display> fmt::Display for WithRecovery<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.report.to_string();
        write!(f, "{}", text.trim_end_matches('\n'))?;
        match self.point {
            None => writeln!(f),
            Some(point) => write!(f, "\n{point}"),
        }
    }
}
