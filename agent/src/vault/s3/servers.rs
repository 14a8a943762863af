//! Servers as they are: for each kind of lack that the operations guide names, what becomes of a backup there.

use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::BASE64;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::canned::{Answer, Asked, Server, connect};
use crate::vault::{NO_PROGRESS, Proof, Upload, VaultError, VaultSettings, object_name::REHEARSAL, store};

/// How a server differs from AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    Nothing,
    Versions,
    VersioningCall,
    ObjectLock,
    ObjectLockCall,
    VersionListing,
    /// Refuses `If-None-Match`.
    Condition,
    /// Takes it, and overwrites all the same.
    ConditionSilently,
    /// Refuses the headers.
    Checksums,
    /// Takes them, and neither verifies nor keeps them.
    ChecksumsSilently,
    /// Refuses the headers.
    LockHeaders,
    /// Takes them, and locks nothing.
    LockSilently,
    LockReading,
}

const IMPLIED: &str = "A header you provided implies functionality that is not implemented";

/// A bucket with one key.
struct Bucket {
    lack: Lack,
    stored: Mutex<Vec<Vec<u8>>>,
}

impl Bucket {
    fn answer(&self, asked: &Asked) -> Answer {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = |lack| (self.lack == lack).then(|| Answer::error(501, "NotImplemented", "no", ""));
        let query = asked.line.split(' ').nth(1).and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
        match query.split(['&', '=']).next().unwrap_or_default() {
            _ if asked.is("PUT ") => self.put(asked, &mut stored),
            "versioning" => unknown(Lack::VersioningCall).unwrap_or_else(|| {
                let status = if self.lack == Lack::Versions { "" } else { "<Status>Enabled</Status>" };
                Answer::new(200, format!("<VersioningConfiguration>{status}</VersioningConfiguration>"))
            }),
            "object-lock" if self.lack == Lack::ObjectLock => {
                Answer::error(404, "ObjectLockConfigurationNotFoundError", "no", "")
            }
            "object-lock" => unknown(Lack::ObjectLockCall).unwrap_or_else(|| {
                let on = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
                Answer::new(200, format!("<ObjectLockConfiguration>{on}</ObjectLockConfiguration>"))
            }),
            "versions" => unknown(Lack::VersionListing).unwrap_or_else(|| listing(&stored)),
            "retention" if stored.is_empty() && self.lack != Lack::LockReading => {
                Answer::error(404, "NoSuchKey", "no", "")
            }
            "retention" if self.lack == Lack::LockSilently => {
                Answer::error(404, "NoSuchObjectLockConfiguration", "no", "")
            }
            "retention" => unknown(Lack::LockReading).unwrap_or_else(|| {
                let until = "<RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate>";
                Answer::new(200, format!("<Retention><Mode>COMPLIANCE</Mode>{until}</Retention>"))
            }),
            _ => self.object(asked, stored.last().map(Vec::as_slice).unwrap_or_default()),
        }
    }

    fn put(&self, asked: &Asked, stored: &mut Vec<Vec<u8>>) -> Answer {
        let unsupported = |header: &str| {
            Answer::error(400, "InvalidArgument", &format!("Unsupported header '{header}' received"), "")
        };
        match self.lack {
            Lack::Condition if asked.has("if-none-match") => {
                return Answer::error(501, "NotImplemented", IMPLIED, "<Header>If-None-Match</Header>");
            }
            Lack::Checksums => return unsupported("x-amz-checksum-sha256"),
            Lack::LockHeaders => return unsupported("x-amz-object-lock-mode"),
            _ => {}
        }
        if asked.has("content-md5") {
            return Answer::error(400, "BadDigest", "The Content-MD5 you specified did not match", "");
        }
        if asked.has("if-none-match") && !stored.is_empty() && self.lack != Lack::ConditionSilently {
            return Answer::error(412, "PreconditionFailed", "it is there", "");
        }
        stored.push(asked.body.clone());
        Answer::new(200, "").with("etag: \"1\"").with(&format!("x-amz-version-id: {}", stored.len()))
    }

    fn object(&self, asked: &Asked, body: &[u8]) -> Answer {
        let checksum = format!("x-amz-checksum-sha256: {}", BASE64.encode(&Sha256::digest(body)));
        let silent = self.lack == Lack::ChecksumsSilently;
        let text = String::from_utf8_lossy(body);
        let range = format!("content-range: bytes 0-{}/{}", body.len() - 1, body.len());
        match asked.is("HEAD ") {
            true => Answer::new(200, text).with(if silent { "x-a: b" } else { &checksum }),
            false => Answer::new(206, text).with(&range),
        }
    }
}

fn listing(stored: &[Vec<u8>]) -> Answer {
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
    Answer::new(200, format!("<ListVersionsResult><IsTruncated>false</IsTruncated>{versions}</ListVersionsResult>"))
}

/// What a backup asks of a vault, in its order: all but the last before the engine is touched.
async fn backup(settings: &VaultSettings) -> Result<Proof, (&'static str, VaultError)> {
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
    Ok(first.proof)
}

#[tokio::test]
async fn each_lack_has_its_end() {
    const STORED: Result<Proof, (&str, &str)> = Ok(Proof::Vault);
    for (lack, conditional_put, end) in [
        (Lack::Nothing, true, STORED),
        (Lack::Nothing, false, STORED),
        (Lack::Versions, true, Err(("before", "keeps no versions"))),
        (Lack::VersioningCall, true, Err(("before", "the call GetBucketVersioning"))),
        (Lack::ObjectLock, true, Err(("before", "has no Object Lock"))),
        (Lack::ObjectLockCall, true, Err(("before", "the call GetObjectLockConfiguration"))),
        (Lack::VersionListing, true, Err(("before", "the call ListObjectVersions"))),
        (Lack::Condition, true, Err(("before", "conditional_put = false"))),
        (Lack::Condition, false, STORED),
        (Lack::ConditionSilently, true, STORED),
        (Lack::Checksums, true, Err(("before", "the header `x-amz-checksum-sha256`"))),
        (Lack::ChecksumsSilently, true, Ok(Proof::ReadBack)),
        (Lack::LockHeaders, true, Err(("before", "the header `x-amz-object-lock-mode`"))),
        (Lack::LockSilently, true, Err(("after", "the server dropped the lock"))),
        (Lack::LockReading, true, Err(("before", "the call GetObjectRetention"))),
    ] {
        let bucket = Arc::new(Bucket { lack, stored: Mutex::default() });
        let answering = Arc::clone(&bucket);
        let server = Server::start(move |asked| Some(answering.answer(asked)));
        let ended = backup(&VaultSettings { conditional_put, ..server.settings() }).await;
        match (&ended, end) {
            (Ok(proof), Ok(expected)) => assert_eq!(*proof, expected, "{lack:?}"),
            (Err((when, error)), Err((expected, told))) => {
                assert!(*when == expected && error.to_string().contains(told), "{lack:?}, {when}: {error}");
                assert!(!error.is_transient(), "{lack:?}: {error}");
            }
            _ => panic!("{lack:?}: {ended:?}"),
        }
        let stored = bucket.stored.lock().expect("nobody panicked").len();
        assert_eq!(stored, usize::from(!matches!(end, Err(("before", _)))), "{lack:?}");
    }
}
