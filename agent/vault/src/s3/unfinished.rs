//! Multipart uploads that were begun: aborted if their put fails or is dropped, listed if a run died.

use std::time::Duration;

use aws_sdk_s3::{Client, error::ProvideErrorMetadata};

use super::{S3Vault, errors};
use crate::VaultError;

const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// An upload that costs money until it is completed or aborted. Dropping this aborts it, if the runtime still runs.
pub(super) struct PendingUpload {
    what: Option<Abort>,
    id: String,
}

struct Abort {
    client: Client,
    bucket: String,
    key: String,
    id: String,
}

impl PendingUpload {
    pub fn new(client: Client, bucket: &str, key: String, id: String) -> Self {
        Self { id: id.clone(), what: Some(Abort { client, bucket: bucket.into(), key, id }) }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The upload is complete: nothing is left to abort.
    pub fn keep(mut self) {
        self.what = None;
    }

    /// Aborts the upload. A failure is only logged: the failure that led here matters more.
    pub async fn abort(mut self) {
        if let Some(abort) = &self.what {
            abort.run().await;
        }
        // Only now: if this is dropped half-way, the abort must be tried again.
        self.what = None;
    }
}

impl Drop for PendingUpload {
    fn drop(&mut self) {
        if let (Some(abort), Ok(runtime)) = (self.what.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { abort.run().await });
        }
    }
}

impl Abort {
    async fn run(&self) {
        let request =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(&self.id).send();
        let problem = match tokio::time::timeout(ABORT_TIMEOUT, request).await {
            Ok(Ok(_)) => return,
            // Completed after all, or aborted by an attempt whose answer was lost.
            Ok(Err(error)) if error.code() == Some("NoSuchUpload") => return,
            Ok(Err(error)) => errors::chain(&error),
            Err(_) => format!("no answer within {} s", ABORT_TIMEOUT.as_secs()),
        };
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
        let answer = self
            .client
            .list_multipart_uploads()
            .bucket(&self.target.bucket)
            .prefix(self.full_key(""))
            .send()
            .await
            .map_err(|error| self.error("list the multipart uploads of", "", error))?;
        let keys = answer.uploads().iter().filter_map(|upload| upload.key());
        Ok(keys.filter_map(|key| self.own_key(key)).map(str::to_owned).collect())
    }
}
