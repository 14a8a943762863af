//! Turns failures of requests to an S3 server into [`VaultError`]s.

use std::error::Error;

use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};

use super::{S3Vault, refusal::Refusal};
use crate::VaultError;

/// Words of hyper-util, whose error has no public kind: a proxy answered 407 to a tunnel, or anything but 200.
const TUNNEL_REFUSED: [&str; 2] = ["proxy authorization required", "tunnel error: unsuccessful"];

/// Words of aws-config, which is built without the features for personal logins: IAM Identity Center, `aws login`.
const NEEDS_A_PERSON: [&str; 5] = [
    "feature(s) enabled: sso",
    "feature(s) enabled: credentials-login",
    "sso-session named",
    "has invalid SSO config",
    "will resolve an access token instead",
];

impl S3Vault {
    /// Classifies a failure. `action` reads behind "failed to"; `key` is the object, empty for the bucket.
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
            if refusal.is_not_s3() {
                return self.not_s3_at(action, &refusal.describe_strange());
            }
            return self.with_proxy_if_unreachable(refusal.into_error(vault, action, key));
        }
        let detail = chain(&error);
        let refused = TUNNEL_REFUSED.iter().any(|words| detail.contains(words));
        if let Some(proxy) = self.proxy.clone().filter(|_| refused) {
            return VaultError::Proxy { vault, proxy, detail };
        }
        let detail = self.with_proxy(detail);
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

    /// The error for an answer that the SDK took for one of S3.
    pub(super) fn not_s3(&self, action: &str, key: &str, detail: &str) -> VaultError {
        self.not_s3_at(format!("{action} `{key}`"), detail)
    }

    fn not_s3_at(&self, action: String, detail: &str) -> VaultError {
        let who = self.target.endpoint.as_deref().unwrap_or("the server");
        let way = self.proxy.as_ref().map_or_else(String::new, |proxy| format!(", through the proxy {proxy},"));
        let detail = format!("{who}{way} {detail}");
        VaultError::NotS3 { vault: self.address.clone(), action, detail }
    }

    /// Names the proxy, if there is one: a broken proxy must not be taken for a broken vault.
    fn with_proxy(&self, detail: String) -> String {
        match &self.proxy {
            Some(proxy) => format!("through the proxy {proxy}: {detail}"),
            None => detail,
        }
    }

    /// Names the proxy in an outage, which may be the proxy's own.
    fn with_proxy_if_unreachable(&self, error: VaultError) -> VaultError {
        match error {
            VaultError::Unreachable { vault, action, detail } => {
                VaultError::Unreachable { vault, action, detail: self.with_proxy(detail) }
            }
            error => error,
        }
    }

    /// The error of a vault that did not answer. `action` is complete: it names its object.
    pub(super) fn unreachable(&self, action: String, detail: &str) -> VaultError {
        let detail = match &self.target.endpoint {
            Some(endpoint) => format!("{endpoint}: {detail}"),
            None => detail.into(),
        };
        VaultError::Unreachable { vault: self.address.clone(), action, detail }
    }
}

/// The call whose error this is, by its name in S3's documentation.
fn call_of<E>() -> &'static str {
    let path = std::any::type_name::<E>();
    let name = path.rsplit("::").next().unwrap_or(path);
    name.strip_suffix("Error").unwrap_or(name)
}

/// The messages of an error and its sources, outermost first, without repetitions.
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
