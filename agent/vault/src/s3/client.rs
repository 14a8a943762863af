//! The S3 client: the agent's own HTTP client, an extra CA if configured, the usual credential chain, and timeouts.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::{
    Client,
    config::{
        Builder, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        StalledStreamProtectionConfig,
    },
};
use swarmdr_http::{self as http, Proxies};

use super::common_headers::CommonHeaders;
use crate::{VaultError, settings::S3Target};

/// Pinned: another version changes defaults such as retries and checksums.
const BEHAVIOR: fn() -> BehaviorVersion = BehaviorVersion::v2026_01_12;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for the first byte of the answer to a request without a body.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Attempts of a read, with the SDK's exponential pauses between them.
const READ_ATTEMPTS: u32 = 4;

/// A transfer in which no byte moves for this long fails.
const STALL: Duration = Duration::from_secs(20);

/// The region if none is configured: most servers other than AWS ignore it, but it is part of the signature.
const REGION_WITHOUT_ANY: &str = "us-east-1";

pub async fn connect(target: &S3Target, proxies: &Proxies) -> Result<Client, VaultError> {
    let trusted = target.ca_file.as_deref().map(|path| {
        http::read_certificates(path).map_err(|source| VaultError::File {
            action: "read the CA certificates (`ca_file`)",
            path: path.into(),
            source,
        })
    });
    let http = http::client(trusted.transpose()?.as_deref(), proxies);
    let mut loader = aws_config::defaults(BEHAVIOR())
        .http_client(http.clone())
        .use_dual_stack(target.dual_stack)
        .use_fips(target.fips);
    if let Some(region) = &target.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &target.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let shared = with_profile(loader, target, http).load().await;
    let region = shared.region().cloned().unwrap_or(Region::from_static(REGION_WITHOUT_ANY));
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(ANSWER_TIMEOUT);
    let config = aws_sdk_s3::config::Builder::from(&shared)
        .region(region)
        .force_path_style(target.path_style)
        .retry_config(RetryConfig::standard().with_max_attempts(READ_ATTEMPTS))
        .timeout_config(timeouts.build())
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL).build())
        // The agent sends and compares SHA-256 itself. Some servers refuse the SDK's default CRC trailers.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(CommonHeaders::of(target))
        .build();
    Ok(Client::from_conf(config))
}

/// The configuration of requests that change something: one attempt, and no time limit on a body that moves.
pub fn one_attempt() -> Builder {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).disable_read_timeout();
    Builder::new().retry_config(RetryConfig::disabled()).timeout_config(timeouts.build())
}

/// Adds a profile or file that the configuration names; it takes precedence over the environment, as with `aws
/// --profile`. Without either: environment, shared files, web identity, ECS, IMDSv2, in the SDK's order.
fn with_profile(mut loader: ConfigLoader, target: &S3Target, http: SharedHttpClient) -> ConfigLoader {
    if target.profile.is_none() && target.credentials_file.is_none() {
        return loader;
    }
    let mut files = EnvConfigFiles::builder().include_default_config_file(true);
    files = match &target.credentials_file {
        Some(path) => files.with_file(EnvConfigFileKind::Credentials, path),
        None => files.include_default_credentials_file(true),
    };
    let files = files.build();
    let region = target.region.clone().map(Region::new);
    let mut credentials = ProfileFileCredentialsProvider::builder()
        .configure(&ProviderConfig::without_region().with_http_client(http).with_region(region))
        .profile_files(files.clone());
    if let Some(profile) = &target.profile {
        credentials = credentials.profile_name(profile);
        loader = loader.profile_name(profile);
    }
    loader.profile_files(files).credentials_provider(credentials.build())
}
