//! Multipart uploads that were begun: aborted if their put fails or is dropped, listed if a run died.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use aws_sdk_s3::{Client, error::ProvideErrorMetadata, types::MultipartUpload};
use jiff::Timestamp;

use super::{S3Vault, errors};
use crate::VaultError;

const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// An upload that costs money until it is completed or aborted. Dropping this aborts it, if the runtime still runs.
#[derive(Debug)]
pub(super) struct PendingUpload {
    what: Option<Abort>,
    id: String,
    kept: AtomicBool,
}

#[derive(Debug)]
struct Abort {
    client: Client,
    bucket: String,
    key: String,
    id: String,
}

impl PendingUpload {
    pub fn new(client: Client, bucket: &str, key: String, id: String) -> Self {
        Self {
            id: id.clone(),
            kept: AtomicBool::new(false),
            what: Some(Abort { client, bucket: bucket.into(), key, id }),
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The upload is complete: nothing is left to abort.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Aborts the upload. A failure is only logged: the failure that led here matters more.
    pub async fn abort(mut self) {
        if let Some(abort) = &self.what {
            abort.or_warn().await;
        }
        // Only now: if this is dropped half-way, the abort must be tried again.
        self.what = None;
    }
}

impl Drop for PendingUpload {
    fn drop(&mut self) {
        if *self.kept.get_mut() {
            return;
        }
        if let (Some(abort), Ok(runtime)) = (self.what.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { abort.or_warn().await });
        }
    }
}

impl Abort {
    async fn run(&self) -> Result<(), String> {
        let request =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(&self.id).send();
        match tokio::time::timeout(ABORT_TIMEOUT, request).await {
            Ok(Ok(_)) => Ok(()),
            // Completed after all, or aborted by an attempt whose answer was lost.
            Ok(Err(error)) if error.code() == Some("NoSuchUpload") => Ok(()),
            Ok(Err(error)) => Err(errors::chain(&error)),
            Err(_) => Err(format!("no answer within {} s", ABORT_TIMEOUT.as_secs())),
        }
    }

    async fn or_warn(&self) {
        let Err(problem) = self.run().await else { return };
        tracing::warn!(
            bucket = self.bucket,
            key = self.key,
            upload_id = self.id,
            "failed to abort the multipart upload ({problem}); a lifecycle rule that aborts incomplete uploads removes it"
        );
    }
}

impl S3Vault {
    pub(super) async fn list_unfinished(&self) -> Result<Vec<String>, VaultError> {
        let uploads = self.uploads_under("").await?;
        let keys = uploads.iter().filter_map(|upload| upload.key());
        Ok(keys.filter_map(|key| self.own_key(key)).map(str::to_owned).collect())
    }

    pub(super) async fn abort_unfinished(&self, under: &str, before: Timestamp) -> Result<Vec<String>, VaultError> {
        let mut removed = Vec::new();
        for upload in self.uploads_under(under).await? {
            let is_old = upload.initiated().is_some_and(|begun| begun.secs() < before.as_second());
            let (Some(key), Some(id), true) = (upload.key(), upload.upload_id(), is_old) else { continue };
            let Some(own) = self.own_key(key).map(str::to_owned) else { continue };
            let (client, bucket) = (self.client.clone(), self.target.bucket.clone());
            let abort = Abort { client, bucket, key: key.to_owned(), id: id.to_owned() };
            abort.run().await.map_err(|problem| {
                let action = format!("abort the multipart upload of `{own}`");
                VaultError::Other { vault: self.address.clone(), action, detail: problem }
            })?;
            removed.push(own);
        }
        Ok(removed)
    }

    /// Returns the first page of the uploads that were begun.
    async fn uploads_under(&self, under: &str) -> Result<Vec<MultipartUpload>, VaultError> {
        let answer = self
            .client
            .list_multipart_uploads()
            .bucket(&self.target.bucket)
            .prefix(self.full_key(under))
            .send()
            .await
            .map_err(|error| self.error("list the multipart uploads of", "", error))?;
        Ok(answer.uploads.unwrap_or_default())
    }
}
