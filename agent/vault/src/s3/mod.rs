//! A vault in a bucket with versions and Object Lock. Only this module and its children name the AWS SDK.
//!
//! Writes are single attempts: the SDK's retry of a put whose reply was lost would leave two locked versions.
//! Reads are retried by the SDK. Permissions needed: `s3:PutObject`, `s3:PutObjectRetention`, `s3:GetObject`,
//! `s3:GetObjectVersion`, `s3:GetObjectRetention`, `s3:ListBucketVersions`, `s3:GetBucketVersioning`,
//! `s3:GetBucketObjectLockConfiguration`, `s3:AbortMultipartUpload`, `s3:ListBucketMultipartUploads`.

mod body;
#[cfg(test)]
mod canned;
mod check;
mod client;
mod common_headers;
mod errors;
mod list;
mod multipart;
mod put;
mod read;
mod refusal;
mod rehearsal;
#[cfg(test)]
mod servers;
mod tamper;
mod unfinished;

use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use jiff::Timestamp;
use swarmdr_http::Proxies;

use super::{
    Content, Draft, Lock, LockPolicy, Marker, ObjectHead, Page, PartLimits, Parts, Placed, Progress, Tampering, Upload,
    Vault, VaultError, VersionRef, settings::S3Target,
};

/// A bucket, or the part of it below a prefix.
#[derive(Debug)]
pub struct S3Vault {
    client: Client,
    target: S3Target,
    address: String,
    /// The proxy before the server, without its login.
    proxy: Option<String>,
}

impl S3Vault {
    /// Reads `ca_file` and finds the region; sends nothing to the bucket.
    pub async fn connect(target: &S3Target, proxies: &Proxies) -> Result<Self, VaultError> {
        let separator = if target.prefix.is_empty() { "" } else { "/" };
        let address = format!("s3://{}{separator}{}", target.bucket, target.prefix);
        let proxy = proxies.before(&target.address()).map_err(|detail| {
            let action = format!("go through a proxy to `{}`", target.bucket);
            VaultError::Other { vault: address.clone(), action, detail }
        })?;
        let proxy = proxy.map(ToString::to_string);
        let client = client::connect(target, proxies).await?;
        Ok(Self { client, target: target.clone(), address, proxy })
    }

    /// The region that requests are signed for.
    fn region(&self) -> &str {
        self.client.config().region().map_or("", |region| region.as_ref())
    }

    /// Returns the key in the bucket.
    fn full_key(&self, key: &str) -> String {
        if self.target.prefix.is_empty() { key.into() } else { format!("{}/{key}", self.target.prefix) }
    }

    /// Returns the key in this vault; `None` for a key outside of it.
    fn own_key<'a>(&self, full_key: &'a str) -> Option<&'a str> {
        if self.target.prefix.is_empty() {
            return Some(full_key);
        }
        full_key.strip_prefix(&self.target.prefix)?.strip_prefix('/')
    }
}

#[async_trait]
impl Vault for S3Vault {
    fn address(&self) -> &str {
        &self.address
    }

    fn lock_policy(&self) -> Option<LockPolicy> {
        Some(self.target.lock)
    }

    async fn check(&self) -> Result<(), VaultError> {
        self.check_bucket().await
    }

    async fn rehearse(&self, key: &str, now: Timestamp) -> Result<(), VaultError> {
        self.rehearse_put(key, now).await
    }

    async fn put(&self, upload: &Upload, progress: Progress<'_>) -> Result<Placed, VaultError> {
        if upload.size >= self.target.multipart_threshold {
            self.put_in_parts(upload, progress).await
        } else {
            self.put_whole(upload, progress).await
        }
    }

    fn part_limits(&self) -> PartLimits {
        multipart::LIMITS
    }

    async fn begin<'a>(&'a self, draft: &Draft) -> Result<Box<dyn Parts + 'a>, VaultError> {
        Ok(Box::new(self.begin_parts(draft).await?))
    }

    async fn put_over(&self, key: &str, bytes: &[u8], now: Timestamp) -> Result<(), VaultError> {
        self.put_on_top(key, bytes, Some(Lock::brief(now)), "put a new version of").await
    }

    async fn head(&self, version: &VersionRef) -> Result<ObjectHead, VaultError> {
        self.read_head(version).await
    }

    async fn list_versions(&self, under: &str, after: Option<&Marker>) -> Result<Page, VaultError> {
        self.list_page(under, after).await
    }

    async fn open(&self, version: &VersionRef, range: Range<u64>) -> Result<Content, VaultError> {
        self.open_range(version, range).await
    }

    async fn delete_version(&self, version: &VersionRef) -> Result<(), VaultError> {
        self.delete(version).await
    }

    async fn extend_lock(&self, version: &VersionRef, lock: Lock) -> Result<(), VaultError> {
        self.put_retention(version, lock, false, "extend the lock of").await
    }

    async fn tamper(&self, version: &VersionRef, how: Tampering) -> Result<(), VaultError> {
        self.try_tampering(version, how).await
    }

    async fn clock(&self) -> Result<Option<Timestamp>, VaultError> {
        self.server_time().await
    }

    async fn unfinished(&self) -> Result<Vec<String>, VaultError> {
        self.list_unfinished().await
    }

    async fn discard_unfinished(&self, under: &str, before: Timestamp) -> Result<Vec<String>, VaultError> {
        self.abort_unfinished(under, before).await
    }
}
