//! One `[[vault]]` entry of the configuration, as written and as validated. Nothing here connects.

pub mod length;
mod target;
pub mod unit_length;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::LockMode;
use unit_length::Days;

pub use target::{
    DEFAULT_MULTIPART_THRESHOLD, DEFAULT_PART_SIZE, MAX_PART_SIZE, MIN_PART_SIZE, S3Target, SettingsError, Target,
};

/// Longest retention that is accepted: ten years. A locked object cannot be removed and costs money until then, so a
/// typo or an attacker must not be able to set centuries.
pub const MAX_LOCK_DAYS: u16 = 3650;

/// A vault as written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VaultSettings {
    /// `s3://bucket/prefix` or `file:///path`.
    pub url: String,
    /// `https://host:port` of a server other than AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The bucket in the path instead of the host name. Default: true with an `endpoint`, else false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Profile in the shared configuration and credentials files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// File in place of `~/.aws/credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// PEM certificates that are trusted in addition to those of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// `http://host:port` of the proxy for this vault, in place of the general one; `none` for no proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// File with `user:password` for that proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_login_file: Option<PathBuf>,
    /// Use AWS's endpoints that support IPv6 as well.
    #[serde(default, skip_serializing_if = "is_off")]
    pub dual_stack: bool,
    /// Use AWS's endpoints whose cryptography is validated for FIPS 140.
    #[serde(default, skip_serializing_if = "is_off")]
    pub fips: bool,
    /// Id of the account that owns the bucket: buckets of other accounts are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_owner: Option<String>,
    /// This account pays for requests to a bucket of another account that demands it.
    #[serde(default, skip_serializing_if = "is_off")]
    pub requester_pays: bool,
    /// Every put has `If-None-Match: *`. False for servers that do not support it. The versions under the key are read
    /// before each put either way.
    #[serde(default = "yes", skip_serializing_if = "is_on")]
    pub conditional_put: bool,
    #[serde(default)]
    pub sse: Sse,
    /// Key for `sse = "aws:kms"`. Default: that of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// Lock of every backup. Default for `s3://`: COMPLIANCE for 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockSettings>,
    /// True if a backup fails unless this vault took it. Otherwise that is a warning, as long as another vault took it.
    /// A restore that relies on signs of life or claims goes on without this vault only if it is not required.
    #[serde(default = "yes")]
    pub required: bool,
    /// Bytes from which an archive is sent in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart_threshold: Option<u64>,
    /// Bytes of a part; larger if an archive would need more than 10,000 parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_size: Option<u64>,
    /// Not a setting: the configuration names no vault, and this is the agent's own.
    #[serde(skip)]
    pub is_own: bool,
}

fn yes() -> bool {
    true
}

fn is_on(flag: &bool) -> bool {
    *flag
}

fn is_off(flag: &bool) -> bool {
    !flag
}

/// How the server encrypts at rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Sse {
    /// The bucket's default applies.
    #[default]
    #[serde(rename = "none")]
    None,
    #[serde(rename = "AES256")]
    Aes256,
    #[serde(rename = "aws:kms")]
    Kms,
}

/// The lock of every backup, as written in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockSettings {
    #[serde(default = "compliance")]
    pub mode: LockMode,
    /// Also read from a length of time: `"4w"`.
    #[serde(deserialize_with = "days")]
    pub days: u16,
}

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let days = Days::deserialize(deserializer)?.count();
    let too_many = || de::Error::custom(format!("`{days}` days cannot be used: the most is {MAX_LOCK_DAYS}"));
    u16::try_from(days).map_err(|_| too_many())
}

fn compliance() -> LockMode {
    LockMode::Compliance
}

impl VaultSettings {
    /// Makes an entry that has only its `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: None,
            region: None,
            path_style: None,
            profile: None,
            credentials_file: None,
            ca_file: None,
            proxy: None,
            proxy_login_file: None,
            dual_stack: false,
            fips: false,
            bucket_owner: None,
            requester_pays: false,
            conditional_put: true,
            sse: Sse::None,
            kms_key_id: None,
            lock: None,
            required: true,
            multipart_threshold: None,
            part_size: None,
            is_own: false,
        }
    }

    /// Makes the entry of an agent whose configuration names no vault.
    pub fn own(path: &Path) -> Self {
        Self { is_own: true, ..Self::new(format!("file://{}", path.display())) }
    }
}

#[cfg(test)]
mod tests;
