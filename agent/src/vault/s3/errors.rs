//! What it means for us that a request to an S3 server failed.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;

use super::S3Vault;
use super::refusal::Refusal;
use crate::vault::VaultError;

/// In the words of hyper-util, whose error has no public kind: a proxy answered 407 to a tunnel, or anything but 200.
const TUNNEL_REFUSED: [&str; 2] = ["proxy authorization required", "tunnel error: unsuccessful"];

/// In the words of aws-config, which is built without what asks a person to log in: IAM Identity Center, `aws login`.
const NEEDS_A_PERSON: [&str; 5] = [
    "feature(s) enabled: sso",
    "feature(s) enabled: credentials-login",
    "sso-session named",
    "has invalid SSO config",
    "will resolve an access token instead",
];

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
            let raw = context.raw();
            let refusal = Refusal {
                call: call_of::<E>(),
                code: context.err().code().unwrap_or_default(),
                message: context.err().message().unwrap_or_default(),
                status: raw.status().as_u16(),
                request_id: context.err().meta().request_id().unwrap_or_default(),
                region: raw.headers().get("x-amz-bucket-region"),
                own_region: self.region(),
                body: raw.body().bytes().unwrap_or_default(),
            };
            if let Some(proxy) = self.proxy.clone().filter(|_| refusal.is_of_a_proxy()) {
                return VaultError::Proxy { vault, proxy, detail: refusal.describe() };
            }
            if refusal.is_of_no_s3() {
                return self.not_s3_at(action, &refusal.describe_strange());
            }
            return self.named_on_the_way(refusal.into_error(vault, action, key));
        }
        let detail = chain(&error);
        let refused = TUNNEL_REFUSED.iter().any(|words| detail.contains(words));
        if let Some(proxy) = self.proxy.clone().filter(|_| refused) {
            return VaultError::Proxy { vault, proxy, detail };
        }
        let detail = self.on_the_way(detail);
        if NEEDS_A_PERSON.iter().any(|words| detail.contains(words)) {
            let profile = self.target.profile.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
            return VaultError::PersonalLogin { vault, profile };
        }
        // Neither the SDK's error nor its kind tells this apart from a broken connection.
        if detail.contains("credential") {
            return VaultError::WrongCredentials { vault, detail };
        }
        match error {
            SdkError::ConstructionFailure(_) => VaultError::Other { vault, action, detail },
            _ => self.unreachable(action, &detail),
        }
    }

    /// For an answer that the SDK takes for one of S3.
    pub(super) fn not_s3(&self, action: &str, key: &str, detail: &str) -> VaultError {
        self.not_s3_at(format!("{action} `{key}`"), detail)
    }

    fn not_s3_at(&self, action: String, detail: &str) -> VaultError {
        let who = self.target.endpoint.as_deref().unwrap_or("the server");
        let way = self.proxy.as_ref().map_or_else(String::new, |proxy| format!(", through the proxy {proxy},"));
        let detail = format!("{who}{way} {detail}");
        VaultError::NotS3 { vault: self.address.clone(), action, detail }
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

/// The name of the call whose error this is, as S3's documentation has it.
fn call_of<E>() -> &'static str {
    let path = std::any::type_name::<E>();
    let name = path.rsplit("::").next().unwrap_or(path);
    name.strip_suffix("Error").unwrap_or(name)
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
