//! The mounts on a directory or inside it, as the kernel lists them (proc(5), `mountinfo`).
//!
//! Device numbers do not show all of them: a bind mount of the same filesystem has that of the directory around it.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// The mounts of this process, and those of PID 1, with which the engine is started: a rename does not see the latter,
/// and detaches them (`fs/namei.c`, `detach_mounts`).
const TABLES: [&str; 2] = ["/proc/self/mountinfo", "/proc/1/mountinfo"];

/// The mount points that are `directory` or are inside it, sorted. A directory that is not there has none.
pub fn within(directory: &Path) -> Result<Vec<PathBuf>> {
    let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let directory = match directory.canonicalize() {
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        found => found.with_context(|| format!("failed to look at {}", directory.display()))?,
    };
    let mut found = Vec::new();
    for table in TABLES {
        match fs::read(table) {
            Ok(text) => found.extend(parse(&text).filter(|point| point.starts_with(&directory))),
            // Another process's table may be hidden, as in a sandbox.
            Err(_) if table != TABLES[0] => {}
            Err(error) => return Err(error).with_context(|| format!("failed to read {table}")),
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The mount point that this directory is on; `None` if it is not there.
pub fn under(directory: &Path) -> Result<Option<PathBuf>> {
    let Ok(directory) = directory.canonicalize() else { return Ok(None) };
    let table = fs::read(TABLES[0]).with_context(|| format!("failed to read {}", TABLES[0]))?;
    let around = parse(&table).filter(|point| directory.starts_with(point));
    Ok(around.max_by_key(|point| point.components().count()))
}

/// The mount points of a table: the fifth field of each line.
fn parse(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescaped)
}

/// A path without the escapes of the table: blanks, tabs, newlines and backslashes are written as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let digits =
            after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|it| (b'0'..b'8').contains(it)));
        let code = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

/// The list of mount points in a message.
pub fn list(points: &[PathBuf]) -> String {
    let shown: Vec<String> =
        points.iter().map(|point| point.as_os_str().as_bytes().escape_ascii().to_string()).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_and_their_escapes_are_undone() {
        let table = b"36 35 98:0 / /data rw,noatime shared:1 - ext4 /dev/sda rw\n\
            37 36 98:0 /swarm\\040state /data/swarm\\040one\\134two rw - ext4 /dev/sda rw\n\
            38 36 98:0 / /data/x\\9 rw - ext4 /dev/sda rw\nbroken\n";
        let found: Vec<PathBuf> = parse(table).collect();
        assert_eq!(found, [Path::new("/data"), Path::new("/data/swarm one\\two"), Path::new("/data/x\\9")]);
    }

    #[test]
    fn proc_is_mounted_and_a_new_directory_is_not() {
        assert!(within(Path::new("/proc")).expect("reads").contains(&PathBuf::from("/proc")));
        assert_eq!(under(Path::new("/proc/self/fd")).expect("reads"), Some(PathBuf::from("/proc")));
        assert_eq!(under(Path::new("/nothing/here")).expect("reads"), None);
        let dir = tempfile::tempdir().expect("a scratch directory");
        assert_eq!(within(dir.path()).expect("reads"), Vec::<PathBuf>::new());
        assert_eq!(within(&dir.path().join("absent")).expect("reads"), Vec::<PathBuf>::new());
    }
}
