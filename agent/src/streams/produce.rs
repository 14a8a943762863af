//! Runs the command of a stream to its end, and packs what it writes on the way to the vaults.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use jiff::Timestamp;
use swarmdr_archive::{
    Recipient, SecretKey,
    stream_archive::{self, StreamDraft, StreamEnding, StreamManifest, StreamWriter},
};
use tokio::sync::mpsc;

use super::{fan::Fan, input::Input, previous::Previous};
use crate::{
    host::{shutdown::Shutdown, tail::Tail},
    outcome::{failpoint, failure::Failure, progress::Bar},
};

/// Bytes of the end of a stream that are compared with what the end must be.
const TAIL: usize = 4096;

/// Size that the head is rounded up to: a directory can insert whole blocks in front of a file without copying it.
const HEAD_UNIT: u64 = 4096;

/// Everything that a stream is made with.
#[derive(Debug)]
pub struct Making<'a> {
    pub draft: StreamDraft,
    pub recipients: &'a [Recipient],
    pub level: i32,
    pub key: &'a SecretKey,
    pub previous: Previous,
    /// Time that the command may take.
    pub limit: Duration,
    /// Text that the stream has to end with.
    pub expected_end: Option<&'a str>,
    pub shutdown: &'a Shutdown,
}

/// A piece of a stream on its way to the thread that packs it. A channel that closes without an end is a run that failed.
enum Fed {
    Bytes(Bytes),
    End,
}

/// What the thread that packs returns at the proven end.
struct Packed {
    writer: StreamWriter<Fan>,
    tail: Tail,
}

impl Making<'_> {
    /// Reads the input to its end, and ends the stream in the vaults once its command is known to have succeeded. After
    /// an error nothing was ended, and the command does not go on.
    pub async fn run(self, mut input: Input, fan: Fan, bar: Bar) -> Result<StreamManifest> {
        let writer = StreamWriter::new(self.draft.clone(), self.recipients, self.level, fan)?;
        let limit = self.limit;
        let work = self.shutdown.or_interrupted(async {
            let limited = tokio::time::timeout(limit, read(&mut input, writer, bar)).await;
            limited.unwrap_or_else(|_| Err(too_long(limit)))
        });
        let packed = match work.await {
            Ok(packed) => packed,
            Err(error) => {
                input.abandon().await;
                return Err(error);
            }
        };
        failpoint::reach("stream-read");
        let exit_status = self.ended(input).await?;
        if let Some(text) = self.expected_end
            && !packed.tail.ends_with(text)
        {
            return Err(Failure::failed(format!("the stream does not end with `{text}`, so it is not complete")).into());
        }
        self.seal(packed, exit_status).await
    }

    async fn ended(&self, input: Input) -> Result<Option<i32>> {
        let killer = input.killer();
        let limit = self.limit;
        let wait = async {
            let limited = tokio::time::timeout(limit, input.ended()).await;
            limited.unwrap_or_else(|_| Err(too_long(limit)))
        };
        let ended = self.shutdown.or_interrupted(wait).await;
        if ended.is_err()
            && let Some(killer) = killer
        {
            killer.kill();
        }
        ended
    }

    async fn seal(&self, packed: Packed, exit_status: Option<i32>) -> Result<StreamManifest> {
        let Packed { writer, .. } = packed;
        let Previous { sequence, digest, .. } = self.previous;
        let ending = StreamEnding { sequence: sequence + 1, previous: digest, ended_at: Timestamp::now(), exit_status };
        // What is encrypted may be longer than it was, but not by this much.
        let most = writer.plain_size() + writer.plain_size() / 64 + (1 << 20);
        let room = stream_archive::room(&self.draft, self.recipients, most)?.next_multiple_of(HEAD_UNIT);
        let key = self.key.clone();
        let seal = move || -> Result<StreamManifest> {
            let sealed = writer.finish(ending, &key, room)?;
            failpoint::reach("stream-sealed");
            sealed.sink.finish(sealed.head, sealed.tail);
            Ok(sealed.manifest)
        };
        tokio::task::spawn_blocking(seal).await.context("the sealing ended unexpectedly")?
    }
}

fn too_long(limit: Duration) -> anyhow::Error {
    Failure::failed(format!("the command did not end within {} s and was killed", limit.as_secs()))
        .advice("a longer time: --timeout, or `timeout` of the stream in the configuration")
        .into()
}

/// Feeds the thread that packs until the input ends.
async fn read(input: &mut Input, writer: StreamWriter<Fan>, bar: Bar) -> Result<Packed> {
    let (feed, fed) = mpsc::channel(2);
    let packing = tokio::task::spawn_blocking(move || pack(fed, writer, &bar));
    let forwarded = async {
        while let Some(piece) = input.pieces.recv().await {
            if feed.send(Fed::Bytes(piece?)).await.is_err() {
                // The thread says why.
                return Ok(());
            }
        }
        let _ = feed.send(Fed::End).await;
        anyhow::Ok(())
    };
    let forwarded = forwarded.await;
    drop(feed);
    let packed = packing.await.context("the packing ended unexpectedly")?;
    forwarded?;
    packed
}

fn pack(mut fed: mpsc::Receiver<Fed>, mut writer: StreamWriter<Fan>, bar: &Bar) -> Result<Packed> {
    let mut tail = Tail::new(TAIL);
    loop {
        match fed.blocking_recv() {
            Some(Fed::Bytes(bytes)) => {
                writer.write_all(&bytes)?;
                tail.push(&bytes);
                bar.advance_over(bytes.len() as u64);
            }
            Some(Fed::End) => return Ok(Packed { writer, tail }),
            None => return Err(anyhow!("the stream was not read to its end")),
        }
    }
}
