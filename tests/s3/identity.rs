//! Users of the gateway, and their rights in the policy of a bucket.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Actions that a backup agent needs: put, lock, list and read, and abort uploads that it began. No deletion, no
/// bypass, no change of the bucket.
///
/// RGW 16 refuses a policy that names an action it does not know, such as `s3:GetObjectAttributes`.
const WRITER_ACTIONS: [&str; 13] = [
    "s3:PutObject",
    "s3:PutObjectRetention",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:ListBucketMultipartUploads",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:GetObjectRetention",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetBucketVersioning",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketLocation",
];

/// Actions that a restoring host needs.
const READER_ACTIONS: [&str; 8] = [
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:GetObjectRetention",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetBucketVersioning",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketLocation",
];

/// A user and its key.
#[derive(Clone)]
pub struct Identity {
    pub name: String,
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Identity {
    /// Parses the output of `radosgw-admin user create`.
    pub(super) fn parse(name: &str, printed: &str) -> Result<Self> {
        let user: Value = serde_json::from_str(printed).context("radosgw-admin printed no JSON")?;
        let key = |field| {
            user.pointer(&format!("/keys/0/{field}"))
                .and_then(Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("radosgw-admin printed no {field} for the user {name}"))
        };
        Ok(Self { name: name.to_owned(), access_key: key("access_key")?, secret_key: key("secret_key")? })
    }
}

/// The policy of every bucket. `account` is empty where the server has no accounts.
pub(super) fn bucket_policy(bucket: &str, account: &str) -> String {
    let allow = |user: &str, actions: &[&str]| {
        json!({
            "Effect": "Allow",
            "Principal": { "AWS": [format!("arn:aws:iam::{account}:user/{user}")] },
            "Action": actions,
            "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
        })
    };
    // Without accounts an object belongs to the user who put it, and the bucket's owner needs the right to it.
    let statements = [allow("owner", &["s3:*"]), allow("writer", &WRITER_ACTIONS), allow("reader", &READER_ACTIONS)];
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}
