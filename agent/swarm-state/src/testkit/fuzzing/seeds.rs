//! Seeds for a fuzzer: the encrypted parts of a real state, decrypted, in the form that the targets take.

use std::{collections::BTreeSet, path::Path};

use crate::{
    Damage, Error,
    data_key::DataKey,
    envelope::Envelope,
    keys::{KeyFile, UnlockKey},
    snapshot_file::{self, Part},
    state_dir::{NODE_KEY, StateDir},
    testkit::states::bytes,
    wal::{self, Record},
    wire,
};

/// Number of objects of each kind in a snapshot.
const OF_EACH: usize = 2;
/// Maximum number of transactions, all of them different.
const TRANSACTIONS: usize = 10;
/// Maximum number of records of the log, in the form of the target `log`.
const RECORDS: usize = 60;

/// Number of specs of each kind.
const SPECS: usize = 12;

/// Returns pairs of a target and an input.
pub fn of_state(dir: &Path, unlock_key: Option<&UnlockKey>) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let dir = StateDir::open(dir)?;
    let file = KeyFile::parse(&dir.read_required(NODE_KEY)?)?;
    let keys = file.open(unlock_key).map_err(|error| error.of(&file))?.data_keys;
    let mut seeds = vec![("log", log(&dir)?)];
    seeds.extend(entries(&dir, &keys)?.into_iter().map(|entries| ("entries", entries)));
    seeds.extend(snapshot_text(&dir, &keys)?.map(|text| ("snapshot_text", text)));
    seeds.extend(specs(&dir, &keys)?.into_iter().map(|object| ("specs", object)));
    Ok(seeds)
}

/// Returns the seeds of the target `specs`: the first objects that the log creates, of each kind.
fn specs(dir: &StateDir, keys: &[DataKey]) -> Result<Vec<Vec<u8>>, Error> {
    // Fields of `StoreAction`, in the order of the target's kinds.
    const FIELDS: [u32; 5] = [3, 5, 7, 10, 11];
    let start = snapshot_file::readable(dir)?.0.map_or(0, |snapshot| snapshot.mark.index);
    let segments = wal::segments(dir, start)?;
    let mut reader = wal::Reader::new(dir, &segments);
    let mut all: [Vec<Vec<u8>>; 5] = Default::default();
    while let Some((_, record)) = reader.next()? {
        let Record::Entry(entry) = record else { continue };
        let text = Envelope::parse(entry.data).ok().and_then(|envelope| envelope.open(keys).ok());
        let Some(text) = text else { continue };
        for (kind, field) in FIELDS.into_iter().enumerate() {
            if let Some(object) = wire::find(&text, &[2, field])
                && all[kind].len() < SPECS
            {
                all[kind].push([&[kind as u8][..], object].concat());
            }
        }
    }
    Ok(all.concat())
}

/// Returns the seed of the target `log`. A record with a number above the range of the target is skipped.
fn log(dir: &StateDir) -> Result<Vec<u8>, Error> {
    let segments = wal::segments(dir, 0)?;
    let mut reader = wal::Reader::new(dir, &segments);
    let mut seed = vec![0, 0];
    while let Some((_, record)) = reader.next()? {
        let numbers = match record {
            Record::Metadata(_) => continue,
            Record::Entry(entry) => [1, entry.term, entry.index],
            Record::State(state) => [3, state.term, state.commit],
            Record::Snapshot(mark) => [4, mark.index, mark.term],
        };
        if numbers.iter().all(|number| *number < 0xf0) && seed.len() < 3 * RECORDS {
            seed.extend(numbers.map(|number| number as u8));
        }
    }
    Ok(seed)
}

/// Returns the seeds of the target `entries`. Of entries with equal first bytes only one is taken. Entries before the
/// snapshot are skipped: they may be encrypted with an older key.
fn entries(dir: &StateDir, keys: &[DataKey]) -> Result<Vec<Vec<u8>>, Error> {
    let start = snapshot_file::readable(dir)?.0.map_or(0, |snapshot| snapshot.mark.index);
    let segments = wal::segments(dir, start)?;
    let mut reader = wal::Reader::new(dir, &segments);
    let (mut known, mut all) = (BTreeSet::new(), Vec::new());
    while let Some((position, record)) = reader.next()? {
        let Record::Entry(entry) = record else { continue };
        if entry.index <= start || all.len() == TRANSACTIONS {
            continue;
        }
        let closed = |why: &str| Damage::corrupt(&segments[position.segment].file, position.offset, why);
        let envelope = Envelope::parse(entry.data).map_err(|bad| closed(bad.why))?;
        let text = envelope.open(keys).map_err(|_| closed("does not open"))?;
        // After the id of the request: the verb, and the field of the object.
        let sort: Vec<u8> = text.iter().skip(text.len().min(12)).take(8).copied().collect();
        if !text.is_empty() && known.insert(sort) {
            let len = u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes();
            all.push([&len[..], &text].concat());
        }
    }
    Ok(all)
}

fn snapshot_text(dir: &StateDir, keys: &[DataKey]) -> Result<Option<Vec<u8>>, Error> {
    let Some(snapshot) = snapshot_file::readable(dir)?.0 else { return Ok(None) };
    let mut text = snapshot.open_text(dir, keys)?;
    let (mut members, mut store, mut counts) = (Vec::new(), Vec::new(), [0; 64]);
    while let Ok(Some(part)) = text.next() {
        match part {
            Part::Membership(content) => members = bytes(2, &content),
            Part::Object(tag, content) => {
                let count = &mut counts[tag as usize % 64];
                *count += 1;
                if *count <= OF_EACH {
                    store.extend(bytes(tag, &content));
                }
            }
        }
    }
    Ok(Some([members, bytes(3, &store)].concat()))
}
