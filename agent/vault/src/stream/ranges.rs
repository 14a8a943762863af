//! Reads a section of a version in ranges, several of them ahead.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::{Vault, VaultError, VersionRef, fetch::read_into};

/// Room behind a range in its buffer, without which the end of the stream could not be seen before the buffer grows.
const SLACK: usize = 64;

/// The bytes of a section of one version, as ranges of equal size in their order; the last may be shorter.
///
/// Nothing is verified here: the caller compares each range with a digest that was signed. `ahead` ranges are read at the
/// same time, also while the caller is busy with another one, so at most `ahead + 1` ranges are in memory. Each goes on
/// where it was if its connection breaks. Dropping this ends the reads. Needs a runtime of tokio.
#[derive(Debug)]
pub struct Ranges {
    vault: Arc<dyn Vault>,
    at: VersionRef,
    /// The section of which no range is being read yet.
    left: Range<u64>,
    size: u64,
    ahead: usize,
    reading: VecDeque<Reading>,
}

/// A range that is being read, until this is dropped.
#[derive(Debug)]
struct Reading(JoinHandle<Result<Vec<u8>, VaultError>>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Ranges {
    /// Reads nothing yet. `size` is the number of bytes of a range; neither it nor `ahead` is less than 1.
    pub fn new(vault: Arc<dyn Vault>, at: VersionRef, section: Range<u64>, size: u64, ahead: usize) -> Self {
        Self { vault, at, left: section, size: size.max(1), ahead: ahead.max(1), reading: VecDeque::new() }
    }

    /// Returns the next range; `None` at the end, and after an error. An error is one that trying again from there did
    /// not overcome.
    pub async fn next(&mut self) -> Option<Result<Bytes, VaultError>> {
        while self.reading.len() < self.ahead && !self.left.is_empty() {
            self.read_ahead();
        }
        let mut first = self.reading.pop_front()?;
        let read = match (&mut first.0).await {
            Ok(read) => read,
            Err(failed) => Err(VaultError::Other {
                vault: self.vault.address().into(),
                action: format!("read `{}`", self.at.key),
                detail: failed.to_string(),
            }),
        };
        if read.is_err() {
            self.reading.clear();
            self.left = 0..0;
        }
        Some(read.map(Bytes::from))
    }

    fn read_ahead(&mut self) {
        let end = self.left.end.min(self.left.start.saturating_add(self.size));
        let range = self.left.start..end;
        self.left.start = end;
        let (vault, at) = (Arc::clone(&self.vault), self.at.clone());
        self.reading.push_back(Reading(tokio::spawn(async move {
            let room = usize::try_from(range.end - range.start).unwrap_or(0);
            read_into(&*vault, &at, range, Vec::with_capacity(room + SLACK)).await
        })));
    }
}
