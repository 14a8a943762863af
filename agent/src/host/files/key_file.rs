//! Decrypts the key file of an autolocked state (`swarm-node.key`) for the time that an engine needs to take it over.
//!
//! Force-new-cluster cannot open a locked state (moby/moby#36852), so its key file is decrypted without an engine
//! ([`keys::unlocked`]). The manager that starts encrypts it again by itself, with the unlock key in its raft log
//! (swarmkit `manager/manager.go`, `updateKEK`); it does so through a new file and a rename, so the plaintext file is
//! still open here and can be overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use swarm_state::{
    UnlockKey,
    keys::{self, KeyFile},
    state_dir::NODE_KEY,
};
use zeroize::Zeroizing;

/// A plaintext key file that is held open, to be overwritten when the state does not use it any more.
#[derive(Debug)]
pub struct PlaintextKey {
    file: File,
    path: PathBuf,
    /// A second hard link to the file, by which a later run finds it when the engine has replaced the first one.
    mark: Option<PathBuf>,
}

impl PlaintextKey {
    /// Replaces the encrypted key file of this state with a plaintext one, by rename and flushed. `mark` is a second
    /// hard link to the new file, on the same filesystem, for [`PlaintextKey::find`] and [`sweep`].
    pub fn decrypt(state_dir: &Path, unlock_key: &UnlockKey, mark: Option<&Path>) -> Result<Self> {
        let path = state_dir.join(NODE_KEY);
        let open = || -> Result<Self> {
            let text = keys::unlocked(&Zeroizing::new(fs::read(&path)?), unlock_key)?;
            if let Some(mark) = mark
                && !sweep(mark)?
                && mark.exists()
            {
                // A state that was moved aside still uses that file.
                fs::remove_file(mark)?;
            }
            let file = replace(&path, &text, mark)?;
            Ok(Self { file, path: path.clone(), mark: mark.map(Path::to_owned) })
        };
        open().with_context(|| format!("failed to open the locked key {}", path.display()))
    }

    /// Finds the plaintext key that an earlier run put into this state; `None` if there is no such mark.
    pub fn find(state_dir: &Path, mark: &Path) -> Result<Option<Self>> {
        let file = match OpenOptions::new().read(true).write(true).open(mark) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.with_context(|| format!("failed to open {}", mark.display()))?,
        };
        Ok(Some(Self { file, path: state_dir.join(NODE_KEY), mark: Some(mark.to_owned()) }))
    }

    /// Overwrites the plaintext key if the engine has put an encrypted one in its place; returns false if it has not
    /// yet.
    pub fn scrub(&self) -> Result<bool> {
        let scrub = || -> Result<bool> {
            let (held, there) = (self.file.metadata()?, fs::metadata(&self.path)?);
            if held.ino() == there.ino() || !is_locked(&self.path)? {
                return Ok(false);
            }
            overwrite(&self.file)?;
            if let Some(mark) = &self.mark {
                fs::remove_file(mark)?;
            }
            Ok(true)
        };
        scrub().with_context(|| format!("failed to clear the open key that was in {}", self.path.display()))
    }

    /// Overwrites the plaintext key of a state that is not used any more.
    pub fn destroy(self) -> Result<()> {
        let destroy = || -> io::Result<()> {
            overwrite(&self.file)?;
            self.mark.as_ref().map_or(Ok(()), fs::remove_file)
        };
        destroy().with_context(|| format!("failed to clear the open key that was in {}", self.path.display()))
    }
}

/// Overwrites a plaintext key that no state uses any more, found by its mark; returns false if there is none, or if it
/// is still in use.
pub fn sweep(mark: &Path) -> Result<bool> {
    let sweep = || -> io::Result<bool> {
        let file = match OpenOptions::new().write(true).open(mark) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        if file.metadata()?.nlink() > 1 {
            return Ok(false);
        }
        overwrite(&file)?;
        fs::remove_file(mark)?;
        Ok(true)
    };
    sweep().with_context(|| format!("failed to clear the open key {}", mark.display()))
}

/// True if the key file of a state needs an unlock key.
pub fn is_locked_in(state_dir: &Path) -> Result<bool> {
    is_locked(&state_dir.join(NODE_KEY))
}

/// The text of the encrypted key file of a state; `None` if the state is not locked.
pub fn locked_text(state_dir: &Path) -> Result<Option<String>> {
    let path = state_dir.join(NODE_KEY);
    if !is_locked(&path)? {
        return Ok(None);
    }
    fs::read_to_string(&path).map(Some).with_context(|| format!("failed to read {}", path.display()))
}

/// Replaces a plaintext key with the encrypted one that it was made of; the engine must be stopped. It is no error if
/// there is no state.
pub fn close(state_dir: &Path, locked: &str) -> Result<()> {
    let path = state_dir.join(NODE_KEY);
    let close = || -> Result<()> {
        let new = path_of_new(&path);
        let mut cleared = Ok(());
        if new.exists() {
            cleared = OpenOptions::new().write(true).open(&new).and_then(|file| overwrite(&file));
            fs::remove_file(&new)?;
        }
        if path.exists() && !is_locked(&path)? {
            let open = OpenOptions::new().write(true).open(&path)?;
            replace(&path, locked.as_bytes(), None)?;
            overwrite(&open)?;
        }
        Ok(cleared?)
    };
    close().with_context(|| format!("failed to lock {} again", path.display()))
}

fn is_locked(path: &Path) -> Result<bool> {
    let read = || -> Result<bool> {
        let text = Zeroizing::new(fs::read(path)?);
        KeyFile::parse(&text).map(|key| key.is_locked()).map_err(|damage| anyhow!("{damage}"))
    };
    read().with_context(|| format!("failed to read the key file {}", path.display()))
}

/// Overwrites a file. Best effort: a filesystem that never writes in place keeps the old blocks until it reuses them.
pub fn overwrite(file: &File) -> io::Result<()> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    file.write_all_at(&vec![0; length], 0)?;
    file.sync_all()
}

/// The name of the new file, which is not the one that the engine itself uses for a new certificate or key.
fn path_of_new(path: &Path) -> PathBuf {
    path.with_extension("key.swarmdr")
}

/// Replaces a file by a new one through a rename, after linking `mark` to it. Returns the new file.
fn replace(path: &Path, content: &[u8], mark: Option<&Path>) -> io::Result<File> {
    let new = path_of_new(path);
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    if let Some(mark) = mark
        && let Err(error) = fs::hard_link(&new, mark)
    {
        // Without it only this run can overwrite the key.
        tracing::warn!(%error, "{} could not be made", mark.display());
    }
    fs::rename(&new, path)?;
    File::open(path.parent().expect("a key file is in a directory"))?.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_state::testkit::key_file::{UNLOCK_KEY, rotating};

    fn state() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a scratch directory");
        fs::create_dir(dir.path().join("certificates")).expect("creates");
        fs::write(dir.path().join(NODE_KEY), rotating()).expect("writes");
        dir
    }

    #[test]
    fn a_plaintext_key_is_overwritten_once_the_engine_has_encrypted_it() {
        let dir = state();
        let path = dir.path().join(NODE_KEY);
        let locked = locked_text(dir.path()).expect("reads").expect("is locked");
        let key = PlaintextKey::decrypt(dir.path(), &UNLOCK_KEY.parse().expect("is a key"), None).expect("opens");
        assert!(!is_locked_in(dir.path()).expect("reads"));
        assert_eq!(fs::metadata(&path).expect("is there").mode() & 0o777, 0o600);
        assert!(!key.scrub().expect("the engine has not closed it"));
        assert!(!is_locked_in(dir.path()).expect("reads"), "it is still in use");

        fs::write(dir.path().join("other"), &locked).expect("writes");
        fs::rename(dir.path().join("other"), &path).expect("as the engine does");
        assert!(key.scrub().expect("overwrites"));
        let mut left = vec![1; 64];
        key.file.read_exact_at(&mut left, 0).expect("is still held");
        assert_eq!(left, [0; 64]);
        assert_eq!(fs::read_to_string(&path).expect("reads"), locked);
    }

    #[test]
    fn a_plaintext_key_is_found_by_a_later_run_and_overwritten_when_no_state_uses_it() {
        let dir = state();
        let (path, mark) = (dir.path().join(NODE_KEY), dir.path().join("open-key"));
        let locked = locked_text(dir.path()).expect("reads").expect("is locked");
        assert!(PlaintextKey::find(dir.path(), &mark).expect("looks").is_none());
        let key: UnlockKey = UNLOCK_KEY.parse().expect("is a key");
        drop(PlaintextKey::decrypt(dir.path(), &key, Some(&mark)).expect("opens"));
        assert!(!sweep(&mark).expect("looks"), "the state uses it");
        let found = PlaintextKey::find(dir.path(), &mark).expect("looks").expect("is marked");
        assert!(!found.scrub().expect("looks"));
        let held = File::open(&mark).expect("opens");
        let length = usize::try_from(held.metadata().expect("is there").len()).expect("is small");
        // An engine does this after the run that decrypted it was killed.
        fs::write(dir.path().join("other"), &locked).expect("writes");
        fs::rename(dir.path().join("other"), &path).expect("as the engine does");
        assert!(sweep(&mark).expect("clears"));
        assert_eq!(io::read_to_string(&held).expect("reads"), "\0".repeat(length));
        assert!(!mark.exists() && !sweep(&mark).expect("looks"));

        drop(PlaintextKey::decrypt(dir.path(), &key, Some(&mark)).expect("opens"));
        let found = PlaintextKey::find(dir.path(), &mark).expect("looks").expect("is marked");
        fs::write(dir.path().join("other"), &locked).expect("writes");
        fs::rename(dir.path().join("other"), &path).expect("as the engine does");
        assert!(found.scrub().expect("clears"));
        assert!(!mark.exists());
    }

    #[test]
    fn a_state_that_is_moved_aside_is_encrypted_again() {
        let dir = state();
        let locked = locked_text(dir.path()).expect("reads").expect("is locked");
        PlaintextKey::decrypt(dir.path(), &UNLOCK_KEY.parse().expect("is a key"), None).expect("opens");
        fs::write(dir.path().join("certificates/swarm-node.key.swarmdr"), "half").expect("as if it died there");
        for _ in 0..2 {
            close(dir.path(), &locked).expect("closes");
            assert_eq!(fs::read_to_string(dir.path().join(NODE_KEY)).expect("reads"), locked);
        }
        assert_eq!(fs::read_dir(dir.path().join("certificates")).expect("lists").count(), 1);
        close(&dir.path().join("nothing"), &locked).expect("nothing to close");
    }

    #[test]
    fn a_wrong_key_changes_nothing() {
        let dir = state();
        let wrong = UNLOCK_KEY.replace("BwcH", "CAgI").parse().expect("has the form of a key");
        PlaintextKey::decrypt(dir.path(), &wrong, None).expect_err("does not open");
        assert_eq!(fs::read_to_string(dir.path().join(NODE_KEY)).expect("reads"), rotating());
    }
}
