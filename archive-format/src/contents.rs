//! `contents.json`, the first entry of the payload: every file with its digest, and the inventory of the swarm.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    entry_path::{EntryPath, STATE_ROOT},
    error::{Error, Result},
    limits::{Limits, SIZE_MAX},
};

/// Name of the entry in the tar.
pub const CONTENTS_NAME: &str = "contents.json";

/// Contents of the payload. The bytes of this document are covered by the tar digest in the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// Every entry in the order of the tar: sorted by the bytes of the path. The first is the state directory itself.
    pub files: Vec<FileEntry>,
    /// Paths that were in the state directory and are not in the archive.
    pub left_out: Vec<LeftOut>,
    /// Inventory of the swarm. Its form is defined by the agent.
    pub inventory: serde_json::Value,
}

/// A file or directory of the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path in the payload.
    pub path: EntryPath,
    /// File or directory.
    pub kind: EntryKind,
    /// Permission bits, at most `0o7777`; octal digits in JSON.
    #[serde(with = "octal")]
    pub mode: u32,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Size in bytes, holes included; 0 for a directory.
    pub size: u64,
    /// Time of the last change, in seconds since 1970.
    pub mtime: u64,
    /// SHA-256 of the content, with holes read as zeros; files only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// Kind of an entry. Nothing else can be in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A regular file, sparse or not.
    File,
    /// A directory.
    Dir,
}

/// Path that was excluded from the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Path below the state directory. For display only: it need not be a safe path.
    pub path: String,
    /// Reason why it is not needed or not wanted.
    pub why: String,
}

impl Contents {
    /// Reads `contents.json` and checks it against the rules of the format and the limits.
    pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Self> {
        let contents: Self = serde_json::from_slice(bytes)
            .map_err(|error| first_unsafe_path(bytes).unwrap_or(invalid(error.to_string())))?;
        contents.check(limits)?;
        Ok(contents)
    }

    pub(crate) fn check(&self, limits: &Limits) -> Result<()> {
        if self.files.len() as u64 > limits.entries {
            return Err(Error::limit("the number of entries", limits.entries));
        }
        match self.files.first() {
            Some(root) if root.path.as_str() == STATE_ROOT && root.kind == EntryKind::Dir => {}
            _ => {
                return Err(invalid(format!("its first entry is not the directory `{STATE_ROOT}`")));
            }
        }
        let mut total = 0u64;
        for (index, file) in self.files.iter().enumerate() {
            file.check(limits)?;
            if index > 0 {
                check_place(file, &self.files[..index])?;
            }
            total = total.saturating_add(file.size);
        }
        if total > limits.total_bytes {
            return Err(Error::limit("the size of all files", limits.total_bytes));
        }
        Ok(())
    }
}

impl FileEntry {
    fn check(&self, limits: &Limits) -> Result<()> {
        let consistent = match self.kind {
            EntryKind::File => self.sha256.is_some(),
            EntryKind::Dir => self.sha256.is_none() && self.size == 0,
        };
        if !consistent || self.mode > 0o7777 || self.mtime > SIZE_MAX {
            return Err(invalid(format!("`{}` has an impossible mode, time, size or digest", self.path)));
        }
        if self.size > limits.file_bytes.min(SIZE_MAX) {
            return Err(Error::limit("the size of a file", limits.file_bytes.min(SIZE_MAX)));
        }
        Ok(())
    }
}

/// Checks that an entry comes after all entries `before` it, and that its parent is a directory among them.
fn check_place(file: &FileEntry, before: &[FileEntry]) -> Result<()> {
    let path = &file.path;
    if before.last().is_some_and(|last| last.path >= *path) {
        return Err(invalid(format!("`{path}` is listed twice or out of order")));
    }
    let parent = path.parent().unwrap_or_default();
    let found = before.binary_search_by(|entry| entry.path.as_str().cmp(parent));
    match found.map(|index| before[index].kind) {
        Ok(EntryKind::Dir) => Ok(()),
        _ => Err(invalid(format!("`{path}` is not in a directory that is listed before it"))),
    }
}

/// Returns the error for the first unsafe path in a list that does not parse; `None` if it is malformed otherwise.
fn first_unsafe_path(bytes: &[u8]) -> Option<Error> {
    #[derive(Deserialize)]
    struct Paths {
        files: Vec<PathOnly>,
    }
    #[derive(Deserialize)]
    struct PathOnly {
        path: String,
    }
    let paths: Paths = serde_json::from_slice(bytes).ok()?;
    paths.files.iter().find_map(|file| file.path.parse::<EntryPath>().err())
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidContents { reason: reason.into() }
}

/// Permission bits in JSON as four octal digits: `"0600"`.
mod octal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{mode:04o}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u32::from_str_radix(&text, 8).ok().filter(|_| digits);
        mode.ok_or(D::Error::custom("a mode is four octal digits"))
    }
}
