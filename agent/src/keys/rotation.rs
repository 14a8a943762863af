//! Rotation of the signing key of this host.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ring::rand::SystemRandom;
use swarmdr_archive::{PublicKey, SecretKey};

use super::signing::{is_missing, read, sync_directory};
use crate::{config::Config, host::files::whole_file};

/// Result of a rotation: the new key, and the old one that was kept.
#[derive(Debug)]
pub struct Rotated {
    pub new: PublicKey,
    pub old: PublicKey,
    /// Path of the old secret key; its public half is next to it.
    pub kept: PathBuf,
}

/// Makes a new key pair and puts it in place of the old one, which is kept. The secret key is replaced by one
/// rename, so there is a complete one at any moment. An interrupted call is completed by the next one, wherever it was
/// interrupted: public halves are derived from the secret keys.
pub fn rotate(config: &Config) -> Result<Rotated> {
    Rotation::of(config, &mut || Ok(())).run()
}

/// Files of a rotation.
struct Rotation<'s> {
    secret: PathBuf,
    public: PathBuf,
    next: PathBuf,
    next_public: PathBuf,
    /// Called before each change of the disk; its error interrupts the rotation there.
    step: &'s mut dyn FnMut() -> io::Result<()>,
}

impl<'s> Rotation<'s> {
    fn of(config: &Config, step: &'s mut dyn FnMut() -> io::Result<()>) -> Self {
        let secret = config.signing_key_path();
        let next = secret.with_extension("next.key");
        Self { public: config.public_key_path(), next_public: next.with_extension("pub"), next, secret, step }
    }

    fn run(mut self) -> Result<Rotated> {
        let current = read(&self.secret)?.public();
        let interrupted = self.interrupted(&current);
        let begun = self.begun()?;
        let changed = match interrupted {
            Some(old) => Ok((current, old)),
            None => self.put_in_place(&current, begun).map(|new| (new, current)),
        };
        let ended = changed.and_then(|keys| self.end().map(|()| keys));
        let (new, old) =
            ended.with_context(|| format!("failed to put a new key into the place of {}", self.secret.display()))?;
        Ok(Rotated { new, old, kept: self.kept(&old) })
    }

    /// Path at which a replaced key is kept.
    fn kept(&self, key: &PublicKey) -> PathBuf {
        self.secret.with_extension(format!("{}.key", key.key_id()))
    }

    /// Returns the replaced key if a call was interrupted between its two renames: the secret key is the new one, and
    /// the public half next to it is still the old one.
    fn interrupted(&self, current: &PublicKey) -> Option<PublicKey> {
        let public_in = |path: &Path| fs::read_to_string(path).ok()?.parse::<PublicKey>().ok();
        if self.next.exists() || public_in(&self.next_public)? != *current {
            return None;
        }
        let old = public_in(&self.public).filter(|old| old != current)?;
        (read(&self.kept(&old)).ok()?.public() == old).then_some(old)
    }

    /// Returns the key that an interrupted call has made. One that cannot be parsed was not written completely: it has
    /// signed nothing, and is made again.
    fn begun(&self) -> Result<Option<PublicKey>> {
        match read(&self.next) {
            Ok(begun) => Ok(Some(begun.public())),
            Err(error) if is_missing(&error) || error.is::<swarmdr_archive::Error>() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn make(&mut self) -> io::Result<PublicKey> {
        let key = SecretKey::generate(&SystemRandom::new()).map_err(io::Error::other)?;
        (self.step)()?;
        whole_file::replace(&self.next, key.to_minisign_string().as_bytes(), 0o600)?;
        Ok(key.public())
    }

    /// Keeps the pair of the current key, and replaces its secret half with the key that was begun, or a new one.
    fn put_in_place(&mut self, current: &PublicKey, begun: Option<PublicKey>) -> io::Result<PublicKey> {
        let new = begun.map_or_else(|| self.make(), Ok)?;
        let kept = self.kept(current);
        (self.step)()?;
        match fs::hard_link(&self.secret, &kept) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for (path, key) in [(&kept.with_extension("pub"), current), (&self.next_public, &new)] {
            (self.step)()?;
            whole_file::replace(path, key.to_minisign_string().as_bytes(), 0o644)?;
        }
        (self.step)()?;
        fs::rename(&self.next, &self.secret)?;
        Ok(new)
    }

    /// Replaces the public half.
    fn end(&mut self) -> io::Result<()> {
        (self.step)()?;
        fs::rename(&self.next_public, &self.public)?;
        (self.step)()?;
        self.secret.parent().map_or(Ok(()), sync_directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::signing::{load_or_make, make};

    /// A public key of no host.
    const KEY: &str = "RWT3gRjtdFgGn/+LWOWSfj/3VhQgHy1tT+mOyS9zgLk/DZYTMpPY9y4d";

    fn host() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        (dir, config)
    }

    #[test]
    fn a_rotation_keeps_the_old_key_and_can_be_cut_off() {
        let (dir, config) = host();
        rotate(&config).expect_err("there is none yet");
        let first = load_or_make(&config).expect("makes it").key.public();
        let rotated = rotate(&config).expect("rotates");
        assert_eq!((rotated.old, read(&rotated.kept).expect("is kept").public()), (first, first));
        let own = read(&config.signing_key_path()).expect("is there").public();
        assert_eq!(own, rotated.new);
        assert_eq!(
            fs::read_to_string(config.public_key_path()).expect("reads").parse::<PublicKey>().expect("is a key"),
            own
        );
        // Interrupted after the new key was made and before it was put in place.
        let next = dir.path().join("keys/signing.next.key");
        let begun = make(&next, &next.with_extension("pub")).expect("makes it").public();
        assert_eq!(rotate(&config).expect("goes on").new, begun);
        let left = fs::read_dir(dir.path().join("keys")).expect("lists").count();
        assert_eq!(left, 6, "three pairs");
    }

    /// Asserts that every secret key in the directory has its own public half next to it, and returns their number.
    fn assert_pairs(dir: &Path) -> usize {
        let entries = fs::read_dir(dir).expect("lists").map(|entry| entry.expect("lists").path());
        let (secrets, publics): (Vec<_>, Vec<_>) = entries.partition(|path| path.extension() == Some("key".as_ref()));
        for path in &secrets {
            let public = fs::read_to_string(path.with_extension("pub")).expect("has a public half");
            let public = public.parse::<PublicKey>().expect("is a key");
            assert_eq!(public, read(path).expect("is a key").public(), "{}", path.display());
        }
        assert_eq!(secrets.len(), publics.len(), "{publics:?}");
        secrets.len()
    }

    #[test]
    fn a_rotation_can_be_interrupted_at_every_step() {
        for cut in 0.. {
            let (dir, config) = host();
            let first = load_or_make(&config).expect("makes it").key.public();
            let mut left = cut;
            let mut step = || match left {
                0 => Err(io::ErrorKind::Interrupted.into()),
                _ => {
                    left -= 1;
                    Ok(())
                }
            };
            if Rotation::of(&config, &mut step).run().is_ok() {
                assert_eq!(cut, 7, "steps");
                return;
            }
            let secret = config.signing_key_path();
            let was_replaced = read(&secret).expect("there is one at any moment").public();
            let rotated = rotate(&config).expect("completes it");
            let expected = if cut == 6 { was_replaced } else { first };
            assert_eq!((rotated.old, read(&rotated.kept).expect("is kept").public()), (expected, expected), "{cut}");
            assert_eq!(read(&secret).expect("is there").public(), rotated.new, "{cut}");
            // After the last rename nothing shows that the call did not end: the next one is another rotation.
            assert_eq!(assert_pairs(&dir.path().join("keys")), if cut == 6 { 3 } else { 2 }, "{cut}");
        }
    }

    #[test]
    fn files_of_a_rotation_that_are_incomplete_are_written_again() {
        let (dir, config) = host();
        let keys = dir.path().join("keys");
        let first = load_or_make(&config).expect("makes it").key.public();
        for damaged in ["signing.next.key", "signing.next.pub", "signing.pub"] {
            fs::write(keys.join(damaged), "untrusted comm").expect("writes");
        }
        let rotated = rotate(&config).expect("rotates");
        assert_eq!((rotated.old, assert_pairs(&keys)), (first, 2));
        // The public half of another key, as on a host that was given a secret key alone.
        fs::write(config.public_key_path(), KEY.parse::<PublicKey>().expect("is a key").to_minisign_string())
            .expect("writes");
        assert_eq!((rotate(&config).expect("rotates").old, assert_pairs(&keys)), (rotated.new, 3));
    }
}
