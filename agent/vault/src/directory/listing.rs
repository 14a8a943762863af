//! Lists the keys of a directory vault in byte order, with no more than a page in memory.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    path::Path,
    time::SystemTime,
};

pub const PAGE: usize = 1000;

/// The depth of the walk. Keys of the agent have two parts; deeper trees are a mistake and are not walked to their end.
const DEPTH: usize = 8;

/// The suffix of temporary files, see `publish`.
pub const UNFINISHED: &str = ".part";

/// Returns the first [`PAGE`] keys that start with `under` and sort behind `after`, and true if there are more.
pub fn page(root: &Path, under: &str, after: Option<&str>) -> io::Result<(Vec<(String, Metadata)>, bool)> {
    let mut found = BTreeMap::new();
    walk(root, "", DEPTH, &mut |key, is_directory, entry| {
        if is_directory {
            return Ok(key.starts_with(under) || under.starts_with(key));
        }
        let wanted = key.starts_with(under) && after.is_none_or(|after| key > after);
        if wanted && !is_hidden(key) {
            found.insert(key.to_owned(), entry.metadata()?);
            if found.len() > PAGE + 1 {
                found.pop_last();
            }
        }
        Ok(false)
    })?;
    let more = found.len() > PAGE;
    Ok((found.into_iter().take(PAGE).collect(), more))
}

/// Returns the temporary files of runs that died or are still running.
pub fn leftovers(root: &Path) -> io::Result<Vec<(String, Metadata)>> {
    let mut found = Vec::new();
    walk(root, "", DEPTH, &mut |key, is_directory, entry| {
        if !is_directory && is_hidden(key) && key.ends_with(UNFINISHED) && found.len() < PAGE {
            found.push((key.to_owned(), entry.metadata()?));
        }
        Ok(is_directory)
    })?;
    Ok(found)
}

/// Removes temporary files whose names start with `under` and that were written to before this time only.
pub fn remove_leftovers(root: &Path, under: &str, before: SystemTime) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for (key, metadata) in leftovers(root)? {
        if key.starts_with(under) && metadata.modified()? < before {
            fs::remove_file(root.join(&key))?;
            removed.push(key);
        }
    }
    Ok(removed)
}

fn is_hidden(key: &str) -> bool {
    key.split('/').any(|part| part.starts_with('.'))
}

/// Calls `visit` with each regular file and directory (its key ends with `/`), which says whether to go into it.
///
/// Symbolic links, sockets and names that are not UTF-8 cannot be keys of a vault and are passed over.
fn walk(
    directory: &Path,
    prefix: &str,
    depth: usize,
    visit: &mut dyn FnMut(&str, bool, &fs::DirEntry) -> io::Result<bool>,
) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        // Nothing was put into the vault yet, or the directory was removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let key = format!("{prefix}{name}/");
            if visit(&key, true, &entry)? && depth > 1 {
                walk(&entry.path(), &key, depth - 1, visit)?;
            }
        } else if kind.is_file() {
            visit(&format!("{prefix}{name}"), false, &entry)?;
        }
    }
    Ok(())
}
