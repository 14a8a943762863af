//! Objects in parts: each part is verified by its SHA-256, and all are dropped if one cannot be sent.
//!
//! A file and a stream take the same way. Ceph 20 and AWS accept parts in any order, part 1 last, and a part 1 that is
//! longer than the others; the suite `vault` of the tests shows it on Ceph, together with SHA-256 per part, a lock given
//! at the beginning, and a completion that is refused if the key is taken.

use std::{
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use data_encoding::BASE64;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{S3Vault, body, client, unfinished::PendingUpload};
use crate::{
    Draft, Part, PartLimits, Parts, Placed, Progress, SentPart, Upload, VaultError,
    parts::{PARALLEL_PARTS, Patience, Sending, checksum_of},
    settings::{MAX_PART_SIZE, MIN_PART_SIZE},
};

/// What S3 takes.
pub(super) const LIMITS: PartLimits = PartLimits { smallest: MIN_PART_SIZE, largest: MAX_PART_SIZE, most: 10_000 };

/// A server puts the parts together before it answers; S3 says that this can take minutes.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(600);

impl S3Vault {
    pub(super) async fn put_in_parts(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError> {
        let Upload { key, metadata, now, .. } = upload.clone();
        let parts: Box<dyn Parts + '_> = Box::new(self.begin_parts(&Draft { key, metadata, now }).await?);
        let placed = self.send_file(upload, &*parts, progress).await;
        if placed.is_err() {
            parts.abort().await;
        }
        placed
    }

    async fn send_file(
        &self,
        upload: &Upload,
        parts: &dyn Parts,
        progress: Progress<'_>,
    ) -> Result<Placed, VaultError> {
        let sending = Sending::new((&self.address, &upload.key), parts, Patience::OF_FILE, progress);
        let cuts = || plan(upload.size, self.target.part_size);
        let behind_first = cuts().next().map_or(0, |(_, range)| range.end);
        let sent: Vec<SentPart> = stream::iter(cuts())
            .map(|(number, range)| {
                let offset = range.start.saturating_sub(behind_first);
                sending.send(number, offset, upload.source.section(range))
            })
            .buffered(PARALLEL_PARTS)
            .try_collect()
            .await?;
        sending.complete(&sent).await?.ok_or_else(|| {
            let action = format!("complete the multipart upload of `{}`", upload.key);
            self.unreachable(action, "an earlier attempt seems to have done it, and its answer was lost")
        })
    }

    pub(super) async fn begin_parts(&self, draft: &Draft) -> Result<S3Parts<'_>, VaultError> {
        let lock = self.lock_headers(draft.now);
        let key = self.full_key(&draft.key);
        let action = "begin a multipart upload of";
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&self.target.bucket)
            .key(&key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .object_lock_mode(lock.mode)
            .object_lock_retain_until_date(lock.until)
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.target.kms_key_id.clone())
            .set_metadata(Some(draft.metadata.iter().cloned().collect()))
            .customize()
            .config_override(client::one_attempt())
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(self.explain(self.error(action, &draft.key, error)).await),
        };
        let id = answer.upload_id.ok_or_else(|| VaultError::Other {
            vault: self.address.clone(),
            action: format!("{action} `{}`", draft.key),
            detail: "the server gave no upload id".into(),
        })?;
        let upload = PendingUpload::new(self.client.clone(), &self.target.bucket, key, id);
        Ok(S3Parts { vault: self, key: draft.key.clone(), upload, completions: AtomicU32::new(0) })
    }
}

/// A multipart upload that was begun. It is aborted when this is dropped, unless it was completed.
#[derive(Debug)]
pub(super) struct S3Parts<'a> {
    vault: &'a S3Vault,
    key: String,
    upload: PendingUpload,
    /// Attempts to complete it so far.
    completions: AtomicU32,
}

#[async_trait]
impl Parts for S3Parts<'_> {
    async fn put(&self, part: &Part, progress: Progress<'_>) -> Result<SentPart, VaultError> {
        let size = part.source.size();
        let (body, sent) = body::of(&part.source).await.map_err(|error| part.source.unread(error))?;
        let request = self
            .vault
            .client
            .upload_part()
            .bucket(&self.vault.target.bucket)
            .key(self.vault.full_key(&self.key))
            .upload_id(self.upload.id())
            .part_number(number_of(part.number))
            .body(body)
            .content_length(i64::try_from(size).unwrap_or(i64::MAX))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_sha256(BASE64.encode(&part.sha256))
            .customize()
            .config_override(client::one_attempt())
            .send();
        let action = format!("store part {} of", part.number);
        let answer = sent
            .drive(request, progress)
            .await
            .map_err(|silence| self.vault.unreachable(format!("{action} `{}`", self.key), &silence.detail()))?
            .map_err(|error| self.vault.error(&action, &self.key, error))?;
        Ok(SentPart { number: part.number, size, sha256: part.sha256, etag: answer.e_tag })
    }

    async fn complete(&self, sent: &[SentPart]) -> Result<Option<Placed>, VaultError> {
        let condition = self.vault.only_if_free();
        match self.complete_once(sent, condition.clone()).await {
            // Some servers know the header at a put only. All parts are there, and a stream cannot be sent again, so the
            // condition is given up instead, as with `conditional_put = false`: the key is looked at before and after.
            Err(error @ VaultError::NotSupported { .. }) if condition.is_some() => {
                tracing::warn!(key = self.key, "{error}; it is completed without a condition");
                self.complete_once(sent, None).await
            }
            result => result,
        }
    }

    async fn abort(self: Box<Self>) {
        self.upload.abort().await;
    }
}

impl S3Parts<'_> {
    async fn complete_once(&self, sent: &[SentPart], condition: Option<String>) -> Result<Option<Placed>, VaultError> {
        let is_first = self.completions.fetch_add(1, Ordering::Relaxed) == 0;
        let listed = sent.iter().map(|part| {
            CompletedPart::builder()
                .part_number(number_of(part.number))
                .set_e_tag(part.etag.clone())
                .checksum_sha256(BASE64.encode(&part.sha256))
                .build()
        });
        let action = "complete the multipart upload of";
        let request = self
            .vault
            .client
            .complete_multipart_upload()
            .bucket(&self.vault.target.bucket)
            .key(self.vault.full_key(&self.key))
            .upload_id(self.upload.id())
            .set_if_none_match(condition)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(listed.collect())).build())
            .customize()
            .config_override(client::one_attempt())
            .send();
        let Ok(answer) = tokio::time::timeout(COMPLETE_TIMEOUT, request).await else {
            let action = format!("{action} `{}`", self.key);
            return Err(self.vault.unreachable(action, &format!("no answer within {} s", COMPLETE_TIMEOUT.as_secs())));
        };
        match answer.map_err(|error| self.vault.error(action, &self.key, error)) {
            // After a completion whose answer was lost, Ceph says yes without naming the version, others that
            // there is no such upload.
            Ok(answer) if answer.version_id.is_none() && !is_first => Ok(None),
            Err(VaultError::NotFound { .. }) if !is_first => Ok(None),
            Ok(answer) => {
                self.upload.keep();
                self.vault.placed(&self.key, answer.version_id, checksum_of(sent)).map(Some)
            }
            Err(error) => Err(error),
        }
    }
}

fn number_of(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Cuts the whole into numbered sections of at least `part_size`, at most as many as S3 takes.
fn plan(size: u64, part_size: u64) -> impl Iterator<Item = (u32, Range<u64>)> {
    let part_size = part_size.max(size.div_ceil(LIMITS.most.into()));
    let starts = (0..size.max(1)).step_by(usize::try_from(part_size).unwrap_or(usize::MAX));
    (1..).zip(starts.map(move |start| start..size.min(start + part_size)))
}

#[cfg(test)]
mod tests;
