//! Tests what becomes of a backup on servers that lack a feature, one for each that the operations guide names.

use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::BASE64;
use jiff::Timestamp;
use swarmdr_archive::Digest;

use super::canned::{Request, Response, Server, connect};
use crate::{NO_PROGRESS, Upload, VaultError, VaultSettings, VerifiedBy, object_name::REHEARSAL, store};

/// How a server differs from AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MissingFeature {
    Nothing,
    Versions,
    VersioningCall,
    ObjectLock,
    ObjectLockCall,
    VersionListing,
    /// Refuses `If-None-Match`.
    Condition,
    /// Accepts it, and overwrites anyway.
    ConditionSilently,
    /// Refuses the headers of checksums.
    Checksums,
    /// Accepts them, and neither verifies nor keeps them.
    ChecksumsSilently,
    /// Refuses the headers of locks.
    LockHeaders,
    /// Accepts them, and locks nothing.
    LockSilently,
    LockReading,
}

const IMPLIED: &str = "A header you provided implies functionality that is not implemented";

/// A bucket with one key.
struct Bucket {
    missing: MissingFeature,
    stored: Mutex<Vec<Vec<u8>>>,
}

impl Bucket {
    fn answer(&self, asked: &Request) -> Response {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = |missing| (self.missing == missing).then(|| Response::error(501, "NotImplemented", "no", ""));
        let query = asked.line.split(' ').nth(1).and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
        match query.split(['&', '=']).next().unwrap_or_default() {
            _ if asked.is("PUT ") => self.put(asked, &mut stored),
            "versioning" => unknown(MissingFeature::VersioningCall).unwrap_or_else(|| {
                let status = if self.missing == MissingFeature::Versions { "" } else { "<Status>Enabled</Status>" };
                Response::new(200, format!("<VersioningConfiguration>{status}</VersioningConfiguration>"))
            }),
            "object-lock" if self.missing == MissingFeature::ObjectLock => {
                Response::error(404, "ObjectLockConfigurationNotFoundError", "no", "")
            }
            "object-lock" => unknown(MissingFeature::ObjectLockCall).unwrap_or_else(|| {
                let on = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
                Response::new(200, format!("<ObjectLockConfiguration>{on}</ObjectLockConfiguration>"))
            }),
            "versions" => unknown(MissingFeature::VersionListing).unwrap_or_else(|| listing(&stored)),
            "retention" if stored.is_empty() && self.missing != MissingFeature::LockReading => {
                Response::error(404, "NoSuchKey", "no", "")
            }
            "retention" if self.missing == MissingFeature::LockSilently => {
                Response::error(404, "NoSuchObjectLockConfiguration", "no", "")
            }
            "retention" => unknown(MissingFeature::LockReading).unwrap_or_else(|| {
                let until = "<RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate>";
                Response::new(200, format!("<Retention><Mode>COMPLIANCE</Mode>{until}</Retention>"))
            }),
            _ => self.object(asked, stored.last().map(Vec::as_slice).unwrap_or_default()),
        }
    }

    fn put(&self, asked: &Request, stored: &mut Vec<Vec<u8>>) -> Response {
        let unsupported = |header: &str| {
            Response::error(400, "InvalidArgument", &format!("Unsupported header '{header}' received"), "")
        };
        match self.missing {
            MissingFeature::Condition if asked.has("if-none-match") => {
                return Response::error(501, "NotImplemented", IMPLIED, "<Header>If-None-Match</Header>");
            }
            MissingFeature::Checksums => return unsupported("x-amz-checksum-sha256"),
            MissingFeature::LockHeaders => return unsupported("x-amz-object-lock-mode"),
            _ => {}
        }
        if asked.has("content-md5") {
            return Response::error(400, "BadDigest", "The Content-MD5 you specified did not match", "");
        }
        if asked.has("if-none-match") && !stored.is_empty() && self.missing != MissingFeature::ConditionSilently {
            return Response::error(412, "PreconditionFailed", "it is there", "");
        }
        stored.push(asked.body.clone());
        Response::new(200, "").with("etag: \"1\"").with(&format!("x-amz-version-id: {}", stored.len()))
    }

    fn object(&self, asked: &Request, body: &[u8]) -> Response {
        let checksum = format!("x-amz-checksum-sha256: {}", BASE64.encode(Digest::of(body).as_bytes()));
        let silent = self.missing == MissingFeature::ChecksumsSilently;
        let text = String::from_utf8_lossy(body);
        let range = format!("content-range: bytes 0-{}/{}", body.len() - 1, body.len());
        match asked.is("HEAD ") {
            true => Response::new(200, text).with(if silent { "x-a: b" } else { &checksum }),
            false => Response::new(206, text).with(&range),
        }
    }
}

fn listing(stored: &[Vec<u8>]) -> Response {
    let versions: String = (1..)
        .zip(stored)
        .map(|(id, body)| {
            let (modified, size) = ("2026-11-21T10:00:00.000Z", body.len());
            format!(
                "<Version><Key>prod/a</Key><VersionId>{id}</VersionId><IsLatest>{}</IsLatest>\
                 <LastModified>{modified}</LastModified><Size>{size}</Size></Version>",
                id == stored.len()
            )
        })
        .collect();
    Response::new(200, format!("<ListVersionsResult><IsTruncated>false</IsTruncated>{versions}</ListVersionsResult>"))
}

/// The calls of a backup, in its order: all but the last are made before the engine is touched.
async fn backup(settings: &VaultSettings) -> Result<VerifiedBy, (&'static str, VaultError)> {
    let vault = connect(settings).await;
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().expect("is a time");
    vault.check().await.map_err(|error| ("before", error))?;
    vault.list_versions("c/", None).await.map_err(|error| ("before", error))?;
    vault.rehearse(REHEARSAL, now).await.map_err(|error| ("before", error))?;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "an archive").expect("can be written");
    let upload = Upload::of_file("a", file.path(), now).expect("can be read");
    let first = store(&*vault, &upload, NO_PROGRESS).await.map_err(|error| ("after", error))?;
    let again = store(&*vault, &upload, NO_PROGRESS).await.map_err(|error| ("after", error))?;
    assert!(again.was_there && again.at == first.at, "storing it again adds no copy");
    Ok(first.verified_by)
}

#[tokio::test]
async fn a_backup_ends_as_expected_on_each_server() {
    const STORED: Result<VerifiedBy, (&str, &str)> = Ok(VerifiedBy::Vault);
    for (missing, conditional_put, end) in [
        (MissingFeature::Nothing, true, STORED),
        (MissingFeature::Nothing, false, STORED),
        (MissingFeature::Versions, true, Err(("before", "keeps no versions"))),
        (MissingFeature::VersioningCall, true, Err(("before", "the call GetBucketVersioning"))),
        (MissingFeature::ObjectLock, true, Err(("before", "has no Object Lock"))),
        (MissingFeature::ObjectLockCall, true, Err(("before", "the call GetObjectLockConfiguration"))),
        (MissingFeature::VersionListing, true, Err(("before", "the call ListObjectVersions"))),
        (MissingFeature::Condition, true, Err(("before", "conditional_put = false"))),
        (MissingFeature::Condition, false, STORED),
        (MissingFeature::ConditionSilently, true, STORED),
        (MissingFeature::Checksums, true, Err(("before", "the header `x-amz-checksum-sha256`"))),
        (MissingFeature::ChecksumsSilently, true, Ok(VerifiedBy::ReadBack)),
        (MissingFeature::LockHeaders, true, Err(("before", "the header `x-amz-object-lock-mode`"))),
        (MissingFeature::LockSilently, true, Err(("after", "the server dropped the lock"))),
        (MissingFeature::LockReading, true, Err(("before", "the call GetObjectRetention"))),
    ] {
        let bucket = Arc::new(Bucket { missing, stored: Mutex::default() });
        let answering = Arc::clone(&bucket);
        let server = Server::start(move |asked| Some(answering.answer(asked)));
        let ended = backup(&VaultSettings { conditional_put, ..server.settings() }).await;
        match (&ended, end) {
            (Ok(verified_by), Ok(expected)) => assert_eq!(*verified_by, expected, "{missing:?}"),
            (Err((when, error)), Err((expected, words))) => {
                assert!(*when == expected && error.to_string().contains(words), "{missing:?}, {when}: {error}");
                assert!(!error.is_transient(), "{missing:?}: {error}");
            }
            _ => panic!("{missing:?}: {ended:?}"),
        }
        let stored = bucket.stored.lock().expect("nobody panicked").len();
        assert_eq!(stored, usize::from(!matches!(end, Err(("before", _)))), "{missing:?}");
    }
}
