//! An archive whose bytes are on this host, and the operations on it.
//!
//! [`Fetched::get`] comes first. Each other function reads the archive from its first byte, in a blocking task, and refuses
//! an archive that is not the one whose head was chosen: a vault in the hands of an attacker may send another archive of
//! the same signer and size.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Chain, Cursor, Read, Seek},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use swarm_state::Inventory;
use swarmdr_archive::{Digest, HEAD_LIMIT, Limits, reader};

use super::{
    proof::{self, Opened, ProofResult},
    scratch::Scratch,
    source::Found,
    specs::Specs,
    stage::{self, Staged},
};
use crate::{host::shutdown::Shutdown, keys::Keyring, outcome::progress::Progress, run::Run};

/// All bytes of an archive, as an open file.
#[derive(Debug)]
pub struct Fetched {
    file: File,
    /// Digest of the manifest of the head that was chosen.
    manifest: Digest,
    unpacked_size: u64,
    progress: Progress,
    shutdown: Shutdown,
}

/// An archive from its first byte, the first ones from memory.
type Bytes = Chain<Cursor<Vec<u8>>, BufReader<File>>;

impl Fetched {
    /// Fetches all bytes into an unnamed file in `scratch`, so that nothing of them is left however this process ends.
    /// An archive that is a local file is opened where it is. Nothing is verified.
    pub async fn get(run: &Run<'_>, found: &Found, scratch: &Path) -> Result<Self> {
        let fetch = found.source.fetch(found.head.archive_size, scratch, run.progress);
        let file = run.shutdown.or_interrupted(fetch).await?;
        Ok(Self {
            file,
            manifest: found.head.manifest_digest,
            unpacked_size: found.head.manifest.payload.tar_size,
            progress: run.progress,
            shutdown: run.shutdown.clone(),
        })
    }

    /// Opens the archive at its first byte, after a check that its head is the one that was chosen. The head is read once:
    /// an operator's own file may be replaced while it is read. The inner error is about the archive, the outer one about
    /// this host.
    fn begin(&mut self) -> Result<Result<Bytes, swarmdr_archive::Error>> {
        self.file.rewind()?;
        let mut rest = BufReader::new(self.file.try_clone()?);
        let mut head = Vec::new();
        rest.by_ref().take(HEAD_LIMIT).read_to_end(&mut head)?;
        let is_chosen = reader::read_head(&head[..]).and_then(|head| head.require(self.manifest));
        Ok(is_chosen.map(|()| Cursor::new(head).chain(rest)))
    }

    async fn work<T: Send + 'static>(
        mut self,
        what: &'static str,
        work: impl FnOnce(Bytes, &Shutdown) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let work = move || {
            let archive = self.begin()??;
            work(archive, &self.shutdown)
        };
        tokio::task::spawn_blocking(work).await.with_context(|| format!("the {what} ended unexpectedly"))?
    }

    /// Checks the signature and every stored byte without decrypting the archive, and returns `self`. The inner error
    /// is about the archive, the outer one about this host.
    pub async fn verify_stored(mut self, keyring: &Keyring) -> Result<Result<Self, swarmdr_archive::Error>> {
        let keys = keyring.trusted.clone();
        let verify = move || {
            let verified = self.begin()?.and_then(|archive| reader::verify_stored(archive, &keys));
            Ok(verified.map(|_| self))
        };
        tokio::task::spawn_blocking(verify).await.context("the verification ended unexpectedly")?
    }

    /// Decrypts and checks every byte, but unpacks nothing. Returns the inventory that was recorded when the backup was
    /// made; `None` if it cannot be read.
    pub async fn check(self, keyring: &Keyring) -> Result<Option<Inventory>> {
        let keyring = keyring.clone();
        let check = move |archive: Bytes, _: &Shutdown| {
            let (trusted, identities) = (&keyring.trusted, &keyring.identities);
            let unpacked = reader::unpack(archive, trusted, identities, &Limits::default(), &mut ())?;
            Ok(proof::recorded(&unpacked.contents).ok())
        };
        self.work("check", check).await
    }

    /// Unpacks into the existing, empty directory `staging`, and prepares the state to be put in place.
    pub async fn stage(self, staging: PathBuf, keyring: &Keyring, specs: Specs) -> Result<Staged> {
        let keyring = keyring.clone();
        let bar = self.progress.bytes("unpack", self.unpacked_size);
        let stage = move |archive: Bytes, shutdown: &Shutdown| {
            let unpacked = stage::unpack(archive, &keyring.trusted, &keyring.identities, &staging, bar, shutdown)?;
            stage::make_ready(unpacked, &staging, keyring.state_key(), specs)
        };
        self.work("unpacking", stage).await
    }

    /// Unpacks a state that was formed beforehand into the existing, empty directory `staging`: with what an engine starts
    /// with, since it is to start as the member that it is.
    pub async fn stage_formed(self, staging: PathBuf, keyring: &Keyring) -> Result<Staged> {
        let keyring = keyring.clone();
        let bar = self.progress.bytes("unpack", self.unpacked_size);
        let stage = move |archive: Bytes, shutdown: &Shutdown| {
            let unpacked = stage::unpack(archive, &keyring.trusted, &keyring.identities, &staging, bar, shutdown)?;
            stage::examine(unpacked, &staging, keyring.state_key(), Specs::Skip)
        };
        self.work("unpacking", stage).await
    }

    /// Copies the archive to the new file `path`, which only its owner can read, and flushes it.
    pub async fn copy_to(mut self, path: PathBuf) -> Result<()> {
        let copy = move || -> Result<()> {
            self.file.rewind()?;
            let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            io::copy(&mut BufReader::new(self.file), &mut copy)?;
            Ok(copy.sync_all()?)
        };
        tokio::task::spawn_blocking(copy).await.context("the copying ended unexpectedly")?
    }

    /// Unpacks the state into the existing, empty directory `dir`, with every byte checked.
    pub async fn unpack(self, dir: PathBuf, keyring: &Keyring) -> Result<()> {
        let keyring = keyring.clone();
        let unpack =
            move |archive: Bytes, shutdown: &Shutdown| proof::unpack(archive, &keyring, &dir, shutdown).map(drop);
        self.work("unpacking", unpack).await
    }

    /// Unpacks into `scratch`, which is removed when this returns, and examines the state.
    pub async fn open(self, scratch: Scratch, keyring: &Keyring, specs: Specs) -> Result<Opened> {
        let keyring = keyring.clone();
        let open = move |archive: Bytes, shutdown: &Shutdown| {
            Opened::open(archive, &keyring, &scratch.state()?, specs, shutdown)
        };
        self.work("examination", open).await
    }

    /// Unpacks into `scratch`, which is removed when this returns, and repeats the proof of the backup.
    pub async fn reprove(self, scratch: Scratch, keyring: &Keyring) -> Result<ProofResult> {
        let keyring = keyring.clone();
        let reprove =
            move |archive: Bytes, shutdown: &Shutdown| proof::reprove(archive, &keyring, &scratch.state()?, shutdown);
        self.work("check", reprove).await
    }
}

#[cfg(test)]
mod tests {
    use swarmdr_archive::{Error, TrustedKeys};
    use swarmdr_vault::testkit::archives::{Archive, CLUSTER, archive, key};

    use super::*;
    use crate::{archive::source::Source, config::Config};

    /// The head of one archive, and what a place has under its name.
    async fn fetched(head: &Archive, place: &Archive, keys: &TrustedKeys, scratch: &Path) -> Fetched {
        let path = scratch.join("archive");
        std::fs::write(&path, &place.bytes).expect("is written");
        let head = reader::read_head(&head.bytes[..]).expect("has a head").verify(keys).expect("is signed");
        let found = Found { source: Source::File(path), head, stored: None, findings: Vec::new(), point: None };
        let (config, shutdown) = (Config::default(), Shutdown::default());
        let now = "2026-11-21T12:00:00Z".parse().expect("is a time");
        let run = Run { config: &config, shutdown: &shutdown, progress: Progress::hidden(), now };
        Fetched::get(&run, &found, scratch).await.expect("is here")
    }

    #[tokio::test]
    async fn another_archive_of_the_same_signer_is_not_taken() {
        let key = key();
        let (chosen, other) = (archive(CLUSTER, 1, &key), archive(CLUSTER, 2, &key));
        assert_eq!(chosen.bytes.len(), other.bytes.len());
        let keyring = Keyring { trusted: key.public().into(), ..Keyring::without_archives(None) };
        let scratch = tempfile::tempdir().expect("has room");
        for (place, is_chosen) in [(&chosen, true), (&other, false)] {
            let get = || fetched(&chosen, place, &keyring.trusted, scratch.path());
            let verified = get().await.verify_stored(&keyring).await.expect("this host can read");
            assert_eq!(verified.is_ok(), is_chosen);
            if let Err(error) = verified {
                assert!(matches!(error, Error::OtherArchive { .. }), "{error}");
            }
            let checked = get().await.check(&keyring).await;
            assert_eq!(checked.is_ok(), is_chosen, "{checked:?}");
            let staging = tempfile::tempdir().expect("has room");
            let error =
                get().await.stage(staging.path().to_owned(), &keyring, Specs::Skip).await.expect_err("holds no state");
            let is_other = matches!(error.downcast_ref(), Some(Error::OtherArchive { .. }));
            assert_eq!(is_other, !is_chosen, "{error:#}");
        }
    }
}
