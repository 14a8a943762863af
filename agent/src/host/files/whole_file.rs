//! Files that are replaced as a whole: however the writer ends, a reader finds the old content or the new.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

/// Reads what [`replace_json`] wrote; `None` if there is no such file, or it cannot be read, which is logged.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let unreadable = |error: &dyn std::fmt::Display| tracing::warn!("{} cannot be read: {error}", path.display());
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).inspect_err(|error| unreadable(error)).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            unreadable(&error);
            None
        }
    }
}

/// Replaces the file, whose directory must be there. Only its owner can read it. Durable when this returns.
pub fn replace_json(path: &Path, content: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec_pretty(content)?, 0o600)
}

/// Replaces a file as [`replace_json`] does, with any content and exactly the permissions `mode`.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // Hidden, and without the ending that readers look for: node_exporter reads every `*.prom` in the directory.
    let mut new = tempfile::Builder::new().prefix(".swarmdr").suffix(".new").tempfile_in(directory)?;
    new.write_all(content)?;
    new.as_file().set_permissions(Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_content_replaces_the_old_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let path = dir.path().join("page");
        for (content, mode) in [("a longer first content", 0o600), ("second", 0o644)] {
            replace(&path, content.as_bytes(), mode).expect("writes");
            assert_eq!(fs::read_to_string(&path).expect("reads"), content);
            assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1);
        let error = replace(&dir.path().join("nowhere/page"), b"x", 0o600).expect_err("there is no such directory");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_failed_replacement_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let taken = dir.path().join("taken");
        fs::create_dir_all(taken.join("in the way")).expect("makes");
        replace_json(&taken, &1).expect_err("a directory is no file");
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1);
    }
}
