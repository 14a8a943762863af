//! Interprets an answer that is not a success: a refusal by the server, or something that is no S3 server at all.

use crate::VaultError;

/// Headers of a put that servers may not support: how the name begins, and the way out.
const HEADERS: [(&str, &str); 6] = [
    (
        "if-none-match",
        "set `conditional_put = false` for this vault: the agent then relies on looking before it stores, as it does anyway",
    ),
    ("x-amz-object-lock", NO_LOCKS),
    ("x-amz-checksum", NO_CHECKSUMS),
    ("x-amz-sdk-checksum", NO_CHECKSUMS),
    ("x-amz-server-side-encryption", "take `sse` and `kms_key_id` out of this vault's settings"),
    ("x-amz-meta", OTHER_SERVER),
];

const NO_LOCKS: &str =
    "a backup there could be deleted: use a server that has Object Lock, or another release of this one that has it";

const NO_CHECKSUMS: &str = "a backup there would not be verified when it arrives: use a server that knows SHA-256 checksums, \
     or another release of this one that does";

const OTHER_SERVER: &str = "use a server that has it, or another release of this one that does";

/// Words with which servers refuse a header that they recognize but do not support.
const UNKNOWN: [&str; 5] = ["not implemented", "unsupported", "not supported", "unknown", "unrecognized"];

/// The parts of an answer that have a meaning. None of them contains a secret.
pub(super) struct Refusal<'a> {
    /// The call by its name in S3's documentation, such as `PutObject`.
    pub call: &'static str,
    pub code: &'a str,
    pub message: &'a str,
    pub status: u16,
    pub request_id: &'a str,
    /// The bucket's region by a header of the answer.
    pub region: Option<&'a str>,
    /// The region that the request was signed for.
    pub own_region: &'a str,
    /// Empty if the answer was not read, and for HEAD.
    pub body: &'a [u8],
}

impl Refusal<'_> {
    pub fn into_error(self, vault: String, action: String, key: &str) -> VaultError {
        let detail = self.describe();
        if let Some(region) = self.other_region() {
            return VaultError::WrongRegion { vault, action, region, detail };
        }
        match self.code {
            "NoSuchBucket" => VaultError::NoBucket { vault, detail },
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "RequestTimeTooSkewed" => VaultError::WrongCredentials { vault, detail },
            "QuotaExceeded" => VaultError::NoSpace { vault, action, detail },
            "BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" => {
                let expected = "the checksum sent along".into();
                VaultError::ChecksumMismatch { vault, key: key.into(), expected, found: detail }
            }
            // Another put of the key is running, and its outcome decides. The others may come with a status of 200.
            "ConditionalRequestConflict" | "OperationAborted" | "InternalError" | "SlowDown" => {
                VaultError::Unreachable { vault, action, detail }
            }
            "InvalidRequest" if self.message.to_ascii_lowercase().contains("object lock") => {
                VaultError::NoObjectLock { vault }
            }
            _ => match self.status {
                _ if self.is_unsupported(key) => self.not_supported(vault, action),
                401 | 403 => VaultError::AccessDenied { vault, action, detail },
                404 if key.is_empty() => VaultError::NoBucket { vault, detail },
                // 405 answers a read of a delete marker.
                404 | 405 => VaultError::NotFound { vault, key: key.into() },
                // MinIO before April 2024 answers a put whose condition fails as it would a read (its issue 19442).
                304 | 412 => VaultError::AlreadyExists { vault, key: key.into(), found: detail },
                507 => VaultError::NoSpace { vault, action, detail },
                429 | 500..=599 => VaultError::Unreachable { vault, action, detail },
                _ if self.code == "RequestTimeout" => VaultError::Unreachable { vault, action, detail },
                _ => VaultError::Other { vault, action, detail },
            },
        }
    }

    /// True if the server does not support the call or one of its headers, so no later attempt will work.
    fn is_unsupported(&self, key: &str) -> bool {
        match self.status {
            501 => true,
            400 if self.code == "NotImplemented" => true,
            400 => self.says_unknown() && self.header().is_some(),
            // With a key, it is the answer to a read of a delete marker.
            405 => key.is_empty(),
            _ => false,
        }
    }

    fn says_unknown(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        UNKNOWN.iter().any(|words| message.contains(words))
    }

    /// The header that the answer names, in its message or in a separate element, and the way out.
    fn header(&self) -> Option<(String, &'static str)> {
        let text = format!("{} {}", self.message, String::from_utf8_lossy(self.body)).to_ascii_lowercase();
        HEADERS.iter().find_map(|(start, way_out)| {
            let name = text[text.find(start)?..].split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()?;
            Some((name.to_owned(), *way_out))
        })
    }

    fn not_supported(&self, vault: String, action: String) -> VaultError {
        let (what, way_out) = match (self.header(), self.call) {
            (Some((header, way_out)), _) => (format!("the header `{header}`"), way_out),
            (None, "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload") => (
                format!("a header of {} (If-None-Match, a SHA-256 checksum, or a lock)", self.call),
                "try `conditional_put = false` for this vault; if that is not it, use a server that has Object Lock and \
                 SHA-256 checksums",
            ),
            (None, "GetObjectRetention" | "PutObjectRetention" | "GetObjectLockConfiguration") => {
                (format!("the call {}", self.call), NO_LOCKS)
            }
            // The answer to a HEAD has no body that could name the header.
            (None, "HeadObject") => ("HeadObject with `x-amz-checksum-mode`".to_owned(), NO_CHECKSUMS),
            (None, call) => (format!("the call {call}"), OTHER_SERVER),
        };
        VaultError::NotSupported { vault, action, what, detail: self.describe(), way_out }
    }

    /// The region that the answer names as the bucket's, unless the request was signed for it.
    fn other_region(&self) -> Option<String> {
        let redirected = matches!(self.status, 301 | 302 | 307 | 308);
        let malformed = matches!(
            self.code,
            "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" | "InvalidRegion"
        );
        if !redirected && !(self.status == 400 && (malformed || self.code.is_empty())) {
            return None;
        }
        let body = String::from_utf8_lossy(self.body);
        let named = || body.split_once("<Region>")?.1.split_once("</Region>").map(|(region, _)| region);
        let region = self.region.or_else(named).filter(|region| is_region(region))?;
        (region != self.own_region).then(|| region.to_owned())
    }

    /// True if the answer is a proxy's: an S3 server identifies itself even without a body.
    pub fn is_of_a_proxy(&self) -> bool {
        matches!(self.status, 401 | 403 | 407) && self.code.is_empty() && self.request_id.is_empty()
    }

    /// True for a page for a browser, and for answers that S3 does not give: success without its XML, or a redirect
    /// that names no region. Outages (5xx) are left to the retries.
    pub fn is_not_s3(&self) -> bool {
        if !self.code.is_empty() || self.status >= 500 {
            return false;
        }
        let redirected = (300..400).contains(&self.status)
            && self.status != 304
            && self.region.is_none()
            && self.request_id.is_empty();
        self.status < 300 || redirected || (self.status != 429 && self.is_foreign())
    }

    /// True for a body without S3's frame. The answer to a HEAD has no body, and is not foreign for that.
    fn is_foreign(&self) -> bool {
        !self.body.is_empty() && !String::from_utf8_lossy(self.body).contains("<Error")
    }

    fn is_page(&self) -> bool {
        let start = String::from_utf8_lossy(&self.body[..self.body.len().min(256)]).trim_start().to_ascii_lowercase();
        start.starts_with("<!doctype html") || start.starts_with("<html")
    }

    /// Describes an answer that is not S3's.
    pub fn describe_strange(&self) -> String {
        let what = match self.is_page() {
            true => "a web page",
            false if self.body.is_empty() => "nothing",
            false => "something that is not S3's XML",
        };
        format!("answered {} with {what}", self.status)
    }

    pub fn describe(&self) -> String {
        let mut text = format!("{} {}", self.status, self.code).trim_end().to_owned();
        if !self.message.is_empty() {
            text += &format!(": {}", self.message);
        }
        if !self.request_id.is_empty() {
            text += &format!(", request {}", self.request_id);
        }
        // The words of a server end up on terminals.
        text.retain(|c| !c.is_control());
        text
    }
}

fn is_region(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use crate::{
        NO_PROGRESS, Upload, VaultError, VaultSettings, VersionRef,
        s3::canned::{Response, Server, connect},
    };

    /// The error of checking a vault that answers everything so, and the number of requests.
    async fn said(answer: Response) -> (VaultError, usize) {
        let server = Server::start(move |_| Some(answer.clone()));
        let error = server.vault().await.check().await.expect_err("no such server works");
        (error, server.requests().len())
    }

    #[tokio::test]
    async fn a_server_that_is_not_s3_is_called_so() {
        let login = "<!DOCTYPE html><html><title>Welcome to Hotel WiFi</title></html>";
        for (answer, what) in [
            (Response::new(200, login), "answered 200 with a web page"),
            (Response::new(200, ""), "answered 200 with nothing"),
            (Response::new(200, "ok"), "answered 200 with something that is not S3's XML"),
            (Response::new(200, "<?xml version=\"1.0\"?><feed/>"), "answered 200 with something that is not S3's XML"),
            (Response::new(302, "").with("location: http://login.example.net/"), "answered 302 with nothing"),
            (Response::new(404, login), "answered 404 with a web page"),
            (Response::new(404, "404 page not found"), "answered 404 with something that is not S3's XML"),
        ] {
            let (error, asked) = said(answer).await;
            assert!(matches!(error, VaultError::NotS3 { .. }) && !error.is_transient(), "{error:?}");
            let text = error.to_string();
            assert!(
                text.contains(what) && text.contains("check `endpoint`") && text.contains("s3://bucket/prod"),
                "{text}"
            );
            assert_eq!(asked, 1, "{text}");
        }
    }

    /// The page comes after the vault was checked.
    #[tokio::test]
    async fn a_login_page_is_neither_a_damaged_archive_nor_a_bucket_without_versions() {
        let server =
            Server::start(|_| Some(Response::new(200, "<html>").with("content-type: text/html; charset=utf-8")));
        let (vault, at) = (server.vault().await, VersionRef::new("a", "1"));
        let file = tempfile::NamedTempFile::new().expect("a file");
        let upload = Upload::of_file("a", file.path(), jiff::Timestamp::now()).expect("can be read");
        for error in [
            vault.head(&at).await.expect_err("a page has no head"),
            vault.open(&at, 0..10).await.err().expect("a page is no archive"),
            vault.put(&upload, NO_PROGRESS).await.expect_err("a page stores nothing"),
        ] {
            assert!(matches!(error, VaultError::NotS3 { .. }) && error.is_inconclusive(), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_region_that_is_named_is_reported_with_the_setting() {
        let malformed = "the region 'us-east-1' is wrong; expecting 'eu-central-1'";
        let moved = "must be addressed using the specified endpoint";
        let region = "x-amz-bucket-region: eu-central-1";
        for answer in [
            Response::error(301, "PermanentRedirect", moved, "").with(region),
            Response::error(307, "TemporaryRedirect", moved, "").with(region),
            Response::error(400, "AuthorizationHeaderMalformed", malformed, "<Region>eu-central-1</Region>"),
            Response::new(400, "").with(region),
        ] {
            let (error, _) = said(answer).await;
            let text = error.to_string();
            assert!(matches!(error, VaultError::WrongRegion { .. }), "{error:?}");
            assert!(text.contains("set `region = \"eu-central-1\"`") && !text.contains("may be"), "{text}");
        }
        // Nothing is guessed from an answer that names no region, the same region, or no valid one.
        for answer in [
            Response::error(301, "PermanentRedirect", moved, ""),
            Response::error(307, "TemporaryRedirect", moved, "").with("x-amz-bucket-region: us-east-1"),
            Response::error(400, "AuthorizationHeaderMalformed", malformed, "<Region>\u{1b}[2J</Region>"),
        ] {
            let (error, _) = said(answer).await;
            assert!(matches!(error, VaultError::Other { .. }) && !error.to_string().contains("`region"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn what_a_server_does_not_support_is_no_outage() {
        let implied = "A header you provided implies functionality that is not implemented";
        for (answer, what, way_out) in [
            (
                Response::error(501, "NotImplemented", implied, ""),
                "the call GetBucketVersioning",
                "use a server that has it",
            ),
            (
                Response::error(400, "NotImplemented", "no", ""),
                "the call GetBucketVersioning",
                "use a server that has it",
            ),
            (
                Response::error(405, "MethodNotAllowed", "no", ""),
                "the call GetBucketVersioning",
                "use a server that has it",
            ),
            (
                Response::error(501, "NotImplemented", implied, "<Header>If-None-Match</Header>"),
                "the header `if-none-match`",
                "conditional_put = false",
            ),
            (
                Response::error(400, "InvalidRequest", "Unsupported header 'x-amz-checksum-sha256' received", ""),
                "the header `x-amz-checksum-sha256`",
                "SHA-256",
            ),
            (
                Response::error(400, "InvalidArgument", "Header 'x-amz-object-lock-mode' not implemented", ""),
                "the header `x-amz-object-lock-mode`",
                "Object Lock",
            ),
        ] {
            let (error, asked) = said(answer).await;
            let text = error.to_string();
            assert!(matches!(error, VaultError::NotSupported { .. }) && !error.is_transient(), "{error:?}");
            assert!(text.contains(what) && text.contains(way_out), "{text}");
            assert_eq!(asked, 1, "{text}");
        }
        // A supported header with a wrong value is something else.
        let wrong = "The retain until date must be in the future!";
        let named = "<ArgumentName>x-amz-object-lock-retain-until-date</ArgumentName>";
        let (error, _) = said(Response::error(400, "InvalidArgument", wrong, named)).await;
        assert!(matches!(error, VaultError::Other { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn trouble_of_a_server_stays_an_outage() {
        for answer in
            [Response::error(200, "InternalError", "try again", ""), Response::new(502, "<html>Bad Gateway</html>")]
        {
            let (error, _) = said(answer).await;
            assert!(error.is_transient(), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_personal_login_is_reported_without_the_words_of_a_library() {
        let server = Server::start(|_| None);
        let sso = "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = backup\n";
        for profile in [
            format!("[profile corp]\n{sso}[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://x\n"),
            "[profile corp]\nsso_account_id = 123456789012\nsso_role_name = backup\nsso_region = eu-west-1\nsso_start_url = https://x\n".to_owned(),
            "[profile corp]\nlogin_session = arn:aws:iam::123456789012:user/me\n".to_owned(),
        ] {
            let file = tempfile::NamedTempFile::new().expect("a file");
            // Both kinds of file may hold either.
            std::fs::write(file.path(), profile.replace("[profile corp]", "[corp]")).expect("can be written");
            let settings = VaultSettings {
                profile: Some("corp".to_owned()),
                credentials_file: Some(file.path().to_owned()),
                ..server.settings()
            };
            let error = connect(&settings).await.check().await.expect_err("nobody logs in");
            let text = error.to_string();
            assert!(matches!(error, VaultError::PersonalLogin { .. }), "{error:?}");
            assert!(text.contains("the profile `corp`") && text.contains("credential_process"), "{text}");
            assert!(!text.contains("cargo"), "{text}");
        }
        assert_eq!(server.requests().len(), 0);
    }
}
