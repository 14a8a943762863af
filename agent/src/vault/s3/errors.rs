//! What an S3 server's refusal means for us.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;

use super::S3Vault;
use crate::vault::VaultError;

/// In the words of hyper-util, whose error has no public kind: a proxy answered 407 to a tunnel, or anything but 200.
const TUNNEL_REFUSED: [&str; 2] = ["proxy authorization required", "tunnel error: unsuccessful"];

impl S3Vault {
    /// `action` reads behind "failed to"; `key` is the object that it was about, empty for the bucket.
    pub(super) fn error<E>(&self, action: &str, key: &str, error: SdkError<E>) -> VaultError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let about = if key.is_empty() { self.target.bucket.as_str() } else { key };
        let vault = self.address.clone();
        let action = format!("{action} `{about}`");
        if let SdkError::ServiceError(context) = &error {
            let refusal = Refusal {
                code: context.err().code().unwrap_or_default(),
                message: context.err().message().unwrap_or_default(),
                status: context.raw().status().as_u16(),
                request_id: context.err().meta().request_id().unwrap_or_default(),
                header: context.raw().body().bytes().map(named_header).unwrap_or_default(),
            };
            if let Some(proxy) = self.proxy.clone().filter(|_| refusal.is_of_a_proxy()) {
                return VaultError::Proxy { vault, proxy, detail: refusal.describe() };
            }
            return self.named_on_the_way(refusal.into_error(vault, action, key));
        }
        let detail = chain(&error);
        let refused = TUNNEL_REFUSED.iter().any(|words| detail.contains(words));
        if let Some(proxy) = self.proxy.clone().filter(|_| refused) {
            return VaultError::Proxy { vault, proxy, detail };
        }
        let detail = self.on_the_way(detail);
        // Neither the SDK's error nor its kind tells this apart from a broken connection.
        if detail.contains("credential") {
            return VaultError::WrongCredentials { vault, detail };
        }
        match error {
            SdkError::ConstructionFailure(_) => VaultError::Other { vault, action, detail },
            _ => self.unreachable(action, &detail),
        }
    }

    /// A broken proxy must not pass for a broken vault.
    fn on_the_way(&self, detail: String) -> String {
        match &self.proxy {
            Some(proxy) => format!("through the proxy {proxy}: {detail}"),
            None => detail,
        }
    }

    /// An answer that means trouble on the way may be the proxy's own.
    fn named_on_the_way(&self, error: VaultError) -> VaultError {
        match error {
            VaultError::Unreachable { vault, action, detail } => {
                VaultError::Unreachable { vault, action, detail: self.on_the_way(detail) }
            }
            error => error,
        }
    }

    /// `action` is complete here: it names what it is about.
    pub(super) fn unreachable(&self, action: String, detail: &str) -> VaultError {
        let detail = match &self.target.endpoint {
            Some(endpoint) => format!("{endpoint}: {detail}"),
            None => detail.into(),
        };
        VaultError::Unreachable { vault: self.address.clone(), action, detail }
    }
}

/// The parts of an error answer that tell its meaning. None of them holds a secret.
struct Refusal<'a> {
    code: &'a str,
    message: &'a str,
    status: u16,
    request_id: &'a str,
    /// Of the request, that the server does not know; empty if it names none.
    header: &'a str,
}

impl Refusal<'_> {
    fn into_error(self, vault: String, action: String, key: &str) -> VaultError {
        let detail = self.describe();
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
            // Another put of the key is under way: its outcome decides.
            "ConditionalRequestConflict" | "OperationAborted" => VaultError::Unreachable { vault, action, detail },
            "InvalidRequest" if self.message.to_ascii_lowercase().contains("object lock") => {
                VaultError::NoObjectLock { vault }
            }
            _ => match self.status {
                401 | 403 => VaultError::AccessDenied { vault, action, detail },
                404 if key.is_empty() => VaultError::NoBucket { vault, detail },
                // 405 answers a read of a delete marker.
                404 | 405 => VaultError::NotFound { vault, key: key.into() },
                412 => VaultError::AlreadyExists { vault, key: key.into(), found: detail },
                507 => VaultError::NoSpace { vault, action, detail },
                // It would say so again, as often as it is asked.
                501 => VaultError::Other { vault, action, detail },
                429 | 500..=599 => VaultError::Unreachable { vault, action, detail },
                _ if self.code == "RequestTimeout" => VaultError::Unreachable { vault, action, detail },
                _ => VaultError::Other { vault, action, detail },
            },
        }
    }

    /// A server of S3 says who it is, even where there is no room for words.
    fn is_of_a_proxy(&self) -> bool {
        matches!(self.status, 401 | 403 | 407) && self.code.is_empty() && self.request_id.is_empty()
    }

    fn describe(&self) -> String {
        let mut text = format!("{} {}", self.status, self.code).trim_end().to_owned();
        if !self.message.is_empty() {
            text += &format!(": {}", self.message);
        }
        if matches!(
            self.code,
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"
        ) {
            text += "; the bucket may be in another region, set `region`";
        }
        if self.status == 501 {
            text += "; this server does not do what was asked of it";
        }
        if !self.header.is_empty() {
            text += &format!(" with `{}`", self.header);
        }
        if !self.request_id.is_empty() {
            text += &format!(", request {}", self.request_id);
        }
        // What a server writes ends up on terminals.
        text.retain(|c| !c.is_control());
        text
    }
}

/// The SDK drops what S3 says beside code and message.
fn named_header(body: &[u8]) -> &str {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let inner = text.split_once("<Header>").and_then(|(_, rest)| rest.split_once("</Header>"));
    inner.map_or("", |(header, _)| header)
}

/// The messages of an error and its sources, outermost first, without those that the one before has said.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text += &format!(": {next}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_IMPLEMENTED: &str = "<Error><Code>NotImplemented</Code><Header>If-None-Match</Header></Error>";

    #[test]
    fn what_a_server_never_does_is_no_outage() {
        for (status, code, transient) in
            [(501, "NotImplemented", false), (500, "InternalError", true), (503, "SlowDown", true)]
        {
            let header = if status == 501 { named_header(NOT_IMPLEMENTED.as_bytes()) } else { "" };
            let refusal = Refusal { code, message: "", status, request_id: "", header };
            let error = refusal.into_error("s3://a".to_owned(), "put `k`".to_owned(), "k");
            assert_eq!(error.is_transient(), transient, "{error}");
            assert_eq!(error.to_string().contains("does not do what was asked of it with `If-None-Match`"), !transient);
        }
        assert_eq!([named_header(b"<Header>cut off"), named_header(b"\xff")], ["", ""]);
    }
}
