//! A bucket through the AWS SDK, as one identity sees it, for tests to set up, check and attack.
//!
//! Every call is sent once. This is a second opinion on the agent's own vault, so it shares no code with it.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use aws_sdk_s3::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::put_object::builders::PutObjectFluentBuilder,
    primitives::ByteStream,
    types::{
        BucketVersioningStatus, ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ObjectLockMode,
        ObjectLockRetention, ObjectLockRetentionMode, VersioningConfiguration,
    },
};

use super::{Identity, client};

/// Versions and locks of a new bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Versions, which can be locked.
    On,
    /// Versions without locks.
    VersionsOnly,
    /// Neither versions nor locks: a put replaces the object.
    Off,
}

/// Mode of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No user can end it early.
    Compliance,
    /// A user who has `s3:BypassGovernanceRetention` can end it early.
    Governance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub mode: Mode,
    pub until: SystemTime,
}

impl Retention {
    /// Makes a retention that ends at a whole second, the precision that servers keep.
    pub fn new(mode: Mode, keep: Duration) -> Self {
        let until = (SystemTime::now() + keep).duration_since(SystemTime::UNIX_EPOCH).expect("now is after 1970");
        Self { mode, until: SystemTime::UNIX_EPOCH + Duration::from_secs(until.as_secs()) }
    }
}

/// One version of a key, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub key: String,
    pub id: String,
    pub latest: bool,
    /// `None` for a delete marker.
    pub size: Option<u64>,
}

/// The server refused, or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct Refusal {
    /// HTTP status; 0 if no answer came.
    pub status: u16,
    /// Error code of S3, such as `AccessDenied`; empty if the answer had none.
    pub code: String,
    pub message: String,
}

impl<E> From<SdkError<E>> for Refusal
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        Self {
            status: error.raw_response().map_or(0, |answer| answer.status().as_u16()),
            code: error.code().unwrap_or_default().to_owned(),
            message: match error.message() {
                Some(message) => message.to_owned(),
                None => DisplayErrorContext(&error).to_string(),
            },
        }
    }
}

#[derive(Debug, Clone)]
pub struct Bucket {
    pub name: String,
    /// Client for requests that have no method here.
    pub client: Client,
    endpoint: String,
    authority: Option<String>,
}

impl Bucket {
    /// Sends no request yet. `authority` is a certificate in PEM.
    pub fn new(endpoint: &str, authority: Option<&str>, name: &str, by: &Identity) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            client: client::connect(endpoint, authority, by)?,
            endpoint: endpoint.to_owned(),
            authority: authority.map(str::to_owned),
        })
    }

    /// Returns the same bucket with the rights of another identity.
    pub fn by(&self, identity: &Identity) -> Result<Self> {
        Self::new(&self.endpoint, self.authority.as_deref(), &self.name, identity)
    }

    pub(super) async fn create(&self, lock: Lock, policy: &str) -> Result<()> {
        let create = self.client.create_bucket().bucket(&self.name);
        create
            .object_lock_enabled_for_bucket(lock == Lock::On)
            .send()
            .await
            .map_err(Refusal::from)
            .with_context(|| format!("failed to create the bucket {}", self.name))?;
        if lock == Lock::VersionsOnly {
            let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let put = self.client.put_bucket_versioning().bucket(&self.name).versioning_configuration(versions);
            put.send().await.map_err(Refusal::from).context("failed to turn versioning on")?;
        }
        let put = self.client.put_bucket_policy().bucket(&self.name).policy(policy);
        put.send().await.map_err(Refusal::from).context("failed to set the bucket's policy")?;
        Ok(())
    }

    /// Puts an object and returns the new version's id; `null` if the bucket has no versions.
    pub async fn put(&self, key: &str, bytes: &[u8]) -> Result<String, Refusal> {
        send(self.begin_put(key, bytes)).await
    }

    /// Puts only if the key is new, where the server honours `If-None-Match`.
    pub async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<String, Refusal> {
        send(self.begin_put(key, bytes).if_none_match("*")).await
    }

    pub async fn put_locked(&self, key: &str, bytes: &[u8], lock: Retention) -> Result<String, Refusal> {
        let put = self.begin_put(key, bytes).object_lock_mode(lock.mode.into());
        send(put.object_lock_retain_until_date(lock.until.into())).await
    }

    /// Puts an object with this checksum (base64), which is sent even if it is wrong, with the algorithm header that
    /// makes RGW 20 verify it.
    pub async fn put_with_sha256(&self, key: &str, bytes: &[u8], sha256: &str) -> Result<String, Refusal> {
        send(self.begin_put(key, bytes).checksum_sha256(sha256)).await
    }

    /// A put whose checksum goes in a header of its own, never as a trailer: RGW 16 refuses those.
    fn begin_put(&self, key: &str, bytes: &[u8]) -> PutObjectFluentBuilder {
        let put = self.client.put_object().bucket(&self.name).key(key);
        put.checksum_algorithm(ChecksumAlgorithm::Sha256).body(ByteStream::from(bytes.to_vec()))
    }

    /// Uploads `parts` (5 MiB or more each, except the last) with the lock named when the upload begins.
    pub async fn put_multipart_locked(&self, key: &str, parts: &[&[u8]], lock: Retention) -> Result<String, Refusal> {
        let begin = self.client.create_multipart_upload().bucket(&self.name).key(key);
        let begin = begin.object_lock_mode(lock.mode.into()).object_lock_retain_until_date(lock.until.into());
        let upload = begin.send().await?.upload_id.unwrap_or_default();
        let mut completed = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(parts) {
            let put = self.client.upload_part().bucket(&self.name).key(key).upload_id(&upload).part_number(number);
            let tag = put.body(ByteStream::from(part.to_vec())).send().await?.e_tag.unwrap_or_default();
            completed = completed.parts(CompletedPart::builder().part_number(number).e_tag(tag).build());
        }
        let complete = self.client.complete_multipart_upload().bucket(&self.name).key(key).upload_id(&upload);
        let answer = complete.multipart_upload(completed.build()).send().await?;
        Ok(answer.version_id.unwrap_or_default())
    }

    pub async fn get(&self, key: &str, version: Option<&str>) -> Result<Vec<u8>, Refusal> {
        let get = self.client.get_object().bucket(&self.name).key(key);
        let answer = get.set_version_id(version.map(str::to_owned)).send().await?;
        let body = answer.body.collect().await.map_err(|error| Refusal {
            status: 0,
            code: String::new(),
            message: format!("the body broke off: {error}"),
        })?;
        Ok(body.to_vec())
    }

    /// Returns every version and delete marker of every key with this prefix, the newest of each key first.
    pub async fn versions(&self, prefix: &str) -> Result<Vec<Version>, Refusal> {
        let mut found = Vec::new();
        let (mut key, mut version) = (None, None);
        loop {
            let list = self.client.list_object_versions().bucket(&self.name).prefix(prefix);
            let page = list.set_key_marker(key).set_version_id_marker(version).send().await?;
            for it in page.versions() {
                found.push((
                    it.last_modified,
                    listed(it.key(), it.version_id(), it.is_latest, Some(it.size.unwrap_or(0))),
                ));
            }
            for it in page.delete_markers() {
                found.push((it.last_modified, listed(it.key(), it.version_id(), it.is_latest, None)));
            }
            if page.is_truncated != Some(true) {
                break;
            }
            (key, version) = (page.next_key_marker, page.next_version_id_marker);
        }
        // The SDK returns versions and markers in separate lists, so their common order has to be restored.
        found.sort_by(|(a_time, a), (b_time, b)| {
            (&a.key, !a.latest).cmp(&(&b.key, !b.latest)).then(b_time.partial_cmp(a_time).expect("times compare"))
        });
        Ok(found.into_iter().map(|(_, version)| version).collect())
    }

    /// Returns the keys of all uploads that were begun and neither completed nor aborted.
    pub async fn unfinished_uploads(&self) -> Result<Vec<String>, Refusal> {
        let page = self.client.list_multipart_uploads().bucket(&self.name).send().await?;
        Ok(page.uploads().iter().filter_map(|upload| upload.key.clone()).collect())
    }

    /// Puts a delete marker on a key and returns its version id.
    pub async fn hide(&self, key: &str) -> Result<String, Refusal> {
        let answer = self.client.delete_object().bucket(&self.name).key(key).send().await?;
        Ok(answer.version_id.unwrap_or_default())
    }

    /// Removes one version, or one delete marker, for good.
    pub async fn delete_version(&self, key: &str, version: &str) -> Result<(), Refusal> {
        self.begin_delete(key, version, false).await
    }

    /// Like [`delete_version`](Self::delete_version), with a request to bypass [`Mode::Governance`].
    pub async fn delete_version_bypassing(&self, key: &str, version: &str) -> Result<(), Refusal> {
        self.begin_delete(key, version, true).await
    }

    async fn begin_delete(&self, key: &str, version: &str, bypass: bool) -> Result<(), Refusal> {
        let delete = self.client.delete_object().bucket(&self.name).key(key).version_id(version);
        delete.set_bypass_governance_retention(bypass.then_some(true)).send().await?;
        Ok(())
    }

    /// Returns the lock of a version; `None` if it has none.
    pub async fn retention(&self, key: &str, version: &str) -> Result<Option<Retention>, Refusal> {
        let get = self.client.get_object_retention().bucket(&self.name).key(key).version_id(version);
        match get.send().await.map_err(Refusal::from) {
            Ok(answer) => Ok(answer.retention.and_then(|lock| Retention::parse(&lock))),
            // RGW 16 returns the second code; other servers return it if the whole bucket has no locks.
            Err(Refusal { code, .. })
                if ["NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"].contains(&&*code) =>
            {
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Sets or extends a lock, or tries to shorten it. `bypass` asks to bypass [`Mode::Governance`].
    pub async fn set_retention(&self, key: &str, version: &str, lock: Retention, bypass: bool) -> Result<(), Refusal> {
        let wanted = ObjectLockRetention::builder().mode(lock.mode.into()).retain_until_date(lock.until.into());
        let put = self.client.put_object_retention().bucket(&self.name).key(key).version_id(version);
        let put = put.checksum_algorithm(ChecksumAlgorithm::Sha256).retention(wanted.build());
        put.set_bypass_governance_retention(bypass.then_some(true)).send().await?;
        Ok(())
    }
}

impl Retention {
    fn parse(lock: &ObjectLockRetention) -> Option<Self> {
        let mode = match lock.mode()? {
            ObjectLockRetentionMode::Compliance => Mode::Compliance,
            ObjectLockRetentionMode::Governance => Mode::Governance,
            _ => return None,
        };
        Some(Self { mode, until: SystemTime::try_from(*lock.retain_until_date()?).ok()? })
    }
}

impl From<Mode> for ObjectLockMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Compliance => Self::Compliance,
            Mode::Governance => Self::Governance,
        }
    }
}

impl From<Mode> for ObjectLockRetentionMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Compliance => Self::Compliance,
            Mode::Governance => Self::Governance,
        }
    }
}

async fn send(put: PutObjectFluentBuilder) -> Result<String, Refusal> {
    Ok(put.send().await?.version_id.unwrap_or_else(|| "null".to_owned()))
}

fn listed(key: Option<&str>, id: Option<&str>, latest: Option<bool>, size: Option<i64>) -> Version {
    Version {
        key: key.unwrap_or_default().to_owned(),
        id: id.unwrap_or_default().to_owned(),
        latest: latest == Some(true),
        size: size.and_then(|size| size.try_into().ok()),
    }
}
