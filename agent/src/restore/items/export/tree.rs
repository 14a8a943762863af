//! The directory that an export is written to.
//!
//! Everything is written into a new directory beside the wanted one, and put into its place by a rename, so that a run
//! that is killed leaves nothing that looks like a whole export. What it left is removed by the next export to the same
//! place, and by the next run of any verb that reads states, since it is noted beforehand where they look.
//!
//! All directories have mode 0700 and all files 0600 (scripts 0700), whatever the umask: with and without secrets,
//! since the environment of a service often holds a password. Files are made relative to open directories, and no
//! symbolic link is followed, so that another user of the host cannot lead a file elsewhere.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::unistd::Uid;
use rustix::fs::{Mode, OFlags};

use crate::{
    archive::scratch::{
        note::{Note, Notes},
        unfinished,
    },
    host::files::discard,
    outcome::{failpoint, failure::Failure},
};

/// Number of attempts to make a directory that no other run takes for one that was left.
const ATTEMPTS: u32 = 3;

/// The place of an export, which is free.
#[derive(Debug)]
pub struct Target {
    parent: File,
    parent_path: PathBuf,
    name: OsString,
}

impl Target {
    /// Checks that the place is free: nothing is there, or an empty directory. With secrets also that no other user can
    /// read that directory, or put another one in its place.
    pub fn check(to: &Path, with_secrets: bool) -> Result<Self> {
        let existing = match fs::symlink_metadata(to) {
            Ok(_) => Some(fs::canonicalize(to).with_context(|| format!("failed to find {}", to.display()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("failed to look at {}", to.display())),
        };
        if let Some(directory) = &existing {
            require_empty(directory)?;
        }
        let (parent_path, name) = split(existing.as_deref().unwrap_or(to))?;
        let parent = discard::open_directory(&parent_path).map_err(|error| {
            Failure::failed(format!("failed to open {}, where the export is to be", parent_path.display()))
                .advice("make this directory first")
                .because(error)
        })?;
        if with_secrets {
            require_own(&parent, &parent_path, existing.as_deref())?;
        }
        Ok(Self { parent, parent_path, name })
    }

    fn path(&self) -> PathBuf {
        self.parent_path.join(&self.name)
    }
}

fn split(to: &Path) -> Result<(PathBuf, OsString)> {
    let name = to.file_name().ok_or_else(|| {
        Failure::refused(format!("{} cannot be the directory of an export", to.display()))
            .advice("give the path of a directory that does not exist yet")
    })?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = fs::canonicalize(parent).map_err(|error| {
        Failure::failed(format!("failed to find {}, where the export is to be", parent.display()))
            .advice("make this directory first")
            .because(error)
    })?;
    Ok((parent, name.to_owned()))
}

fn require_empty(directory: &Path) -> Result<()> {
    let refused = |why: &str| {
        Failure::refused(format!("nothing is exported to {}: {why}", directory.display()))
            .advice("give the path of a directory that does not exist yet, or of an empty one")
    };
    if !directory.is_dir() {
        return Err(refused("it is not a directory").into());
    }
    let mut entries = fs::read_dir(directory).with_context(|| format!("failed to list {}", directory.display()))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(refused("there is something in it, which would be mixed with the export").into()),
    }
}

/// Refuses to write secrets where other users come to.
fn require_own(parent: &File, parent_path: &Path, existing: Option<&Path>) -> Result<()> {
    let refused = |path: &Path, why: &str| {
        Failure::refused(format!("secrets are not exported to {}: {why}", path.display()))
            .advice("give the path of a directory that does not exist yet, in one that belongs to you")
    };
    let own = Uid::effective().as_raw();
    let metadata = parent.metadata().with_context(|| format!("failed to look at {}", parent_path.display()))?;
    let (writable, sticky) = (metadata.mode() & 0o022 != 0, metadata.mode() & 0o1000 != 0);
    if ![own, 0].contains(&metadata.uid()) {
        return Err(refused(parent_path, "it belongs to another user").into());
    }
    if writable && !sticky {
        return Err(refused(parent_path, "other users can put something else in the place of the export").into());
    }
    if let Some(path) = existing {
        let metadata = fs::metadata(path).with_context(|| format!("failed to look at {}", path.display()))?;
        if metadata.uid() != own || metadata.mode() & 0o077 != 0 {
            let failure = refused(path, "other users can read it").advice("close it with `chmod 700`");
            return Err(failure.into());
        }
    }
    Ok(())
}

/// An export that is being written. Dropping it removes what was written.
#[derive(Debug)]
pub struct Tree {
    target: Target,
    /// Open and locked as long as the run goes on.
    root: File,
    name: OsString,
    /// Until it is placed.
    note: Option<Note>,
    pub files: u64,
    pub bytes: u64,
}

impl Tree {
    /// Makes the directory in which the export is written, after removing what killed runs left beside it.
    pub fn begin(target: Target, notes: &Notes) -> Result<Self> {
        sweep(&target);
        let (root, name, note) = make_root(&target, notes)
            .with_context(|| format!("failed to make a directory in {}", target.parent_path.display()))?;
        Ok(Self { target, root, name, note: Some(note), files: 0, bytes: 0 })
    }

    /// Writes a file, and makes the directories that it is in. Each part of the path is one component.
    pub fn write(&mut self, path: &[String], content: &[u8], is_script: bool) -> Result<()> {
        failpoint::reach("export-writing");
        self.put(path, content, is_script)
            .with_context(|| format!("failed to write {} of the export", path.join("/")))?;
        self.files += 1;
        self.bytes += content.len() as u64;
        Ok(())
    }

    fn put(&self, path: &[String], content: &[u8], is_script: bool) -> io::Result<()> {
        let Some((name, folders)) = path.split_last() else { return Err(io::ErrorKind::InvalidInput.into()) };
        if path.iter().any(|part| !is_component(part)) {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        let mut folder = self.root.try_clone()?;
        for name in folders {
            folder = enter(&folder, name)?;
        }
        let mode = if is_script { 0o700 } else { 0o600 };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(mode))?);
        // The umask may have taken something away.
        file.set_permissions(Permissions::from_mode(mode))?;
        (&file).write_all(content)
    }

    /// Puts the export into its place, with everything on the disk. Returns its path.
    pub fn place(mut self) -> Result<PathBuf> {
        let path = self.target.path();
        let failed = || format!("failed to put the export to {}", path.display());
        // One call for thousands of files, and none for each.
        rustix::fs::syncfs(&self.root).map_err(io::Error::from).with_context(failed)?;
        failpoint::reach("export-written");
        match rustix::fs::renameat(&self.target.parent, &self.name, &self.target.parent, &self.target.name) {
            Ok(()) => self.note.take().into_iter().for_each(Note::forget),
            Err(error) => return Err(not_placed(&path, error.into())),
        }
        failpoint::reach("export-placed");
        self.target.parent.sync_all().with_context(failed)?;
        Ok(path)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let Some(note) = self.note.take() else { return };
        let path = self.target.parent_path.join(&self.name);
        match discard::tree(&path) {
            Ok(()) => note.forget(),
            Err(error) => {
                tracing::warn!("{} of an export could not be removed, the next run will: {error}", path.display());
            }
        }
    }
}

/// Returns the error of a rename to a place that was free before.
fn not_placed(path: &Path, error: io::Error) -> anyhow::Error {
    let what = format!("failed to put the export to {}", path.display());
    match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Failure::refused(what).advice("something was put there meanwhile: give another path").because(error).into()
        }
        io::ErrorKind::ResourceBusy => Failure::failed(what)
            .advice("if it is a mount point, give the path of a directory in it")
            .because(error)
            .into(),
        _ => Failure::failed(what).because(error).into(),
    }
}

fn is_component(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\0'])
}

/// Opens a directory in another one, and makes it if it is not there.
fn enter(folder: &File, name: &str) -> io::Result<File> {
    let made = match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
        Ok(()) => true,
        Err(rustix::io::Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    open_in(folder, OsStr::new(name), made)
}

fn open_in(folder: &File, name: &OsStr, made: bool) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?);
    if made {
        // The umask may have taken something away.
        opened.set_permissions(Permissions::from_mode(0o700))?;
    }
    Ok(opened)
}

/// Notes the directory, makes it and locks it. Another run that sweeps may take it for one that was left before it is
/// locked, and remove it; then another one is made.
fn make_root(target: &Target, notes: &Notes) -> Result<(File, OsString, Note)> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let name = unfinished::new_name()?;
        let note = notes.note(&target.parent, &target.parent_path.join(&name))?;
        failpoint::reach("export-noted");
        if let Err(error) = rustix::fs::mkdirat(&target.parent, &name, Mode::RWXU) {
            note.forget();
            return Err(io::Error::from(error).into());
        }
        let held = open_in(&target.parent, &name, true).and_then(|root| {
            root.try_lock().map_err(io::Error::from)?;
            match root.metadata()?.nlink() {
                0 => Err(io::ErrorKind::NotFound.into()),
                _ => Ok(root),
            }
        });
        match held {
            Ok(root) => return Ok((root, name, note)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::Other.into()).into())
}

/// Removes directories that killed runs left, which nobody has locked. Failures are logged only: this is not the
/// purpose of the run.
fn sweep(target: &Target) {
    for entry in fs::read_dir(&target.parent_path).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !unfinished::is_name(&name) {
            continue;
        }
        if let Err(error) = unfinished::remove_left(&target.parent, &name) {
            tracing::warn!("{} of an earlier export was not removed: {error:#}", entry.path().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::outcome::{exit::Exit, failure::Rendered};

    fn path(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    fn begin(to: &Path, place: &Path) -> Tree {
        Tree::begin(Target::check(to, false).expect("is free"), &Notes::at(place)).expect("begins")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").mode() & 0o7777
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("lists");
        entries.map(|entry| entry.expect("is read").file_name().to_string_lossy().into_owned()).collect()
    }

    fn refused(to: &Path, with_secrets: bool) -> String {
        let rendered = Rendered::of(&Target::check(to, with_secrets).expect_err("is refused"));
        assert_eq!(rendered.exit, Exit::Refused, "{rendered}");
        rendered.to_string()
    }

    #[test]
    fn an_export_is_there_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let to = dir.path().join("out");
        let place = tempfile::tempdir().expect("a place");
        let mut tree =
            Tree::begin(Target::check(&to, true).expect("is free"), &Notes::at(place.path())).expect("begins");
        tree.write(&path(&["shop", "secrets", "key"]), b"secret", false).expect("writes");
        tree.write(&path(&["shop", "networks.sh"]), b"#!/bin/sh", true).expect("writes");
        assert!(!to.exists());
        assert_eq!((tree.files, tree.bytes), (2, 15));
        assert_eq!(tree.place().expect("is placed"), to.canonicalize().expect("is there"));
        assert_eq!(fs::read(to.join("shop/secrets/key")).expect("reads"), b"secret");
        let modes = ["", "shop", "shop/secrets", "shop/secrets/key", "shop/networks.sh"];
        assert_eq!(modes.map(|name| mode(&to.join(name))), [0o700, 0o700, 0o700, 0o600, 0o700]);
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn what_is_not_placed_is_removed_now_or_by_the_next_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let to = dir.path().join("out");
        let place = tempfile::tempdir().expect("a place");
        let begin = || begin(&to, place.path());
        let mut tree = begin();
        tree.write(&path(&["a"]), b"x", false).expect("writes");
        drop(tree);
        assert!(names(dir.path()).is_empty() && names(place.path()).is_empty());
        for name in [".swarmdr-export-0123abcd", ".swarmdr-export-mine", "another"] {
            fs::create_dir(dir.path().join(name)).expect("makes");
            fs::set_permissions(dir.path().join(name), Permissions::from_mode(0o700)).expect("closes");
        }
        let (first, second) = (begin(), begin());
        let mut left = names(dir.path());
        left.sort();
        assert_eq!(left.len(), 4, "what runs is kept, and so is what is not ours: {left:?}");
        second.place().expect("is placed");
        // An empty directory may be replaced; this one is as empty as a new one.
        fs::write(to.join("kept"), "x").expect("writes");
        let error = first.place().expect_err("there is something now");
        assert_eq!(Rendered::of(&error).exit, Exit::Refused);
        assert_eq!(names(&to), ["kept"]);
        assert!(names(place.path()).is_empty(), "no note is left");
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).expect("makes");
        Target::check(&empty, false).expect("is empty");
        fs::write(empty.join("file"), "x").expect("writes");
        assert!(refused(&empty, false).contains("something in it"));
        assert!(refused(&empty.join("file"), false).contains("not a directory"));
        assert!(refused(Path::new("/"), false).contains('/'));
        let error = Target::check(&dir.path().join("none/out"), false).expect_err("has no parent");
        assert_eq!(Rendered::of(&error).exit, Exit::Failed);
    }

    #[test]
    fn secrets_are_not_written_where_others_come_to() {
        let dir = tempfile::tempdir().expect("a directory");
        let chmod = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("changes");
        let to = dir.path().join("out");
        fs::create_dir(&to).expect("makes");
        chmod(&to, 0o755);
        assert!(refused(&to, true).contains("can read it"));
        Target::check(&to, false).expect("without secrets it may be");
        chmod(&to, 0o700);
        Target::check(&to, true).expect("is closed");
        chmod(dir.path(), 0o777);
        assert!(refused(&to, true).contains("in the place"));
        chmod(dir.path(), 0o1777);
        Target::check(&to, true).expect("nobody else can replace it");
    }

    #[test]
    fn no_file_is_led_elsewhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir().expect("another directory");
        let place = tempfile::tempdir().expect("a place");
        let mut tree = begin(&dir.path().join("out"), place.path());
        symlink(elsewhere.path(), dir.path().join(&tree.name).join("shop")).expect("links");
        tree.write(&path(&["shop", "key"]), b"x", false).expect_err("is a link");
        for wrong in [&["..", "x"][..], &["a/b"], &[""], &["."], &[]] {
            tree.write(&path(wrong), b"x", false).expect_err("is no component");
        }
        assert!(names(elsewhere.path()).is_empty());
    }
}
