//! Hands a stored stream to a program, or to standard output.

use std::{
    io::{self, Read},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use swarmdr_archive::{
    Identities,
    stream_archive::{ListedStream, StreamHead},
};
use swarmdr_vault::{Ranges, Vault, VersionRef, read_range};
use tokio::sync::{mpsc, oneshot};

use super::output::Output;
use crate::{
    keys::identities,
    outcome::{failure::Failure, progress::Bar},
    run::Run,
};

/// Bytes of a request: two chunks.
const RANGE: u64 = 8 << 20;

/// Requests that are ahead of the one whose bytes are handed on.
const AHEAD: usize = 4;

/// Time that a program gets to die.
const DYING: Duration = Duration::from_secs(10);

/// A stream whose head verified.
#[derive(Debug)]
pub struct Chosen {
    pub vault: Arc<dyn Vault>,
    pub at: VersionRef,
    pub head: StreamHead,
    /// What the operator should look at in the vaults.
    pub findings: Vec<String>,
}

/// Hands the stream on. Returns its verified head, once every byte was verified and the receiver has succeeded. On any
/// error the receiver was ended before it saw an end.
pub async fn get(run: &Run<'_>, chosen: Chosen, identities: Arc<Identities>, output: Output) -> Result<ListedStream> {
    get_within(run, chosen, identities, output, None).await
}

/// Does what [`get`] does. A receiver that has not ended by the limit is ended too.
pub(super) async fn get_within(
    run: &Run<'_>,
    chosen: Chosen,
    identities: Arc<Identities>,
    output: Output,
    limit: Option<Duration>,
) -> Result<ListedStream> {
    let Chosen { vault, at, head, .. } = chosen;
    if output.opens() {
        identities::require_any(&identities, "stream", &head.manifest.payload.recipients)?;
    }
    let what = format!("the stream {} {} in {}", head.manifest.name, head.manifest.id, vault.address());
    let list = head.list_offset..head.payload_offset;
    let payload = head.payload_offset..head.archive_size;
    let bar = run.progress.bytes("fetch", payload.end - payload.start);
    let read = read_range(vault.as_ref(), &at, list);
    let list = run.shutdown.or_interrupted(async { Ok(read.await?) }).await;
    let list = list.with_context(|| format!("failed to read the list of chunks of {what}"))?;
    let listed = head.with_list(&list[..]).with_context(|| format!("{what} is not what was signed"))?;
    let ranges = Ranges::new(vault, at, payload, RANGE, AHEAD);
    let stopper = output.stopper();
    let (feed, fed) = mpsc::channel(1);
    let (told, mut outcome) = oneshot::channel();
    // A thread of its own: one that waits for its receiver must not keep this process from ending.
    thread::spawn(move || {
        let handed = hand_on(&listed, fed, &identities, output, &bar);
        // Nobody waits any more after an interruption.
        let _ = told.send(handed.map(|()| listed));
    });
    let work = async {
        let ((), outcome) = futures_util::join!(fetch(ranges, feed), &mut outcome);
        outcome
    };
    let work = async {
        match limit {
            None => Ok(work.await),
            Some(limit) => tokio::time::timeout(limit, work).await.map_err(|_| too_long(limit)),
        }
    };
    let outcome = match run.shutdown.or_interrupted(work).await {
        Ok(outcome) => outcome,
        Err(error) => {
            stopper.stop();
            // So that the program is gone when this process is.
            let _ = tokio::time::timeout(DYING, outcome).await;
            return Err(error);
        }
    };
    outcome.context("the reading ended unexpectedly")?.with_context(|| format!("failed to hand on {what}"))
}

fn too_long(limit: Duration) -> anyhow::Error {
    Failure::failed(format!("the command did not end within {} s and was killed", limit.as_secs()))
        .advice("a longer time: `drill_timeout` of the stream in the configuration")
        .into()
}

/// A range, or why there is none. A channel that closes without an end is a run that was given up.
type Fed = Result<Option<Bytes>, io::Error>;

async fn fetch(mut ranges: Ranges, feed: mpsc::Sender<Fed>) {
    while let Some(range) = ranges.next().await {
        let range = range.map(Some).map_err(io::Error::other);
        if feed.send(range).await.is_err() {
            // The thread says why.
            return;
        }
    }
    let _ = feed.send(Ok(None)).await;
}

/// Reads what was fetched, in a thread that may block.
struct FedReader<'a> {
    fed: mpsc::Receiver<Fed>,
    current: Bytes,
    is_over: bool,
    bar: &'a Bar,
}

impl Read for FedReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.is_over {
            match self.fed.blocking_recv() {
                Some(Ok(Some(bytes))) => self.current = bytes,
                Some(Ok(None)) => self.is_over = true,
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::other("the run was ended")),
            }
        }
        let read = into.len().min(self.current.len());
        self.current.copy_to_slice(&mut into[..read]);
        self.bar.advance(read as u64);
        Ok(read)
    }
}

/// Verifies, opens and hands on every byte. On an error the receiver is ended before it sees an end.
fn hand_on(
    listed: &ListedStream,
    fed: mpsc::Receiver<Fed>,
    identities: &Identities,
    mut output: Output,
    bar: &Bar,
) -> Result<()> {
    let input = FedReader { fed, current: Bytes::new(), is_over: false, bar };
    let read = match output.opens() {
        true => listed.unpack(input, identities, &mut output),
        false => listed.check(input),
    };
    match read {
        Ok(()) => output.finish(),
        Err(error) => {
            let became = output.cut_off();
            Err(Failure::failed(became).because(error).into())
        }
    }
}
