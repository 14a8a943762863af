//! Where a vault is, from its validated entry of the configuration.

use std::path::{Path, PathBuf};

use swarmdr_http::Proxy;
use thiserror::Error;
use url::Url;

use super::{LockSettings, MAX_LOCK_DAYS, Sse, VaultSettings};
use crate::{LockMode, LockPolicy};

/// S3 requires at least 5 MiB for all parts but the last.
pub const MIN_PART_SIZE: u64 = 5 << 20;

/// S3 takes at most 5 GiB in one request.
pub const MAX_PART_SIZE: u64 = 5 << 30;

/// Size from which an archive is sent in parts. High, because every server verifies and locks a single put as a whole,
/// even those that drop the locks of multipart uploads. Above it, a broken connection should cost no more than a part.
pub const DEFAULT_MULTIPART_THRESHOLD: u64 = 128 << 20;

pub const DEFAULT_PART_SIZE: u64 = 16 << 20;

/// The form of a proxy's address.
const PROXY_FIX: &str = "write `http://host:port`, or `none`, and a login into `proxy_login_file`";

const DEFAULT_LOCK: LockPolicy = LockPolicy { mode: LockMode::Compliance, days: 30 };

/// A value of a `[[vault]]` entry that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{key}` {problem}; {fix}")]
pub struct SettingsError {
    pub key: &'static str,
    pub problem: String,
    pub fix: String,
}

/// A validated entry: where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    S3(Box<S3Target>),
    Directory(PathBuf),
    /// The directory of an agent whose configuration names no vault.
    Own(PathBuf),
}

/// A validated bucket; the fields are those of [`VaultSettings`] with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Target {
    pub bucket: String,
    /// Without slashes at its ends; may be empty.
    pub prefix: String,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub path_style: bool,
    pub profile: Option<String>,
    pub credentials_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub proxy: Option<String>,
    pub proxy_login_file: Option<PathBuf>,
    pub dual_stack: bool,
    pub fips: bool,
    pub bucket_owner: Option<String>,
    pub requester_pays: bool,
    pub conditional_put: bool,
    pub sse: Sse,
    pub kms_key_id: Option<String>,
    pub lock: LockPolicy,
    pub multipart_threshold: u64,
    pub part_size: u64,
}

impl VaultSettings {
    /// Validates the entry without touching the network or a file. Errors do not repeat the URL: people write
    /// credentials into URLs.
    pub fn target(&self) -> Result<Target, SettingsError> {
        if let Some(rest) = self.url.strip_prefix("s3://") {
            self.s3_target(rest).map(|target| Target::S3(Box::new(target)))
        } else if let Some(path) = self.url.strip_prefix("file://") {
            self.refuse_s3_keys()?;
            directory(path).map(if self.is_own { Target::Own } else { Target::Directory })
        } else {
            Err(error("url", "names neither a bucket nor a directory", "write `s3://bucket/prefix` or `file:///path`"))
        }
    }

    fn s3_target(&self, rest: &str) -> Result<S3Target, SettingsError> {
        let (bucket, prefix) = bucket_and_prefix(rest)?;
        if self.kms_key_id.is_some() && self.sse != Sse::Kms {
            return Err(error("kms_key_id", "has no effect here", "add `sse = \"aws:kms\"`, or remove it"));
        }
        self.check_network()?;
        Ok(S3Target {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: self.endpoint.as_deref().map(endpoint).transpose()?,
            region: self.region.clone(),
            path_style: self.path_style.unwrap_or(self.endpoint.is_some()),
            profile: self.profile.clone(),
            credentials_file: self.credentials_file.clone(),
            ca_file: self.ca_file.clone(),
            proxy: self.proxy.clone(),
            proxy_login_file: self.proxy_login_file.clone(),
            dual_stack: self.dual_stack,
            fips: self.fips,
            bucket_owner: self.bucket_owner.clone(),
            requester_pays: self.requester_pays,
            conditional_put: self.conditional_put,
            sse: self.sse,
            kms_key_id: self.kms_key_id.clone(),
            lock: self.lock.map(lock_policy).transpose()?.unwrap_or(DEFAULT_LOCK),
            multipart_threshold: size(
                "multipart_threshold",
                self.multipart_threshold.unwrap_or(DEFAULT_MULTIPART_THRESHOLD),
            )?,
            part_size: size("part_size", self.part_size.unwrap_or(DEFAULT_PART_SIZE))?,
        })
    }

    fn check_network(&self) -> Result<(), SettingsError> {
        if let Some(proxy) = &self.proxy {
            Proxy::of_setting(proxy).map_err(|why| error("proxy", why, PROXY_FIX))?;
        } else if self.proxy_login_file.is_some() {
            return Err(error("proxy_login_file", "has no effect here", "add `proxy`, or remove it"));
        }
        // Refused here, because the SDK would refuse it only with the first request.
        let of_aws = [("dual_stack", self.dual_stack), ("fips", self.fips)];
        match of_aws.into_iter().find(|(_, set)| *set && self.endpoint.is_some()) {
            Some((key, _)) => Err(error(key, "has no effect together with `endpoint`", "remove one of the two")),
            None => check_owner(self.bucket_owner.as_deref()),
        }
    }

    fn refuse_s3_keys(&self) -> Result<(), SettingsError> {
        let set = [
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("path_style", self.path_style.is_some()),
            ("profile", self.profile.is_some()),
            ("credentials_file", self.credentials_file.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("proxy", self.proxy.is_some()),
            ("proxy_login_file", self.proxy_login_file.is_some()),
            ("dual_stack", self.dual_stack),
            ("fips", self.fips),
            ("bucket_owner", self.bucket_owner.is_some()),
            ("requester_pays", self.requester_pays),
            ("conditional_put", !self.conditional_put),
            ("sse", self.sse != Sse::None),
            ("kms_key_id", self.kms_key_id.is_some()),
            ("lock", self.lock.is_some()),
            ("multipart_threshold", self.multipart_threshold.is_some()),
            ("part_size", self.part_size.is_some()),
        ];
        match set.into_iter().find(|(_, set)| *set) {
            Some((key, _)) => Err(error(key, "has no effect on a directory", "remove it, or use an `s3://` vault")),
            None => Ok(()),
        }
    }
}

/// Splits the rest of an `s3://` URL; the prefix has no slashes at its ends.
fn bucket_and_prefix(rest: &str) -> Result<(&str, &str), SettingsError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    if !is_bucket(bucket) {
        return Err(error(
            "url",
            "does not name a bucket",
            "bucket names are 3 to 63 characters of a-z, 0-9, `.` and `-`; write `s3://bucket/prefix`",
        ));
    }
    if !prefix.is_empty() && prefix.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(error(
            "url",
            format!("has `{prefix}` as its prefix"),
            "write one without empty, `.` or `..` parts",
        ));
    }
    Ok((bucket, prefix))
}

fn check_owner(owner: Option<&str>) -> Result<(), SettingsError> {
    match owner {
        Some(id) if id.len() != 12 || !id.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(error("bucket_owner", "is no id of an account", "write its 12 digits, in quotes"))
        }
        _ => Ok(()),
    }
}

fn directory(path: &str) -> Result<PathBuf, SettingsError> {
    let wanted = "write `file:///absolute/path`, with three slashes";
    if !path.starts_with('/') {
        return Err(error("url", "does not hold an absolute path", wanted));
    }
    if Path::new(path).components().any(|part| part == std::path::Component::ParentDir) {
        return Err(error("url", "holds a `..`", wanted));
    }
    // Components drops doubled and trailing slashes.
    Ok(Path::new(path).components().collect())
}

fn endpoint(text: &str) -> Result<String, SettingsError> {
    let wanted = "write `https://host:port`";
    let url = Url::parse(text).map_err(|why| error("endpoint", format!("is not a URL ({why})"), wanted))?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
        return Err(error("endpoint", "is not a plain http or https URL", wanted));
    }
    Ok(text.trim_end_matches('/').into())
}

fn lock_policy(lock: LockSettings) -> Result<LockPolicy, SettingsError> {
    if !(1..=MAX_LOCK_DAYS).contains(&lock.days) {
        return Err(error(
            "lock.days",
            format!("is {}", lock.days),
            format!("write 1 to {MAX_LOCK_DAYS}: a locked backup cannot be removed, nor its bill, before that"),
        ));
    }
    Ok(LockPolicy { mode: lock.mode, days: lock.days })
}

fn size(key: &'static str, bytes: u64) -> Result<u64, SettingsError> {
    if (MIN_PART_SIZE..=MAX_PART_SIZE).contains(&bytes) {
        return Ok(bytes);
    }
    Err(error(key, format!("is {bytes}"), format!("write {MIN_PART_SIZE} (5 MiB) to {MAX_PART_SIZE} (5 GiB) bytes")))
}

fn is_bucket(name: &str) -> bool {
    let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (3..=63).contains(&name.len()) && name.bytes().all(inner) && edge(name.bytes().next()) && edge(name.bytes().last())
}

fn error(key: &'static str, problem: impl Into<String>, fix: impl Into<String>) -> SettingsError {
    SettingsError { key, problem: problem.into(), fix: fix.into() }
}
