//! The export of a backup as files: stacks as stack files, the rest as scripts, and everything as specs of the Engine
//! API.
//!
//! What goes where is planned without touching the disk ([`stack`], [`alone`], [`engine`]), stack by stack, and written
//! ([`tree`]) before the next one is planned. Contents of configs and secrets go from the state to their files only.

mod alone;
mod command;
mod defaults;
mod engine;
mod index;
mod layout;
mod left_out;
mod names;
mod planned;
mod report;
mod rest;
mod script;
mod stack;
mod tree;
mod units;
mod yaml;

use anyhow::{Result, anyhow};
use serde::Serialize;
use serde_json::Value;
use swarm_state::{inventory::ObjectKind, specs::Item};

use self::{
    engine::Engine,
    index::Index,
    layout::{Layout, Stack},
    left_out::LeftOut,
    names::FileNames,
    planned::{Planned, ValueFile},
    report::{LeftOutReport, Numbers, StackReport},
    tree::Tree,
};
pub use self::{report::ExportReport, tree::Target};
use super::{image, selection::Selection};
use crate::{
    archive::{open_state::OpenState, scratch::note::Notes},
    host::shutdown::Shutdown,
};
use swarmdr_registry::ImageMap;

/// Number of secrets and configs whose contents are in memory at once. Each reading of them reads the whole state, and
/// how large one is, is known only afterwards; the engine takes at most 1,000 KiB of a config and 500 of a secret
/// (swarmkit `manager/controlapi`), so these are at most 125 MiB.
const BATCH: usize = 128;

/// In the first lines of files. The backup is named by the report only, so that exports of the same objects are the same.
const MADE_BY: &str = "Made by swarmdr-agent export.";

/// What is exported, and how.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Everything if it is empty.
    pub selection: Selection,
    pub format: Format,
    pub options: Options,
}

/// Form of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Stack files and scripts, and the specs too.
    #[default]
    Compose,
    /// Specs as the Engine API takes them, only.
    Engine,
}

/// What the parts of an export have in common.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether the values of secrets are written.
    pub with_secrets: bool,
    pub images: ImageMap,
}

impl Options {
    /// Returns the spec of an object, with the image under its other name.
    fn spec_of(&self, item: &Item) -> Value {
        let mut spec = item.spec.clone();
        image::rename(&mut spec, &self.images);
        spec
    }

    fn maps(&self, item: &Item) -> bool {
        let image = item.spec.pointer("/TaskTemplate/ContainerSpec/Image").and_then(Value::as_str);
        image.is_some_and(|image| self.images.apply(image).is_some())
    }
}

/// Exports what is meant of a state. The directory is complete when this returns, or is not there.
pub async fn run(
    state: &OpenState,
    request: &Request,
    target: Target,
    notes: &Notes,
    shutdown: &Shutdown,
) -> Result<ExportReport> {
    let index = Index::of(&state.items);
    let layout = Layout::of(&state.items, &request.selection, &index)?;
    let mut run = Run::begin(state, Tree::begin(target, notes)?, shutdown);
    let mut folders = FileNames::default();
    let mut stacks = Vec::new();
    for stack in &layout.stacks {
        shutdown.check()?;
        stacks.push(match request.format {
            Format::Compose => {
                let folder = folders.give(stack.name);
                let made = stack::plan(stack, &folder, &index, &request.options, MADE_BY);
                let report = StackReport {
                    version: Some(made.version),
                    left_out: made.planned.left_out.len() as u64,
                    folder: Some(folder.clone()),
                    ..reported(stack)
                };
                run.put(&folder, made.planned).await?;
                report
            }
            Format::Engine => reported(stack),
        });
    }
    if request.format == Format::Compose {
        run.put(alone::FOLDER, alone::plan(&layout.alone, &index, &request.options, MADE_BY)).await?;
    }
    let mut engine = Engine::default();
    for item in layout.all() {
        let planned = engine.plan(item, &index, &request.options, request.format == Format::Engine);
        run.put(engine::FOLDER, planned).await?;
    }
    run.put(engine::FOLDER, unknown(&layout)).await?;
    run.finish(request, stacks, &layout).await
}

/// Returns the account of objects that are not wholly known, of which nothing is exported.
fn unknown(layout: &Layout<'_>) -> Planned {
    let mut planned = Planned::default();
    for item in &layout.unknown {
        let mut left = LeftOut::of(item);
        let why = format!(
            "this version does not know {}: it was made by a newer engine, and nothing of it is exported",
            item.unknown_parts()
        );
        left.because("", Value::Null, why);
        planned.left(left);
    }
    if !planned.left_out.is_empty() {
        let introduction = "A newer version of swarmdr-agent may know them.";
        let text = left_out::document("Left out of the export", introduction, &planned.left_out);
        planned.text(&[engine::FOLDER, left_out::FILE], text);
    }
    planned
}

fn reported(stack: &Stack<'_>) -> StackReport {
    let all = stack.services.iter().map(|(_, item)| *item).chain(stack.objects.iter().copied());
    StackReport { name: stack.name.to_owned(), folder: None, version: None, numbers: Numbers::of(all), left_out: 0 }
}

/// Counts what belongs to no stack. The scripts do not have what a swarm makes by itself.
fn alone(layout: &Layout<'_>, format: Format) -> Numbers {
    let is_written = |item: &&Item| {
        format == Format::Engine || item.kind != ObjectKind::Network || !script::network::is_made_by_swarm(item)
    };
    Numbers::of(layout.alone.iter().copied().filter(is_written))
}

/// An export while it is written.
struct Run<'a> {
    state: &'a OpenState,
    tree: Tree,
    shutdown: &'a Shutdown,
    /// Files whose contents are not read yet.
    waiting: Vec<ValueFile>,
    left_out: Vec<LeftOutReport>,
}

impl<'a> Run<'a> {
    fn begin(state: &'a OpenState, tree: Tree, shutdown: &'a Shutdown) -> Self {
        Self { state, tree, shutdown, waiting: Vec::new(), left_out: Vec::new() }
    }

    /// Writes the planned files of a folder. Contents are collected until there are enough for one reading of the
    /// state.
    async fn put(&mut self, folder: &str, planned: Planned) -> Result<()> {
        for file in planned.texts {
            self.tree.write(&file.path, file.text.as_bytes(), file.is_script)?;
        }
        let file = format!("{folder}/{}", left_out::FILE);
        let reported = |left: LeftOut| LeftOutReport { file: file.clone(), object: left.object, fields: left.fields };
        self.left_out.extend(planned.left_out.into_iter().map(reported));
        self.waiting.extend(planned.values);
        while self.waiting.len() >= BATCH {
            let batch = self.waiting.drain(..BATCH).collect();
            self.write_values(batch).await?;
        }
        Ok(())
    }

    async fn write_values(&mut self, batch: Vec<ValueFile>) -> Result<()> {
        self.shutdown.check()?;
        let wanted: Vec<(ObjectKind, String)> = batch.iter().map(|file| (file.kind, file.id.clone())).collect();
        let values = self.state.values(wanted).await?;
        for file in batch {
            let gone = || anyhow!("{} {} is no longer in {}", file.kind, file.id, self.state.source);
            self.tree.write(&file.path, values.get(file.kind, &file.id).ok_or_else(gone)?, false)?;
        }
        Ok(())
    }

    async fn finish(
        mut self,
        request: &Request,
        stacks: Vec<StackReport>,
        layout: &Layout<'_>,
    ) -> Result<ExportReport> {
        let rest = std::mem::take(&mut self.waiting);
        if !rest.is_empty() {
            self.write_values(rest).await?;
        }
        self.shutdown.check()?;
        let (files, bytes) = (self.tree.files, self.tree.bytes);
        let mut report = ExportReport {
            result: "",
            source: self.state.source.clone(),
            created_at: self.state.created_at,
            to: self.tree.place()?,
            format: request.format,
            with_secrets: request.options.with_secrets,
            stacks,
            alone: alone(layout, request.format),
            files,
            bytes,
            images_mapped: layout.all().filter(|item| request.options.maps(item)).count() as u64,
            left_out: self.left_out,
            findings: self.state.findings.clone(),
        };
        report.result = report.exit().word();
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_nowhere_is_not_counted() {
        let network = |name: &str, ingress: bool| {
            let spec = json!({ "Name": name, "Driver": "overlay", "Ingress": ingress });
            Item::test(ObjectKind::Network, name, name, spec)
        };
        let (ingress, own) = (network("ingress", true), network("own", false));
        let numbers = |items: &[&'static str], format| {
            let of = |name: &&str| if *name == "own" { &own } else { &ingress };
            alone(&Layout { alone: items.iter().map(of).collect(), ..Layout::default() }, format).networks
        };
        assert_eq!(numbers(&["ingress"], Format::Compose), 0);
        assert_eq!(numbers(&["ingress", "own"], Format::Compose), 1);
        assert_eq!(numbers(&["ingress"], Format::Engine), 1);
    }
}
