//! A put in parts: each is verified by its SHA-256, and all are dropped if one cannot be sent.

use std::{
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use data_encoding::BASE64;
use futures_util::{StreamExt, TryStreamExt, stream};
use swarmdr_archive::{Digest, Hasher};
use swarmdr_http::Backoff;

use super::{S3Vault, body, client, put::unread, unfinished::PendingUpload};
use crate::{Checksum, Placed, Progress, Upload, VaultError};

/// S3 takes no more parts per object.
const MAX_PARTS: u64 = 10_000;

/// Parts that are sent at once: enough to keep a link busy while one of them waits for its answer.
const PARALLEL_PARTS: usize = 3;

/// Attempts of one part, and of the completion. Both are safe to repeat: an upload id makes at most one version.
const ATTEMPTS: u32 = 4;

const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(2) };

/// A server puts the parts together before it answers; S3 says that this can take minutes.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(600);

impl S3Vault {
    pub(super) async fn put_in_parts(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError> {
        let begun = self.begin(upload).await?;
        let work = PartWork { vault: self, upload, upload_id: begun.id(), done: AtomicU64::new(0), progress };
        let placed = work.run().await;
        match placed {
            Ok(_) => begun.keep(),
            Err(_) => begun.abort().await,
        }
        placed
    }

    async fn begin(&self, upload: &Upload) -> Result<PendingUpload, VaultError> {
        let lock = self.lock_headers(upload.now);
        let key = self.full_key(&upload.key);
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
            .set_metadata(Some(upload.metadata.iter().cloned().collect()))
            .customize()
            .config_override(client::one_attempt())
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(self.explain(self.error(action, &upload.key, error)).await),
        };
        let id = answer.upload_id.ok_or_else(|| VaultError::Other {
            vault: self.address.clone(),
            action: format!("{action} `{}`", upload.key),
            detail: "the server gave no upload id".into(),
        })?;
        Ok(PendingUpload::new(self.client.clone(), &self.target.bucket, key, id))
    }
}

struct PartWork<'a> {
    vault: &'a S3Vault,
    upload: &'a Upload,
    upload_id: &'a str,
    /// Bytes of all parts that were sent so far.
    done: AtomicU64,
    progress: Progress<'a>,
}

struct Part {
    number: i32,
    sha256: [u8; 32],
    etag: Option<String>,
}

/// The result of completing an upload.
enum Completion {
    /// Completed, with the id of the new version.
    Done(Option<String>),
    /// An earlier attempt seems to have completed it, and its reply was lost.
    DoneBefore,
}

impl PartWork<'_> {
    async fn run(&self) -> Result<Placed, VaultError> {
        let parts: Vec<Part> = stream::iter(plan(self.upload.size, self.vault.target.part_size))
            .map(|(number, range)| self.send(number, range))
            .buffered(PARALLEL_PARTS)
            .try_collect()
            .await?;
        match self.retrying(|attempt| self.complete(&parts, attempt)).await? {
            Completion::Done(version_id) => self.vault.placed(self.upload, version_id, checksum_of(&parts)),
            Completion::DoneBefore => {
                let action = format!("complete the multipart upload of `{}`", self.upload.key);
                Err(self.vault.unreachable(action, "an earlier attempt seems to have done it, and its answer was lost"))
            }
        }
    }

    async fn send(&self, number: i32, range: Range<u64>) -> Result<Part, VaultError> {
        let sha256 = hash_section(self.upload, range.clone()).await?;
        let etag = self.retrying(|_| self.send_once(number, range.clone(), &sha256)).await?;
        Ok(Part { number, sha256, etag })
    }

    async fn send_once(&self, number: i32, range: Range<u64>, sha256: &[u8; 32]) -> Result<Option<String>, VaultError> {
        let size = range.end - range.start;
        let (body, sent) = body::section(&self.upload.file, range).await.map_err(|error| unread(self.upload, error))?;
        let request = self
            .vault
            .client
            .upload_part()
            .bucket(&self.vault.target.bucket)
            .key(self.vault.full_key(&self.upload.key))
            .upload_id(self.upload_id)
            .part_number(number)
            .body(body)
            .content_length(i64::try_from(size).unwrap_or(i64::MAX))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_sha256(BASE64.encode(sha256))
            .customize()
            .config_override(client::one_attempt())
            .send();
        let counted = AtomicU64::new(0);
        let action = format!("store part {number} of");
        let answer = sent
            .drive(request, |sent| {
                let step = sent - counted.swap(sent, Ordering::Relaxed);
                (self.progress)(self.done.fetch_add(step, Ordering::Relaxed) + step);
            })
            .await
            .map_err(|silence| self.vault.unreachable(format!("{action} `{}`", self.upload.key), &silence.detail()))
            .and_then(|answer| answer.map_err(|error| self.vault.error(&action, &self.upload.key, error)));
        if answer.is_err() {
            self.done.fetch_sub(counted.into_inner(), Ordering::Relaxed);
        }
        Ok(answer?.e_tag)
    }

    async fn complete(&self, parts: &[Part], attempt: u32) -> Result<Completion, VaultError> {
        let listed = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number)
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
            .key(self.vault.full_key(&self.upload.key))
            .upload_id(self.upload_id)
            .set_if_none_match(self.vault.only_if_free())
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(listed.collect())).build())
            .customize()
            .config_override(client::one_attempt())
            .send();
        let Ok(answer) = tokio::time::timeout(COMPLETE_TIMEOUT, request).await else {
            let action = format!("{action} `{}`", self.upload.key);
            return Err(self.vault.unreachable(action, &format!("no answer within {} s", COMPLETE_TIMEOUT.as_secs())));
        };
        match answer.map_err(|error| self.vault.error(action, &self.upload.key, error)) {
            // After a completion whose answer was lost, Ceph says yes without naming the version, others that
            // there is no such upload.
            Ok(answer) if answer.version_id.is_none() && attempt > 1 => Ok(Completion::DoneBefore),
            Err(VaultError::NotFound { .. }) if attempt > 1 => Ok(Completion::DoneBefore),
            Ok(answer) => Ok(Completion::Done(answer.version_id)),
            Err(error) => Err(error),
        }
    }

    /// Runs `attempt` until it succeeds, fails for good, or has failed often enough.
    async fn retrying<T, F: Future<Output = Result<T, VaultError>>>(
        &self,
        attempt: impl Fn(u32) -> F,
    ) -> Result<T, VaultError> {
        for number in 1..ATTEMPTS {
            match attempt(number).await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(vault = self.vault.address, key = self.upload.key, "{error}; trying again");
                }
                result => return result,
            }
            BACKOFF.pause(number).await;
        }
        attempt(ATTEMPTS).await
    }
}

/// Cuts the whole into numbered sections of at least `part_size`, at most as many as S3 takes.
fn plan(size: u64, part_size: u64) -> impl Iterator<Item = (i32, Range<u64>)> {
    let part_size = part_size.max(size.div_ceil(MAX_PARTS));
    let starts = (0..size.max(1)).step_by(usize::try_from(part_size).unwrap_or(usize::MAX));
    (1..).zip(starts.map(move |start| start..size.min(start + part_size)))
}

fn checksum_of(parts: &[Part]) -> Checksum {
    let mut hasher = Hasher::default();
    parts.iter().for_each(|part| hasher.update(&part.sha256));
    Checksum::OfParts(*hasher.finish().1.as_bytes(), u32::try_from(parts.len()).unwrap_or(u32::MAX))
}

async fn hash_section(upload: &Upload, range: Range<u64>) -> Result<[u8; 32], VaultError> {
    let file = upload.file.clone();
    tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(file)?;
        file.seek(SeekFrom::Start(range.start))?;
        match Digest::of_reader(file.take(range.end - range.start))? {
            (size, sha256) if size == range.end - range.start => Ok(*sha256.as_bytes()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    })
    .await
    .map_err(io::Error::other)
    .flatten()
    .map_err(|error| unread(upload, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(size: u64, part_size: u64) -> Vec<(i32, Range<u64>)> {
        plan(size, part_size).collect()
    }

    #[test]
    fn sections_cover_the_whole_without_gap() {
        assert_eq!(parts(10, 5), [(1, 0..5), (2, 5..10)]);
        assert_eq!(parts(11, 5), [(1, 0..5), (2, 5..10), (3, 10..11)]);
        assert_eq!(parts(4, 5), [(1, 0..4)]);
        assert_eq!(parts(0, 5), [(1, 0..0)]);
    }

    #[test]
    fn parts_grow_when_there_would_be_too_many() {
        let size = 5 << 40;
        let parts = parts(size, 5 << 20);
        assert!(parts.len() <= 10_000, "{}", parts.len());
        assert_eq!(parts.last().unwrap().1.end, size);
    }
}
