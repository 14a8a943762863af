//! The outcome of an export, for a person or a script.

use std::{fmt, path::PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use swarm_state::{inventory::ObjectKind, specs::Item};
use swarmdr_archive::untrusted::shown;

use super::{Format, left_out::Field};
use crate::outcome::{count::count, exit::Exit};

/// The stable JSON form of `export --json`.
#[derive(Debug, Serialize)]
pub struct ExportReport {
    pub result: &'static str,
    /// What was exported from.
    pub source: String,
    /// Time of the backup; absent for a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// The directory that was written.
    pub to: PathBuf,
    pub format: Format,
    /// Whether the values of secrets were written.
    pub with_secrets: bool,
    pub stacks: Vec<StackReport>,
    /// What belongs to no stack, without what a swarm makes by itself if only commands for the rest are written.
    pub alone: Numbers,
    pub files: u64,
    pub bytes: u64,
    /// Services whose image has another name by `--image-map`.
    pub images_mapped: u64,
    /// What is not expressed. Exit 6 if there is anything.
    pub left_out: Vec<LeftOutReport>,
    /// Problems in the vaults that the operator should look at. Exit 6.
    pub findings: Vec<String>,
}

/// A stack that was exported.
#[derive(Debug, Serialize)]
pub struct StackReport {
    pub name: String,
    /// Name of its directory; absent if only specs are exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Version of the format of its file, as `3.8`; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(flatten)]
    pub numbers: Numbers,
    /// Objects of which something is left out.
    pub left_out: u64,
}

/// Numbers of objects.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Numbers {
    pub services: u64,
    pub networks: u64,
    pub secrets: u64,
    pub configs: u64,
    pub volumes: u64,
}

/// What is not expressed of one object.
#[derive(Debug, Serialize)]
pub struct LeftOutReport {
    /// Path of the file that says it in full, below the export.
    pub file: String,
    /// Kind and name.
    pub object: String,
    pub fields: Vec<Field>,
}

impl Numbers {
    pub fn of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut numbers = Self::default();
        for item in items {
            match item.kind {
                ObjectKind::Service => numbers.services += 1,
                ObjectKind::Network => numbers.networks += 1,
                ObjectKind::Secret => numbers.secrets += 1,
                ObjectKind::Config => numbers.configs += 1,
                ObjectKind::Volume => numbers.volumes += 1,
                ObjectKind::Cluster | ObjectKind::Node => {}
            }
        }
        numbers
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.services, "service"),
            (self.networks, "network"),
            (self.secrets, "secret"),
            (self.configs, "config"),
            (self.volumes, "cluster volume"),
        ];
        let some: Vec<String> =
            all.into_iter().filter(|(number, _)| *number > 0).map(|(number, noun)| count(number, noun)).collect();
        f.write_str(&if some.is_empty() { "nothing".to_owned() } else { some.join(", ") })
    }
}

impl ExportReport {
    pub fn exit(&self) -> Exit {
        Exit::with_attention(!(self.left_out.is_empty() && self.findings.is_empty()))
    }
}

impl fmt::Display for ExportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Exported {} to {}", shown(&self.source), shown(self.to.display()))?;
        for stack in &self.stacks {
            write!(f, "  stack {}: {}", shown(&stack.name), stack.numbers)?;
            match &stack.folder {
                Some(folder) => writeln!(f, ", in {}/stack.yml", shown(folder))?,
                None => writeln!(f)?,
            }
        }
        if self.alone != Numbers::default() {
            let place = if self.format == Format::Compose { ", in _alone" } else { "" };
            writeln!(f, "  in no stack: {}{place}", self.alone)?;
        }
        writeln!(f, "  all specs as the Engine API takes them, in _engine")?;
        if self.images_mapped > 0 {
            writeln!(f, "  images of {} under other names", count(self.images_mapped, "service"))?;
        }
        if !self.with_secrets {
            writeln!(f, "  no values of secrets: --with-secrets writes them too")?;
        }
        self.show_left_out(f)?;
        for finding in &self.findings {
            writeln!(f, "! {}", shown(finding))?;
        }
        Ok(())
    }
}

impl ExportReport {
    fn show_left_out(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.left_out.is_empty() {
            return writeln!(f, "Nothing is left out.");
        }
        let mut files: Vec<&str> = self.left_out.iter().map(|left| left.file.as_str()).collect();
        files.dedup();
        writeln!(f, "! Something is left out of {}, see", count(self.left_out.len() as u64, "object"))?;
        files.into_iter().try_for_each(|file| writeln!(f, "!   {}", shown(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::terminal::tests::assert_tame;

    fn report(text: &str, is_left_out: bool) -> ExportReport {
        let own = || text.to_owned();
        let field = Field { path: own(), value: text.into(), why: own() };
        let left = LeftOutReport { file: own(), object: own(), fields: vec![field] };
        let numbers = Numbers { services: 2, secrets: 1, ..Numbers::default() };
        let stack = StackReport { name: own(), folder: Some(own()), version: Some(own()), numbers, left_out: 1 };
        ExportReport {
            result: "done",
            source: own(),
            created_at: None,
            to: text.into(),
            format: Format::Compose,
            with_secrets: false,
            stacks: vec![stack],
            alone: Numbers { networks: 1, ..Numbers::default() },
            files: 3,
            bytes: 100,
            images_mapped: 1,
            left_out: Vec::from_iter(is_left_out.then_some(left)),
            findings: Vec::new(),
        }
    }

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        assert_tame(|text| ExportReport { findings: vec![text.to_owned()], ..report(text, true) });
    }

    #[test]
    fn the_exit_says_whether_anything_is_left_out() {
        assert_eq!(report("x", true).exit(), Exit::Attention);
        let whole = report("x", false);
        assert_eq!(whole.exit(), Exit::Done);
        let expected = "Exported x to x\n  stack x: 2 services, 1 secret, in x/stack.yml\n  \
            in no stack: 1 network, in _alone\n  all specs as the Engine API takes them, in _engine\n  \
            images of 1 service under other names\n  no values of secrets: --with-secrets writes them too\n\
            Nothing is left out.\n";
        assert_eq!(whole.to_string(), expected);
    }

    #[test]
    fn values_are_no_part_of_the_report() {
        let json = serde_json::to_value(report("x", true)).expect("is JSON");
        let field = serde_json::json!({ "path": "x", "why": "x" });
        assert_eq!(json["left_out"][0]["fields"][0], field);
    }
}
