//! Damages fixtures byte by byte: each time the reader must name the place, or read exactly the same state.
//!
//! By default one bit of a sample of the bytes is flipped; `SWARMDR_TEST_FULL=1` flips each bit of all of them.
//!
//! Most of the time of a full examination is spent on the keys, which a flip in the log or in a snapshot does not
//! change. So those are first examined through a second directory with the same files and a locked key: the reader
//! checks frames, checksums and indexes there, decrypts nothing, and needs a tenth of the time. Damage that passes this
//! check gets the full examination, and so does a sample of the damage that does not: both must name the same place.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use swarm_state::{self, Damage, Error, Examined, Proof, Warning};
use swarmdr_tests::campaign::full;
use tempfile::TempDir;

use crate::fixture::{Fixture, PLANTED};

const WAL: &str = "raft/wal-v3-encrypted";
const SNAP: &str = "raft/snap-v3-encrypted";
const CERTIFICATES: [&str; 3] =
    ["certificates/swarm-node.crt", "certificates/swarm-node.key", "certificates/swarm-root-ca.crt"];

/// Longest record of these fixtures, in bytes, so damage is named at most this far before the changed byte.
const RECORD_MAX: u64 = 64 * 1024;
/// One in this many flips that the quick check has placed gets the full examination too.
const LOOK_AGAIN: u64 = 97;

/// Length of the longest number in these files, in bytes.
const NUMBER_MAX: u64 = 10;

#[test]
fn every_flip_in_the_log_is_placed_or_harmless() -> Result<()> {
    let campaign = Campaign::new("28.5.2", "plain")?;
    campaign.flip(&campaign.fixture.files(WAL)?[0], (11, 1))?;
    let campaign = Campaign::new("20.10.24", "locked")?;
    campaign.flip(&campaign.fixture.files(WAL)?[0], (61, 1))
}

#[test]
fn every_flip_in_a_snapshot_is_placed_or_harmless() -> Result<()> {
    let campaign = Campaign::new("28.5.2", "snapshots")?;
    campaign.flip(&campaign.fixture.files(SNAP)?[0], (7, 1))
}

#[test]
fn every_flip_in_keys_and_certificates_is_placed_or_harmless() -> Result<()> {
    for (engine, kind) in [("28.5.2", "plain"), ("26.1.5", "locked")] {
        let campaign = Campaign::new(engine, kind)?;
        for file in CERTIFICATES {
            campaign.flip(file, (1, 1))?;
        }
    }
    Ok(())
}

#[test]
fn every_truncation_is_placed_or_harmless() -> Result<()> {
    let campaign = Campaign::new("28.5.2", "snapshots")?;
    campaign.truncate(&campaign.fixture.files(WAL)?[0], 31)?;
    campaign.truncate(&campaign.fixture.files(SNAP)?[0], 13)?;
    for file in CERTIFICATES {
        campaign.truncate(file, 1)?;
    }
    Ok(())
}

/// Zeros from the end of a record up to the end of the log look like a shorter log. Nothing in the format tells them
/// apart; for that, a backup has digests and the index that the engine reported.
#[test]
fn a_hole_of_zeros_in_the_log_is_placed() -> Result<()> {
    const HOLE: usize = 512;
    let campaign = Campaign::new("26.1.5", "snapshots")?;
    let file = campaign.fixture.files(WAL)?.remove(0);
    let target = Target::open(&campaign, &file)?;
    let end = target.content.iter().rposition(|byte| *byte != 0).context("content")?;
    for at in (0..end - HOLE).step_by(if full() { 37 } else { HOLE }) {
        if target.content[at..][..HOLE].iter().all(|byte| *byte == 0) {
            continue;
        }
        target.file.write_all_at(&[0; HOLE], at as u64)?;
        let place = campaign.must_be_placed(&format!("zeros from {at}"))?;
        assert!(place.file == file && place.offset <= (at + HOLE) as u64, "zeros from {at}: {place}");
        target.restore()?;
    }
    campaign.must_be_whole("after all")
}

/// A fixture, and the result of examining it while it is whole.
struct Campaign {
    /// Engine and kind of the fixture.
    name: (&'static str, &'static str),
    fixture: Fixture,
    /// Directory with the same files, hard-linked, and with the locked key of another swarm.
    sealed: TempDir,
    whole: Examined,
    /// Pieces of the keys and of planted values, none of which an error may quote.
    secrets: Vec<String>,
}

/// A file of the fixture that is being damaged.
struct Target {
    file: File,
    /// Content up to the last byte that is not zero, and 20 bytes more.
    content: Vec<u8>,
    len: u64,
}

impl Campaign {
    fn new(engine: &'static str, kind: &'static str) -> Result<Self> {
        let fixture = Fixture::unpack(engine, kind)?;
        let whole = fixture.examine()?;
        assert_eq!(whole.proof, Proof::Proven);
        // Damage may remove the first character, so the pieces begin later.
        let key_file = fs::read_to_string(fixture.state().join("certificates/swarm-node.key"))?;
        let long = key_file.split([' ', '\n']).filter(|word| word.len() > 40);
        let mut secrets: Vec<_> = long.map(|word| word[word.len() - 20..].to_owned()).collect();
        assert!(secrets.len() >= 3, "a data key and the lines of the TLS key");
        secrets.push(PLANTED.to_owned());
        let sealed = sealed(&fixture)?;
        Ok(Self { name: (engine, kind), fixture, sealed, whole, secrets })
    }

    /// Flips one bit of every nth byte, or in the full campaign each bit; `steps` are those of a sample and of the full
    /// campaign.
    fn flip(&self, file: &str, steps: (usize, usize)) -> Result<()> {
        let target = Target::open(self, file)?;
        let bits = if full() { 0..8 } else { 0..1 };
        let mut tally = Tally::default();
        for at in (0..target.content.len()).step_by(if full() { steps.1 } else { steps.0 }) {
            for bit in bits.clone() {
                // The flips are spread over the bits, so that a sample has each of them.
                let flipped = target.content[at] ^ (1 << ((at + bit) % 8));
                target.file.write_all_at(&[flipped], at as u64)?;
                let place = self.look(&tally, file, &format!("{file}: byte {at} is {flipped:#04x}"))?;
                tally.count(place, file, at as u64);
                target.file.write_all_at(&target.content[at..=at], at as u64)?;
            }
        }
        tally.print(self.name, file, "flips");
        self.must_be_whole(file)
    }

    /// Truncates the file to every `step`th length up to its content's end.
    fn truncate(&self, file: &str, step: usize) -> Result<()> {
        let target = Target::open(self, file)?;
        let mut tally = Tally::default();
        for len in (0..target.content.len() as u64).rev().step_by(if full() { 1 } else { step }) {
            target.file.set_len(len)?;
            let place = self.look(&tally, file, &format!("{file}: cut to {len} bytes"))?;
            tally.count(place, file, len);
        }
        target.restore()?;
        tally.print(self.name, file, "cuts");
        self.must_be_whole(file)
    }

    /// Like [`Campaign::place`], by the quick check if that is enough.
    fn look(&self, tally: &Tally, file: &str, what: &str) -> Result<Option<Damage>> {
        let glance = if file.starts_with("raft/") { self.glance(what)? } else { None };
        if glance.is_some() && !tally.placed.is_multiple_of(LOOK_AGAIN) {
            return Ok(glance);
        }
        let place = self.place(what)?;
        assert!(glance.is_none() || glance == place, "{what}: {glance:?} at a glance, then {place:?}");
        Ok(place)
    }

    /// Returns where the reader places the damage without decrypting anything.
    fn glance(&self, what: &str) -> Result<Option<Damage>> {
        match swarm_state::examine(self.sealed.path(), None) {
            Ok(Examined { proof: Proof::Sealed(_), warnings, .. }) => Ok(passed_over(&warnings)),
            Ok(Examined { proof: Proof::Unproven(place), .. }) => {
                self.must_be_discreet(&place, what);
                Ok(Some(place))
            }
            other => bail!("{what}: {other:?}"),
        }
    }

    /// Returns where the reader places the damage; `None` if it reads exactly the same state.
    fn place(&self, what: &str) -> Result<Option<Damage>> {
        let place = match self.fixture.examine() {
            Ok(Examined { proof: Proof::Unproven(place), .. }) | Err(Error::Damaged(place)) => place,
            // The engine does not check who issued a root; everything that it checks is as before.
            Ok(examined) if examined.warnings.contains(&Warning::RootCaDiffers) => {
                Damage { file: CERTIFICATES[2].to_owned(), offset: 0, why: String::new(), kind: KIND }
            }
            Ok(examined) => match passed_over(&examined.warnings) {
                Some(place) => place,
                None => {
                    assert_eq!(self.comparable(&examined), self.comparable(&self.whole), "{what}");
                    return Ok(None);
                }
            },
            // A role other than a manager's is as good as a place: the state is not taken for a backup.
            Err(error @ (Error::NotAManager { .. } | Error::WrongUnlockKey { .. })) => {
                Damage { file: "certificates/".to_owned(), offset: 0, why: error.to_string(), kind: KIND }
            }
            Err(error) => return Err(error).with_context(|| what.to_owned()),
        };
        self.must_be_discreet(&place, what);
        Ok(Some(place))
    }

    fn must_be_discreet(&self, place: &Damage, what: &str) {
        let shown = place.to_string();
        assert!(!self.secrets.iter().any(|secret| shown.contains(secret)), "{what}: {place}");
    }

    fn must_be_placed(&self, what: &str) -> Result<Damage> {
        self.place(what)?.with_context(|| format!("{what}: not noticed"))
    }

    fn must_be_whole(&self, what: &str) -> Result<()> {
        assert_eq!(self.place(what)?, None, "the campaign restores what it damages");
        Ok(())
    }

    /// Returns everything except the version of the unlock key, which is a plain number that nothing protects.
    fn comparable(&self, examined: &Examined) -> Examined {
        let mut examined = examined.clone();
        if let Some(key) = &mut examined.identity.key {
            key.kek_version = 0;
        }
        examined
    }
}

/// Returns damage that an engine starts with anyway, and that the reader reports: a damaged snapshot that the log makes
/// up for, and a log that ends right after a record.
fn passed_over(warnings: &[Warning]) -> Option<Damage> {
    warnings.iter().find_map(|warning| match warning {
        Warning::SnapshotPassedOver { first } => Some(first.clone()),
        Warning::ShortTail { file, offset } => {
            Some(Damage { file: file.clone(), offset: *offset, why: warning.to_string(), kind: KIND })
        }
        _ => None,
    })
}

/// Makes a directory in which the files of a state can be examined without its key.
fn sealed(fixture: &Fixture) -> Result<TempDir> {
    let (dir, locked) = (tempfile::tempdir()?, Fixture::unpack("28.5.2", "locked")?);
    let linked =
        Command::new("cp").arg("--archive").arg("--link").arg(fixture.state().join(".")).arg(dir.path()).status()?;
    ensure!(linked.success(), "cp cannot link the files of {:?}", fixture.state());
    let key = dir.path().join(CERTIFICATES[1]);
    fs::remove_file(&key)?;
    fs::copy(locked.state().join(CERTIFICATES[1]), key)?;
    Ok(dir)
}

/// Results of the damage to one file.
#[derive(Default)]
struct Tally {
    placed: u64,
    harmless: u64,
}

impl Tally {
    fn count(&mut self, place: Option<Damage>, file: &str, at: u64) {
        match place {
            Some(place) => {
                check_place(&place, file, at);
                self.placed += 1;
            }
            None => self.harmless += 1,
        }
    }

    /// Prints one row of the table of a full campaign.
    fn print(&self, (engine, kind): (&str, &str), file: &str, what: &str) {
        let Self { placed, harmless } = self;
        let all = placed + harmless;
        let file = file.rsplit('/').next().unwrap_or(file);
        eprintln!(
            "{engine:9}{kind:10} {file:37} {all:>8} {what:6} {placed:>8} placed, {harmless:>6} read the very same"
        );
    }
}

const KIND: swarm_state::DamageKind = swarm_state::DamageKind::Corrupt;

/// Checks the place. In files of framed records it is the record that was hit; keys and certificates are one piece
/// each, and some damage to them shows only where they are used.
fn check_place(place: &Damage, file: &str, at: u64) {
    if file.starts_with("raft/") {
        // A changed length is noticed where the record then ends.
        let near = place.offset <= at + NUMBER_MAX && at < place.offset + RECORD_MAX;
        // A log that ends before the snapshot next to it is a matter of the whole directory.
        let is_placed = place.file == file && near || file.starts_with(&place.file) && place.offset == 0;
        assert!(is_placed, "{file}, byte {at}: {place}");
    } else {
        let used = ["certificates/", WAL, SNAP].iter().any(|used| place.file.starts_with(used));
        assert!(used, "{file}, byte {at}: {place}");
    }
}

impl Target {
    fn open(campaign: &Campaign, file: &str) -> Result<Self> {
        let path = campaign.fixture.state().join(file);
        let bytes = fs::read(&path)?;
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let content = bytes[..bytes.len().min(end + 20)].to_vec();
        let file = OpenOptions::new().write(true).open(&path)?;
        Ok(Self { file, content, len: bytes.len() as u64 })
    }

    /// Restores the content and the hole behind it.
    fn restore(&self) -> Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(&self.content, 0)?;
        Ok(self.file.set_len(self.len)?)
    }
}
