//! The report of `images mirror` and `images push`.

use std::fmt;

use serde::Serialize;
use swarmdr_archive::untrusted::shown;
use swarmdr_registry::{Copied, Destination, Digest, RegistryError, Rule};

use crate::{
    host::files::space::human_bytes,
    outcome::{count::count, exit::Exit, shell},
};

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Outcome {
    Copied,
    /// A whole copy was there already.
    There,
    /// Its name leads into the mirror.
    Mirrored,
    /// The source has no such image, or gives it to nobody with this login.
    Missing {
        why: String,
    },
    Failed {
        why: String,
    },
}

/// One image.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub image: String,
    /// Its name at the destination.
    pub to: Option<String>,
    pub digest: Option<Digest>,
    pub services: Vec<String>,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Number of blobs that were sent, and their bytes.
    pub blobs: u64,
    pub bytes: u64,
}

impl Row {
    pub fn new(image: String, services: Vec<String>) -> Self {
        let outcome = Outcome::Failed { why: "it was not looked at".to_owned() };
        Self { image, to: None, digest: None, services, outcome, blobs: 0, bytes: 0 }
    }

    pub fn take(&mut self, copied: Copied) {
        self.outcome = if copied.was_there { Outcome::There } else { Outcome::Copied };
        (self.blobs, self.bytes) = (copied.blobs, copied.bytes);
    }

    /// Notes an error. `source` is the place that it is copied from.
    pub fn fail(&mut self, error: anyhow::Error, source: &str) {
        let cause: Option<&RegistryError> = error.downcast_ref();
        let is_missing = cause.is_some_and(|it| it.is_missing() && it.place == source);
        let why = format!("{error:#}");
        self.outcome = if is_missing { Outcome::Missing { why } } else { Outcome::Failed { why } };
    }

    pub fn is_copied(&self) -> bool {
        matches!(self.outcome, Outcome::Copied | Outcome::There)
    }
}

/// The stable JSON form.
#[derive(Debug, Serialize)]
pub struct Report {
    pub result: &'static str,
    #[serde(skip)]
    exit: Exit,
    pub to: String,
    pub images: Vec<Row>,
    /// Rules for `--image-map` and `images.map`.
    pub image_map: Vec<Rule>,
    pub bytes: u64,
    #[serde(skip)]
    is_layout: bool,
}

impl Report {
    pub fn new(to: &Destination, image_map: Vec<Rule>, mut images: Vec<Row>) -> Self {
        images.sort_by(|a, b| a.image.cmp(&b.image));
        let any = |is: fn(&Outcome) -> bool| images.iter().any(|row| is(&row.outcome));
        let exit = match () {
            () if any(|outcome| matches!(outcome, Outcome::Failed { .. })) => Exit::Failed,
            () if any(|outcome| matches!(outcome, Outcome::Missing { .. })) => Exit::Attention,
            () => Exit::Done,
        };
        Self {
            result: exit.word(),
            exit,
            to: to.to_string(),
            bytes: images.iter().map(|row| row.bytes).sum(),
            images,
            image_map,
            is_layout: to.directory().is_some(),
        }
    }

    /// Exits 1 if a copy failed, 6 if an image is missing at its source.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |is: fn(&Row) -> bool| self.images.iter().filter(|row| is(row)).count();
        let copied = number(|row| row.outcome == Outcome::Copied);
        let there = number(|row| matches!(row.outcome, Outcome::There | Outcome::Mirrored));
        writeln!(
            f,
            "{} at {}: {copied} copied ({}), {there} there already",
            count(self.images.len() as u64, "image"),
            shown(&self.to),
            human_bytes(self.bytes)
        )?;
        for row in &self.images {
            let (word, why) = match &row.outcome {
                Outcome::Missing { why } => ("missing", why),
                Outcome::Failed { why } => ("failed", why),
                _ => continue,
            };
            writeln!(f, "  {word:8} {}", shown(&row.image))?;
            if !row.services.is_empty() {
                writeln!(f, "           for {}", shown(row.services.join(", ")))?;
            }
            writeln!(f, "           {}", shown(why))?;
        }
        if self.is_layout {
            let from = shell::quoted(&self.to);
            return writeln!(f, "  next     swarmdr-agent images push --from {from} --to REGISTRY/PREFIX");
        }
        for rule in &self.image_map {
            writeln!(f, "  restore  --image-map {}", shell::quoted(&rule.to_string()))?;
        }
        Ok(())
    }
}
