//! Objects in memory that are put together of parts.

use async_trait::async_trait;
use swarmdr_archive::Digest;
use tokio::io::AsyncReadExt;

use super::MemoryVault;
use crate::{Draft, Part, Parts, Placed, Progress, SentPart, Source, VaultError, parts::checksum_of};

/// The parts of one object.
#[derive(Debug)]
pub(super) struct MemoryParts<'a> {
    pub vault: &'a MemoryVault,
    pub id: u64,
    pub draft: Draft,
}

impl Drop for MemoryParts<'_> {
    fn drop(&mut self) {
        self.vault.state().begun.remove(&self.id);
    }
}

#[async_trait]
impl Parts for MemoryParts<'_> {
    async fn put(&self, part: &Part, progress: Progress<'_>) -> Result<SentPart, VaultError> {
        progress(0);
        let content = read_all(&part.source).await?;
        // Others take their turn, as over a network.
        tokio::task::yield_now().await;
        let (size, sha256) = (content.len() as u64, *Digest::of(&content).as_bytes());
        if sha256 != part.sha256 || size > self.vault.limits.largest || part.number > self.vault.limits.most {
            return Err(self.vault.wrong(
                &self.draft.key,
                "store a part of",
                format!("{} of {size} bytes", part.number),
            ));
        }
        let mut state = self.vault.state();
        let begun = state.begun.get_mut(&self.id).ok_or_else(|| self.vault.not_found(&self.draft.key))?;
        begun.parts.insert(part.number, content);
        drop(state);
        progress(size);
        Ok(SentPart { number: part.number, size, sha256, etag: None })
    }

    async fn complete(&self, sent: &[SentPart]) -> Result<Option<Placed>, VaultError> {
        let (vault, key) = (self.vault, &self.draft.key);
        let action = "put together";
        let mut state = vault.state();
        vault.refuse_taken(&state, key)?;
        let mut begun = state.begun.remove(&self.id).ok_or_else(|| vault.not_found(key))?;
        let mut content = Vec::new();
        for (number, part) in (1..).zip(sent) {
            let bytes = begun.parts.remove(&number).filter(|bytes| Digest::of(bytes).as_bytes() == &part.sha256);
            let bytes = bytes.ok_or_else(|| vault.wrong(key, action, format!("part {number} is another one")))?;
            if (bytes.len() as u64) < vault.limits.smallest && (number as usize) < sent.len() {
                return Err(vault.wrong(key, action, format!("part {number} has only {} bytes", bytes.len())));
            }
            content.extend(bytes);
        }
        let lock = vault.policy.map(|policy| policy.lock_from(self.draft.now));
        let at = state.push(key, Some(content), lock, self.draft.now);
        let checksum = checksum_of(sent);
        if let Some(version) = state.keys.get_mut(key).and_then(|entries| entries.last_mut()) {
            version.of_parts = Some(checksum);
        }
        Ok(Some(Placed { at, checksum, read_back: false }))
    }

    /// Dropping it is enough.
    async fn abort(self: Box<Self>) {}
}

pub(super) async fn read_all(source: &Source) -> Result<Vec<u8>, VaultError> {
    let mut content = Vec::new();
    let read = async { source.open().await?.read_to_end(&mut content).await };
    read.await.map_err(|error| source.unread(error))?;
    Ok(content)
}
