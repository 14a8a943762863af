//! Cuts a stream of more than one part, and sends the parts while it runs.

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::{Payload, payload::Piece, plan::Plan};
use crate::{Placed, SentPart, Source, Vault, VaultError, parts::Sending};

/// All parts of a stream, and what the vault answered when it was to put them together.
pub(super) struct Outcome {
    pub sent: Vec<SentPart>,
    pub completion: Result<Option<Placed>, VaultError>,
}

/// A stream of more than one part.
pub(super) struct Stream<'a> {
    vault: &'a dyn Vault,
    key: &'a str,
    plan: &'a Plan,
    sending: &'a Sending<'a>,
    /// The first bytes of the payload, which become the end of part 1.
    held: Bytes,
    filling: Filling,
    /// Number of the part that fills.
    number: u32,
    /// Bytes of all parts that were cut, but for part 1.
    offset: u64,
    on_their_way: FuturesUnordered<BoxFuture<'a, Result<SentPart, VaultError>>>,
    bytes_on_their_way: u64,
    sent: Vec<SentPart>,
}

impl<'a> Stream<'a> {
    pub fn new(vault: &'a dyn Vault, key: &'a str, plan: &'a Plan, sending: &'a Sending<'a>, held: Bytes) -> Self {
        Self {
            vault,
            key,
            plan,
            sending,
            held,
            filling: Filling::of(0),
            number: 1,
            offset: 0,
            on_their_way: FuturesUnordered::new(),
            bytes_on_their_way: 0,
            sent: Vec::new(),
        }
    }

    /// Sends everything, part 1 last, and has it put together.
    pub async fn run(mut self, rest: Bytes, mut payload: Payload) -> Result<Outcome, VaultError> {
        self.begin_part(2)?;
        self.take(rest).await?;
        let ending = loop {
            tokio::select! {
                Some(sent) = self.on_their_way.next(), if !self.on_their_way.is_empty() => self.note(sent?),
                piece = payload.next() => match piece {
                    Some(Piece::Bytes(bytes)) => self.take(bytes).await?,
                    Some(Piece::End(ending)) => break ending,
                    None => return Err(abandoned(self.vault, self.key)),
                },
            }
        };
        self.take(ending.tail).await?;
        self.send_off().await?;
        while let Some(sent) = self.on_their_way.next().await {
            self.note(sent?);
        }
        let first = Source::Memory(vec![ending.head, self.held]);
        self.sent.push(self.sending.send(1, 0, first).await?);
        self.sent.sort_by_key(|part| part.number);
        let completion = self.sending.complete(&self.sent).await;
        Ok(Outcome { sent: self.sent, completion })
    }

    fn begin_part(&mut self, number: u32) -> Result<(), VaultError> {
        let size = self.plan.size_of(number).ok_or_else(|| self.plan.too_long(self.vault, self.key))?;
        self.number = number;
        self.filling = Filling::of(size);
        Ok(())
    }

    /// Takes bytes into the part that fills, and sends parts as they are full and more follows.
    async fn take(&mut self, mut bytes: Bytes) -> Result<(), VaultError> {
        loop {
            self.filling.fill(&mut bytes);
            if bytes.is_empty() {
                return Ok(());
            }
            self.send_off().await?;
            self.begin_part(self.number + 1)?;
        }
    }

    /// Begins to send the part that was filled, once the bounds leave room for it and for the next one.
    async fn send_off(&mut self) -> Result<(), VaultError> {
        let (part, number) = (self.filling.take(), self.number);
        let size = part.len() as u64;
        let next = self.plan.size_of(number + 1).unwrap_or(0);
        while !self.plan.has_room((self.on_their_way.len(), self.bytes_on_their_way), size, next) {
            if let Some(sent) = self.on_their_way.next().await {
                self.note(sent?);
            }
        }
        let sending = self.sending;
        let part = sending.send(number, self.offset, Source::Memory(vec![part]));
        self.on_their_way.push(Box::pin(part));
        self.bytes_on_their_way += size;
        self.offset += size;
        Ok(())
    }

    fn note(&mut self, sent: SentPart) {
        self.bytes_on_their_way -= sent.size;
        self.sent.push(sent);
    }
}

/// A part that fills. Bytes are copied into one buffer, so that small pieces cost no more memory than they have.
pub(super) struct Filling {
    size: usize,
    bytes: Vec<u8>,
}

impl Filling {
    pub fn of(size: u64) -> Self {
        Self { size: usize::try_from(size).unwrap_or(usize::MAX), bytes: Vec::new() }
    }

    /// Takes as many bytes as have room.
    pub fn fill(&mut self, bytes: &mut Bytes) {
        let taken = bytes.split_to(bytes.len().min(self.size - self.bytes.len()));
        if self.bytes.capacity() == 0 && !taken.is_empty() {
            // The whole at once: growing would copy, and hold up to three times the bytes meanwhile. Pages that are
            // not written to cost nothing.
            self.bytes.reserve_exact(self.size);
        }
        self.bytes.extend_from_slice(&taken);
    }

    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).into()
    }
}

pub(super) fn abandoned(vault: &dyn Vault, key: &str) -> VaultError {
    VaultError::Abandoned { vault: vault.address().into(), key: key.to_owned() }
}
