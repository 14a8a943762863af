//! Finds out whether a server supports what a put asks of it, without storing anything.

use aws_sdk_s3::{primitives::ByteStream, types::ChecksumAlgorithm};
use data_encoding::BASE64;
use jiff::Timestamp;

use super::S3Vault;
use crate::VaultError;

const BODY: &[u8] = b"swarmdr-agent asks whether this server knows what a backup needs. It should never be stored.\n";

impl S3Vault {
    /// Sends all headers of a real put with wrong checksums: a server that supports the headers reads the body, and
    /// then refuses it. MD5 as well as SHA-256, because servers that ignore one verify the other.
    pub(super) async fn rehearse_put(&self, key: &str, now: Timestamp) -> Result<(), VaultError> {
        let lock = self.lock_headers(now);
        // The SDK may repeat it: nothing is stored.
        let answer = self
            .client
            .put_object()
            .bucket(&self.target.bucket)
            .key(self.full_key(key))
            .body(ByteStream::from_static(BODY))
            .set_if_none_match(self.only_if_free())
            .content_md5(BASE64.encode(&[0; 16]))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_sha256(BASE64.encode(&[0; 32]))
            .object_lock_mode(lock.mode)
            .object_lock_retain_until_date(lock.until)
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.target.kms_key_id.clone())
            .metadata("swarmdr-id", "rehearsal")
            .send()
            .await;
        match answer {
            Ok(answer) if answer.version_id.is_none() && answer.e_tag.is_none() => {
                return Err(self.not_s3(
                    "rehearse a put of",
                    key,
                    "answered 200 with nothing that a put is answered with",
                ));
            }
            Ok(_) => tracing::warn!(
                vault = self.address,
                "this server stores what does not have the checksum that was sent along; each backup is read back instead"
            ),
            Err(error) => lacking(self.error("rehearse a put of", key, error))?,
        }
        self.rehearse_lock(key).await
    }

    /// Reads the lock of an object that does not exist: a server that supports the call says so.
    async fn rehearse_lock(&self, key: &str) -> Result<(), VaultError> {
        let request = self.client.get_object_retention().bucket(&self.target.bucket).key(self.full_key(key));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => lacking(self.error("read the lock of", key, error)),
        }
    }
}

/// Returns the errors that a later put would have as well. All others may be gone by then, or the archive waits.
fn lacking(error: VaultError) -> Result<(), VaultError> {
    match error {
        VaultError::NotSupported { .. }
        | VaultError::NoObjectLock { .. }
        | VaultError::NotVersioned { .. }
        | VaultError::NotS3 { .. } => Err(error),
        error => {
            tracing::debug!("a rehearsed put was refused as it should be: {error}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        VaultError, VaultSettings,
        object_name::REHEARSAL,
        s3::canned::{Request, Response, Server, connect},
    };

    const NOW: &str = "2026-11-21T10:00:00Z";

    /// A server that supports everything, and refuses a body with a wrong checksum.
    fn complete(asked: &Request) -> Response {
        match asked.is("PUT ") {
            true => Response::error(400, "BadDigest", "The Content-MD5 you specified did not match", ""),
            false => Response::error(404, "NoSuchKey", "no", ""),
        }
    }

    async fn rehearse(settings: &VaultSettings) -> Result<(), VaultError> {
        connect(settings).await.rehearse(REHEARSAL, NOW.parse().expect("is a time")).await
    }

    #[tokio::test]
    async fn a_rehearsal_asks_for_all_that_a_put_asks_for_and_can_store_nothing() {
        let server = Server::start(|asked| Some(complete(asked)));
        rehearse(&server.settings()).await.expect("everything is known");
        let asked = server.requests();
        assert!(asked[0].is("PUT /bucket/prod/doctor/rehearsal") && asked.len() == 2, "{asked:?}");
        for header in [
            "if-none-match: *",
            "content-md5: aaaaaaaaaaaaaaaaaaaaaa==",
            "x-amz-checksum-sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=",
            "x-amz-sdk-checksum-algorithm: sha256",
            "x-amz-object-lock-mode: compliance",
            "x-amz-object-lock-retain-until-date: 2026-12-21t10:00:00z",
        ] {
            assert!(asked[0].has(header), "{header}: {asked:?}");
        }
        let without = VaultSettings { conditional_put: false, ..server.settings() };
        rehearse(&without).await.expect("everything is known");
        assert!(!server.requests()[2].has("if-none-match"), "{:?}", server.requests());
    }

    /// One missing feature each, as servers without it answer.
    #[tokio::test]
    async fn what_a_server_lacks_is_learned_before_anything_is_stopped() {
        let implied = "A header you provided implies functionality that is not implemented";
        for (at, answer, words) in [
            (
                "PUT ",
                Response::error(501, "NotImplemented", implied, "<Header>If-None-Match</Header>"),
                "conditional_put = false",
            ),
            ("PUT ", Response::error(501, "NotImplemented", implied, ""), "conditional_put = false"),
            (
                "PUT ",
                Response::error(501, "NotImplemented", "Header 'x-amz-object-lock-mode' not implemented", ""),
                "use a server that has Object Lock",
            ),
            (
                "PUT ",
                Response::error(
                    400,
                    "InvalidRequest",
                    "Unsupported header 'x-amz-sdk-checksum-algorithm' received",
                    "",
                ),
                "SHA-256",
            ),
            (
                "PUT ",
                Response::error(400, "InvalidRequest", "Bucket is missing Object Lock Configuration", ""),
                "turn Object Lock on",
            ),
            ("GET ", Response::error(501, "NotImplemented", "no", ""), "the call GetObjectRetention"),
            ("PUT ", Response::new(200, "<html>").with("content-type: text/html"), "check `endpoint`"),
        ] {
            let server = Server::start(move |asked| Some(if asked.is(at) { answer.clone() } else { complete(asked) }));
            let error = rehearse(&server.settings()).await.expect_err(words);
            assert!(error.to_string().contains(words) && !error.is_transient(), "{words}: {error}");
            assert_eq!(server.count("PUT "), 1, "{words}: it is not tried again");
        }
    }

    /// The archive of such a run waits in the spool.
    #[tokio::test]
    async fn outages_and_missing_rights_stop_no_backup() {
        for answer in [
            Response::error(503, "SlowDown", "no", ""),
            Response::error(403, "AccessDenied", "no", ""),
            Response::error(403, "QuotaExceeded", "no", ""),
            Response::error(412, "PreconditionFailed", "it is there", ""),
            Response::new(304, ""),
            // Neither checksum is verified.
            Response::new(200, "").with("etag: \"1\"").with("x-amz-version-id: 1"),
        ] {
            let server =
                Server::start(move |asked| Some(if asked.is("PUT ") { answer.clone() } else { complete(asked) }));
            rehearse(&server.settings()).await.expect("nothing is known to be lacking");
        }
    }
}
