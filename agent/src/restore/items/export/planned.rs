//! Files to write, before they are written.

use swarm_state::{inventory::ObjectKind, specs::Item};

use super::left_out::LeftOut;

/// The files of one directory of an export.
#[derive(Debug, Default)]
pub struct Planned {
    pub texts: Vec<TextFile>,
    pub values: Vec<ValueFile>,
    pub left_out: Vec<LeftOut>,
}

/// A file with a text that was made of specs.
#[derive(Debug)]
pub struct TextFile {
    pub path: FilePath,
    pub text: String,
    pub is_script: bool,
}

/// A file with the content of a secret or a config, which is read when the file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueFile {
    pub path: FilePath,
    pub kind: ObjectKind,
    pub id: String,
}

/// Names of the directories below the export and of the file, in this order. Each is one component: a word of this
/// program, or from [`FileNames`](super::names::FileNames).
pub type FilePath = Vec<String>;

impl Planned {
    pub fn text(&mut self, path: &[&str], text: String) {
        self.texts.push(TextFile { path: owned(path), text, is_script: false });
    }

    pub fn script(&mut self, path: &[&str], text: String) {
        self.texts.push(TextFile { path: owned(path), text, is_script: true });
    }

    pub fn value(&mut self, path: &[&str], item: &Item) {
        self.values.push(ValueFile { path: owned(path), kind: item.kind, id: item.id.clone() });
    }

    /// Adds what was left out of an object, if there is something.
    pub fn left(&mut self, left: LeftOut) {
        if !left.is_empty() {
            self.left_out.push(left);
        }
    }
}

fn owned(path: &[&str]) -> FilePath {
    path.iter().map(|part| (*part).to_owned()).collect()
}
